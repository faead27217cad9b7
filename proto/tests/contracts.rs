//! The wire contracts as a whole: nothing promised is broken, and no message has a field for a store secret in plain text.
//!
//! `UPDATE_CONTRACT=1` adds what is new to `contract.lock`; it never takes anything out.

use std::{collections::BTreeSet, env, fs, path::PathBuf};

use prost::Message;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FileDescriptorProto, FileDescriptorSet,
    field_descriptor_proto::Type,
};
use shop_proto::wire::DESCRIPTORS;

/// Fields whose name sounds like a secret or like text that may hold one, and why each is none of a store's in plain text.
const EXEMPT: &[(&str, &str)] = &[
    (
        "admin.v1.CreateJoinTokenResponse.token",
        "a node's join token: single use, shown once, no store's",
    ),
    (
        "admin.v1.CreateTokenResponse.secret",
        "an API user's own token, shown once, no store's",
    ),
    (
        "broker.v1.IntroduceResponse.vault_key",
        "node to agent over the store's own socket; never leaves the host",
    ),
    (
        "broker.v1.LogsResponse.text",
        "node to agent over the store's own socket; the agent seals it",
    ),
    (
        "enrollment.v1.JoinToken.token",
        "a node's join token: single use, no store's",
    ),
];

/// Words in names of fields that are looked at.
const WORDS: &[&str] = &[
    "secret",
    "passw",
    "passphrase",
    "token",
    "private",
    "credential",
    "plain",
    "vault",
    "seed",
    "output",
    "log",
    "dump",
    "text",
    "stdout",
    "stderr",
    "answer",
];

/// Names of `bytes` fields: all of them are public, signatures, or sealed.
const OPAQUE: &[&str] = &[
    "ciphertext",
    "enc",
    "signature",
    "receipt",
    "receipt_signature",
    "sealing_public_key",
    "one_time_public_key",
    "document",
    "roster_document",
    "roster_signature",
    "bundle",
    "csr_der",
    "current_leaf_der",
    "proof",
    "identity_spki_der",
    "chain_der",
    "roots_der",
];

fn descriptors() -> Vec<FileDescriptorProto> {
    let set = FileDescriptorSet::decode(DESCRIPTORS).expect("the build wrote descriptors");
    set.file
        .into_iter()
        .filter(|file| file.package().starts_with("shopfleet."))
        .collect()
}

/// Every message with its full name, nested ones included.
fn messages(file: &FileDescriptorProto) -> Vec<(String, &DescriptorProto)> {
    fn walk<'d>(
        scope: &str,
        message: &'d DescriptorProto,
        into: &mut Vec<(String, &'d DescriptorProto)>,
    ) {
        let name = format!("{scope}.{}", message.name());
        for nested in &message.nested_type {
            walk(&name, nested, into);
        }
        into.push((name, message));
    }
    let mut found = Vec::new();
    for message in &file.message_type {
        walk(file.package(), message, &mut found);
    }
    found
}

fn enum_lines(scope: &str, definition: &EnumDescriptorProto, lines: &mut BTreeSet<String>) {
    for value in &definition.value {
        let name = format!("{scope}.{}", definition.name());
        lines.insert(format!("enum {name} {} {}", value.number(), value.name()));
    }
}

/// One line for each thing that a peer of another release relies on.
fn contract() -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for file in descriptors() {
        for definition in &file.enum_type {
            enum_lines(file.package(), definition, &mut lines);
        }
        for (name, message) in messages(&file) {
            lines.insert(format!("message {name}"));
            for definition in &message.enum_type {
                enum_lines(&name, definition, &mut lines);
            }
            for field in &message.field {
                let kind = match field.type_name() {
                    "" => format!("{:?}", field.r#type()).to_lowercase(),
                    named => named.trim_start_matches('.').to_owned(),
                };
                let label = format!("{:?}", field.label()).to_lowercase();
                let oneof = field
                    .oneof_index
                    .and_then(|index| message.oneof_decl.get(usize::try_from(index).ok()?))
                    .map_or_else(String::new, |oneof| format!(" in {}", oneof.name()));
                let (number, field_name) = (field.number(), field.name());
                lines.insert(format!(
                    "field {name} {number} {label} {kind} {field_name}{oneof}"
                ));
            }
        }
        for service in &file.service {
            for method in &service.method {
                let stream = |streaming: bool| if streaming { "stream " } else { "" };
                lines.insert(format!(
                    "rpc {}.{}/{} {}{} -> {}{}",
                    file.package(),
                    service.name(),
                    method.name(),
                    stream(method.client_streaming()),
                    method.input_type().trim_start_matches('.'),
                    stream(method.server_streaming()),
                    method.output_type().trim_start_matches('.'),
                ));
            }
        }
    }
    lines
}

#[test]
fn nothing_promised_is_broken() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("contract.lock");
    let now = contract();
    let read = || -> BTreeSet<String> {
        let text = fs::read_to_string(&path).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    };
    let broken: Vec<String> = read().difference(&now).cloned().collect();
    assert!(
        broken.is_empty(),
        "removed, renumbered, renamed or retyped; peers of the last release rely on it:\n{}",
        broken.join("\n")
    );
    if env::var_os("UPDATE_CONTRACT").is_some() {
        let lines: Vec<&str> = now.iter().map(String::as_str).collect();
        fs::write(&path, lines.join("\n") + "\n").expect("the lock can be written");
    }
    let new: Vec<String> = now.difference(&read()).cloned().collect();
    assert!(
        new.is_empty(),
        "not in contract.lock yet; run this test with UPDATE_CONTRACT=1 and commit it:\n{}",
        new.join("\n")
    );
}

#[test]
fn no_message_has_a_field_for_a_store_secret() {
    let paging = ["page_token", "next_page_token"];
    let mut used = BTreeSet::new();
    for file in descriptors() {
        for (name, message) in messages(&file) {
            for field in &message.field {
                if !matches!(field.r#type(), Type::String | Type::Bytes)
                    || paging.contains(&field.name())
                {
                    continue;
                }
                let short = name.trim_start_matches("shopfleet.");
                let full = format!("{short}.{}", field.name());
                if let Some((exempt, _)) = EXEMPT.iter().find(|(exempt, _)| *exempt == full) {
                    used.insert(*exempt);
                    continue;
                }
                let opaque = field.r#type() == Type::Bytes && OPAQUE.contains(&field.name());
                let suspect = field.r#type() == Type::Bytes
                    || WORDS.iter().any(|word| field.name().contains(word));
                assert!(
                    opaque || !suspect,
                    "{full} may carry a secret in plain text: seal it, or give a reason in EXEMPT"
                );
            }
        }
    }
    let stale: Vec<&str> = EXEMPT
        .iter()
        .map(|(exempt, _)| *exempt)
        .filter(|exempt| !used.contains(exempt))
        .collect();
    assert!(
        stale.is_empty(),
        "exempt, but not there any more: {stale:?}"
    );
}

#[test]
fn every_rpc_has_a_name_that_generates() {
    for file in descriptors() {
        for service in &file.service {
            for method in &service.method {
                // A generated client has a `connect` of its own.
                assert_ne!(method.name(), "Connect", "{}", service.name());
            }
        }
    }
}

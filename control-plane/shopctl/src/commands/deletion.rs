//! `store clone`, `store delete`, `store receipt`: a second store like the first, ending one, and the proof that it ended.

use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use serde::Serialize;
use x509_parser::pem::Pem;

use super::{
    Session,
    stores::{finish, pairs},
};
use crate::{
    cli::{StoreClone, StoreDelete},
    client::{Deletion, NewClone},
    failure::Failure,
    output::{note, plain},
    prompt,
    view::{Receipt, Store},
};

/// A receipt with what this tool found when it checked the signature.
#[derive(Serialize)]
struct Checked<'a> {
    #[serde(flatten)]
    receipt: &'a Receipt,
    verified: bool,
}

pub(super) async fn clone(session: &Session, clone: StoreClone) -> anyhow::Result<()> {
    let new = NewClone {
        store: clone.store,
        name: clone.name,
        display_name: clone.display_name,
        labels: pairs(clone.labels, "--label")?,
        environment: clone.environment,
        hosts: clone.hosts,
        node: clone.node,
        reason: clone.reason,
    };
    let client = session.client().await?;
    let operation = client.clone_store(new).await?;
    finish(session, &client, operation, &clone.wait).await
}

pub(super) async fn delete(session: &Session, delete: StoreDelete) -> anyhow::Result<()> {
    let StoreDelete {
        action,
        yes,
        now,
        grace,
        force_forget,
    } = delete;
    let client = session.client().await?;
    if !yes {
        let store = client.get_store(&action.store).await?;
        for line in warning(&store, now, &grace, force_forget) {
            note(&line);
        }
        let typed = prompt::line("Type the store's name to go on: ")?;
        if typed != store.name {
            return Err(Failure::Failed(format!(
                "that is not `{}`; nothing was deleted",
                store.name
            ))
            .into());
        }
    }
    let operation = if force_forget {
        client.forget_store(&action.store, &action.reason).await?
    } else {
        let deletion = Deletion {
            store: action.store,
            reason: action.reason,
            if_generation: action.if_generation,
            now,
            grace,
        };
        client.delete_store(deletion).await?
    };
    finish(session, &client, operation, &action.wait).await
}

/// What is about to happen, before it is asked for.
fn warning(store: &Store, now: bool, grace: &str, forget: bool) -> Vec<String> {
    let Store {
        id, name, status, ..
    } = store;
    let node = store.node.as_deref().unwrap_or("its node");
    if forget {
        return vec![format!(
            "This ends the record of store `{name}` without proof that anything was removed: {node} may still hold its containers, \
             secrets and data. What is left is taken down when the node comes back."
        )];
    }
    let first = match (now, grace) {
        (true, _) => format!(
            "This deletes store `{name}` ({status}) with its database, files and secrets now. It cannot be undone."
        ),
        (false, "") => format!(
            "This stops store `{name}` ({status}) and deletes it with its database, files and secrets after the time of grace. \
             Until then `shopctl store undelete {name}` takes it back."
        ),
        (false, grace) => format!(
            "This stops store `{name}` ({status}) and deletes it with its database, files and secrets in {grace}. \
             Until then `shopctl store undelete {name}` takes it back."
        ),
    };
    let when = if now {
        "To keep its data, stop it and export it first"
    } else {
        "Until then its data can be exported as well"
    };
    vec![
        first,
        format!(
            "{when}: `shop-agent export {id} > {name}.tar` on {node} (docs/operations.md, \"Exporting a store\")."
        ),
    ]
}

pub(super) async fn receipt(session: &Session, store: &str) -> anyhow::Result<()> {
    let receipt = session.client().await?.get_receipt(store).await?;
    let verified = signed(&receipt);
    let shown = Checked {
        receipt: &receipt,
        verified,
    };
    session
        .printer
        .result(&shown, || describe(&receipt, verified))?;
    if verified {
        Ok(())
    } else {
        Err(Failure::Failed(
            "the signature does not belong to the document and the certificate: this receipt proves nothing".to_owned(),
        )
        .into())
    }
}

/// Whether the leaf's key signed the document. What this tool finds for itself is worth more than what it is told.
fn signed(receipt: &Receipt) -> bool {
    let Some(Ok(leaf)) = Pem::iter_from_buffer(receipt.certificate.as_bytes()).next() else {
        return false;
    };
    let (Ok(certificate), Ok(signature)) = (
        leaf.parse_x509(),
        data_encoding::BASE64.decode(receipt.signature.as_bytes()),
    ) else {
        return false;
    };
    let point = certificate.public_key().subject_public_key.data.to_vec();
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point)
        .verify(receipt.document.as_bytes(), &signature)
        .is_ok()
}

fn describe(receipt: &Receipt, verified: bool) -> String {
    let verdict = if verified { "good" } else { "BAD" };
    format!(
        "store      {}\nnode       {}\nrecorded   {}\nsignature  {verdict} (ECDSA P-256, SHA-256)\n\n{}\n\n\
         Check it without this tool:\n  shopctl store receipt {} -o json > receipt.json\n  \
         jq -j .document receipt.json > document\n  jq -r .signature receipt.json | base64 -d > signature\n  \
         jq -r .certificate receipt.json | openssl x509 -pubkey -noout > key.pem\n  \
         openssl dgst -sha256 -verify key.pem -signature signature document\n",
        plain(&receipt.store_id),
        plain(&receipt.node),
        plain(&receipt.at),
        plain(&pretty(&receipt.document)),
        plain(&receipt.store_id),
    )
}

/// The document for people; as it is when it is no JSON.
fn pretty(document: &str) -> String {
    serde_json::from_str::<serde_json::Value>(document)
        .and_then(|value| serde_json::to_string_pretty(&value))
        .unwrap_or_else(|_| document.to_owned())
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, SigningKey as _};

    use super::*;

    fn receipt() -> Receipt {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let certificate = CertificateParams::default().self_signed(&key).unwrap();
        let document = r#"{"store":"k3v9q2m8x1aa"}"#;
        Receipt {
            store_id: "k3v9q2m8x1aa".to_owned(),
            node: "n00001".to_owned(),
            document: document.to_owned(),
            signature: data_encoding::BASE64.encode(&key.sign(document.as_bytes()).unwrap()),
            certificate: certificate.pem(),
            at: "2026-01-01T00:00:00Z".to_owned(),
        }
    }

    #[test]
    fn a_receipt_is_checked_here() {
        assert!(signed(&receipt()));
        let mut other = receipt();
        other.document.push(' ');
        assert!(!signed(&other));
        let mut foreign = receipt();
        foreign.certificate = receipt().certificate;
        assert!(!signed(&foreign));
        let mut broken = receipt();
        broken.certificate.clear();
        assert!(!signed(&broken));
    }
}

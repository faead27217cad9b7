//! A shop agent shows its public keys; the node vouches for them on its own session, and hands over what the agent needs to go on.

use std::{sync::Arc, time::Duration};

use shop_proto::{
    Digest, PROTOCOL, SERVER_NAME, StoreId,
    wire::broker::v1::{IntroduceRequest, IntroduceResponse},
};
use tonic::{Code, Status};
use x509_parser::{prelude::FromDer as _, x509::SubjectPublicKeyInfo};
use zeroize::Zeroizing;

use super::replies;
use crate::{
    node::{
        context::{Node, Store},
        outbox::Vouch,
        state::{
            AgentKeys, StoreRecord,
            files::{self, FileError},
        },
        tasks::blocking,
    },
    uplink::coded,
};

/// How long the agent waits here for its voucher to be recorded, so that its first enrolment succeeds.
const RECORDED: Duration = Duration::from_secs(5);
/// A P-256 SubjectPublicKeyInfo has 91 bytes.
const SPKI_BYTES: usize = 128;
/// Uncompressed P-256 point.
const POINT_BYTES: usize = 65;
/// What the node's key signs in a receipt, before the parts.
const RECEIPT_CONTEXT: &[u8] = b"shopfleet/receipt/v1";

pub(super) async fn introduce(
    node: &Arc<Node>,
    store: &Store,
    record: &StoreRecord,
    request: IntroduceRequest,
) -> Result<IntroduceResponse, Status> {
    if request.protocol != PROTOCOL {
        return Err(coded(
            Code::FailedPrecondition,
            "protocol",
            format!(
                "this node speaks protocol {PROTOCOL}, not {}",
                request.protocol
            ),
        ));
    }
    let keys = keys(&request)?;
    let spki = keys.spki;
    let vouch = Vouch {
        store: store.id.clone(),
        spki,
        sealing: keys.sealing.clone(),
    };
    let id = store.id.clone();
    blocking(&node.state, move |state| {
        state.change(&id, |record| record.agent = Some(keys))
    })
    .await
    .map_err(|error| replies::of_replica(&error.into()))?
    .map_err(|error| replies::of_change(&error))?;
    let receipt = receipt(node, &store.id, &vouch)?;
    node.outbox.vouch(vouch);
    let paths = Arc::new(node.paths.clone());
    let id = store.id.clone();
    let key = blocking(&paths, move |paths| wrapping_key(&paths.wrapping_key(&id)))
        .await
        .map_err(|error| replies::of_replica(&error.into()))?
        .map_err(|error| replies::of_replica(&error.into()))?;
    recorded(node, store, spki).await;
    let roster = node.state.roster();
    Ok(IntroduceResponse {
        store_id: store.id.to_string(),
        node_id: node.id.to_string(),
        root_pins: node
            .record
            .root_pins
            .iter()
            .map(Digest::to_string)
            .collect(),
        server_name: SERVER_NAME.to_owned(),
        vault_key: key.to_vec(),
        receipt,
        networks: replies::networks(node, record),
        uid_base: record.uid_base,
        operator_root_pin: node
            .record
            .operator_root_pin
            .map(|pin| pin.to_string())
            .unwrap_or_default(),
        trust_domain: node.trust_domain.to_string(),
        roster_document: roster.document,
        roster_signature: roster.signature,
        host_boot_id: node.boot_id.clone(),
    })
}

pub(super) fn keys(request: &IntroduceRequest) -> Result<AgentKeys, Status> {
    let der = &request.identity_spki_der;
    let whole = der.len() <= SPKI_BYTES
        && SubjectPublicKeyInfo::from_der(der).is_ok_and(|(rest, spki)| {
            rest.is_empty() && spki.subject_public_key.data.len() == POINT_BYTES
        });
    if !whole {
        return Err(replies::invalid("identity_spki_der is not a P-256 key"));
    }
    if request.sealing_public_key.len() != 32 {
        return Err(replies::invalid("sealing_public_key has 32 bytes"));
    }
    Ok(AgentKeys {
        spki: Digest::of(der),
        sealing: request.sealing_public_key.clone(),
    })
}

/// The voucher need not be recorded: with the control plane away the agent goes on from its ledger.
async fn recorded(node: &Node, store: &Store, spki: Digest) {
    if !*node.connected.borrow() {
        return;
    }
    let mut vouched = store.vouched.subscribe();
    let done = vouched.wait_for(|recorded| *recorded == Some(spki));
    if tokio::time::timeout(RECORDED, done).await.is_err() {
        tracing::info!(store = %store.id, "the control plane has not recorded the voucher yet");
    }
}

/// Length-prefixed, so that no two different triples give the same bytes.
fn receipt(node: &Node, store: &StoreId, vouch: &Vouch) -> Result<Vec<u8>, Status> {
    let mut message = RECEIPT_CONTEXT.to_vec();
    let spki = vouch.spki.to_string();
    for part in [store.as_str().as_bytes(), spki.as_bytes(), &vouch.sealing] {
        message.extend_from_slice(&(part.len() as u64).to_be_bytes());
        message.extend_from_slice(part);
    }
    node.credential
        .load()
        .key()
        .sign(&message)
        .map_err(|error| coded(Code::Internal, "sign", error.to_string()))
}

/// 32 bytes that wrap the vault at rest: made once per store, readable by the node only.
fn wrapping_key(path: &std::path::Path) -> Result<Zeroizing<[u8; 32]>, FileError> {
    if let Some(bytes) = files::read(path)? {
        let bytes = Zeroizing::new(bytes);
        return <[u8; 32]>::try_from(bytes.as_slice())
            .map(Zeroizing::new)
            .map_err(|_| FileError::Io {
                path: path.to_owned(),
                source: std::io::ErrorKind::InvalidData.into(),
            });
    }
    let key = Zeroizing::new(rand::random::<[u8; 32]>());
    files::replace(path, key.as_slice(), 0o600)?;
    Ok(key)
}

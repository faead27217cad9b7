//! A control plane with an operator and nodes, and how tests wait.

use control_plane::{config::Config, domain::audit::GENESIS};
use sha2::{Digest as _, Sha256};

pub use crate::wait::until;

use crate::{
    api::Api,
    node::{Node, Script},
    plane::Plane,
};

pub struct World {
    pub plane: Plane,
    pub api: Api,
}

impl World {
    /// A control plane in this process.
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut plane = Plane::new(change).await;
        plane.start().await;
        Self::around(plane)
    }

    /// A control plane that can be killed.
    pub async fn process(change: impl FnOnce(&mut Config)) -> Self {
        let mut plane = Plane::new(change).await;
        plane.spawn().await;
        Self::around(plane)
    }

    /// As [`World::process`], on another database than the usual file.
    pub async fn process_on(database: &str) -> Self {
        let mut plane = Plane::on(Some(database), |_| {}).await;
        plane.spawn().await;
        Self::around(plane)
    }

    fn around(plane: Plane) -> Self {
        let api = Api::new(plane.place(), plane.token());
        Self { plane, api }
    }

    /// Joins a node that does all that is asked.
    pub async fn node(&self, name: &str) -> Node {
        self.node_with(name, Script::default()).await
    }

    pub async fn node_with(&self, name: &str, script: Script) -> Node {
        let request = shop_proto::wire::admin::v1::CreateJoinTokenRequest::default();
        let token = self.api.grpc().create_join_token(request).await;
        let token = token.unwrap().into_inner().token;
        Node::join(name, &token, script, self.plane.place()).await
    }

    /// The audit chain is whole, by its published rule.
    pub async fn verify_audit(&self) {
        let (entries, head_seq, head_hash) = self.api.audit().await;
        let (mut seq, mut hash) = (0, GENESIS.to_string());
        for entry in entries {
            assert_eq!((entry.seq, &entry.previous_hash), (seq + 1, &hash));
            let content = serde_json::json!({
                "seq": entry.seq, "at_unix_ms": entry.at_unix_ms, "actor": entry.actor, "source": entry.source,
                "request_id": entry.request_id, "action": entry.action, "subject": entry.subject,
                "decision": entry.decision, "reason": entry.reason,
            });
            assert_eq!(
                entry.hash,
                chained(&hash, &ordered(&content)),
                "entry {}",
                entry.seq
            );
            (seq, hash) = (entry.seq, entry.hash);
        }
        // Something may have been written since the last page.
        assert!(head_seq >= seq, "{head_seq} {seq}");
        if head_seq == seq {
            assert_eq!(head_hash, hash);
        }
    }
}

/// In the order of docs/api.md, whatever order the map has.
fn ordered(content: &serde_json::Value) -> String {
    let fields = [
        "seq",
        "at_unix_ms",
        "actor",
        "source",
        "request_id",
        "action",
        "subject",
        "decision",
        "reason",
    ];
    let parts: Vec<String> = fields
        .iter()
        .map(|name| format!("\"{name}\":{}", content[*name]))
        .collect();
    format!("{{{}}}", parts.join(","))
}

fn chained(previous: &str, content: &str) -> String {
    let previous = data_encoding::HEXLOWER.decode(previous.as_bytes()).unwrap();
    let mut bytes = vec![1];
    bytes.extend(previous);
    bytes.extend(Sha256::digest(content.as_bytes()));
    data_encoding::HEXLOWER.encode(&Sha256::digest(&bytes))
}

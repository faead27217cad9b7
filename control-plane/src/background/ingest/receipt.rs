//! Whether a node's word that a store is gone is proven.

use shop_proto::{Identity, NodeId};

use super::{denied, deny, event};
use crate::{
    app::App,
    db::{DbError, Tx},
    domain::{
        event::Severity,
        receipt::{self, Receipt},
        session::SignedReceipt,
        store::Store,
    },
    identity::signed_by,
};

/// Keeps a receipt that holds. False: it does not, and the store's record stays.
///
/// A node agent from before receipts sends none; its authenticated word is taken, and said to be without proof.
pub(super) async fn take(
    app: &App,
    tx: &mut Tx,
    node: &NodeId,
    store: &Store,
    signed: Option<SignedReceipt>,
) -> Result<bool, DbError> {
    let about = (Some(&store.id), Some(node));
    let Some(SignedReceipt {
        document,
        signature,
    }) = signed
    else {
        let message = format!(
            "node {node} says that nothing is left and signed no receipt: its agent is older than receipts"
        );
        if !tx.event_known("receipt_missing", about.0, about.1).await? {
            let event = event(app, about, Severity::Warning, "receipt_missing", message);
            tx.insert_event(&event).await?;
        }
        return Ok(true);
    };
    let shaped = receipt::check(&document, &store.id, node, store.generation.get());
    let leaves = tx.certificates_of(&Identity::Node(node.clone())).await?;
    let signer = leaves.into_iter().find(|leaf| {
        leaf.chain
            .first()
            .is_some_and(|der| signed_by(der, document.as_bytes(), &signature))
    });
    let problem = match (shaped, signer) {
        (Ok(()), Some(signer)) => {
            tx.insert_receipt(&Receipt {
                store: store.id.clone(),
                node: node.clone(),
                document,
                signature,
                certificate: pem(&signer.chain),
                at: app.context().clock.now(),
            })
            .await?;
            return Ok(true);
        }
        (Err(error), _) => error.to_string(),
        (Ok(()), None) => "no certificate that this node was given made its signature".to_owned(),
    };
    if !tx.event_known("receipt_refused", about.0, about.1).await? {
        let message = format!("the receipt of node {node} proves nothing: {problem}");
        let event = event(app, about, Severity::Error, "receipt_refused", message);
        tx.insert_event(&event).await?;
    }
    let subject = format!("store:{}", store.id);
    let record = denied(
        app,
        format!("node:{node}"),
        "store.retired",
        subject,
        "receipt_refused",
    );
    deny(app, tx, record).await?;
    Ok(false)
}

/// A chain as text, leaf first.
fn pem(chain: &[Vec<u8>]) -> String {
    let mut text = String::new();
    for der in chain {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        for line in data_encoding::BASE64.encode(der).as_bytes().chunks(64) {
            text.extend(line.iter().map(|byte| char::from(*byte)));
            text.push('\n');
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text
}

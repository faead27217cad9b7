//! A node's signed word that nothing of a store is left: what it removed and looked for in vain.

use jiff::Timestamp;
use serde::Deserialize;
use shop_proto::{NodeId, StoreId};

/// A receipt whose signature was checked against a certificate of the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    pub store: StoreId,
    pub node: NodeId,
    /// JSON, exactly as signed.
    pub document: String,
    /// ECDSA P-256 with SHA-256 over the document's bytes, in ASN.1 form.
    pub signature: Vec<u8>,
    /// The node's certificate chain in PEM; its first key made the signature.
    pub certificate: String,
    pub at: Timestamp,
}

/// What a receipt has to be about.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct About {
    store: StoreId,
    node: NodeId,
    generation: u64,
}

/// A document that is not about this retirement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    #[error("the receipt is no document that says store, node and generation")]
    Shape,
    #[error("the receipt is about another store, node or generation")]
    About,
}

/// Whether a document is about this retirement.
///
/// # Errors
/// When it is about something else, or says nothing.
pub fn check(
    document: &str,
    store: &StoreId,
    node: &NodeId,
    generation: u64,
) -> Result<(), ReceiptError> {
    let about: About = serde_json::from_str(document).map_err(|_| ReceiptError::Shape)?;
    if about.store == *store && about.node == *node && about.generation == generation {
        Ok(())
    } else {
        Err(ReceiptError::About)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_is_about_one_retirement() {
        let (store, node) = ("k3v9q2m8x1aa".parse().unwrap(), "n00001".parse().unwrap());
        let document =
            r#"{"format":1,"store":"k3v9q2m8x1aa","node":"n00001","generation":3,"removed":{}}"#;
        assert_eq!(check(document, &store, &node, 3), Ok(()));
        assert_eq!(check(document, &store, &node, 4), Err(ReceiptError::About));
        let other = "n00002".parse().unwrap();
        assert_eq!(check(document, &store, &other, 3), Err(ReceiptError::About));
        assert_eq!(check("{}", &store, &node, 3), Err(ReceiptError::Shape));
        assert_eq!(check("nothing", &store, &node, 3), Err(ReceiptError::Shape));
    }
}

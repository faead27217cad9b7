//! What a ciphertext is for. It opens under exactly the same context, so the control plane cannot pass one off as another.

use shop_proto::StoreId;

use crate::{Request, encoding::Fields};

/// Purpose and circumstances of something sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Context<'a> {
    /// The answer to a signed request, to its one-time key.
    Reply(&'a Request),
    /// Log text that belongs to a failure or a task, to the roster's log key.
    LogText {
        /// Whose log.
        store: &'a StoreId,
        /// Service or task.
        source: &'a str,
    },
    /// A vault's content, to the roster's recovery key.
    Escrow {
        /// Whose vault.
        store: &'a StoreId,
        /// Grows with every change of the vault.
        vault_version: u64,
    },
}

impl Context<'_> {
    /// HPKE's `info`: the purpose.
    pub(crate) const fn info(&self) -> &'static [u8] {
        match self {
            Self::Reply(_) => b"shopfleet seal 1 reply",
            Self::LogText { .. } => b"shopfleet seal 1 log text",
            Self::Escrow { .. } => b"shopfleet seal 1 escrow",
        }
    }

    /// HPKE's associated data: the circumstances.
    pub(crate) fn aad(&self) -> Vec<u8> {
        match self {
            Self::Reply(request) => Fields::new("reply")
                .text(request.store.as_str())
                .text(&request.operation_id)
                .text(request.kind.as_str())
                .text(&request.subject)
                .finish(),
            Self::LogText { store, source } => Fields::new("log text")
                .text(store.as_str())
                .text(source)
                .finish(),
            Self::Escrow {
                store,
                vault_version,
            } => Fields::new("escrow")
                .text(store.as_str())
                .bytes(&vault_version.to_be_bytes())
                .finish(),
        }
    }
}

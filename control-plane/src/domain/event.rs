//! Things worth telling an operator about a store or a node. Bounded text, never a secret, never log bytes.

use jiff::Timestamp;
use shop_proto::{NodeId, StoreId};

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreEvent {
    /// Grows; 0 before it is stored.
    pub seq: u64,
    pub store: Option<StoreId>,
    pub node: Option<NodeId>,
    /// Stable, such as `service_restarted`.
    pub code: String,
    /// `info`, `warning` or `error`.
    pub severity: Severity,
    pub message: String,
    /// Empty when it is about no single service.
    pub service: String,
    pub at: Timestamp,
}

/// How loud.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    Info,
    Warning,
    Error,
}

impl Severity {
    /// As written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }

    /// What an agent said; unknown words are warnings.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text {
            "info" => Self::Info,
            "error" => Self::Error,
            _ => Self::Warning,
        }
    }
}

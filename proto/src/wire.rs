//! The generated messages, and their conversions to and from the hand-written types.

mod convert;
mod details;

pub use convert::{WireError, generation, required};
pub use details::{ERROR_DOMAIN, ErrorDetails, FieldProblem};

/// `shopfleet.common.v1`.
#[allow(clippy::all, clippy::pedantic, missing_docs)]
pub mod common {
    /// Version 1.
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/shopfleet.common.v1.rs"));
    }
}
/// `shopfleet.enrollment.v1`.
#[allow(clippy::all, clippy::pedantic, missing_docs)]
pub mod enrollment {
    /// Version 1.
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/shopfleet.enrollment.v1.rs"));
    }
}
/// `shopfleet.agent.v1`.
#[allow(clippy::all, clippy::pedantic, missing_docs)]
pub mod agent {
    /// Version 1.
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/shopfleet.agent.v1.rs"));
    }
}
/// `shopfleet.node.v1`.
#[allow(clippy::all, clippy::pedantic, missing_docs)]
pub mod node {
    /// Version 1.
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/shopfleet.node.v1.rs"));
    }
}
/// `shopfleet.broker.v1`.
#[allow(clippy::all, clippy::pedantic, missing_docs)]
pub mod broker {
    /// Version 1.
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/shopfleet.broker.v1.rs"));
    }
}
/// `shopfleet.admin.v1`.
#[allow(clippy::all, clippy::pedantic, missing_docs)]
pub mod admin {
    /// Version 1.
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/shopfleet.admin.v1.rs"));
    }
}

/// The encoded `FileDescriptorSet` of all contracts, for reflection and contract tests.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

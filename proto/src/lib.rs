//! The vocabulary every part of Shopfleet shares: ids, digests, replica keys, the spec of a store, and identity names.
//!
//! The hand-written types here are what code outside this crate and the thin service modules speaks. The generated messages live in
//! [`wire`] (feature `wire`), with their conversions; clients and servers come with feature `rpc`.

mod digest;
mod identity;
mod ids;
mod spec;
mod token;
mod watch;
#[cfg(feature = "wire")]
pub mod wire;

pub use digest::{Digest, DigestError};
pub use identity::{Identity, IdentityError, SERVER_NAME, TrustDomain};
pub use ids::{
    Generation, IdError, NodeId, ReplicaKey, ReplicaKeyError, ServiceName, Slot, StoreId, StoreName,
};
pub use spec::{
    Host, HostName, HostNameError, Isolation, Resources, Revision, RunState, SPEC_FORMAT, Spec,
};
pub use token::{TokenError, TokenKind, TokenText};
pub use watch::{Watch, WatchError};

/// Version of the session protocols. A peer with another major version is refused with a reason.
pub const PROTOCOL: u32 = 1;

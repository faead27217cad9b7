//! Keys, certificates and whom to trust: shared by the node agent and the shop agent.
//!
//! Storing them is the caller's business ([`Credential::encode`] gives the bytes); dialling is [`crate::uplink`]'s.

mod credential;
mod enroll;
mod key;
#[cfg(test)]
mod tests;
mod trust;

pub use credential::{Credential, CredentialError};
pub use enroll::{Authority, EnrollError, Enrolled, enroll, renew};
pub use key::{KeyError, KeyPair};
pub use trust::{Trust, TrustError};

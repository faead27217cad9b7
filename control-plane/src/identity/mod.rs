//! Identity: the certificate authority, who gets a certificate, and who is turned away. No transport in here.

mod authority;
mod deny;
mod enrolment;
mod error;
mod files;
mod leaf;
mod limits;
mod records;
#[cfg(test)]
mod tests;
pub mod tls;

pub use authority::{Authority, Bundle, Issued, LEAF_LIFE};
pub use deny::DenySet;
pub use enrolment::{
    Admission, AdmissionError, Answer, Claim, EnrolError, Enrolment, RENEWABLE_AFTER_END, REPEAT,
    Source,
};
pub use error::{AuthorityError, CsrError, LeafError};
pub use files::{IdentityDir, write_private};
pub use leaf::{Leaf, RequestedKey, Serial, signed_by};
pub use records::{Activation, Records, RecordsError, TokenUse, Voucher};

//! What flows between sessions and the rest of the control plane. The types are the domain's, so that what is below the fleet may name
//! them too.

pub use crate::domain::session::*;

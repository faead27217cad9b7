//! What was last accepted.

//! The control plane: desired state, identity, placement, operations and audit of a fleet. It holds no store secret, speaks to no Docker
//! and has no route into a store.

pub mod app;
pub mod background;
pub mod db;
pub mod domain;
pub mod fleet;
pub mod identity;
pub mod operations;

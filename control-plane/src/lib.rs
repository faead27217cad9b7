//! The control plane: desired state, identity, placement, operations and audit of a fleet. It holds no store secret, speaks to no Docker
//! and has no route into a store.

pub mod api;
pub mod app;
pub mod background;
pub mod cli;
pub mod commands;
pub mod config;
pub mod db;
pub mod domain;
pub mod fleet;
pub mod identity;
pub mod operations;
pub mod policy;
pub mod server;
pub mod telemetry;

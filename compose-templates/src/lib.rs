//! Templates and plans: parse a template, check it, render a revision of it to a [`StorePlan`], and name what the plan names.
//!
//! Everything here is pure: no I/O, no clock, no randomness. Control plane, node agent and shop agent share it, so that each can render
//! the plan itself and compare digests.

pub mod address;
pub mod names;
pub mod plan;

pub use plan::*;

/// Renderings this release can make, oldest first. A release renders its own and the previous version byte for byte.
pub const RENDER_VERSIONS: &[u32] = &[1];

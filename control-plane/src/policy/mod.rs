//! Choices that weigh one good against another. Pure: the input says all there is to know.

pub mod placement;
pub mod rollout;

//! Templates and plans: parse a template, check it, render a revision of it to a [`StorePlan`], and name what the plan names.
//!
//! Everything here is pure: no I/O, no clock, no randomness. Control plane, node agent and shop agent share it, so that each can render
//! the plan itself and compare digests.

pub mod address;
mod catalogue;
mod choices;
mod compose;
mod currency;
mod images;
mod interpolate;
mod lint;
mod manifest;
pub mod names;
mod parameter;
mod parse;
pub mod plan;
mod render;
mod rotation;
mod scalar;
mod schedule;
mod schema;
mod transition;
mod validate;

pub use catalogue::{Catalogue, Template, TemplateFile, Untrusted, verify};
pub use choices::{CPU_BOUNDS, ChoiceCode, ChoiceProblem, Choices, MEMORY_BOUNDS};
pub use images::{AllowedImages, ImageName, ImageNameError, ImageRule, ImageRuleError, Permission};
pub use lint::{LintProblem, lint};
pub use manifest::{Channel, Manifest, Maturity, Profile};
pub use parameter::{Parameter, ParameterKind, ParameterName, Parameters, ValueError};
pub use parse::{TemplateError, TemplateProblem};
pub use plan::*;
pub use render::{RenderError, render};
pub use rotation::{Login, NotRotatable};
pub use schedule::{CronExpression, TimeZoneName, When};
pub use schema::Schema;
pub use transition::{
    Change, FieldChange, Migration, Restarts, ServiceChange, Transition, transition,
};

/// Renderings this release can make, oldest first. A release renders its own and the previous version byte for byte.
pub const RENDER_VERSIONS: &[u32] = &[1];

//! From an order to a plan: judges what the control plane asks for, and renders it here, from a template that is trusted here.

use std::sync::Arc;

use shop_plan::{RENDER_VERSIONS, render, verify};
use shop_proto::{Digest, Generation, StoreId};

use super::act::Rendered;
use crate::{
    engine::KnownPlan,
    ledger::{Accepted, Outdated},
};

/// An order and what it renders to.
#[derive(Debug, Clone)]
pub struct Order {
    /// As recorded.
    pub accepted: Accepted,
    /// Digest of the spec.
    pub spec: Digest,
    /// What it renders to.
    pub rendered: Rendered,
}

/// An order that this agent does not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Of the order.
    pub generation: u64,
    /// Stable code.
    pub code: &'static str,
    /// A sentence.
    pub message: String,
}

/// How our plan stands to what the node has rendered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// The node knows it.
    Known,
    /// The node has not rendered it yet.
    Unknown,
    /// The node renders something else from the same order.
    Mismatch(Digest),
}

impl Refusal {
    /// By the generation rule.
    #[must_use]
    pub fn outdated(generation: Generation, outdated: Outdated) -> Self {
        Self {
            generation: generation.get(),
            code: outdated.code(),
            message: outdated.to_string(),
        }
    }
}

impl Order {
    /// Renders an order.
    ///
    /// # Errors
    /// When this release cannot render it or does not trust its template.
    pub fn render(store: &StoreId, accepted: Accepted) -> Result<Self, Refusal> {
        let refuse = |code, message: String| Refusal {
            generation: accepted.generation.get(),
            code,
            message,
        };
        let version = accepted.render_version;
        if !RENDER_VERSIONS.contains(&version) {
            return Err(refuse(
                "render_version_unsupported",
                format!("this agent renders versions {RENDER_VERSIONS:?}, not {version}"),
            ));
        }
        let template = verify(&accepted.spec.revision.template_digest)
            .map_err(|error| refuse("template_untrusted", error.to_string()))?;
        let plan = render(store, &accepted.spec.revision, template, version)
            .map_err(|error| refuse("render_failed", error.to_string()))?;
        let rendered = Rendered {
            digest: plan.digest(),
            plan: Arc::new(plan),
        };
        Ok(Self {
            spec: accepted.spec.digest(),
            accepted,
            rendered,
        })
    }

    /// Compares with what the node has rendered. Several generations may render to one plan.
    #[must_use]
    pub fn fit(&self, known: &[KnownPlan]) -> Fit {
        if known.iter().any(|known| known.plan == self.rendered.digest) {
            return Fit::Known;
        }
        known
            .iter()
            .find(|known| known.generation == self.accepted.generation)
            .map_or(Fit::Unknown, |known| Fit::Mismatch(known.plan))
    }
}

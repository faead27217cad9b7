//! Why a node or a shop agent does not take an order: whether asking again can help. Pure.

use shop_proto::Generation;

use super::store::{AgentProgress, NodeProgress};

/// How long a refusal holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The order is good; what it needs is not there at the moment. It is sent again, and nothing is given up because of it.
    Passing,
    /// The same order would be refused again by the same process.
    Lasting,
}

impl Refusal {
    /// By the stable code of whoever refused. A code that is not known here is taken at its word.
    #[must_use]
    pub fn of(code: &str) -> Self {
        match code {
            // The node's disk could not be written; the agent's ledger, on the same disk, could not; all addresses are in use; another store of
            // the node, which may be about to go, has the host name.
            "node_disk" | "ledger_failed" | "no_subnet" | "host_taken" => Self::Passing,
            _ => Self::Lasting,
        }
    }
}

impl NodeProgress {
    /// Whether the node refuses the present order, and for how long.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        (self.state == "refused").then(|| Refusal::of(&self.code))
    }
}

impl AgentProgress {
    /// Whether the shop agent refuses this order, and for how long.
    #[must_use]
    pub fn refusal(&self, generation: Generation) -> Option<Refusal> {
        (self.refused_generation == generation.get()).then(|| Refusal::of(&self.refused_code))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_by_itself_is_asked_again_and_nothing_else() {
        for code in ["node_disk", "ledger_failed", "no_subnet", "host_taken"] {
            assert_eq!(Refusal::of(code), Refusal::Passing, "{code}");
        }
        for code in [
            "content_changed",
            "generation_outdated",
            "malformed",
            "not_renderable",
            "plan_mismatch",
            "render_failed",
            "render_version_unsupported",
            "retiring",
            "schema_too_new",
            "spec_digest",
            "template_untrusted",
            "of_a_later_release",
        ] {
            assert_eq!(Refusal::of(code), Refusal::Lasting, "{code}");
        }
    }
}

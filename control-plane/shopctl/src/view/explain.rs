//! An explanation as it is shown.

use serde::Serialize;
use shop_proto::wire::admin::v1 as api;

/// A chain: each cause lies behind the one before it.
#[derive(Debug, Serialize)]
pub(crate) struct Explanation {
    pub(crate) store: String,
    pub(crate) status: String,
    pub(crate) summary: String,
    pub(crate) well: bool,
    pub(crate) causes: Vec<Cause>,
    pub(crate) next: Vec<NextCommand>,
}

/// One link of the chain.
#[derive(Debug, Serialize)]
pub(crate) struct Cause {
    pub(crate) code: String,
    pub(crate) what: String,
    pub(crate) evidence: Vec<String>,
}

/// A command and what it is for.
#[derive(Debug, Serialize)]
pub(crate) struct NextCommand {
    pub(crate) command: String,
    pub(crate) why: String,
}

impl From<api::Explanation> for Explanation {
    fn from(explanation: api::Explanation) -> Self {
        let causes = explanation.causes.into_iter().map(|cause| Cause {
            code: cause.code,
            what: cause.what,
            evidence: cause.evidence,
        });
        let next = explanation.next.into_iter().map(|next| NextCommand {
            command: next.command,
            why: next.why,
        });
        Self {
            store: explanation.store,
            status: explanation.status,
            summary: explanation.summary,
            well: explanation.well,
            causes: causes.collect(),
            next: next.collect(),
        }
    }
}

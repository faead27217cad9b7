//! A revision as the control plane keeps it: what a store rendered from, who asked for it, and what came of it.

use jiff::Timestamp;
use shop_proto::{Digest, Generation, Revision};

/// Revisions kept of one store, besides the one that serves and the one that is wanted.
pub const REVISIONS_KEPT: u32 = 10;

/// A kept revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptRevision {
    pub content: Revision,
    /// Version of the template that the content names by digest.
    pub template_version: String,
    pub plan_digest: Digest,
    pub created_by: String,
    pub created_at: Timestamp,
    /// The operator's words.
    pub reason: String,
    pub state: RevisionState,
    /// Generation that asked for it last.
    pub asked: Generation,
}

/// What became of a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RevisionState {
    /// Asked for, and it has not served yet.
    Pending,
    /// Buyers are served by it.
    Serving,
    /// It served, and another one took its place.
    Superseded,
    /// It was tried and taken back.
    HeldBack { reason: String, message: String },
}

impl RevisionState {
    /// As written.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Serving => "serving",
            Self::Superseded => "superseded",
            Self::HeldBack { .. } => "held_back",
        }
    }

    /// From the written form; a revision that was taken back has a reason and a message.
    #[must_use]
    pub fn parse(text: &str, reason: String, message: String) -> Option<Self> {
        match text {
            "pending" => Some(Self::Pending),
            "serving" => Some(Self::Serving),
            "superseded" => Some(Self::Superseded),
            "held_back" => Some(Self::HeldBack { reason, message }),
            _ => None,
        }
    }
}

/// Why there is nothing to go back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoWayBack {
    /// None that served is kept besides the one there is.
    #[error("no earlier revision that served is kept")]
    Nothing,
    /// The operator named one that is not kept.
    #[error("there is no such revision")]
    Unknown,
}

/// The revision to go back to from `current`: the one named, or the newest before it that served well; failing that, the newest other one
/// that did.
///
/// # Errors
/// When there is none.
pub fn way_back(
    kept: &[KeptRevision],
    current: u64,
    named: Option<u64>,
) -> Result<&KeptRevision, NoWayBack> {
    if let Some(number) = named {
        return kept
            .iter()
            .find(|revision| revision.content.number == number)
            .ok_or(NoWayBack::Unknown);
    }
    let served = |revision: &&KeptRevision| {
        revision.content.number != current
            && matches!(
                revision.state,
                RevisionState::Superseded | RevisionState::Serving
            )
    };
    let newest = |revision: &&KeptRevision| revision.content.number;
    kept.iter()
        .filter(served)
        .filter(|revision| revision.content.number < current)
        .max_by_key(newest)
        .or_else(|| kept.iter().filter(served).max_by_key(newest))
        .ok_or(NoWayBack::Nothing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::testing::{at, store};

    fn kept(number: u64, state: RevisionState) -> KeptRevision {
        KeptRevision {
            content: Revision {
                number,
                ..store().spec.revision
            },
            template_version: "1.0.0".to_owned(),
            plan_digest: Digest::of(b"p"),
            created_by: "token:a".to_owned(),
            created_at: at(0),
            reason: String::new(),
            state,
            asked: Generation::FIRST,
        }
    }

    fn held() -> RevisionState {
        RevisionState::HeldBack {
            reason: "update_not_ready".to_owned(),
            message: String::new(),
        }
    }

    #[test]
    fn back_goes_to_the_newest_before_that_served() {
        let all = [
            kept(1, RevisionState::Superseded),
            kept(2, RevisionState::Superseded),
            kept(3, held()),
            kept(4, RevisionState::Serving),
        ];
        let number = |current, named| way_back(&all, current, named).map(|it| it.content.number);
        assert_eq!(number(4, None), Ok(2));
        assert_eq!(number(2, None), Ok(1));
        // From the oldest, the newest other one that served.
        assert_eq!(number(1, None), Ok(4));
        assert_eq!(number(4, Some(3)), Ok(3), "an operator's word goes");
        assert_eq!(number(4, Some(9)), Err(NoWayBack::Unknown));
        assert_eq!(
            way_back(&all[2..3], 4, None).map(|_| ()),
            Err(NoWayBack::Nothing)
        );
    }

    #[test]
    fn written_forms_round_trip() {
        for state in [
            RevisionState::Pending,
            RevisionState::Serving,
            RevisionState::Superseded,
            held(),
        ] {
            let parsed =
                RevisionState::parse(state.as_str(), "update_not_ready".to_owned(), String::new());
            assert_eq!(parsed, Some(state));
        }
    }
}

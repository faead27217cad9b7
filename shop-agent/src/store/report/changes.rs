//! What is told of revisions: which one serves, which one is taking its place, which one was taken back. Pure.

use std::time::Duration;

use super::Input;
use crate::{
    engine::Serve,
    ledger::{Phase, Schema, TakenBack, Update},
    store::steps::{serve, update::window},
};

/// Revisions in force, on their way in, and taken back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Number of the revision that serves.
    pub serving_revision: Option<u64>,
    /// The update under way, or the last one.
    pub update: Option<UpdateReport>,
    /// The last order that was tried and taken back.
    pub taken_back: Option<TakenBack>,
    /// The edge answers with the maintenance page.
    pub maintenance: bool,
    /// What migrations have made of the data.
    pub schema: Option<Schema>,
}

/// An update, and how long its window is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateReport {
    /// As recorded.
    pub update: Update,
    /// Unix milliseconds.
    pub window_ends_unix_ms: Option<i64>,
}

pub(super) fn describe(input: &Input<'_>) -> Changes {
    let entries = input.entries;
    let revision = |slot| match &entries.update {
        Some(update) if serve::new_slot(input).is_some_and(|new| new.1 == slot) => {
            Some(update.to.spec.revision.number)
        }
        _ => entries
            .serving
            .as_ref()
            .or(entries.accepted.as_ref())
            .map(|accepted| accepted.spec.revision.number),
    };
    Changes {
        serving_revision: match input.serving {
            Serve::Slot { slot, .. } => revision(*slot),
            Serve::None | Serve::Maintenance | Serve::Paused => None,
        },
        update: entries.update.as_ref().map(|update| UpdateReport {
            window_ends_unix_ms: update
                .switched_unix_ms
                .map(|at| at.saturating_add(millis(window(input)))),
            update: update.clone(),
        }),
        taken_back: entries.taken_back.clone(),
        maintenance: *input.serving == Serve::Maintenance,
        schema: entries.schema,
    }
}

/// What an update keeps from buyers.
pub(super) fn trouble(input: &Input<'_>) -> Option<(&'static str, String)> {
    let update = input.entries.update.as_ref()?;
    let failed = || update.failure.as_ref().map_or("", |it| it.message.as_str());
    match update.phase {
        Phase::Halted => Some((
            "update_halted",
            format!(
                "buyers see the maintenance page: revision {} failed and its migration cannot be undone: {}",
                update.to.spec.revision.number,
                failed()
            ),
        )),
        _ if serve::page(input) && !input.spec.maintenance => Some((
            "update_maintenance",
            format!(
                "buyers see the maintenance page until revision {} has proved itself: its migration cannot be undone",
                update.to.spec.revision.number
            ),
        )),
        _ => None,
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

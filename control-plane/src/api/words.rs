//! Words that both APIs write the same way.

use std::collections::BTreeMap;

use jiff::Timestamp;
use shop_plan::{Change, Migration, Restarts};
use shop_proto::ServiceName;

use crate::domain::store::Store;

pub(super) const fn migration(migration: Migration) -> &'static str {
    match migration {
        Migration::None => "none",
        Migration::Reversible => "reversible",
        Migration::Irreversible => "irreversible",
    }
}

pub(super) const fn change(change: Change) -> &'static str {
    match change {
        Change::Added => "added",
        Change::Removed => "removed",
        Change::Recreated => "recreated",
        Change::LimitsOnly => "limits-only",
        Change::Same => "same",
    }
}

pub(super) const fn restarts(restarts: Restarts) -> &'static str {
    match restarts {
        Restarts::Never => "never",
        Restarts::InFreeSlot => "in-free-slot",
        Restarts::StopFirst => "stop-first",
        Restarts::Live => "live",
    }
}

/// Images in place of the template's.
pub(super) fn images(images: BTreeMap<ServiceName, String>) -> BTreeMap<String, String> {
    images
        .into_iter()
        .map(|(service, image)| (service.to_string(), image))
        .collect()
}

/// Until when drift is only shown.
pub(super) fn hold_until(store: &Store) -> Option<String> {
    let ms = store.spec.hold_until_unix_ms?;
    Timestamp::from_millisecond(ms)
        .ok()
        .map(|until| until.to_string())
}

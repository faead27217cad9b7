//! What somebody changed by hand: told when it is seen, and when it is right again.

use jiff::Timestamp;

use super::Reconciler;
use crate::{
    engine::StoreEngine,
    ledger::{Drift, DriftKind, DriftWhat},
    store::steps::astray,
};

use super::plans::Orders;

impl<E: StoreEngine> Reconciler<E> {
    /// Takes in what the last lists showed that nobody here did.
    pub(super) fn notice_drift(&mut self, orders: &Orders) {
        if self.world.noticed.is_empty() && self.drift.is_empty() {
            return;
        }
        let now = Timestamp::now().as_millisecond();
        for (kind, key, what) in std::mem::take(&mut self.world.noticed) {
            if self.drift.note(kind, &key, what, now) {
                let message = format!("{key}: {}", sentence(kind, what));
                self.event(what.event(), "warning", message, Some(key.service));
            }
        }
        let astray = astray(&self.input(orders));
        let right = |drift: &Drift| {
            let same = |(kind, key)| drift.kind == kind && drift.is_of(&key);
            !astray.clone().into_iter().any(same)
        };
        for repaired in self.drift.settle(now, right) {
            let message = format!("{} is as it should be again", repaired.name);
            self.event("drift_repaired", "info", message, None);
        }
    }
}

const fn sentence(kind: DriftKind, what: DriftWhat) -> &'static str {
    match (kind, what) {
        (DriftKind::Limits, _) => "its limits were changed by hand",
        (DriftKind::Container, DriftWhat::Stopped) => "somebody stopped it",
        (DriftKind::Container, DriftWhat::Removed) => "somebody removed it",
        (DriftKind::Container, DriftWhat::Changed) => "somebody changed it",
        (DriftKind::Container, DriftWhat::Killed) => "its process was killed",
    }
}

//! Room on the node for a change that runs more than its store does otherwise: old and new side by side for a while, or more replicas.
//! Pure.
//!
//! What a store takes of its node is always its `reserved`, whatever goes on. A change that has not got its room yet is not sent: what was
//! asked for before it holds on the node, and a newer request withdraws it. What goes back never waits.

use serde::{Deserialize, Serialize};
use shop_proto::{Generation, Spec};

use super::{
    operation::Operation,
    progress::current_report,
    store::{Reservation, Store},
    update,
};

/// What a store's last change has to do with room, until it is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Room {
    /// It waits until its node has `peak` for it.
    Awaited {
        peak: Reservation,
        after: Reservation,
        before: Box<Before>,
    },
    /// It is under way, and all that runs meanwhile is reserved. Once it is over, the store takes `after`.
    Held { after: Reservation },
}

/// A store as it was asked for before a change that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Before {
    pub generation: Generation,
    pub spec: Spec,
    pub template_version: String,
    pub admin_path: String,
}

impl Reservation {
    /// The larger of each.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            memory_bytes: self.memory_bytes.max(other.memory_bytes),
            cpu_millis: self.cpu_millis.max(other.cpu_millis),
        }
    }

    /// Both together.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            memory_bytes: self.memory_bytes.saturating_add(other.memory_bytes),
            cpu_millis: self.cpu_millis.saturating_add(other.cpu_millis),
        }
    }

    /// What is left of it beside another.
    #[must_use]
    pub const fn beyond(self, other: Self) -> Self {
        Self {
            memory_bytes: self.memory_bytes.saturating_sub(other.memory_bytes),
            cpu_millis: self.cpu_millis.saturating_sub(other.cpu_millis),
        }
    }
}

impl Store {
    /// What its last change has to have reserved besides before it is sent; `None` when it does not wait.
    #[must_use]
    pub fn room_awaited(&self) -> Option<Reservation> {
        match &self.room {
            Some(Room::Awaited { peak, .. }) => Some(peak.beyond(self.reserved)),
            _ => None,
        }
    }

    /// What it takes no more once its change is over.
    #[must_use]
    pub fn room_given_back(&self) -> Reservation {
        match &self.room {
            Some(Room::Held { after }) => self.reserved.beyond(*after),
            _ => Reservation::default(),
        }
    }

    /// What node and agent are to hold now: a change that waits for room is not sent yet.
    #[must_use]
    pub fn ordered(&self) -> (Generation, &Spec) {
        match &self.room {
            Some(Room::Awaited { before, .. }) => (before.generation, &before.spec),
            _ => (self.generation, &self.spec),
        }
    }

    /// As it was asked for before a change that waits for room.
    #[must_use]
    pub fn withdrawn(&self) -> Self {
        let mut store = self.clone();
        if let Some(Room::Awaited { before, .. }) = &self.room {
            let Before {
                spec,
                template_version,
                admin_path,
                ..
            } = before.as_ref().clone();
            store.spec = spec;
            store.template_version = template_version;
            store.admin_path = admin_path;
            store.room = None;
        }
        store
    }

    /// The room that its last change waited for is there.
    #[must_use]
    pub fn granted(&self) -> Self {
        let mut store = self.clone();
        if let Some(Room::Awaited { peak, after, .. }) = self.room {
            store.reserved = peak;
            store.room = held(peak, after);
        }
        store
    }
}

/// Gives the next generation of a store its room, or has it wait. `next.reserved` is what it takes in the end, `peak` what runs until then;
/// `patient`: it may wait; `fits`: whether the node has so much more.
pub fn arrange(
    store: &Store,
    next: &mut Store,
    peak: Reservation,
    patient: bool,
    fits: impl FnOnce(Reservation) -> bool,
) {
    // What has no place yet, or was paused, gets its room from the placer.
    if next.placement.is_none() || store.reserved == Reservation::default() {
        return;
    }
    let (now, after) = (store.reserved, next.reserved);
    let peak = peak.max(now).max(after);
    let more = peak.beyond(now);
    if patient && more != Reservation::default() && !fits(more) {
        next.reserved = now;
        next.room = Some(Room::Awaited {
            peak,
            after,
            before: match &store.room {
                Some(Room::Awaited { before, .. }) => before.clone(),
                _ => Box::new(Before {
                    generation: store.generation,
                    spec: store.spec.clone(),
                    template_version: store.template_version.clone(),
                    admin_path: store.admin_path.clone(),
                }),
            },
        });
    } else {
        next.reserved = peak;
        next.room = held(peak, after);
    }
}

fn held(peak: Reservation, after: Reservation) -> Option<Room> {
    (peak != after).then_some(Room::Held { after })
}

/// What a store takes from now on, when the change that held more is over. `latest` is its newest operation.
#[must_use]
pub fn over(store: &Store, latest: Option<&Operation>) -> Option<Reservation> {
    let Some(Room::Held { after }) = store.room else {
        return None;
    };
    let report = current_report(store);
    let at_rest = report.is_some_and(|report| report.state == "stopped");
    // An operation that was given up is no reason for the agent to stop.
    let at_work = report.is_some_and(|report| update::under_way(store, report).is_some());
    let asked = latest.is_some_and(|operation| !operation.state.ended());
    (at_rest || !(asked || at_work)).then_some(after)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        amend::{Target, amend, take_back},
        change::{Decision, decide},
        operation::{OperationKind, OperationState},
        testing::{operation, report, store},
    };

    const fn mib(memory: u64) -> Reservation {
        Reservation {
            memory_bytes: memory << 20,
            cpu_millis: 1000,
        }
    }

    /// Its next generation has another revision, and takes as much in the end.
    fn updated(store: &Store) -> Store {
        let mut target = Target::of(store);
        target.spec.revision.number += 1;
        match amend(store, None, OperationKind::Update, target) {
            Ok(Decision::Change(next)) => *next,
            other => panic!("{other:?}"),
        }
    }

    fn waiting() -> (Store, Store) {
        let store = store();
        let mut next = updated(&store);
        arrange(&store, &mut next, mib(1400), true, |more| {
            assert_eq!(more.memory_bytes, 376 << 20);
            false
        });
        (store, next)
    }

    #[test]
    fn both_slots_are_reserved_until_the_update_is_over() {
        let store = store();
        let mut next = updated(&store);
        arrange(&store, &mut next, mib(1400), true, |_| true);
        assert_eq!(next.reserved, mib(1400));
        let going_on = operation(&next, OperationKind::Update, OperationState::Running);
        assert_eq!(over(&next, Some(&going_on)), None);
        let ended = operation(&next, OperationKind::Update, OperationState::Succeeded);
        assert_eq!(over(&next, Some(&ended)), Some(store.reserved));
        // A maintenance page in between holds what is held.
        let mut target = Target::of(&next);
        target.spec.maintenance = true;
        target.reserved = store.reserved;
        let Ok(Decision::Change(mut page)) = amend(&next, None, OperationKind::Maintenance, target)
        else {
            panic!("refused");
        };
        arrange(&next, &mut page, store.reserved, false, |_| false);
        assert_eq!((page.reserved, page.room), (next.reserved, next.room));
    }

    #[test]
    fn what_was_given_up_holds_its_room_while_the_agent_is_at_it() {
        let store = store();
        let mut next = updated(&store);
        arrange(&store, &mut next, mib(1400), true, |_| true);
        let failed = operation(&next, OperationKind::Update, OperationState::Failed);
        let mut said = report(&next, "running");
        said.update = Some(crate::domain::session::UpdateReport {
            from_revision: 1,
            to_revision: 2,
            generation: next.generation.get(),
            phase: "checking".to_owned(),
            slot: "b".to_owned(),
            began_unix_ms: 1,
            switched_unix_ms: 0,
            window_ends_unix_ms: 0,
            reason: String::new(),
            message: String::new(),
        });
        next.report = Some(said);
        assert_eq!(over(&next, Some(&failed)), None);
        if let Some(update) = next.report.as_mut().and_then(|said| said.update.as_mut()) {
            update.phase = "done".to_owned();
        }
        assert_eq!(over(&next, Some(&failed)), Some(store.reserved));
    }

    #[test]
    fn without_room_nothing_new_is_ordered_until_it_is_granted() {
        let (store, next) = waiting();
        assert_eq!(next.reserved, store.reserved);
        assert_eq!(next.ordered(), (store.generation, &store.spec));
        assert!(next.generation > store.generation);
        let granted = next.granted();
        assert_eq!(granted.reserved, mib(1400));
        assert_eq!(granted.ordered(), (next.generation, &next.spec));
        assert_eq!(
            granted.room,
            Some(Room::Held {
                after: store.reserved
            })
        );
    }

    #[test]
    fn a_newer_request_withdraws_what_waits_and_is_sent_at_once() {
        let (store, next) = waiting();
        let decided = decide(&next, None, OperationKind::Stop);
        let Ok(Decision::Change(stopped)) = decided else {
            panic!("{decided:?}");
        };
        assert_eq!(stopped.spec.revision, store.spec.revision);
        assert_eq!((&stopped.room, stopped.reserved), (&None, store.reserved));
        assert!(stopped.generation > next.generation);
        // Another update in its place waits as well, and knows what is on the node.
        let mut third = updated(&next);
        arrange(&next, &mut third, mib(1400), true, |_| false);
        assert_eq!(third.ordered(), (store.generation, &store.spec));
    }

    #[test]
    fn what_goes_back_never_waits() {
        let (store, next) = waiting();
        let mut back = take_back(&next, Target::of(&store));
        arrange(&next, &mut back, mib(9000), false, |_| false);
        assert_eq!(back.room_awaited(), None);
        assert_eq!(back.reserved, mib(9000));
        assert_eq!(take_back(&next, Target::of(&store)).room, None);
    }

    #[test]
    fn less_in_the_end_is_given_back_in_the_end() {
        let store = store();
        let mut next = updated(&store);
        next.reserved = mib(600);
        arrange(&store, &mut next, mib(600), true, |_| false);
        assert_eq!(next.reserved, store.reserved);
        assert_eq!(next.room, Some(Room::Held { after: mib(600) }));
    }

    #[test]
    fn written_forms_are_those_of_the_release_before() {
        let held = Room::Held { after: mib(1) };
        let text = serde_json::to_string(&held).unwrap();
        assert_eq!(
            text,
            r#"{"held":{"after":{"memory_bytes":1048576,"cpu_millis":1000}}}"#
        );
        let (_, next) = waiting();
        let text = serde_json::to_string(&next.room).unwrap();
        assert!(text.starts_with(r#"{"awaited":{"#), "{text}");
        assert_eq!(
            serde_json::from_str::<Option<Room>>(&text).unwrap(),
            next.room
        );
    }
}

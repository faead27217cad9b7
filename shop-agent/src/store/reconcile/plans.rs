//! Which plans matter: the one in force, the one on its way in, and the one that was asked for.

use std::time::Duration;

use shop_proto::{Digest, ReplicaKey, RunState, Slot, StoreId};
use tokio::time::Instant;

use super::Reconciler;
use crate::{
    engine::{EngineError, Exit, StoreEngine, Traffic},
    ledger::{Accepted, Entries, Move, Phase, Schema},
    store::{
        act::{Beside, Failure, Logins, Rendered},
        database::DatabaseError,
        order::{Order, Refusal},
        steps::{Step, Target, Watching},
    },
};

/// Seconds of traffic that are asked for: the five minutes before a switch, and the longest usual window.
const TRAFFIC_SECONDS: u32 = 360;
/// How often traffic is asked for while it matters.
pub(super) const COUNT_AGAIN: Duration = Duration::from_secs(2);

/// The orders that decide what is done now.
#[derive(Debug, Clone)]
pub(super) struct Orders {
    /// Newest.
    pub asked: Order,
    /// Its plan serves, and is repaired; before the first time the newest.
    pub force: Order,
    /// Its plan is on its way in.
    pub next: Option<Order>,
    /// The node has rendered the newest as we have.
    pub known: bool,
    /// Whether those who log in are handed new values; none while nothing is rotated.
    pub hands_out_new: Option<bool>,
}

/// What is seen of an update's phase.
#[derive(Debug)]
pub(super) struct Watch {
    pub seen: Watching,
    /// Which phase of which update, and how often its store was restarted.
    of: Option<(i64, Phase, u64)>,
    /// When traffic is asked for next.
    pub count_due: Instant,
    pub counting: bool,
}

impl Orders {
    /// By what the ledger says. Renders only what is not rendered yet.
    pub fn read(
        store: &StoreId,
        entries: &Entries,
        asked: &Order,
        last: Option<Self>,
    ) -> Result<Self, Refusal> {
        let (force, next) = last.map_or((None, None), |last| (Some(last.force), last.next));
        let held: Vec<&Order> = [Some(asked), force.as_ref(), next.as_ref()]
            .into_iter()
            .flatten()
            .collect();
        let order = |accepted: &Accepted| match held.iter().find(|it| it.accepted == *accepted) {
            Some(known) => Ok((*known).clone()),
            None => Order::render(store, accepted.clone()),
        };
        let update = entries.open_update().filter(|it| !it.past_return());
        Ok(Self {
            force: entries.serving.as_ref().map_or(Ok(asked.clone()), order)?,
            next: update.map(|update| order(&update.to)).transpose()?,
            asked: asked.clone(),
            known: false,
            hands_out_new: entries.hands_out_new(),
        })
    }

    /// What a step of a plan is carried out with.
    pub fn rendered(&self, next: bool) -> Rendered {
        let order = match &self.next {
            Some(order) if next => order,
            _ => &self.force,
        };
        order.rendered.clone()
    }

    /// The other plan, for what both have in common.
    pub fn beside(&self) -> Beside {
        Beside {
            force: self.force.rendered.plan.clone(),
            next: self.next.as_ref().map(|next| next.rendered.plan.clone()),
            hands_out_new: self.hands_out_new == Some(true),
            logins: Logins::new(),
        }
    }
}

impl Watch {
    pub fn new(now: Instant) -> Self {
        Self {
            seen: Watching::since(now),
            of: None,
            count_due: now,
            counting: false,
        }
    }

    /// Begins anew with every phase and every restart, and when a rest is over: nothing is seen of what does not run. A window goes on where it
    /// was when the agent died.
    pub fn follow(&mut self, entries: &Entries, rests: bool, now: Instant, wall_unix_ms: i64) {
        self.go_on(entries, now, wall_unix_ms);
        if rests {
            self.seen = Watching::since(now);
        }
    }

    fn go_on(&mut self, entries: &Entries, now: Instant, wall_unix_ms: i64) {
        let of = entries.open_update().map(|update| {
            (
                update.began_unix_ms,
                update.phase,
                update.to.spec.restart_seq,
            )
        });
        if of == self.of {
            return;
        }
        let fresh = self.of.is_none();
        self.of = of;
        let gone = entries
            .open_update()
            .filter(|update| fresh && update.phase == Phase::Switched)
            .and_then(|update| update.switched_unix_ms)
            .and_then(|at| u64::try_from(wall_unix_ms - at).ok())
            .map_or(Duration::ZERO, Duration::from_millis);
        self.seen = Watching::since(now.checked_sub(gone).unwrap_or(now));
        self.count_due = now;
    }

    /// What to count now.
    pub fn counts(&self) -> bool {
        matches!(self.of, Some((_, Phase::Checking | Phase::Switched, _)))
    }

    /// A node that cannot count says nothing about errors; the update goes on by what else is seen.
    pub fn counted(&mut self, answer: Result<Traffic, EngineError>) {
        self.counting = false;
        match answer {
            Ok(traffic) => self.seen.traffic = Some(traffic),
            Err(error) => {
                tracing::debug!(%error, "traffic is not to be had");
                self.seen.traffic.get_or_insert_default();
            }
        }
    }
}

impl<E: StoreEngine> Reconciler<E> {
    /// What the ledger says now, rendered.
    pub(super) fn orders(&mut self, asked: &Order) -> Option<Orders> {
        let last = self.orders.take();
        let before = last.as_ref().map(plans);
        match Orders::read(&self.store, &self.entries, asked, last) {
            Ok(orders) => {
                if before.is_some_and(|before| before != plans(&orders)) {
                    // What each consumer gets may have changed.
                    self.world.redeliver();
                }
                self.orders = Some(orders.clone());
                Some(orders)
            }
            Err(refusal) => {
                if self.refused.replace(refusal.generation) != Some(refusal.generation) {
                    self.refuse(refusal);
                }
                None
            }
        }
    }

    /// Refuses code that cannot run on the data. What is to rest runs none.
    pub(super) fn fits(&self, order: &Order, data: Option<Schema>) -> Result<(), Refusal> {
        let plan = &order.rendered.plan;
        let runs = order.accepted.spec.run_state == RunState::Running;
        match data.filter(|data| runs && !data.carries(plan)) {
            None => Ok(()),
            Some(data) => Err(Refusal {
                generation: order.accepted.generation.get(),
                code: "schema_too_new",
                message: format!(
                    "the database has schema {}, on which code for schema {} does not work; the oldest that does is {}",
                    data.schema,
                    plan.schema(),
                    data.works_from
                ),
            }),
        }
    }

    /// An order that was taken before a migration ended which its code does not work with: what serves goes on. Said once.
    pub(super) fn outgrown(&mut self, order: &Order) {
        let generation = order.accepted.generation.get();
        if let Err(refusal) = self.fits(order, self.entries.schema)
            && self.refused.replace(generation) != Some(generation)
        {
            self.refuse(refusal);
        }
    }

    /// Asks for traffic, while an update wants to know.
    pub(super) fn count(&mut self, now: Instant) {
        if !self.watch.counts() || self.watch.counting || now < self.watch.count_due {
            return;
        }
        self.watch.counting = true;
        self.watch.count_due = now + COUNT_AGAIN;
        let tools = self.tools.clone();
        let task = self.acting.spawn(async move {
            super::Happened::Counted(tools.engine.stats(TRAFFIC_SECONDS).await)
        });
        self.working_on.insert(task.id(), super::Work::Count);
    }

    /// A container of the slot that an update is about ended.
    pub(super) fn watch_ended(&mut self, key: &ReplicaKey, exit: &Exit) {
        if self.watched(key) {
            let how = if exit.oom_killed {
                ", out of memory"
            } else {
                ""
            };
            self.watch.seen.ends += 1;
            self.watch.seen.complaint = Some(format!(
                "{} ended by itself (exit code {}{how})",
                key.service, exit.code
            ));
        }
    }

    /// Something could not be done for a container of that slot. What the node will go on refusing is like an end.
    pub(super) fn watch_failed(&mut self, target: &Target, failure: &Failure) {
        if *target == Target::Logins {
            let too_old = matches!(failure, Failure::Database(DatabaseError::TooOld));
            self.watch.seen.ends += u32::from(too_old);
            self.watch.seen.complaint = Some(failure.to_string());
            return;
        }
        let Target::Replica(key) = target else { return };
        if !self.watched(key) {
            return;
        }
        self.watch.seen.complaint = Some(format!("{}: {failure}", key.service));
        let hopeless = matches!(
            failure,
            Failure::Engine(
                EngineError::ImageMissing(_)
                    | EngineError::ImageNotAllowed(_)
                    | EngineError::Refused(_)
                    | EngineError::VolumeLost(_)
            )
        );
        self.watch.seen.ends += u32::from(hopeless);
    }

    pub(super) fn watched(&self, key: &ReplicaKey) -> bool {
        let update = self.entries.open_update();
        update.is_some_and(|update| key.slot == update.slot && key.slot != Slot::Fixed)
    }

    /// What people are told of a move.
    pub(super) fn moved(&mut self, made: &Move) {
        self.world.moved(made);
        let numbers = |update: &crate::ledger::Update| {
            (
                update.from.spec.revision.number,
                update.to.spec.revision.number,
            )
        };
        let Some((from, to)) = self.entries.update.as_ref().map(numbers) else {
            return;
        };
        let (code, severity, message) = match made {
            Move::Begin(..) => (
                "update_began",
                "info",
                format!("revision {to} takes the place of revision {from}"),
            ),
            Move::Switch { .. } => (
                "update_switched",
                "info",
                format!("revision {to} answers as it should; traffic moves to it"),
            ),
            Move::Commit(_) => (
                "update_done",
                "info",
                format!("revision {to} is in force; what is left of revision {from} goes"),
            ),
            Move::Fail { failure, .. } => {
                let halted = self
                    .entries
                    .update
                    .as_ref()
                    .is_some_and(|update| update.phase == Phase::Halted);
                let (code, what) = if halted {
                    (
                        "update_halted",
                        format!(
                            "revision {to} failed and there is no way back to revision {from}; buyers see the maintenance page"
                        ),
                    )
                } else {
                    (
                        "update_rolled_back",
                        format!("revision {to} was taken back, revision {from} serves"),
                    )
                };
                (code, "error", format!("{what}: {}", failure.message))
            }
            _ => return,
        };
        self.event(code, severity, message, None);
    }

    /// Whether a step is carried out under the plan on its way in.
    pub(super) fn under_next(
        orders: &Orders,
        input: &crate::store::steps::Input<'_>,
        step: &Step,
    ) -> bool {
        let Some(next) = &orders.next else {
            return false;
        };
        input.under(step) == next.rendered.digest
    }
}

fn plans(orders: &Orders) -> (Digest, Option<Digest>, Option<bool>) {
    let next = orders.next.as_ref().map(|next| next.rendered.digest);
    (orders.force.rendered.digest, next, orders.hands_out_new)
}

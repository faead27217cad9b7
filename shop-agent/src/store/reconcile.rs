//! The loop: sees, decides, acts, reports. Woken by an order, a hint of the node, a probe, the end of a step, or a timer.
//!
//! One task owns everything that changes; steps run beside it and come back as outcomes.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use shop_proto::{ServiceName, StoreId};
use tokio::{
    sync::{Notify, mpsc},
    task::{Id, JoinSet},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    act::{Outcome, Rendered, Tools, act},
    order::{Fit, Order, Refusal},
    prober::{Answer, Ask, Prober},
    questions,
    report::{Complaints, Progress, Report, describe},
    sealed::SealedTo,
    steps::{Goal, Input, Step, Steps, Target, steps},
    world::World,
};
use crate::{
    engine::{EngineError, Listing, Serve, StoreEngine},
    ledger::{Accepted, Entries},
    uplink::Backoff,
};

mod outcome;
#[cfg(test)]
mod tests;
mod wires;

pub use wires::{Command, Event, Notice, Wires};

/// A list is the truth; hints may be lost.
const RELIST: Duration = Duration::from_secs(30);
/// Hints come in bursts.
const RELIST_GAP: Duration = Duration::from_millis(50);
/// How often the node is asked for a plan that it does not know yet.
const PLAN_POLL: Duration = Duration::from_millis(100);
/// How long running tasks may hold up a stop.
const TASKS_GRACE: Duration = Duration::from_secs(15);

/// What a running task of ours is about, should it die.
enum Work {
    List,
    Step(Target),
    LastWords,
}

enum Happened {
    Listed(u64, Result<Listing, EngineError>),
    Acted(Box<Step>, Outcome),
    LastWords(Target, Option<SealedTo>),
}

/// One store's reconciler.
pub struct Reconciler<E> {
    store: StoreId,
    tools: Arc<Tools<E>>,
    wires: Wires,
    world: World,
    order: Option<Order>,
    entries: Entries,
    acting: JoinSet<Happened>,
    working_on: BTreeMap<Id, Work>,
    prober: Prober,
    answers: mpsc::Receiver<Answer>,
    complaints: Complaints,
    progress: Progress,
    schedule: BTreeMap<ServiceName, Instant>,
    heading: Option<Goal>,
    tasks_until: Instant,
    list_due: Instant,
    listing: bool,
    refused: Option<u64>,
}

impl<E: StoreEngine> Reconciler<E> {
    /// Takes up what the ledger says. An order in it that can no longer be rendered is reported, not acted on.
    pub fn new(store: StoreId, tools: Arc<Tools<E>>, wires: Wires) -> Self {
        let (sender, answers) = mpsc::channel(32);
        let entries = tools.ledger.entries();
        let now = Instant::now();
        let mut reconciler = Self {
            store,
            wires,
            world: World::default(),
            order: None,
            entries,
            acting: JoinSet::new(),
            working_on: BTreeMap::new(),
            prober: Prober::new(tools.probes.clone(), sender),
            answers,
            complaints: Complaints::default(),
            progress: Progress::default(),
            schedule: BTreeMap::new(),
            heading: None,
            tasks_until: now,
            list_due: now,
            listing: false,
            refused: None,
            tools,
        };
        if let Some(accepted) = reconciler.entries.accepted.clone() {
            match Order::render(&reconciler.store, accepted) {
                Ok(order) => reconciler.order = Some(order),
                Err(refusal) => reconciler.refuse(refusal),
            }
        }
        reconciler
    }

    /// Runs until cancelled. What runs keeps running.
    pub async fn run(mut self, cancel: CancellationToken) {
        let hint = Arc::new(Notify::new());
        let mut watching = JoinSet::new();
        watching.spawn(watch_hints(self.tools.clone(), hint.clone()));
        loop {
            let wake = self.decide();
            tokio::select! {
                () = cancel.cancelled() => return,
                command = self.wires.commands.recv() => match command {
                    Some(Command::Desired(accepted, reply)) => {
                        let answer = self.accept(*accepted).await;
                        // The session may be gone; the order is on disk or refused all the same.
                        let _ = reply.send(answer);
                    }
                    None => return,
                },
                Some(ended) = self.acting.join_next_with_id() => self.happened(ended),
                Some(answer) = self.answers.recv() => self.answered(answer),
                () = hint.notified() => self.hinted(),
                () = tokio::time::sleep_until(wake) => {}
            }
        }
    }

    /// One pass: starts what is to be done and says when to look again at the latest.
    fn decide(&mut self) -> Instant {
        let now = Instant::now();
        if now >= self.list_due && !self.listing {
            self.list(now);
        }
        let list_due = if self.listing {
            now + RELIST
        } else {
            self.list_due
        };
        let Some(order) = self.order.clone() else {
            self.tell(Report::waiting(
                None,
                "no_order",
                "waiting for the control plane's first order",
            ));
            return list_due;
        };
        if !self.world.listed {
            let about = Some((order.accepted.generation, order.spec));
            self.tell(Report::waiting(
                about,
                "engine_unavailable",
                "waiting for the node agent",
            ));
            return list_due;
        }
        match order.fit(&self.world.plans) {
            Fit::Known => {}
            fit => return self.misfit(&order, fit, now).min(list_due),
        }
        self.world.settle(now);
        let decided = self.decided(&order, now);
        for step in decided.now {
            self.begin(&order.rendered, step, now);
        }
        self.ask(&order);
        self.describe(&order);
        decided.wake.map_or(list_due, |wake| wake.min(list_due))
    }

    fn decided(&mut self, order: &Order, now: Instant) -> Steps {
        let goal = self.input(order).goal();
        if self.heading.replace(goal) != Some(goal) {
            self.tasks_until = now + TASKS_GRACE;
            self.progress.begin_anew();
        }
        if goal != Goal::Run {
            self.world.deep = false;
            self.complaints = Complaints::default();
            self.schedule.clear();
        } else if matches!(self.world.serving, Serve::Slot { .. }) {
            for cron in &order.rendered.plan.cron {
                self.schedule.entry(cron.task.clone()).or_insert(now);
            }
        }
        steps(&self.input(order), now)
    }

    fn input<'a>(&'a self, order: &'a Order) -> Input<'a> {
        Input {
            plan: &order.rendered.plan,
            spec: &order.accepted.spec,
            entries: &self.entries,
            replicas: &self.world.replicas,
            delivered: &self.world.delivered,
            serving: &self.world.serving,
            deep: self.world.deep,
            busy: &self.world.busy,
            holds: &self.world.holds,
            schedule: &self.schedule,
            tasks_until: self.tasks_until,
            run_seed: u64::try_from(Timestamp::now().as_second()).unwrap_or(0),
        }
    }

    fn begin(&mut self, rendered: &Rendered, step: Step, now: Instant) {
        tracing::debug!(?step, "step");
        let target = step.target();
        self.world.busy.insert(target.clone());
        if let Step::RunTask(run) = &step {
            self.schedule.insert(run.task.clone(), now);
        }
        let (tools, rendered) = (self.tools.clone(), rendered.clone());
        let task = self.acting.spawn(async move {
            let outcome = act(&tools, &rendered, step.clone()).await;
            Happened::Acted(Box::new(step), outcome)
        });
        self.working_on.insert(task.id(), Work::Step(target));
    }

    fn list(&mut self, now: Instant) {
        self.listing = true;
        self.list_due = now + RELIST;
        let (tools, epoch) = (self.tools.clone(), self.world.epoch());
        let task = self
            .acting
            .spawn(async move { Happened::Listed(epoch, tools.engine.list().await) });
        self.working_on.insert(task.id(), Work::List);
    }

    fn hinted(&mut self) {
        let soonest = Instant::now()
            + if self.listing {
                RELIST_GAP
            } else {
                Duration::ZERO
            };
        self.list_due = self.list_due.min(soonest);
    }

    /// The node does not know our plan: nothing may be done under it.
    fn misfit(&mut self, order: &Order, fit: Fit, now: Instant) -> Instant {
        let about = Some((order.accepted.generation, order.spec));
        let generation = order.accepted.generation.get();
        if let Fit::Mismatch(theirs) = fit {
            let ours = order.rendered.digest;
            let message = format!(
                "the node renders plan {}, this agent {}",
                theirs.short(),
                ours.short()
            );
            self.tell(Report::waiting(about, "plan_mismatch", &message));
            if self.refused.replace(generation) != Some(generation) {
                self.refuse(Refusal {
                    generation,
                    code: "plan_mismatch",
                    message,
                });
            }
            return now + RELIST;
        }
        self.tell(Report::waiting(
            about,
            "unknown_plan",
            "the node has not rendered this plan yet",
        ));
        self.list_due = self.list_due.min(now + PLAN_POLL);
        self.list_due
    }

    async fn accept(&mut self, accepted: Accepted) -> Result<(), Refusal> {
        let generation = accepted.generation;
        let held = self.entries.accepted.as_ref();
        let new = accepted
            .supersedes(held)
            .map_err(|outdated| Refusal::outdated(generation, outdated))?;
        if !new && self.order.is_some() {
            return Ok(());
        }
        let order = Order::render(&self.store, accepted.clone())?;
        let recorded = self
            .tools
            .ledger
            .change(move |entries| entries.accepted = Some(accepted))
            .await;
        if let Err(error) = recorded {
            // Not acknowledged and not acted on: the control plane sends it again.
            return Err(Refusal {
                generation: generation.get(),
                code: "ledger_failed",
                message: error.to_string(),
            });
        }
        tracing::info!(%generation, plan = %order.rendered.digest.short(), "order accepted");
        self.entries = self.tools.ledger.entries();
        self.order = Some(order);
        self.world.reordered();
        self.list_due = Instant::now();
        Ok(())
    }

    fn ask(&mut self, order: &Order) {
        let wanted = {
            let input = self.input(order);
            questions::wanted(&input, &self.world)
        };
        self.complaints.replicas.retain(|key, _| {
            wanted
                .iter()
                .any(|ask| matches!(ask, Ask::Replica(asked, _) if asked == key))
        });
        if !wanted.iter().any(|ask| matches!(ask, Ask::Deep(..))) {
            self.complaints.deep = None;
        }
        let (world, vault) = (&self.world, &self.tools.vault);
        self.prober
            .set(&wanted, |ask| questions::question(ask, order, world, vault));
    }

    fn describe(&mut self, order: &Order) {
        let mut progress = std::mem::take(&mut self.progress);
        let report = describe(
            order,
            &self.input(order),
            &self.world,
            &self.complaints,
            &mut progress,
            Timestamp::now().as_millisecond(),
        );
        self.progress = progress;
        self.tell(report);
    }

    fn tell(&self, report: Report) {
        self.wires.reports.send_if_modified(|last| {
            let changed = *last != report;
            if changed {
                *last = report;
            }
            changed
        });
    }

    fn refuse(&self, refusal: Refusal) {
        tracing::error!(
            code = refusal.code,
            message = refusal.message,
            "order refused"
        );
        self.notify(Notice::Refusal(refusal));
    }

    fn event(
        &self,
        code: &'static str,
        severity: &'static str,
        message: String,
        service: Option<ServiceName>,
    ) {
        tracing::info!(code, message, "event");
        self.notify(Notice::Event(Event {
            code,
            severity,
            message,
            at_unix_ms: Timestamp::now().as_millisecond(),
            service,
        }));
    }

    /// Full means that the control plane has been away for long: reports tell the present all the same.
    fn notify(&self, notice: Notice) {
        let _ = self.wires.notices.try_send(notice);
    }
}

/// Turns the node's hints into wake-ups. While there are none, the relist timer does the work.
async fn watch_hints<E: StoreEngine>(tools: Arc<Tools<E>>, hint: Arc<Notify>) {
    let mut backoff = Backoff::default();
    loop {
        let began = Instant::now();
        match tools.engine.changed().await {
            Ok(()) => hint.notify_one(),
            Err(error) => {
                tracing::debug!(%error, "no hints");
                backoff.lived(began.elapsed());
                tokio::time::sleep(backoff.next(rand::random())).await;
            }
        }
    }
}

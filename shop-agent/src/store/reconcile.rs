//! The loop: sees, decides, acts, reports. Woken by an order, a hint of the node, a probe, the end of a step, or a timer.
//!
//! One task owns everything that changes; steps run beside it and come back as outcomes.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use shop_proto::{Digest, Generation, RunState, ServiceName, StoreId};
use tokio::{
    sync::{Notify, mpsc},
    task::{Id, JoinSet},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    act::{Beside, Logins, Outcome, Rendered, Tools, act},
    order::{Fit, Order, Refusal},
    prober::{Answer, Ask, Prober},
    questions,
    report::{Complaints, Progress, Report, describe},
    sealed::SealedTo,
    steps::{Asked, Goal, Input, Step, Steps, Target, steps},
    world::World,
};
use crate::{
    engine::{EngineError, Listing, Serve, StoreEngine, Traffic},
    ledger::{Accepted, Drifts, Entries},
    uplink::Backoff,
};

mod drift;
mod images;
mod outcome;
mod plans;
mod tasks;
#[cfg(test)]
mod tests;
mod wires;

use plans::{Orders, Watch};
pub use tasks::{AboutRun, AskedRun};
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
    Count,
    Step(Target),
    LastWords,
}

enum Happened {
    Listed(u64, Result<Listing, EngineError>),
    Counted(Result<Traffic, EngineError>),
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
    orders: Option<Orders>,
    watch: Watch,
    entries: Entries,
    acting: JoinSet<Happened>,
    working_on: BTreeMap<Id, Work>,
    prober: Prober,
    answers: mpsc::Receiver<Answer>,
    complaints: Complaints,
    progress: Progress,
    drift: Drifts,
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
            orders: None,
            watch: Watch::new(now),
            drift: entries.drift.clone(),
            entries,
            acting: JoinSet::new(),
            working_on: BTreeMap::new(),
            prober: Prober::new(tools.probes.clone(), sender),
            answers,
            complaints: Complaints::default(),
            progress: Progress::default(),
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
                    Some(Command::Run(about, reply)) => {
                        let answer = self.about_run(about).await;
                        // As above.
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
        let Some(mut orders) = self.orders(&order) else {
            let about = Some((order.accepted.generation, order.spec));
            self.tell(Report::waiting(
                about,
                "render_failed",
                "this release cannot render the plan that serves",
            ));
            return list_due;
        };
        match orders.force.fit(&self.world.plans) {
            Fit::Known => {}
            fit => {
                let about = (order.accepted.generation, order.spec);
                return self.misfit(about, &orders.force, fit, now).min(list_due);
            }
        }
        match order.fit(&self.world.plans) {
            Fit::Known => orders.known = true,
            fit => self.coming(&order, fit, now),
        }
        self.outgrown(&order);
        self.world.settle(now);
        let wall = Timestamp::now().as_millisecond();
        let rests = order.accepted.spec.run_state != RunState::Running;
        self.watch.follow(&self.entries, rests, now, wall);
        self.count(now);
        self.notice_drift(&orders);
        let decided = self.decided(&orders, now);
        self.world.left_undone(&decided.to_do);
        for step in decided.now {
            let next = Self::under_next(&orders, &self.input(&orders), &step);
            self.begin(orders.rendered(next), orders.beside(), step);
        }
        self.ask(&orders);
        self.describe(&orders);
        self.tell_runs();
        let count_due =
            (self.watch.counts() && !self.watch.counting).then_some(self.watch.count_due);
        [decided.wake, count_due, Some(self.list_due), Some(list_due)]
            .into_iter()
            .flatten()
            .filter(|at| *at > now)
            .min()
            .unwrap_or(list_due)
    }

    fn decided(&mut self, orders: &Orders, now: Instant) -> Steps {
        let goal = self.input(orders).goal();
        if self.heading.replace(goal) != Some(goal) {
            self.tasks_until = now + TASKS_GRACE;
            self.progress.begin_anew();
        }
        if goal != Goal::Run {
            self.world.deep = false;
            (self.watch.seen.passed, self.watch.seen.failed) = (0, 0);
            self.complaints = Complaints::default();
        }
        steps(&self.input(orders), now)
    }

    fn input<'a>(&'a self, orders: &'a Orders) -> Input<'a> {
        Input {
            plan: &orders.force.rendered.plan,
            digest: orders.force.rendered.digest,
            next: orders
                .next
                .as_ref()
                .map(|next| (&*next.rendered.plan, next.rendered.digest)),
            asked: Asked {
                accepted: &orders.asked.accepted,
                plan: &orders.asked.rendered.plan,
                digest: orders.asked.rendered.digest,
                known: orders.known,
            },
            spec: &orders.asked.accepted.spec,
            entries: &self.entries,
            replicas: &self.world.replicas,
            delivered: &self.world.delivered,
            serving: &self.world.serving,
            deep: self.world.deep,
            watching: &self.watch.seen,
            lingering: &self.world.lingering,
            busy: &self.world.busy,
            holds: &self.world.holds,
            tasks_until: self.tasks_until,
            wall: Timestamp::now(),
            drift: &self.drift,
        }
    }

    fn begin(&mut self, rendered: Rendered, mut beside: Beside, step: Step) {
        tracing::debug!(?step, "step");
        let target = step.target();
        self.world.busy.insert(target.clone());
        if matches!(step, Step::Admit | Step::Dismiss) {
            beside.logins = self.logins(&beside);
        }
        let tools = self.tools.clone();
        let task = self.acting.spawn(async move {
            let outcome = act(&tools, &rendered, beside, step.clone()).await;
            Happened::Acted(Box::new(step), outcome)
        });
        self.working_on.insert(task.id(), Work::Step(target));
    }

    /// Where the secrets that are rotated are checked; those whose place is not known are left out.
    fn logins(&self, beside: &Beside) -> Logins {
        let rotating = self.entries.rotating.iter();
        let names = rotating.flat_map(|rotating| rotating.secrets.keys());
        names
            .filter_map(|name| {
                let login = beside.force.login(name).ok()?;
                let place = questions::place(&login, &beside.force, &self.world)?;
                Some((name.clone(), (login, place)))
            })
            .collect()
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

    /// The node does not know the newest plan yet, or another one: what is in force goes on.
    fn coming(&mut self, order: &Order, fit: Fit, now: Instant) {
        match fit {
            Fit::Known => {}
            Fit::Unknown => self.list_due = self.list_due.min(now + PLAN_POLL),
            Fit::Mismatch(theirs) => self.mismatch(order, theirs),
        }
    }

    fn mismatch(&mut self, order: &Order, theirs: Digest) {
        let generation = order.accepted.generation.get();
        if self.refused.replace(generation) != Some(generation) {
            let message = mismatch(order, theirs);
            self.refuse(Refusal {
                generation,
                code: "plan_mismatch",
                message,
            });
        }
    }

    /// The node does not know our plan: nothing may be done under it.
    fn misfit(
        &mut self,
        about: (Generation, Digest),
        order: &Order,
        fit: Fit,
        now: Instant,
    ) -> Instant {
        let about = Some(about);
        if let Fit::Mismatch(theirs) = fit {
            self.tell(Report::waiting(
                about,
                "plan_mismatch",
                &mismatch(order, theirs),
            ));
            self.mismatch(order, theirs);
            return now + RELIST;
        }
        self.tell(Report::waiting(
            about,
            "unknown_plan",
            "the node has not rendered this plan yet",
        ));
        self.list_due = self.list_due.min(now + PLAN_POLL);
        // The end of a list under way wakes us; to wake for what is due only after it would be to spin until then.
        if self.listing {
            now + RELIST
        } else {
            self.list_due
        }
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
        self.fits(&order, self.entries.data_to_come())?;
        self.may_run(&order).await?;
        let served = self.has_served();
        let recorded = self
            .tools
            .ledger
            .change(move |entries| entries.accept(accepted, served))
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

    /// Whether the store has served, as far as a release before could tell.
    fn has_served(&self) -> bool {
        let installed = self.order.as_ref().is_some_and(|order| {
            let mut once = order.rendered.plan.tasks.iter().filter(|task| task.once);
            let done = |task: &shop_plan::TaskPlan| self.entries.tasks_done.contains(&task.name);
            once.clone().next().is_some() && once.all(done)
        });
        installed && matches!(self.world.serving, Serve::Slot { .. })
    }

    fn ask(&mut self, orders: &Orders) {
        let (wanted, of_next): (Vec<Ask>, Vec<bool>) = {
            let input = self.input(orders);
            questions::wanted(&input, &self.world).into_iter().unzip()
        };
        self.complaints.replicas.retain(|key, _| {
            wanted
                .iter()
                .any(|ask| matches!(ask, Ask::Replica(asked, ..) if asked == key))
        });
        if !wanted.iter().any(|ask| matches!(ask, Ask::Deep(..))) {
            self.complaints.deep = None;
        }
        let (world, vault) = (&self.world, &self.tools.vault);
        self.prober.set(&wanted, |ask| {
            let position = wanted.iter().position(|it| it == ask)?;
            let rendered = orders.rendered(of_next[position]);
            let host = questions::host(&orders.asked);
            questions::question(ask, &rendered.plan, host, world, vault)
        });
    }

    fn describe(&mut self, orders: &Orders) {
        let mut progress = std::mem::take(&mut self.progress);
        let report = describe(
            &orders.asked,
            &self.input(orders),
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

fn mismatch(order: &Order, theirs: Digest) -> String {
    format!(
        "the node renders plan {}, this agent {}",
        theirs.short(),
        order.rendered.digest.short()
    )
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

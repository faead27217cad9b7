//! How what happened changes what the reconciler believes.

use std::time::Duration;

use jiff::Timestamp;
use shop_plan::ServicePlan;
use shop_proto::ReplicaKey;
use tokio::{
    task::{Id, JoinError},
    time::Instant,
};

use super::{Happened, RELIST_GAP, Reconciler, Work};
use crate::{
    engine::{EngineError, Exit, Limits, Listing, LogSource, StoreEngine, TaskRun},
    ledger::{Ending, RunBy, RunOutcome},
    store::{
        act::{Failure, Outcome, name},
        prober::{Answer, Ask},
        steps::{Goal, Step, Target},
        world::Problem,
    },
};

/// Between two wishes that a run may end.
const STOP_AGAIN: Duration = Duration::from_secs(2);

impl<E: StoreEngine> Reconciler<E> {
    pub(super) fn happened(&mut self, ended: Result<(Id, Happened), JoinError>) {
        let now = Instant::now();
        match ended {
            Ok((id, Happened::Listed(asked_at, answer))) => {
                self.working_on.remove(&id);
                self.listing = false;
                self.listed(asked_at, answer, now);
            }
            Ok((id, Happened::Acted(step, outcome))) => {
                self.working_on.remove(&id);
                self.world.busy.remove(&step.target());
                self.acted(*step, outcome, now);
            }
            Ok((id, Happened::Counted(answer))) => {
                self.working_on.remove(&id);
                self.watch.counted(answer);
            }
            Ok((id, Happened::LastWords(target, words))) => {
                self.working_on.remove(&id);
                match words {
                    Some(words) => self.world.last_words.insert(target, words),
                    None => self.world.last_words.remove(&target),
                };
            }
            Err(error) => match self.working_on.remove(&error.id()) {
                Some(Work::Step(target)) => {
                    self.world.busy.remove(&target);
                    self.world
                        .failed(target, Failure::Internal.problem(), now, rand::random());
                }
                Some(Work::List) => self.listing = false,
                Some(Work::Count) => self.watch.counting = false,
                Some(Work::LastWords) | None => {}
            },
        }
        // Tasks and restarts write it.
        self.entries = self.tools.ledger.entries();
    }

    fn listed(&mut self, asked_at: u64, answer: Result<Listing, EngineError>, now: Instant) {
        match answer {
            Ok(listing) => {
                let goal = self.heading.unwrap_or(Goal::Stop);
                let first = !self.world.listed;
                for ended in self
                    .world
                    .listed(listing, asked_at, goal, now, rand::random())
                {
                    let how = if ended.exit.oom_killed {
                        ", out of memory"
                    } else {
                        ""
                    };
                    let message = format!(
                        "{} ended by itself (exit code {}{how}); starting it again",
                        ended.key, ended.exit.code
                    );
                    self.watch_ended(&ended.key, &ended.exit);
                    let service = Some(ended.key.service.clone());
                    self.event("service_restarted", "warning", message, service);
                    let target = Target::Replica(ended.key.clone());
                    self.overhear(target, LogSource::Replica(ended.key));
                }
                if first {
                    self.world.began(now);
                }
            }
            Err(error) => {
                tracing::warn!(%error, "the node's list is not to be had");
                self.list_due = now + RELIST_GAP * 10;
            }
        }
    }

    fn acted(&mut self, step: Step, outcome: Outcome, now: Instant) {
        let target = step.target();
        match outcome {
            Outcome::Failed(failure) => {
                if let Failure::Engine(EngineError::UnknownPlan) = failure {
                    self.list_due = now;
                }
                tracing::warn!(step = %name(&target), error = %failure, "step failed");
                self.watch_failed(&target, &failure);
                self.world
                    .failed(target, failure.problem(), now, rand::random());
                // What we believe may be wrong.
                self.list_due = self.list_due.min(now + RELIST_GAP);
            }
            Outcome::TaskEnded(exit) if exit.code == 0 => {
                self.world.well(&target);
                self.world.records.remove(&target);
            }
            Outcome::RunEnded(ending) => self.run_ended(&step, &ending),
            Outcome::TaskEnded(exit) => {
                if let Step::RunTask(run) = step {
                    let TaskRun { task, run, .. } = run;
                    self.overhear(target.clone(), LogSource::Task { task, run });
                }
                let message = format!("{} ended with exit code {}", name(&target), exit.code);
                self.event("task_failed", "error", message.clone(), None);
                let problem = Problem {
                    reason: if exit.oom_killed {
                        "oom_killed"
                    } else {
                        "task_failed"
                    },
                    message,
                    exit: Some(Exit {
                        code: exit.code,
                        oom_killed: exit.oom_killed,
                        at_unix_ms: Timestamp::now().as_millisecond(),
                    }),
                };
                self.world.failed(target, problem, now, rand::random());
            }
            Outcome::Done => {
                if !matches!(target, Target::Replica(_)) {
                    // A container has to prove itself; anything else is well once it is done.
                    self.world.well(&target);
                    self.world.records.remove(&target);
                }
                self.done(step);
            }
        }
    }

    /// An operator is told by the run itself; nobody waits for a scheduled one, so its failure is an event.
    fn run_ended(&mut self, step: &Step, ending: &Ending) {
        let Step::Run(run, by) = step else { return };
        self.world.well(&step.target());
        self.world.records.remove(&step.target());
        let (task, id) = (&run.task, &run.run);
        tracing::info!(%task, run = %id, outcome = ?ending.outcome, "run ended");
        if *by == RunBy::Schedule && ending.outcome != RunOutcome::Done {
            let code = ending.exit_code.unwrap_or(-1);
            let why = &ending.message;
            let message = format!("scheduled run {id} did not end well (exit code {code}) {why}");
            self.event("task_failed", "error", message, Some(task.clone()));
        }
    }

    /// Fetches what something said before it failed, sealed for those who may read it.
    fn overhear(&mut self, target: Target, source: LogSource) {
        let tools = self.tools.clone();
        let task = self.acting.spawn(async move {
            Happened::LastWords(target, tools.envelope.last_words(&source).await)
        });
        self.working_on.insert(task.id(), Work::LastWords);
    }

    fn done(&mut self, step: Step) {
        match step {
            Step::Deliver(consumer) => {
                self.world.well(&Target::Secrets(consumer.clone()));
                self.world.handed_over(consumer);
            }
            Step::Create(key) => {
                let hash = self.wanted(&key).map(|service| service.spec_hash);
                if let Some(hash) = hash {
                    self.world.created(&key, hash);
                }
            }
            Step::Limit(key) => {
                let limits = self
                    .wanted(&key)
                    .map(|service| Limits::from(&service.container));
                if let Some(limits) = limits {
                    self.world.limited(&key, limits);
                }
            }
            Step::Record(made) => {
                self.entries = self.tools.ledger.entries();
                self.moved(&made);
            }
            Step::Kill(key) => {
                tracing::warn!(%key, "killed, for it was frozen");
                self.world.stopped(&key);
            }
            Step::Start(key) => self.world.started(&key),
            Step::Stop(key) => self.world.stopped(&key),
            Step::Remove(key) => self.world.removed(&key),
            Step::Serve(what) => {
                tracing::info!(?what, "serving");
                let edge = self
                    .orders
                    .as_ref()
                    .map(|orders| orders.force.rendered.plan.edge.service.clone());
                if let Some(edge) = edge {
                    self.world.served(what, &edge, Instant::now());
                }
            }
            Step::Restarted(seq) => self.event(
                "store_restarted",
                "info",
                format!("restart {seq}: all stopped"),
                None,
            ),
            Step::Admit => {
                self.world.well(&Target::Logins);
                tracing::info!("new values of secrets are accepted beside the old ones");
            }
            Step::Dismiss => self.dismissed(),
            // Seen to have ended, or asked again: it may not even have begun.
            Step::StopTask(run) => {
                let again = Instant::now() + STOP_AGAIN;
                self.world.holds.insert(Target::StopTask(run.task), again);
            }
            Step::RunTask(_)
            | Step::Run(..)
            | Step::EndRun(..)
            | Step::BeginSchedule(_)
            | Step::NoteDrift(_) => {}
        }
    }

    /// What people are told of the end of a rotation.
    fn dismissed(&mut self) {
        self.world.well(&Target::Logins);
        // As it was before the step: what is read anew afterwards does not know it any more.
        let Some(rotating) = self.entries.rotating.take() else {
            return;
        };
        let names: Vec<&str> = rotating.secrets.keys().map(String::as_str).collect();
        let names = names.join(", ");
        let (code, severity, message) = if rotating.kept {
            (
                "secret_rotated",
                "info",
                format!("{names}: the new value is in force; the old one is not accepted any more"),
            )
        } else {
            (
                "secret_rotation_undone",
                "warning",
                format!("{names}: the old value stays; the new one is not accepted any more"),
            )
        };
        self.event(code, severity, message, None);
    }

    /// The service that a container should be made from now.
    fn wanted(&self, key: &ReplicaKey) -> Option<ServicePlan> {
        let orders = self.orders.as_ref()?;
        let input = self.input(orders);
        let wanted = input.wanted().find(|it| it.key == *key)?;
        Some(wanted.service.clone())
    }

    pub(super) fn answered(&mut self, answer: Answer) {
        if !self.prober.asks(&answer.ask) {
            return;
        }
        let now = Instant::now();
        match (&answer.ask, &answer.verdict) {
            (Ask::Replica(key, start, _), verdict) => {
                self.world.probed(key, *start, answer.health(), now);
                match verdict {
                    Ok(()) => drop(self.complaints.replicas.remove(key)),
                    Err(complaint) => {
                        if self.watched(key) {
                            let what = format!("{} is not ready: {complaint}", key.service);
                            self.watch.seen.complaint = Some(what);
                        }
                        self.complaints
                            .replicas
                            .insert(key.clone(), complaint.clone());
                    }
                }
            }
            (Ask::Watch(..), verdict) => {
                let seen = &mut self.watch.seen;
                match verdict {
                    Ok(()) => (seen.passed, seen.failed) = (seen.passed.saturating_add(1), 0),
                    Err(complaint) => {
                        (seen.passed, seen.failed) = (0, seen.failed.saturating_add(1));
                        seen.complaint = Some(format!("the shop's own health page: {complaint}"));
                    }
                }
            }
            (Ask::Deep(..), Ok(())) => {
                self.world.deep = true;
                self.complaints.deep = None;
            }
            (Ask::Deep(..), Err(complaint)) => self.complaints.deep = Some(complaint.clone()),
        }
    }
}

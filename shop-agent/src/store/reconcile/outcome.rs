//! How what happened changes what the reconciler believes.

use jiff::Timestamp;
use tokio::{
    task::{Id, JoinError},
    time::Instant,
};

use super::{Happened, RELIST_GAP, Reconciler, Work};
use crate::{
    engine::{EngineError, Exit, Listing, LogSource, StoreEngine, TaskRun},
    store::{
        act::{Failure, Outcome, name},
        prober::{Answer, Ask},
        steps::{Goal, Step, Target},
        world::Problem,
    },
};

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
                    let service = Some(ended.key.service.clone());
                    self.event("service_restarted", "warning", message, service);
                    let target = Target::Replica(ended.key.clone());
                    self.overhear(target, LogSource::Replica(ended.key));
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
                self.world
                    .failed(target, failure.problem(), now, rand::random());
                // What we believe may be wrong.
                self.list_due = self.list_due.min(now + RELIST_GAP);
            }
            Outcome::TaskEnded(exit) if exit.code == 0 => {
                self.world.well(&target);
                self.world.records.remove(&target);
            }
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
            Outcome::Done => self.done(step),
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
                self.world.delivered.insert(consumer);
            }
            Step::Create(key) => {
                let hash = self
                    .order
                    .as_ref()
                    .and_then(|order| order.rendered.plan.service(&key.service))
                    .map(|service| service.spec_hash);
                if let Some(hash) = hash {
                    self.world.created(&key, hash);
                }
            }
            Step::Start(key) => self.world.started(&key),
            Step::Stop(key) => self.world.stopped(&key),
            Step::Remove(key) => self.world.removed(&key),
            Step::Serve(what) => {
                tracing::info!(?what, "serving");
                self.world.served(what);
            }
            Step::Restarted(seq) => self.event(
                "store_restarted",
                "info",
                format!("restart {seq}: all stopped"),
                None,
            ),
            Step::RunTask(_) => {}
        }
    }

    pub(super) fn answered(&mut self, answer: Answer) {
        let now = Instant::now();
        match (&answer.ask, &answer.verdict) {
            (Ask::Replica(key, start), verdict) => {
                self.world.probed(key, *start, answer.health(), now);
                match verdict {
                    Ok(()) => drop(self.complaints.replicas.remove(key)),
                    Err(complaint) => drop(
                        self.complaints
                            .replicas
                            .insert(key.clone(), complaint.clone()),
                    ),
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

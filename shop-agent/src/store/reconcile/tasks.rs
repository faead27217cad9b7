//! Runs that operators ask for: taken down before they are answered, told until the control plane has recorded their end.

use jiff::Timestamp;
use shop_proto::ServiceName;

use super::Reconciler;
use crate::{
    engine::StoreEngine,
    ledger::{Run, Taken},
};

/// A run that an operator asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedRun {
    /// The operation, and the run.
    pub id: String,
    /// Task of the plan.
    pub task: String,
    /// Not checked yet.
    pub arguments: Vec<String>,
}

/// What the session says about a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AboutRun {
    /// Begin it.
    Ask(AskedRun),
    /// End it.
    Cancel(String, String),
    /// How it ended is known.
    Recorded(String),
}

/// Why a run will never be told of: it may have been run already.
const FORGOTTEN: &str = "task_forgotten";

impl<E: StoreEngine> Reconciler<E> {
    /// Notes it on disk. What it means shows in the runs that are told. `Err`: it cannot be noted, and is asked for again.
    pub(super) async fn about_run(&mut self, about: AboutRun) -> Result<(), &'static str> {
        let now = Timestamp::now().as_millisecond();
        let noted = match about {
            AboutRun::Ask(asked) => match self.judged(asked, now) {
                Err(code) => return Err(code),
                Ok((run, problem)) => {
                    self.tools
                        .ledger
                        .change(move |entries| entries.runs.ask(run, problem))
                        .await
                }
            },
            AboutRun::Cancel(id, task) => {
                let task: ServiceName = task.parse().map_err(|_| "task_unknown")?;
                let cancel = move |entries: &mut crate::ledger::Entries| {
                    entries.runs.cancel(&id, &task, now);
                    Taken::Known
                };
                self.tools.ledger.change(cancel).await
            }
            AboutRun::Recorded(id) => {
                let recorded = move |entries: &mut crate::ledger::Entries| {
                    entries.runs.recorded(&id);
                    Taken::Known
                };
                self.tools.ledger.change(recorded).await
            }
        };
        self.entries = self.tools.ledger.entries();
        match noted {
            Ok(Taken::Forgotten) => Err(FORGOTTEN),
            Ok(Taken::Queued | Taken::Known | Taken::Refused) => Ok(()),
            Err(error) => {
                tracing::error!(%error, "a run cannot be noted");
                Err("ledger_failed")
            }
        }
    }

    /// The run to note, and what speaks against it.
    fn judged(&self, asked: AskedRun, now: i64) -> Result<(Run, Option<String>), &'static str> {
        let AskedRun {
            id,
            task,
            arguments,
        } = asked;
        let task: ServiceName = task.parse().map_err(|_| "task_unknown")?;
        let plan = self.order.as_ref().map(|order| &order.rendered.plan);
        let plan = plan.ok_or("no_order")?;
        let problem = match plan.task(&task) {
            None => Some(format!("the store's template has no task {task}")),
            Some(known) if known.once || plan.update.as_ref().is_some_and(|it| it.task == task) => {
                Some(format!("{task} runs by itself"))
            }
            Some(known) => known.check(&arguments).err().map(|problems| {
                let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
                all.join("; ")
            }),
        };
        // What will never be said to a task is not kept: nobody has bounded it.
        let arguments = match &problem {
            None => arguments,
            Some(_) => Vec::new(),
        };
        Ok((Run::asked(id, task, arguments, now), problem))
    }

    /// Hands the session what it should tell of runs.
    pub(super) fn tell_runs(&self) {
        let runs: Vec<Run> = self
            .entries
            .runs
            .iter()
            .filter(|run| !run.recorded())
            .cloned()
            .collect();
        self.wires.runs.send_if_modified(|last| {
            let changed = *last != runs;
            if changed {
                *last = runs;
            }
            changed
        });
    }
}

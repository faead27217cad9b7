//! Carries out runs that an operator or the schedule wants: begun on disk first, ended on disk before anybody hears of it.

use jiff::Timestamp;
use shop_proto::ServiceName;

use super::{Failure, Rendered, Tools};
use crate::{
    engine::{EngineError, StoreEngine, TaskExit, TaskRun},
    ledger::{Ending, RunBy, RunOutcome, Stage},
};

/// Runs it to its end, or attaches to the run there is.
pub(super) async fn run<E: StoreEngine>(
    tools: &Tools<E>,
    rendered: &Rendered,
    run: TaskRun,
    by: RunBy,
) -> Result<Ending, Failure> {
    let (id, task) = (run.run.clone(), run.task.clone());
    let began = now();
    tools
        .ledger
        .change(move |entries| entries.runs.begin(&id, &task, by, began))
        .await?;
    let (outcome, code, message) = match tools.engine.run_task(rendered.digest, &run).await {
        Ok(exit) => {
            let (outcome, message) = judged(exit);
            (outcome, Some(exit.code), message)
        }
        // The node will say so again: waiting helps nobody.
        Err(EngineError::Refused(why)) => (RunOutcome::Refused, None, why),
        Err(error) => return Err(error.into()),
    };
    let (id, at) = (run.run, now());
    let ending = tools
        .ledger
        .change(move |entries| {
            entries.runs.end(&id, outcome, code, message, at);
            entries.runs.find(&id).map(|run| run.stage.clone())
        })
        .await?;
    match ending {
        Some(Stage::Ended(ending)) => Ok(ending),
        // It was forgotten meanwhile, which takes more runs than one store can have at once.
        _ => Err(Failure::Internal),
    }
}

/// Notes that a run is over that cannot go on.
pub(super) async fn end<E: StoreEngine>(
    tools: &Tools<E>,
    id: String,
    outcome: RunOutcome,
    why: &'static str,
) -> Result<(), Failure> {
    let at = now();
    let end = move |entries: &mut crate::ledger::Entries| {
        entries.runs.end(&id, outcome, None, why.to_owned(), at);
    };
    Ok(tools.ledger.change(end).await?)
}

/// Lets schedules begin now.
pub(super) async fn begin_schedule<E: StoreEngine>(
    tools: &Tools<E>,
    tasks: Vec<ServiceName>,
) -> Result<(), Failure> {
    let at = now();
    let begin = move |entries: &mut crate::ledger::Entries| entries.runs.begin_schedule(tasks, at);
    Ok(tools.ledger.change(begin).await?)
}

fn judged(exit: TaskExit) -> (RunOutcome, String) {
    let TaskExit {
        code,
        oom_killed,
        timed_out,
    } = exit;
    match (timed_out, oom_killed, code) {
        (true, ..) => (
            RunOutcome::TimedOut,
            "it was killed when its time was up".to_owned(),
        ),
        (_, true, _) => (
            RunOutcome::Failed,
            "it was killed for using more memory than its limit".to_owned(),
        ),
        (.., 0) => (RunOutcome::Done, String::new()),
        _ => (RunOutcome::Failed, String::new()),
    }
}

fn now() -> i64 {
    Timestamp::now().as_millisecond()
}

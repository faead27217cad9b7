//! Runs of tasks, over the session: wishes in, how they stand and how they ended out.

use std::collections::BTreeMap;

use shop_proto::wire::agent::v1::{self as api, agent_message::Message};
use tokio::sync::{mpsc, oneshot};

use super::{Session, say};
use crate::{
    engine::StoreEngine,
    ledger::{Ending, Run, RunBy, RunOutcome, Stage},
    store::{
        reconcile::{AboutRun, AskedRun, Command},
        wire,
    },
};

impl<E: StoreEngine> Session<E> {
    /// Takes an operator's wish. What becomes of it is told when the runs change; asked again, it is told again.
    pub(super) async fn run_task(
        &self,
        task: api::RunTask,
        outbound: &mpsc::Sender<api::AgentMessage>,
    ) -> anyhow::Result<()> {
        let api::RunTask {
            operation_id,
            task,
            arguments,
        } = task;
        let asked = AskedRun {
            id: operation_id.clone(),
            task: task.clone(),
            arguments,
        };
        let answer = self.about_run(AboutRun::Ask(asked)).await?;
        self.answer_about(answer, operation_id, task, outbound)
            .await
    }

    /// Ends a run before its time. One that runs is told of when it has ended.
    pub(super) async fn cancel_task(
        &self,
        task: api::CancelTask,
        outbound: &mpsc::Sender<api::AgentMessage>,
    ) -> anyhow::Result<()> {
        let api::CancelTask { operation_id, task } = task;
        let cancel = AboutRun::Cancel(operation_id.clone(), task.clone());
        let answer = self.about_run(cancel).await?;
        self.answer_about(answer, operation_id, task, outbound)
            .await
    }

    /// Who asks again is told again, whatever this session has told already.
    async fn answer_about(
        &self,
        answer: Result<(), &'static str>,
        operation_id: String,
        task: String,
        outbound: &mpsc::Sender<api::AgentMessage>,
    ) -> anyhow::Result<()> {
        let known = self.ledger.entries().runs.find(&operation_id).cloned();
        let message = match (answer, known) {
            (_, Some(run)) => of_run(&run),
            // It is asked for again: the disk may have room by then, the first order may have come.
            (Err("ledger_failed" | "no_order") | Ok(()), None) => return Ok(()),
            (Err(code), None) => wire::message(Message::TaskResult(api::TaskResult {
                operation_id,
                task,
                outcome: word(RunOutcome::Refused).to_owned(),
                message: code.to_owned(),
                ..Default::default()
            })),
        };
        say(outbound, message).await
    }

    /// Hands it to the reconciler, and waits until it is on disk.
    pub(super) async fn about_run(
        &self,
        about: AboutRun,
    ) -> anyhow::Result<Result<(), &'static str>> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Run(about, reply)).await?;
        Ok(answer.await?)
    }
}

/// What this session has not said yet about runs.
pub(super) fn news(runs: &[Run], told: &mut BTreeMap<String, Stage>) -> Vec<api::AgentMessage> {
    let fresh: Vec<&Run> = runs
        .iter()
        .filter(|run| told.get(&run.id) != Some(&run.stage))
        .collect();
    let messages = fresh.iter().map(|run| of_run(run)).collect();
    *told = runs
        .iter()
        .map(|run| (run.id.clone(), run.stage.clone()))
        .collect();
    messages
}

fn of_run(run: &Run) -> api::AgentMessage {
    let (operation_id, task) = (run.id.clone(), run.task.to_string());
    let scheduled = run.by == RunBy::Schedule;
    let status = |state: &str, at_unix_ms| {
        Message::TaskStatus(api::TaskStatus {
            operation_id: operation_id.clone(),
            task: task.clone(),
            state: state.to_owned(),
            at_unix_ms,
            scheduled,
        })
    };
    wire::message(match &run.stage {
        Stage::Queued => status("queued", run.asked_unix_ms),
        Stage::Running { since_unix_ms } => status("running", *since_unix_ms),
        Stage::Ended(ending) => {
            let Ending {
                outcome,
                exit_code,
                message,
                since_unix_ms,
                at_unix_ms,
                recorded: _,
            } = ending;
            Message::TaskResult(api::TaskResult {
                operation_id,
                task,
                outcome: word(*outcome).to_owned(),
                exit_code: exit_code.unwrap_or(0),
                has_exit_code: exit_code.is_some(),
                output: None,
                started_unix_ms: *since_unix_ms,
                ended_unix_ms: *at_unix_ms,
                scheduled,
                message: message.clone(),
            })
        }
    })
}

const fn word(outcome: RunOutcome) -> &'static str {
    match outcome {
        RunOutcome::Done => "done",
        RunOutcome::Failed => "failed",
        RunOutcome::TimedOut => "timed_out",
        RunOutcome::Refused => "refused",
        RunOutcome::Cancelled => "cancelled",
    }
}

//! `store task …`: one-shot runs of what a store's template offers.

use std::time::Duration;

use jiff::Timestamp;
use tokio::{
    signal::ctrl_c,
    time::{Instant, sleep, sleep_until},
};

use super::{Session, sealed};
use crate::{
    cli::{TaskCommand, TaskRun, Wait},
    client::{Client, NewRun},
    failure::Failure,
    output::{Table, ago, note, or_dash, plain, plain_lines, write_out},
    progress,
    view::{self, Operation, OperationState, TaskOffer, Tasks},
};

/// Between two looks at what a run has written.
const POLL: Duration = Duration::from_secs(1);
/// Looks that may fail before somebody is told.
const PATIENT: u32 = 5;

pub(super) async fn run(session: &Session, command: TaskCommand) -> anyhow::Result<()> {
    let client = session.client().await?;
    match command {
        TaskCommand::Run(run) => begin(session, &client, run).await,
        TaskCommand::List { store } => list(session, &client, &store).await,
        TaskCommand::Logs { store, run } => {
            let text = sealed::task_output(session, &client, &store, &run, 0).await?;
            let text = String::from_utf8_lossy(&text).into_owned();
            session
                .printer
                .result(&text, || with_line_feed(&plain_lines(&text)))
        }
        TaskCommand::Cancel { run, reason } => {
            let operation = client.cancel_task(&run, &reason).await?;
            session.printer.result(&operation, || sentence(&operation))
        }
    }
}

async fn begin(session: &Session, client: &Client, run: TaskRun) -> anyhow::Result<()> {
    let new = NewRun {
        store: run.store,
        task: run.task,
        arguments: run.arguments,
        reason: run.reason,
        idempotency_key: run.idempotency_key,
    };
    let operation = client.run_task(new).await?;
    let ended = if run.follow {
        follow(session, client, operation, &run.wait).await?
    } else if run.wait.wait {
        progress::follow(client, &operation.id, patience(&run.wait)).await?
    } else {
        return session.printer.result(&operation, || sentence(&operation));
    };
    judge(&ended)?;
    session.printer.result(&ended, || sentence(&ended))
}

const fn patience(wait: &Wait) -> Duration {
    Duration::from_secs(wait.timeout)
}

/// Prints what a run writes until it has ended. The run itself goes on whatever happens here.
async fn follow(
    session: &Session,
    client: &Client,
    operation: Operation,
    wait: &Wait,
) -> anyhow::Result<Operation> {
    let (store, id) = (&operation.store_id, &operation.id);
    let again = format!("see it again: shopctl store task logs {store} {id}");
    let mut output = Output::default();
    let watched = async {
        loop {
            // Looked at before the output is: what is written until the end is read after it.
            let state = client.operation(id).await;
            match sealed::task_output(session, client, store, id, output.read).await {
                Ok(bytes) if bytes.is_empty() => {}
                Ok(bytes) => {
                    show(&output.take(&bytes))?;
                    // There may be more than one answer holds.
                    continue;
                }
                Err(error) => output.complain(&error),
            }
            match state {
                Ok(operation) if operation.state.is_final() => {
                    show(&output.rest())?;
                    return Ok::<_, anyhow::Error>(operation);
                }
                Ok(_) => {}
                Err(problem) if problem.passes() => {}
                Err(problem) => return Err(problem.into()),
            }
            sleep(POLL).await;
        }
    };
    let deadline = Instant::now() + patience(wait);
    tokio::select! {
        ended = watched => ended,
        () = sleep_until(deadline) => {
            let seconds = wait.timeout;
            Err(Failure::NotReady(format!("not done after {seconds} s; it goes on; {again}")).into())
        }
        interrupted = ctrl_c() => {
            interrupted?;
            Err(Failure::NotReady(format!("stopped looking; it goes on; {again}; end it: shopctl store task cancel {id}")).into())
        }
    }
}

fn show(text: &str) -> anyhow::Result<()> {
    if text.is_empty() {
        Ok(())
    } else {
        write_out(&plain_lines(text))
    }
}

/// A run's output that comes in chunks, as it is shown.
#[cfg(feature = "fuzzing")]
pub(crate) fn shown<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut output = Output::default();
    let mut text: String = chunks.into_iter().map(|chunk| output.take(chunk)).collect();
    text.push_str(&output.rest());
    text
}

/// What was read of a run's output, and what of it waits for the end of its line: a chunk may end within a character.
#[derive(Debug, Default)]
struct Output {
    read: u64,
    held: Vec<u8>,
    failures: u32,
}

impl Output {
    /// Whole lines that can be shown now.
    fn take(&mut self, bytes: &[u8]) -> String {
        self.read += bytes.len() as u64;
        self.held.extend_from_slice(bytes);
        let whole = self
            .held
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        let lines: Vec<u8> = self.held.drain(..whole).collect();
        String::from_utf8_lossy(&lines).into_owned()
    }

    fn rest(&mut self) -> String {
        let rest = std::mem::take(&mut self.held);
        let text = String::from_utf8_lossy(&rest).into_owned();
        if text.is_empty() { text } else { text + "\n" }
    }

    /// Once, and not at first: the container may not be there yet.
    fn complain(&mut self, error: &anyhow::Error) {
        self.failures += 1;
        if self.failures == PATIENT {
            note(&format!("its output cannot be read now: {error}"));
        }
    }
}

fn with_line_feed(text: &str) -> String {
    if text.is_empty() || text.ends_with('\n') {
        text.to_owned()
    } else {
        format!("{text}\n")
    }
}

async fn list(session: &Session, client: &Client, store: &str) -> anyhow::Result<()> {
    let tasks = client.list_tasks(store).await?;
    session.printer.result(&tasks, || render(&tasks))
}

fn render(tasks: &Tasks) -> String {
    let mut offers = Table::new(&["TASK", "ARGUMENTS", "RUNS BY ITSELF"]);
    for offer in &tasks.tasks {
        let schedules = offer.schedules.join("; ");
        offers.row(vec![
            offer.name.clone(),
            arguments(offer),
            or_dash((!schedules.is_empty()).then_some(schedules.as_str())),
        ]);
    }
    let mut text = offers.render();
    if tasks.runs.is_empty() {
        text.push_str("\nNothing was run yet; run one with `shopctl store task run`.\n");
        return text;
    }
    let now = Timestamp::now();
    let mut runs = Table::new(&["RUN", "TASK", "OUTCOME", "EXIT", "STARTED", "TOOK", "BY"]);
    for run in &tasks.runs {
        runs.row(vec![
            run.id.clone(),
            run.task.clone(),
            run.state.clone(),
            or_dash(run.exit_code.map(|code| code.to_string()).as_deref()),
            run.started_at
                .as_deref()
                .map_or_else(|| "-".to_owned(), |at| ago(at, now)),
            took(run),
            if run.scheduled {
                "schedule".to_owned()
            } else {
                run.requested_by.clone()
            },
        ]);
    }
    text.push('\n');
    text.push_str(&runs.render());
    text
}

fn arguments(offer: &TaskOffer) -> String {
    let words: Vec<String> = offer
        .arguments
        .iter()
        .map(|argument| {
            let kind = if argument.choices.is_empty() {
                argument.r#type.clone()
            } else {
                argument.choices.join("|")
            };
            match &argument.default {
                None => format!("{}:{kind}", argument.name),
                Some(default) => format!("[{}:{kind}={default}]", argument.name),
            }
        })
        .collect();
    or_dash((!words.is_empty()).then(|| words.join(" ")).as_deref())
}

fn took(run: &view::TaskRun) -> String {
    let parse = |at: &Option<String>| at.as_deref().and_then(|at| at.parse::<Timestamp>().ok());
    match (parse(&run.started_at), parse(&run.ended_at)) {
        (Some(began), Some(ended)) => {
            let ms = ended.duration_since(began).as_millis().max(0);
            format!("{}.{} s", ms / 1000, ms % 1000 / 100)
        }
        _ => "-".to_owned(),
    }
}

fn sentence(operation: &Operation) -> String {
    let message = operation.message.as_deref().unwrap_or_default();
    let Operation {
        id,
        store_name,
        state,
        ..
    } = operation;
    if operation.state.is_final() {
        return format!(
            "{}\n",
            plain(&format!("task of `{store_name}` {state}: {message}"))
        );
    }
    format!(
        "{}\nWatch it: shopctl operation watch {id}\nIts output: shopctl store task logs {} {id}\n",
        plain(&format!(
            "task of `{store_name}` accepted as run {id}: {message}"
        )),
        plain(store_name)
    )
}

fn judge(operation: &Operation) -> Result<(), Failure> {
    if operation.state == OperationState::Succeeded {
        return Ok(());
    }
    let message = operation.message.as_deref().unwrap_or_default();
    let Operation { id, store_name, .. } = operation;
    Err(Failure::Failed(format!(
        "task of store `{store_name}` did not end well: {message}\n  Its output: shopctl store task logs {store_name} {id}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_that_comes_in_two_pieces_is_shown_whole() {
        let mut output = Output::default();
        let bytes = "Gr\u{fc}n\nund".as_bytes();
        assert_eq!(output.take(&bytes[..3]), "");
        assert_eq!(output.take(&bytes[3..]), "Gr\u{fc}n\n");
        assert_eq!(output.read, bytes.len() as u64);
        assert_eq!(output.rest(), "und\n");
        assert_eq!(output.rest(), "");
    }

    #[test]
    fn arguments_are_shown_as_they_are_typed() {
        let argument = |name: &str, default: Option<&str>, choices: &[&str]| view::TaskArgument {
            name: name.to_owned(),
            r#type: "int".to_owned(),
            default: default.map(str::to_owned),
            choices: choices.iter().map(|it| (*it).to_owned()).collect(),
        };
        let offer = TaskOffer {
            name: "stock".to_owned(),
            arguments: vec![
                argument("product", None, &[]),
                argument("mode", Some("all"), &["all", "new"]),
            ],
            schedules: Vec::new(),
            timeout_seconds: 60,
        };
        assert_eq!(arguments(&offer), "product:int [mode:all|new=all]");
    }
}

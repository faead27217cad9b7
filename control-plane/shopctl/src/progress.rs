//! Waiting for an operation: live lines on a terminal, one line per change elsewhere. What to show is decided by pure functions.

mod show;

use std::{pin::pin, time::Duration};

use futures::StreamExt as _;
use tokio::{
    signal::ctrl_c,
    time::{Instant, MissedTickBehavior, interval, sleep, sleep_until},
};

use crate::{
    client::Client,
    failure::Failure,
    output::{live_terminal, note},
    view::{Operation, OperationState},
};
use show::Display;

/// How often elapsed times move on a terminal.
const TICK: Duration = Duration::from_secs(1);
/// Between two attempts to see the operation again when the control plane went away.
const RETRY: Duration = Duration::from_secs(1);

/// What ended one stretch of watching.
enum Stretch {
    Ended(Box<Operation>),
    Lost(Failure),
}

/// Follows an operation to its end, at most for `patience`. The operation itself goes on whatever happens here.
pub(crate) async fn follow(
    client: &Client,
    id: &str,
    patience: Duration,
) -> anyhow::Result<Operation> {
    let mut display = Display::new(live_terminal());
    let again = format!("watch it again: shopctl operation watch {id}");
    let watched = async {
        let mut told = false;
        loop {
            match stretch(client, id, &mut display).await? {
                Stretch::Ended(operation) => return Ok::<_, anyhow::Error>(*operation),
                Stretch::Lost(problem) => {
                    if !told {
                        note(&format!(
                            "{problem}; the operation goes on, trying to see it again"
                        ));
                        told = true;
                    }
                    sleep(RETRY).await;
                }
            }
        }
    };
    let deadline = Instant::now() + patience;
    let operation = tokio::select! {
        ended = watched => ended?,
        () = sleep_until(deadline) => {
            return Err(Failure::NotReady(format!("not done after {} s; it goes on; {again}", patience.as_secs())).into());
        }
        interrupted = ctrl_c() => {
            interrupted?;
            return Err(Failure::NotReady(format!("stopped waiting; the operation goes on; {again}")).into());
        }
    };
    Ok(operation)
}

async fn stretch(client: &Client, id: &str, display: &mut Display) -> anyhow::Result<Stretch> {
    let stream = match client.watch_operation(id).await {
        Ok(stream) => stream,
        Err(problem) if problem.passes() => return Ok(Stretch::Lost(problem)),
        Err(other) => return Err(other.into()),
    };
    let mut stream = pin!(stream);
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            item = stream.next() => match item {
                Some(Ok(operation)) => {
                    display.show(&operation);
                    if operation.state.is_final() || waits_for_its_time(&operation) {
                        return Ok(Stretch::Ended(Box::new(operation)));
                    }
                }
                Some(Err(problem)) if problem.passes() => return Ok(Stretch::Lost(problem)),
                Some(Err(other)) => return Err(other.into()),
                None => return Ok(Stretch::Lost(Failure::Failed("the control plane closed the stream".to_owned()))),
            },
            _ = tick.tick() => display.tick(),
        }
    }
}

/// A deletion in its time of grace has done all there is to do for now.
fn waits_for_its_time(operation: &Operation) -> bool {
    operation.reason.as_deref() == Some("in_grace")
}

/// Whether an ended operation is what was asked for.
pub(crate) fn judge(operation: &Operation) -> Result<(), Failure> {
    let Operation {
        kind,
        store_name,
        state,
        ..
    } = operation;
    let why = match (&operation.reason, &operation.message) {
        (Some(reason), Some(message)) => format!(": {reason}: {message}"),
        (Some(text), None) | (None, Some(text)) => format!(": {text}"),
        (None, None) => String::new(),
    };
    match state {
        OperationState::Failed if kind != "create" => Err(Failure::Failed(format!(
            "{kind} of store `{store_name}` failed{why}\n  Look closer: shopctl store explain {store_name}"
        ))),
        OperationState::Failed => Err(Failure::Failed(format!(
            "{kind} of store `{store_name}` failed{why}\n  Look closer: shopctl store events {store_name}; shopctl store logs {store_name}; \
             clean up: shopctl store delete {store_name}"
        ))),
        OperationState::Cancelled => Err(Failure::Failed(format!(
            "{kind} of store `{store_name}` was overtaken by a later request{why}"
        ))),
        OperationState::Pending | OperationState::Running | OperationState::Succeeded => Ok(()),
    }
}

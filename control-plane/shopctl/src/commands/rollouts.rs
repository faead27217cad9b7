//! `rollout …`: one update for many stores.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use tokio::time::{Instant, sleep};

use super::{Session, stores::pairs};
use crate::{
    cli::{Failures, RolloutCommand, RolloutStart},
    client::{Client, NewRollout, RolloutAction},
    failure::Failure,
    output::{Table, ago, note, or_dash, plain},
    view::{Rollout, RolloutStore},
};

/// Between two looks at a rollout.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long `start --wait` follows.
const PATIENCE: Duration = Duration::from_secs(86_400);

pub(super) async fn run(session: &Session, command: RolloutCommand) -> anyhow::Result<()> {
    let client = session.client().await?;
    match command {
        RolloutCommand::Start(start) => self::start(session, &client, *start).await,
        RolloutCommand::List => {
            let rollouts = client.list_rollouts().await?;
            let now = Timestamp::now();
            let empty = "There were no rollouts yet: shopctl rollout start --template refshop@2 --selector env=prod";
            session.printer.list(&rollouts, empty, |rollouts| {
                let mut table =
                    Table::new(&["ID", "STATE", "WHAT", "SELECTOR", "STORES", "AGE", "BY"]);
                for rollout in rollouts {
                    table.row(vec![
                        rollout.id.clone(),
                        rollout.state.clone(),
                        what(rollout),
                        rollout.selector.clone(),
                        counts(&rollout.stores),
                        ago(&rollout.created_at, now),
                        rollout.requested_by.clone(),
                    ]);
                }
                table
            })
        }
        RolloutCommand::Get { id } => {
            let rollout = client.get_rollout(&id).await?;
            session.printer.result(&rollout, || describe(&rollout))
        }
        RolloutCommand::Watch { id, timeout } => {
            watch(session, &client, &id, Duration::from_secs(timeout)).await
        }
        RolloutCommand::Pause(act) => {
            control(session, &client, &act.id, RolloutAction::Pause, &act.reason).await
        }
        RolloutCommand::Resume(act) => {
            control(
                session,
                &client,
                &act.id,
                RolloutAction::Resume,
                &act.reason,
            )
            .await
        }
        RolloutCommand::Abort { act, rollback } => {
            let action = RolloutAction::Abort { rollback };
            control(session, &client, &act.id, action, &act.reason).await
        }
    }
}

async fn start(session: &Session, client: &Client, start: RolloutStart) -> anyhow::Result<()> {
    let (max_failures, max_failures_percent) = match start.max_failures {
        Failures::Count(count) => (count, 0),
        Failures::Percent(share) => (0, share),
    };
    let new = NewRollout {
        selector: start.selector,
        template: start.template,
        parameters: pairs(start.parameters, "--set")?,
        unset: start.unset,
        profiles: pairs(start.profiles, "--profile")?,
        canary: start.canary,
        batch: start.batch,
        max_failures,
        max_failures_percent,
        allow_irreversible: start.allow_irreversible,
        window_seconds: start.window,
        reason: start.reason,
        dry_run: start.dry_run,
        idempotency_key: start.idempotency_key,
    };
    let rollout = client.start_rollout(new).await?;
    if start.wait {
        return watch(session, client, &rollout.id, PATIENCE).await;
    }
    session.printer.result(&rollout, || {
        let first = if start.dry_run {
            "This is what it would do; nothing was changed.\n".to_owned()
        } else {
            format!(
                "rollout {id} has begun\nWatch it: shopctl rollout watch {id}\n",
                id = plain(&rollout.id)
            )
        };
        format!("{first}\n{}", stores(&rollout.stores).render())
    })
}

async fn control(
    session: &Session,
    client: &Client,
    id: &str,
    action: RolloutAction,
    reason: &str,
) -> anyhow::Result<()> {
    let rollout = client.control_rollout(id, action, reason).await?;
    session.printer.result(&rollout, || describe(&rollout))
}

/// Tells each change until nothing more happens by itself.
async fn watch(
    session: &Session,
    client: &Client,
    id: &str,
    patience: Duration,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + patience;
    let mut last: Option<Rollout> = None;
    loop {
        let rollout = match client.get_rollout(id).await {
            Err(problem) if problem.passes() => {
                sleep(LOOK_EVERY).await;
                continue;
            }
            found => found?,
        };
        for line in changes(last.as_ref(), &rollout) {
            note(&line);
        }
        match rollout.state.as_str() {
            "succeeded" => return session.printer.result(&rollout, || describe(&rollout)),
            "halted" | "aborted" | "paused" => {
                session.printer.result(&rollout, || describe(&rollout))?;
                return Err(Failure::Failed(format!(
                    "the rollout is {}: {}",
                    rollout.state,
                    rollout.message.as_deref().unwrap_or("no reason was given")
                ))
                .into());
            }
            _ if Instant::now() >= deadline => {
                return Err(Failure::NotReady(format!(
                    "not done after {} s; it goes on; watch it again: shopctl rollout watch {id}",
                    patience.as_secs()
                ))
                .into());
            }
            _ => {}
        }
        last = Some(rollout);
        sleep(LOOK_EVERY).await;
    }
}

/// What is new, one sentence each.
fn changes(before: Option<&Rollout>, after: &Rollout) -> Vec<String> {
    let known: BTreeMap<&str, &str> = before
        .iter()
        .flat_map(|rollout| &rollout.stores)
        .map(|store| (store.store_id.as_str(), store.state.as_str()))
        .collect();
    let mut lines = Vec::new();
    if before.is_none_or(|before| before.wave != after.wave || before.state != after.state) {
        lines.push(format!("rollout: {}, wave {}", after.state, after.wave));
    }
    for store in &after.stores {
        let was = known.get(store.store_id.as_str());
        if was != Some(&store.state.as_str()) && (was.is_some() || store.state != "waiting") {
            let why = store
                .message
                .as_ref()
                .or(store.reason.as_ref())
                .map(|why| format!(": {why}"))
                .unwrap_or_default();
            lines.push(format!("{}: {}{why}", store.store_name, store.state));
        }
    }
    lines
}

/// What is rolled out, in a few words.
fn what(rollout: &Rollout) -> String {
    let mut words: Vec<String> = rollout.template.clone().into_iter().collect();
    let pairs = rollout.parameters.iter().chain(&rollout.profiles);
    words.extend(pairs.map(|(key, value)| format!("{key}={value}")));
    words.extend(rollout.unset_parameters.iter().map(|key| format!("{key}-")));
    words.join(" ")
}

/// `12 done, 3 waiting`.
fn counts(stores: &[RolloutStore]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for store in stores {
        *counts.entry(store.state.as_str()).or_default() += 1;
    }
    let parts: Vec<String> = counts
        .into_iter()
        .map(|(state, count)| format!("{count} {state}"))
        .collect();
    parts.join(", ")
}

fn describe(rollout: &Rollout) -> String {
    let lines = [
        ("id", rollout.id.clone()),
        ("state", rollout.state.clone()),
        ("message", or_dash(rollout.message.as_deref())),
        ("what", what(rollout)),
        ("selector", rollout.selector.clone()),
        (
            "waves",
            format!(
                "{} first, then {} at a time; wave {} is under way; {} of a wave may fail",
                rollout.canary,
                rollout.batch,
                rollout.wave,
                match rollout.max_failures_percent {
                    0 => rollout.max_failures.to_string(),
                    share => format!("{share}%"),
                }
            ),
        ),
        ("stores", counts(&rollout.stores)),
        ("by", rollout.requested_by.clone()),
        ("began", rollout.created_at.clone()),
        ("ended", or_dash(rollout.ended_at.as_deref())),
    ];
    let mut text = String::new();
    for (label, value) in lines {
        text.push_str(&format!("{label:<10} {}\n", plain(&value)));
    }
    format!("{text}\n{}", stores(&rollout.stores).render())
}

fn stores(stores: &[RolloutStore]) -> Table {
    let mut table = Table::new(&["STORE", "WAVE", "STATE", "REASON", "MESSAGE"]);
    for store in stores {
        table.row(vec![
            store.store_name.clone(),
            store.wave.to_string(),
            store.state.clone(),
            or_dash(store.reason.as_deref()),
            or_dash(store.message.as_deref()),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rollout(states: &[&str]) -> Rollout {
        Rollout {
            id: "1".to_owned(),
            state: "running".to_owned(),
            reason: None,
            message: None,
            wave: 0,
            selector: String::new(),
            template: Some("refshop@2".to_owned()),
            parameters: BTreeMap::from([("drill".to_owned(), "sick".to_owned())]),
            unset_parameters: vec!["currency".to_owned()],
            profiles: BTreeMap::new(),
            canary: 1,
            batch: "10%".to_owned(),
            max_failures: 0,
            max_failures_percent: 0,
            requested_by: String::new(),
            requested_reason: None,
            created_at: String::new(),
            ended_at: None,
            stores: states
                .iter()
                .enumerate()
                .map(|(index, state)| RolloutStore {
                    store_id: index.to_string(),
                    store_name: format!("shop-{index}"),
                    wave: 0,
                    state: (*state).to_owned(),
                    operation: None,
                    reason: None,
                    message: None,
                })
                .collect(),
        }
    }

    #[test]
    fn only_changes_are_told() {
        let first = rollout(&["updating", "waiting"]);
        assert_eq!(
            changes(None, &first),
            ["rollout: running, wave 0", "shop-0: updating"]
        );
        assert!(changes(Some(&first), &first).is_empty());
        let second = rollout(&["done", "updating"]);
        assert_eq!(
            changes(Some(&first), &second),
            ["shop-0: done", "shop-1: updating"]
        );
    }

    #[test]
    fn what_is_rolled_out_in_a_few_words() {
        assert_eq!(what(&rollout(&[])), "refshop@2 drill=sick currency-");
        let mixed = rollout(&["done", "waiting", "done"]);
        assert_eq!(counts(&mixed.stores), "2 done, 1 waiting");
    }
}

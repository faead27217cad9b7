//! `store …`, all but what is sealed.

use std::{collections::BTreeMap, process::Stdio, time::Duration};

use jiff::Timestamp;
use tokio::time::sleep;

use super::{Session, amend, deletion, explain, sealed};
use crate::{
    cli::{StoreAction, StoreCommand, StoreCreate, StoreList, Wait},
    client::{Action, Amendment, Client},
    failure::Failure,
    output::{Table, ago, bytes, note, or_dash, plain},
    progress,
    view::{Event, NewStore, Operation, Replica, Store},
};

/// Between two looks for new events.
const FOLLOW_EVERY: Duration = Duration::from_secs(2);

pub(super) async fn run(session: &Session, command: StoreCommand) -> anyhow::Result<()> {
    match command {
        StoreCommand::Create(create) => self::create(session, *create).await,
        StoreCommand::List(list) => self::list(session, list).await,
        StoreCommand::Get { store } => {
            let store = session.client().await?.get_store(&store).await?;
            session.printer.result(&store, || describe(&store))
        }
        StoreCommand::Start(action) => act(session, Action::Start, action).await,
        StoreCommand::Stop(action) => act(session, Action::Stop, action).await,
        StoreCommand::Restart(action) => act(session, Action::Restart, action).await,
        StoreCommand::Delete(delete) => deletion::delete(session, delete).await,
        StoreCommand::Undelete(action) => act(session, Action::Undelete, action).await,
        StoreCommand::Clone(clone) => deletion::clone(session, *clone).await,
        StoreCommand::Receipt { store } => deletion::receipt(session, &store).await,
        StoreCommand::Update(update) => amend::update(session, *update, false).await,
        StoreCommand::Diff(update) => amend::update(session, *update, true).await,
        StoreCommand::Revisions { store } => amend::revisions(session, &store).await,
        StoreCommand::Rollback(rollback) => amend::rollback(session, rollback).await,
        StoreCommand::RotateSecret(rotate) => amend::rotate(session, rotate).await,
        StoreCommand::Scale(scale) => amend::scale(session, scale).await,
        StoreCommand::Maintenance(command) => amend::maintenance(session, command).await,
        StoreCommand::Pause(asked) => amend::plainly(session, asked, Amendment::Pause).await,
        StoreCommand::Wake(asked) => amend::plainly(session, asked, Amendment::Wake).await,
        StoreCommand::Hold(hold) => amend::hold(session, hold).await,
        StoreCommand::Release(asked) => amend::plainly(session, asked, Amendment::Release).await,
        StoreCommand::Label(label) => amend::label(session, label).await,
        StoreCommand::Explain { store } => explain::explain(session, &store).await,
        StoreCommand::Events { store, follow } => events(session, &store, follow).await,
        StoreCommand::Ps { store } => {
            let store = session.client().await?.get_store(&store).await?;
            session.printer.list(
                &store.replicas,
                &format!("Nothing runs for `{}` ({}).", store.name, store.status),
                replicas,
            )
        }
        StoreCommand::Open { store, browser } => open(session, &store, browser).await,
        // Dispatched before; they need the operator's key.
        StoreCommand::Logs { .. } | StoreCommand::Credentials { .. } | StoreCommand::Task(_) => {
            Ok(())
        }
    }
}

pub(super) fn pairs(
    pairs: Vec<(String, String)>,
    flag: &str,
) -> anyhow::Result<BTreeMap<String, String>> {
    let mut map = BTreeMap::new();
    for (key, value) in pairs {
        if map.insert(key.clone(), value).is_some() {
            return Err(Failure::Usage(format!("{flag} {key} is given twice")).into());
        }
    }
    Ok(map)
}

async fn create(session: &Session, create: StoreCreate) -> anyhow::Result<()> {
    let new = NewStore {
        name: create.name,
        display_name: create.display_name,
        template: create.template,
        parameters: pairs(create.parameters, "--param")?,
        profiles: pairs(create.profiles, "--profile")?,
        labels: pairs(create.labels, "--label")?,
        environment: create.environment,
        hosts: create.hosts,
        resources: amend::limits(create.resources)?,
        images: pairs(create.images, "--image")?,
        isolation: create.isolation,
        project: create.project,
        reason: create.reason,
        idempotency_key: create.idempotency_key,
        node: create.node,
    };
    let client = session.client().await?;
    let operation = client.create_store(new).await?;
    finish(session, &client, operation, &create.wait).await
}

async fn act(session: &Session, action: Action, asked: StoreAction) -> anyhow::Result<()> {
    let client = session.client().await?;
    let operation = client
        .act(action, &asked.store, &asked.reason, asked.if_generation)
        .await?;
    finish(session, &client, operation, &asked.wait).await
}

/// Prints the operation, after waiting for its end if that was asked for.
pub(super) async fn finish(
    session: &Session,
    client: &Client,
    operation: Operation,
    wait: &Wait,
) -> anyhow::Result<()> {
    if !wait.wait {
        return session.printer.result(&operation, || accepted(&operation));
    }
    let ended = progress::follow(client, &operation.id, Duration::from_secs(wait.timeout)).await?;
    conclude(session, &ended)?;
    // After a delete there is nothing left to show, unless it can still be taken back.
    let store = if ended.kind == "delete" && ended.state.is_final() {
        None
    } else {
        Some(client.get_store(&ended.store_id).await?)
    };
    match store {
        Some(store) => session.printer.result(&store, || ready(&store)),
        None => session.printer.result(&ended, || {
            format!("store `{}` is deleted\n", plain(&ended.store_name))
        }),
    }
}

/// Whether an ended operation is what was asked for; if not, what its services said last.
pub(super) fn conclude(session: &Session, operation: &Operation) -> Result<(), Failure> {
    progress::judge(operation).inspect_err(|_| {
        sealed::tell_kept_logs(session, &operation.store_id, &operation.replicas);
    })
}

fn accepted(operation: &Operation) -> String {
    let Operation {
        kind,
        store_name,
        id,
        ..
    } = operation;
    if operation.state.is_final() {
        let message = operation
            .message
            .as_ref()
            .map(|text| format!(": {text}"))
            .unwrap_or_default();
        return format!(
            "{}\n",
            plain(&format!(
                "{kind} of `{store_name}`: {}{message}",
                operation.state
            ))
        );
    }
    format!(
        "{kind} of `{}` accepted as operation {}\nWatch it: shopctl operation watch {}\n",
        plain(store_name),
        plain(id),
        plain(id)
    )
}

fn ready(store: &Store) -> String {
    let mut text = format!(
        "store `{}` is {}\n",
        plain(&store.name),
        plain(&store.status)
    );
    if let (Some(at), Some(message)) = (&store.delete_at, &store.message) {
        text.push_str(&format!("  gone at: {}\n  {}\n", plain(at), plain(message)));
    }
    if store.status == "running" {
        if let Some(url) = &store.url {
            text.push_str(&format!("  shop:  {}\n", plain(url)));
        }
        if let Some(url) = &store.admin_url {
            text.push_str(&format!("  admin: {}\n", plain(url)));
            text.push_str(&format!(
                "  login: shopctl store credentials {}\n",
                plain(&store.name)
            ));
        }
    }
    text
}

async fn list(session: &Session, list: StoreList) -> anyhow::Result<()> {
    let stores = session
        .client()
        .await?
        .list_stores(&list.selector, &list.status, &list.sort)
        .await?;
    let empty = if list.selector.is_empty() && list.status.is_empty() {
        "There are no stores yet: shopctl store create NAME --template refshop --wait"
    } else {
        "No store matches."
    };
    let now = Timestamp::now();
    session.printer.list(&stores, empty, |stores| {
        let mut table = Table::new(&["NAME", "STATUS", "TEMPLATE", "NODE", "AGE", "URL"]);
        for store in stores {
            let status = match &store.reason {
                Some(reason) => format!("{} ({reason})", store.status),
                None => store.status.clone(),
            };
            table.row(vec![
                store.name.clone(),
                status,
                format!("{}@{}", store.template, store.template_version),
                or_dash(store.node.as_deref()),
                ago(&store.created_at, now),
                or_dash(store.url.as_deref()),
            ]);
        }
        table
    })
}

fn describe(store: &Store) -> String {
    let map = |map: &BTreeMap<String, String>| {
        map.iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect::<Vec<_>>()
            .join(" ")
    };
    let lines = [
        ("name", store.name.clone()),
        ("display name", or_dash(store.display_name.as_deref())),
        ("id", store.id.clone()),
        ("status", store.status.clone()),
        ("reason", or_dash(store.reason.as_deref())),
        ("message", or_dash(store.message.as_deref())),
        ("desired state", store.desired_state.clone()),
        ("deleted at", or_dash(store.delete_at.as_deref())),
        ("url", or_dash(store.url.as_deref())),
        ("admin url", or_dash(store.admin_url.as_deref())),
        ("hosts", or_dash(Some(&store.hosts.join(" ")))),
        (
            "template",
            format!(
                "{}@{} (revision r{})",
                store.template, store.template_version, store.revision
            ),
        ),
        ("profiles", or_dash(Some(&map(&store.profiles)))),
        ("parameters", or_dash(Some(&map(&store.parameters)))),
        ("images", or_dash(Some(&map(&store.images)))),
        ("labels", or_dash(Some(&map(&store.labels)))),
        (
            "project",
            format!(
                "{}/{} ({})",
                store.organisation, store.project, store.environment
            ),
        ),
        ("node", or_dash(store.node.as_deref())),
        ("isolation", store.isolation.clone()),
        (
            "generation",
            format!(
                "{} (agent has {})",
                store.generation, store.observed_generation
            ),
        ),
        (
            "reserved",
            format!(
                "{} memory, {}m CPU",
                bytes(store.reserved_memory_bytes),
                store.reserved_cpu_millis
            ),
        ),
        ("created", store.created_at.clone()),
        ("updated", store.updated_at.clone()),
    ];
    let mut text = String::new();
    for (label, value) in lines {
        text.push_str(&format!("{label:<14} {}\n", plain(&value)));
    }
    if !store.replicas.is_empty() {
        text.push('\n');
        text.push_str(&replicas(&store.replicas).render());
    }
    text
}

fn replicas(replicas: &[Replica]) -> Table {
    let now = Timestamp::now();
    let mut table = Table::new(&[
        "SERVICE",
        "SLOT",
        "REPLICA",
        "PHASE",
        "SINCE",
        "RESTARTS",
        "EXIT CODE",
        "REASON",
    ]);
    for replica in replicas {
        let reason = match (&replica.reason, replica.oom_killed) {
            (Some(reason), true) => format!("{reason}, out of memory"),
            (Some(reason), false) => reason.clone(),
            (None, true) => "out of memory".to_owned(),
            (None, false) => "-".to_owned(),
        };
        table.row(vec![
            replica.service.clone(),
            replica.slot.clone(),
            replica.replica.to_string(),
            replica.phase.clone(),
            replica
                .since
                .as_deref()
                .map_or_else(|| "-".to_owned(), |since| ago(since, now)),
            replica.restarts.to_string(),
            replica
                .exit_code
                .map_or_else(|| "-".to_owned(), |code| code.to_string()),
            reason,
        ]);
    }
    table
}

async fn events(session: &Session, store: &str, follow: bool) -> anyhow::Result<()> {
    let client = session.client().await?;
    let mut events = client.list_events(store, 0).await?;
    if !follow {
        return session.printer.list(
            &events,
            "Nothing has happened to this store yet.",
            |events| {
                let mut table = Table::new(&["AT", "SEVERITY", "CODE", "SERVICE", "MESSAGE"]);
                for event in events {
                    table.row(vec![
                        event.at.clone(),
                        event.severity.clone(),
                        event.code.clone(),
                        or_dash(event.service.as_deref()),
                        event.message.clone(),
                    ]);
                }
                table
            },
        );
    }
    let mut seen = 0;
    loop {
        for event in &events {
            session.printer.item(event, || line(event))?;
            seen = event.seq;
        }
        sleep(FOLLOW_EVERY).await;
        events = loop {
            match client.list_events(store, seen).await {
                Err(problem) if problem.passes() => sleep(FOLLOW_EVERY).await,
                listed => break listed?,
            }
        };
    }
}

fn line(event: &Event) -> String {
    let service = event
        .service
        .as_ref()
        .map(|service| format!(" [{service}]"))
        .unwrap_or_default();
    format!(
        "{} {:<7} {}{service} {}",
        event.at, event.severity, event.code, event.message
    )
}

async fn open(session: &Session, store: &str, browser: bool) -> anyhow::Result<()> {
    let store = session.client().await?.get_store(store).await?;
    let Some(url) = &store.url else {
        return Err(Failure::Failed(format!(
            "store `{}` has no address yet ({}); wait for it: shopctl store get {}",
            store.name, store.status, store.name
        ))
        .into());
    };
    session
        .printer
        .result(&store, || format!("{}\n", plain(url)))?;
    if browser {
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(Failure::Failed(
                "this address is no web address; it was not opened".to_owned(),
            )
            .into());
        }
        let opened = tokio::process::Command::new("xdg-open")
            .arg(url)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .await;
        if !opened.is_ok_and(|status| status.success()) {
            note("no browser could be opened here; use the address above");
        }
    }
    Ok(())
}

//! `store update|diff|rollback|rotate-secret|scale|maintenance|pause|wake|hold|release|label|revisions`: changes of a store that goes on serving.

use std::collections::BTreeMap;

use super::{
    Session,
    stores::{finish, pairs},
};
use crate::{
    cli::{
        Change, Limit, Limited, MaintenanceCommand, Plain, StoreHold, StoreLabel, StoreRollback,
        StoreRotate, StoreScale, StoreUpdate,
    },
    client::{Amend, Amended, Amendment, Update},
    failure::Failure,
    output::{Table, bytes, or_dash, plain},
    view::{FieldPreview, Preview, Revision, ServicePreview},
};

pub(super) async fn update(
    session: &Session,
    update: StoreUpdate,
    only_diff: bool,
) -> anyhow::Result<()> {
    let mut change = update.change;
    change.dry_run |= only_diff;
    let what = Amendment::Update(Box::new(Update {
        template: update.template,
        parameters: pairs(update.parameters, "--set")?,
        unset: update.unset,
        profiles: pairs(update.profiles, "--profile")?,
        resources: limits(update.resources)?,
        images: pairs(update.images, "--image")?,
        window_seconds: update.window,
        allow_irreversible: update.allow_irreversible,
    }));
    amend(session, update.store, change, what).await
}

pub(super) async fn rollback(session: &Session, back: StoreRollback) -> anyhow::Result<()> {
    let what = Amendment::Rollback {
        revision: back.revision,
        allow_irreversible: back.allow_irreversible,
    };
    amend(session, back.store, back.change, what).await
}

pub(super) async fn rotate(session: &Session, rotate: StoreRotate) -> anyhow::Result<()> {
    let what = Amendment::Rotate {
        names: rotate.secrets,
        all: rotate.all,
    };
    amend(session, rotate.store, rotate.change, what).await
}

pub(super) async fn scale(session: &Session, scale: StoreScale) -> anyhow::Result<()> {
    let what = Amendment::Scale(once(scale.replicas, "")?);
    amend(session, scale.store, scale.change, what).await
}

pub(super) async fn maintenance(
    session: &Session,
    command: MaintenanceCommand,
) -> anyhow::Result<()> {
    let (on, asked) = match command {
        MaintenanceCommand::On(asked) => (true, asked),
        MaintenanceCommand::Off(asked) => (false, asked),
    };
    plainly(session, asked, Amendment::Maintenance(on)).await
}

pub(super) async fn hold(session: &Session, hold: StoreHold) -> anyhow::Result<()> {
    let what = Amendment::Hold(hold.time);
    amend(session, hold.store, hold.change, what).await
}

/// A change that needs no more than a store.
pub(super) async fn plainly(
    session: &Session,
    asked: Plain,
    what: Amendment,
) -> anyhow::Result<()> {
    amend(session, asked.store, asked.change, what).await
}

async fn amend(
    session: &Session,
    store: String,
    change: Change,
    what: Amendment,
) -> anyhow::Result<()> {
    let client = session.client().await?;
    let asked = Amend {
        store,
        reason: change.reason,
        if_generation: change.if_generation,
        dry_run: change.dry_run,
        what,
    };
    match client.amend(asked).await? {
        Amended::Accepted(operation) => finish(session, &client, *operation, &change.wait).await,
        Amended::Preview(preview) => session.printer.result(&preview, || told(&preview)),
    }
}

pub(super) async fn label(session: &Session, label: StoreLabel) -> anyhow::Result<()> {
    let client = session.client().await?;
    let store = client
        .label(
            &label.store,
            label.labels,
            &label.display_name,
            &label.reason,
        )
        .await?;
    session.printer.result(&store, || {
        let labels: Vec<String> = store
            .labels
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        format!(
            "store `{}`: {}\n",
            plain(&store.name),
            plain(&or_dash(Some(&labels.join(" "))))
        )
    })
}

pub(super) async fn revisions(session: &Session, store: &str) -> anyhow::Result<()> {
    let revisions = session.client().await?.list_revisions(store).await?;
    session
        .printer
        .list(&revisions, "No revision is kept.", |revisions| {
            let mut table = Table::new(&["REVISION", "STATE", "TEMPLATE", "CREATED", "BY", "WHY"]);
            for revision in revisions {
                table.row(vec![
                    format!("r{}", revision.number),
                    state(revision),
                    format!("{}@{}", revision.template, revision.template_version),
                    revision.created_at.clone(),
                    revision.created_by.clone(),
                    why(revision),
                ]);
            }
            table
        })
}

fn state(revision: &Revision) -> String {
    match (revision.state.as_str(), revision.wanted) {
        ("pending", true) => "on its way".to_owned(),
        ("pending", false) => "never served".to_owned(),
        (state, _) => state.replace('_', " "),
    }
}

fn why(revision: &Revision) -> String {
    match (&revision.held_reason, &revision.held_message) {
        (Some(reason), Some(message)) => format!("{reason}: {message}"),
        (Some(reason), None) => reason.clone(),
        _ => or_dash(revision.reason.as_deref()),
    }
}

/// Limits of each service together; each at most once.
pub(super) fn limits(limits: Vec<Limit>) -> anyhow::Result<BTreeMap<String, (u64, u32)>> {
    let mut map: BTreeMap<String, (u64, u32)> = BTreeMap::new();
    for Limit { service, what } in limits {
        let entry = map.entry(service.clone()).or_default();
        let twice = match what {
            Limited::Memory(bytes) => std::mem::replace(&mut entry.0, bytes) != 0,
            Limited::CpuMillis(millis) => std::mem::replace(&mut entry.1, millis) != 0,
        };
        if twice {
            return Err(Failure::Usage(format!("--resources {service} is given twice")).into());
        }
    }
    Ok(map)
}

fn once<T>(pairs: Vec<(String, T)>, flag: &str) -> anyhow::Result<BTreeMap<String, T>> {
    let mut map = BTreeMap::new();
    for (key, value) in pairs {
        if map.insert(key.clone(), value).is_some() {
            let message = format!("{flag} {key} is given twice");
            return Err(Failure::Usage(message.trim().to_owned()).into());
        }
    }
    Ok(map)
}

/// What a change would do, as a person reads it.
fn told(preview: &Preview) -> String {
    let mut lines = Vec::new();
    if let (Some(code), Some(message)) = (&preview.refused_code, &preview.refused_message) {
        lines.push(format!("It would be refused ({code}): {message}"));
        lines.push(String::new());
    } else if preview.unchanged {
        return "Nothing would change: it is so already.\n".to_owned();
    }
    let Preview {
        from_revision: from,
        to_revision: to,
        ..
    } = preview;
    if from == to {
        lines.push(format!("revision r{to} stays"));
    } else {
        lines.push(format!(
            "revision r{from} ({}) → r{to} ({})",
            preview.from_template, preview.to_template
        ));
    }
    lines.extend(preview.settings.iter().map(field));
    for service in &preview.services {
        let fields = service.fields.iter().map(field);
        if service.change != "same" || service.restarts != "never" {
            lines.push(format!("{}: {}", service.service, effect(service)));
            lines.extend(fields.map(|line| format!("  {line}")));
        }
    }
    let (before, after) = (
        preview.reserved_memory_bytes_before,
        preview.reserved_memory_bytes_after,
    );
    if before != after {
        lines.push(format!(
            "reserved memory: {} → {}",
            bytes(before),
            bytes(after)
        ));
    }
    lines.extend(
        preview
            .warnings
            .iter()
            .map(|warning| format!("note: {warning}")),
    );
    lines.push("Nothing was changed.".to_owned());
    lines
        .iter()
        .map(|line| format!("{}\n", plain(line)))
        .collect()
}

fn effect(service: &ServicePreview) -> String {
    let restarts = match service.restarts.as_str() {
        "never" => "does not restart",
        "in-free-slot" => "starts anew beside the one that serves; nobody waits",
        "stop-first" => "stops, then starts anew",
        "live" => "takes it while it runs",
        other => other,
    };
    let back = if service.reversible {
        ""
    } else {
        "; going back does not undo it"
    };
    format!("{}, {restarts}{back}", service.change.replace('-', " "))
}

fn field(field: &FieldPreview) -> String {
    format!(
        "  {}: {} → {}",
        field.field,
        or_dash(field.from.as_deref()),
        or_dash(field.to.as_deref())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preview_says_what_restarts_and_what_has_no_way_back() {
        let preview = Preview {
            from_revision: 1,
            to_revision: 2,
            from_template: "refshop@1.0.0".to_owned(),
            to_template: "refshop@2.0.0".to_owned(),
            services: vec![ServicePreview {
                service: "db".to_owned(),
                change: "recreated".to_owned(),
                restarts: "stop-first".to_owned(),
                reversible: false,
                fields: vec![FieldPreview {
                    field: "image".to_owned(),
                    from: Some("a".to_owned()),
                    to: Some("b".to_owned()),
                }],
            }],
            ..Preview::default()
        };
        let text = told(&preview);
        for words in [
            "r1 (refshop@1.0.0) → r2 (refshop@2.0.0)",
            "db: recreated, stops, then starts anew; going back does not undo it",
            "image: a → b",
            "Nothing was changed.",
        ] {
            assert!(text.contains(words), "{text}");
        }
    }

    #[test]
    fn limits_of_one_service_go_together() {
        let limit = |what| Limit {
            service: "db".to_owned(),
            what,
        };
        let both = limits(vec![
            limit(Limited::Memory(1)),
            limit(Limited::CpuMillis(2)),
        ])
        .unwrap();
        assert_eq!(both["db"], (1, 2));
        assert!(limits(vec![limit(Limited::Memory(1)), limit(Limited::Memory(2))]).is_err());
    }
}

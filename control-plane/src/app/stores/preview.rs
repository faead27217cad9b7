//! What a change would do, in words and by service; and where a database refuses it.

use std::collections::BTreeMap;

use shop_plan::{Change, FieldChange, Migration, Restarts, ServiceKind, StorePlan, Transition};
use shop_proto::{Revision, Spec};

use super::amend::Worked;
use crate::{
    app::{AppError, Preview},
    db::Tx,
    domain::{amend::Target, operation::OperationKind, store::Store},
};

/// Why a change is refused.
pub(super) struct Refused {
    pub code: &'static str,
    pub message: String,
}

/// Where a change begins: at the revision that is wanted, and at the one that serves while they differ.
pub(super) async fn origins(tx: &mut Tx, store: &Store) -> Result<Vec<Revision>, AppError> {
    // What waits for room was never tried.
    let (_, ordered) = store.ordered();
    let mut origins = vec![ordered.revision.clone()];
    let serving = store
        .report
        .as_ref()
        .map_or(0, |report| report.serving_revision);
    if serving != 0
        && serving != ordered.revision.number
        && let Some(kept) = tx.revision(&store.id, serving).await?
    {
        origins.push(kept.content);
    }
    Ok(origins)
}

/// Code that cannot run on what the store's database has become.
pub(super) fn too_new(store: &Store, revision: &Revision, template_version: &str) -> Refused {
    Refused {
        code: "schema_too_new",
        message: format!(
            "the database of store {} was changed for good by a newer version, and {}@{template_version} cannot run on it; \
             stay, or update to a newer version: `shopctl template list`",
            store.name, revision.template
        ),
    }
}

/// Whether the database lets a store go there.
pub(super) fn database(
    store: &Store,
    target: &Target,
    transition: &Transition,
    irreversible_allowed: bool,
) -> Option<Refused> {
    let name = &store.name;
    let revision = &target.spec.revision;
    let to = format!("{}@{}", revision.template, target.template_version);
    if transition.back_refused {
        return Some(too_new(store, revision, &target.template_version));
    }
    if transition.migration == Migration::Irreversible && !irreversible_allowed {
        return Some(Refused {
            code: "irreversible",
            message: format!(
                "{to} changes the database of store {name} for good: buyers see a maintenance page meanwhile, and there is no way back to \
                 revision r{}. Look at it with `shopctl store diff`; go on with --allow-irreversible",
                store.spec.revision.number
            ),
        });
    }
    None
}

/// Where a change begins, rendered.
pub(super) struct Origin {
    pub revision: u64,
    /// `refshop@1.0.0`.
    pub template: String,
    pub plan: StorePlan,
}

/// What the change would do, compared with what serves.
pub(super) fn preview(
    store: &Store,
    kind: OperationKind,
    worked: Worked,
    origin: Option<Origin>,
    unchanged: bool,
    refused: Option<Refused>,
) -> Preview {
    let Worked {
        target,
        plan,
        notes,
        ..
    } = worked;
    let mut transition = origin
        .as_ref()
        .map(|origin| shop_plan::transition(&origin.plan, &plan));
    if kind == OperationKind::Rotate
        && let Some(transition) = transition.as_mut()
    {
        in_free_slot(transition);
    }
    let revision = &target.spec.revision;
    let mut warnings = notes;
    if let Some(transition) = &transition {
        warn(&mut warnings, transition);
    }
    let (from_revision, from_template) = origin
        .map(|origin| (origin.revision, origin.template))
        .unwrap_or_default();
    let mut settings = differences(&settings(&store.spec), &settings(&target.spec));
    let state = match kind {
        OperationKind::Pause => Some("paused"),
        OperationKind::Wake => Some("running"),
        _ => None,
    };
    if let Some(state) = state.filter(|state| *state != store.lifecycle.as_str()) {
        settings.push(FieldChange {
            field: "run_state".to_owned(),
            from: Some(store.lifecycle.as_str().to_owned()),
            to: Some(state.to_owned()),
        });
    }
    Preview {
        kind,
        unchanged,
        from_revision,
        to_revision: revision.number,
        from_template,
        to_template: format!("{}@{}", revision.template, target.template_version),
        migration: transition
            .as_ref()
            .map_or(Migration::None, |transition| transition.migration),
        slots: transition
            .as_ref()
            .is_some_and(|transition| transition.slots),
        services: transition
            .map(|transition| transition.services)
            .unwrap_or_default(),
        settings,
        reserved_before: store.reserved,
        reserved_after: if kind == OperationKind::Pause {
            crate::domain::store::Reservation::default()
        } else {
            target.reserved
        },
        warnings,
        refused: refused.map(|refused| (refused.code.to_owned(), refused.message)),
    }
}

/// Whatever else changes: containers that never had the old values take the place of those that had.
fn in_free_slot(transition: &mut Transition) {
    transition.slots = true;
    let slotted = transition.services.iter_mut();
    for service in slotted.filter(|service| service.kind.slotted()) {
        service.restarts = Restarts::InFreeSlot;
    }
}

fn warn(warnings: &mut Vec<String>, transition: &Transition) {
    match transition.migration {
        Migration::Irreversible => warnings.push(
            "the database is changed for good: buyers see a maintenance page until the new revision has proved itself, and there is no way back"
                .to_owned(),
        ),
        Migration::Reversible => warnings.push(
            "the database is extended first; what serves now works with it, so going back is a switch back".to_owned(),
        ),
        Migration::None => {}
    }
    for service in &transition.services {
        if service.restarts == Restarts::StopFirst {
            let who = match service.kind {
                ServiceKind::Worker => "background work waits",
                _ => "buyers wait",
            };
            warnings.push(format!(
                "{} stops before it starts anew, and {who} for as long as that takes",
                service.service
            ));
        }
        if !service.reversible && service.change != Change::Same {
            warnings.push(format!(
                "going back does not undo what changes about {}",
                service.service
            ));
        }
    }
}

/// What an operator set, by field.
fn settings(spec: &Spec) -> BTreeMap<String, String> {
    let revision = &spec.revision;
    let mut fields = BTreeMap::new();
    for (name, value) in &revision.parameters {
        fields.insert(format!("parameters.{name}"), value.clone());
    }
    for (name, choice) in &revision.profiles {
        fields.insert(format!("profiles.{name}"), choice.clone());
    }
    for (service, limits) in &revision.resources {
        if let Some(bytes) = limits.memory_bytes {
            fields.insert(format!("resources.{service}.memory"), bytes.to_string());
        }
        if let Some(millis) = limits.cpu_millis {
            fields.insert(format!("resources.{service}.cpu"), format!("{millis}m"));
        }
    }
    for (service, image) in &revision.images {
        fields.insert(format!("images.{service}"), image.clone());
    }
    for (service, replicas) in &spec.scale {
        fields.insert(format!("scale.{service}"), replicas.to_string());
    }
    for (name, generation) in &spec.rotations {
        let value = format!("value asked for by generation {generation}");
        fields.insert(format!("secrets.{name}"), value);
    }
    if spec.maintenance {
        fields.insert("maintenance".to_owned(), "on".to_owned());
    }
    if let Some(until) = spec
        .hold_until_unix_ms
        .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok())
    {
        fields.insert("hold_until".to_owned(), until.to_string());
    }
    if let Some(watch) = spec.watch {
        for (name, value) in [
            ("window_seconds", watch.window_seconds),
            ("failed_checks", watch.failed_checks),
            ("restarts", watch.restarts),
            ("error_permille", watch.error_permille),
            ("error_factor", watch.error_factor),
            ("min_requests", watch.min_requests),
        ] {
            fields.insert(format!("watch.{name}"), value.to_string());
        }
    }
    fields
}

fn differences(
    before: &BTreeMap<String, String>,
    after: &BTreeMap<String, String>,
) -> Vec<FieldChange> {
    let names: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    names
        .into_iter()
        .map(|name| FieldChange {
            field: name.clone(),
            from: before.get(name).cloned(),
            to: after.get(name).cloned(),
        })
        .filter(|change| change.from != change.to)
        .collect()
}

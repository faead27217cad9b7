//! What a change asks for, as the spec it leads to. Everything that is wrong is found at once; nothing is written.

use std::{collections::BTreeMap, time::Duration};

use jiff::{SignedDuration, Timestamp};
use shop_plan::{Catalogue, Choices, Template};
use shop_proto::{Isolation, ReplicaKey, Resources, Revision, ServiceName, Spec, Watch};

use super::{check::escape, rotation};
use crate::{
    app::{Amendment, AppError, Problem, ResourcesInput, UpdateStore, WatchInput},
    domain::{
        revision::{KeptRevision, NoWayBack, way_back},
        store::Store,
    },
};

/// A hold is for the length of a repair, not for ever.
const LONGEST_HOLD: Duration = Duration::from_secs(7 * 24 * 3600);

/// The spec after a change.
pub(super) struct Wished {
    pub spec: Spec,
    /// The revision is not one that is kept.
    pub fresh: bool,
    /// What was left out, and why.
    pub notes: Vec<String>,
}

/// What can be found wrong without looking at the store.
pub(super) fn check(what: &Amendment, problems: &mut Vec<Problem>) {
    match what {
        Amendment::Update(update) if !matches!(update.isolation.as_str(), "" | "standard") => {
            problems.push(Problem::at(
                "/isolation",
                "unknown_isolation",
                "the isolation mode of this release is standard",
            ));
        }
        Amendment::Scale(scale) if scale.is_empty() => problems.push(Problem::at(
            "/replicas",
            "required",
            "say how many of which service, such as web: 2",
        )),
        Amendment::Rotate(secrets) if secrets.names.is_empty() && !secrets.all => {
            problems.push(Problem::at(
                "/secrets",
                "required",
                "name the secrets, such as db_password, or ask for all that can be rotated",
            ));
        }
        Amendment::Hold(time) if time.is_zero() || *time > LONGEST_HOLD => {
            problems.push(Problem::at(
                "/for_seconds",
                "out_of_range",
                "a hold lasts from one second to seven days",
            ));
        }
        _ => {}
    }
}

/// The spec that a change leads to. `kept` are the store's revisions, for those changes that concern them.
pub(super) fn wished(
    catalogue: &'static Catalogue,
    store: &Store,
    kept: &[KeptRevision],
    what: &Amendment,
    now: Timestamp,
) -> Result<Wished, AppError> {
    let mut wished = Wished {
        spec: store.spec.clone(),
        fresh: false,
        notes: Vec::new(),
    };
    match what {
        Amendment::Update(update) => {
            let revision = updated(catalogue, store, kept, update, &mut wished.notes)?;
            wished.spec.watch = watch(store, update.watch)?;
            // The number alone is no difference.
            let same = Revision {
                number: store.spec.revision.number,
                ..revision.clone()
            } == store.spec.revision;
            if !same {
                wished.fresh = true;
                wished.spec.revision = revision;
            }
        }
        Amendment::Rollback { number, .. } => {
            // What waits for room is withdrawn, whatever else it asked for.
            wished.spec = store.ordered().1.clone();
            wished.spec.revision = back(store, kept, *number)?.content.clone();
        }
        Amendment::Rotate(secrets) => {
            rotation::rotate(catalogue, store, secrets, &mut wished.spec)?;
            wished.spec.revision.number = next_number(store, kept);
            wished.fresh = true;
        }
        Amendment::Scale(replicas) => {
            let template = catalogue.by_digest(&store.spec.revision.template_digest);
            scale(&mut wished.spec, store, template, replicas)?;
        }
        Amendment::Maintenance(on) => wished.spec.maintenance = *on,
        Amendment::Hold(time) => {
            let time = SignedDuration::try_from(*time).unwrap_or(SignedDuration::MAX);
            let until = now.saturating_add(time).unwrap_or(Timestamp::MAX);
            wished.spec.hold_until_unix_ms = Some(until.as_millisecond());
        }
        Amendment::Release => wished.spec.hold_until_unix_ms = None,
        Amendment::Configure { watch: input } => wished.spec.watch = watch(store, *input)?,
        Amendment::Pause | Amendment::Wake => {}
    }
    Ok(wished)
}

/// The wanted revision with what was asked for in its place, under the next number.
fn updated(
    catalogue: &'static Catalogue,
    store: &Store,
    kept: &[KeptRevision],
    update: &UpdateStore,
    notes: &mut Vec<String>,
) -> Result<Revision, AppError> {
    let current = &store.spec.revision;
    let template = template(catalogue, store, update)?;
    let other = template.digest != current.template_digest;
    let known = |name: &str| {
        template
            .manifest
            .parameters
            .keys()
            .any(|parameter| parameter.as_str() == name)
    };
    let mut choices = Choices {
        parameters: current.parameters.clone(),
        profiles: current.profiles.clone(),
        resources: current
            .resources
            .iter()
            .map(|(service, resources)| (service.to_string(), *resources))
            .collect(),
        images: BTreeMap::new(),
    };
    if other {
        // What this version does not know any more, it cannot keep.
        let services: Vec<String> = template
            .service_names()
            .iter()
            .map(ToString::to_string)
            .collect();
        let mut left_out = |what: &str, name: &str| {
            notes.push(format!(
                "{what} {name} is left out: {}@{} does not know it",
                template.name, template.version
            ));
        };
        choices.parameters.retain(|name, _| {
            known(name) || {
                left_out("parameter", name);
                false
            }
        });
        choices.profiles.retain(|name, choice| {
            let keeps = template
                .manifest
                .profiles
                .get(name)
                .is_some_and(|profile| profile.choices.contains(choice));
            keeps || {
                left_out("profile", name);
                false
            }
        });
        choices.resources.retain(|name, _| {
            services.contains(name) || {
                left_out("limits of service", name);
                false
            }
        });
    }
    for (name, value) in &update.parameters {
        match value {
            Some(value) => choices.parameters.insert(name.clone(), value.clone()),
            None => choices.parameters.remove(name),
        };
    }
    choices.profiles.extend(update.profiles.clone());
    choices.images = images(catalogue, store, update, (template, &choices), notes);
    for (service, limits) in &update.resources {
        merge(
            choices.resources.entry(service.clone()).or_default(),
            *limits,
        );
    }
    choices
        .resources
        .retain(|_, limits| *limits != Resources::default());
    let number = next_number(store, kept);
    template
        .revision(number, &choices, Isolation::Standard)
        .map_err(|found| AppError::Invalid {
            problems: found
                .into_iter()
                .map(|one| Problem::at(one.pointer, one.code.as_str(), one.message))
                .collect(),
        })
}

/// Images in place of the template's: those that are named, and those that were chosen and still stand for the same one.
fn images(
    catalogue: &'static Catalogue,
    store: &Store,
    update: &UpdateStore,
    (template, choices): (&Template, &Choices),
    notes: &mut Vec<String>,
) -> BTreeMap<String, String> {
    let current = &store.spec.revision;
    let before = catalogue.by_digest(&current.template_digest);
    let named = |(service, image): (&String, &Option<String>)| {
        image.clone().map(|image| (service.clone(), image))
    };
    let mut images: BTreeMap<String, String> = update.images.iter().filter_map(named).collect();
    for (service, image) in &current.images {
        if update.images.contains_key(service.as_str()) {
            continue;
        }
        let own = template.own_image(service, &choices.profiles);
        let stood_for = before.and_then(|before| before.own_image(service, &current.profiles));
        if own.is_some() && own == stood_for {
            images.insert(service.to_string(), image.clone());
        } else {
            notes.push(format!(
                "image {image} of {service} is left out: it stood for another one than {}@{} brings; name it again to keep it",
                template.name, template.version
            ));
        }
    }
    images
}

fn next_number(store: &Store, kept: &[KeptRevision]) -> u64 {
    let kept = kept.iter().map(|revision| revision.content.number);
    kept.chain([store.spec.revision.number]).max().unwrap_or(0) + 1
}

fn template(
    catalogue: &'static Catalogue,
    store: &Store,
    update: &UpdateStore,
) -> Result<&'static Template, AppError> {
    let current = &store.spec.revision;
    let wrong = |code: &str, message: String| AppError::Invalid {
        problems: vec![Problem::at("/template", code, message)],
    };
    if update.template.is_empty() {
        return catalogue
            .by_digest(&current.template_digest)
            .ok_or_else(|| {
                let message = "this release does not carry the store's template any more; name another version of it";
                wrong("template_gone", message.to_owned())
            });
    }
    let Some(template) = catalogue.find(&update.template) else {
        let known: Vec<String> = catalogue
            .iter()
            .filter(|template| template.name == current.template)
            .map(|template| format!("{}@{}", template.name, template.version))
            .collect();
        return Err(wrong(
            "unknown_template",
            format!("there is no such template; there are {}", known.join(", ")),
        ));
    };
    if template.name == current.template {
        Ok(template)
    } else {
        Err(wrong(
            "other_template",
            format!(
                "store {} is a {} shop, and its data is no {} shop's; create another store for that",
                store.name, current.template, template.name
            ),
        ))
    }
}

/// 0 goes back to the template's value, once both are named; one that is not named stays.
fn merge(limits: &mut Resources, input: ResourcesInput) {
    if input == ResourcesInput::default() {
        *limits = Resources::default();
        return;
    }
    if input.memory_bytes > 0 {
        limits.memory_bytes = Some(input.memory_bytes);
    }
    if input.cpu_millis > 0 {
        limits.cpu_millis = Some(input.cpu_millis);
    }
}

fn back<'a>(
    store: &Store,
    kept: &'a [KeptRevision],
    number: Option<u64>,
) -> Result<&'a KeptRevision, AppError> {
    let name = &store.name;
    way_back(kept, store.spec.revision.number, number).map_err(|reason| match reason {
        NoWayBack::Nothing => AppError::conflict(
            "no_revision",
            format!("store {name} has no earlier revision that served; see `shopctl store revisions {name}`"),
        ),
        NoWayBack::Unknown => AppError::Invalid {
            problems: vec![Problem::at(
                "/revision",
                "unknown_revision",
                format!("this revision is not kept; see `shopctl store revisions {name}`"),
            )],
        },
    })
}

fn watch(store: &Store, input: WatchInput) -> Result<Option<Watch>, AppError> {
    if input == WatchInput::default() {
        return Ok(store.spec.watch);
    }
    let set = store.spec.watch.unwrap_or_default();
    let or = |asked: u32, set: u32| if asked == 0 { set } else { asked };
    let watch = Watch {
        window_seconds: or(input.window_seconds, set.window_seconds),
        failed_checks: or(input.failed_checks, set.failed_checks),
        restarts: or(input.restarts, set.restarts),
        error_permille: or(input.error_permille, set.error_permille),
        error_factor: or(input.error_factor, set.error_factor),
        min_requests: or(input.min_requests, set.min_requests),
    };
    watch.check().map_err(|error| AppError::Invalid {
        problems: vec![Problem::at(
            format!("/watch/{}", error.field),
            "out_of_range",
            error.to_string(),
        )],
    })?;
    // As if nothing had been set: digests of specs stay what they are.
    Ok((watch != Watch::default()).then_some(watch))
}

fn scale(
    spec: &mut Spec,
    store: &Store,
    template: Option<&Template>,
    replicas: &BTreeMap<String, u32>,
) -> Result<(), AppError> {
    let plan = template.and_then(|template| {
        shop_plan::render(&store.id, &spec.revision, template, store.render_version).ok()
    });
    let slotted: Vec<ServiceName> = plan
        .map(|plan| {
            plan.services
                .into_iter()
                .filter(|service| service.kind.slotted())
                .map(|service| service.name)
                .collect()
        })
        .unwrap_or_default();
    let mut problems = Vec::new();
    for (name, wanted) in replicas {
        let pointer = format!("/replicas/{}", escape(name));
        let Some(service) = slotted.iter().find(|service| service.as_str() == name) else {
            let known: Vec<&str> = slotted.iter().map(ServiceName::as_str).collect();
            problems.push(Problem::at(
                pointer,
                "not_scalable",
                format!(
                    "this service runs once; those that scale are {}",
                    known.join(", ")
                ),
            ));
            continue;
        };
        let most = u32::from(ReplicaKey::MAX_REPLICAS);
        match u8::try_from(*wanted) {
            Ok(wanted) if (1..=ReplicaKey::MAX_REPLICAS).contains(&wanted) => {
                // Absent means 1.
                if wanted == 1 {
                    spec.scale.remove(service);
                } else {
                    spec.scale.insert(service.clone(), wanted);
                }
            }
            _ => problems.push(Problem::at(
                pointer,
                "out_of_range",
                format!("a service has 1 to {most} replicas; to have none, pause the store"),
            )),
        }
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(AppError::Invalid { problems })
    }
}

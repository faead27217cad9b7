//! Everything that can be wrong with a new store, found at once. What needs the database is asked in `create`.

use std::collections::{BTreeMap, BTreeSet};

use shop_plan::{Choices, Template};
use shop_proto::{HostName, Isolation, NodeId, Resources, Revision, ServiceName, StoreName};

use super::{check_key, check_reason};
use crate::{
    app::{App, CreateStore, Problem},
    domain::{
        selector::{self, MAX_LABELS},
        store::Environment,
    },
};

/// Extra host names of one store.
const MAX_HOSTS: usize = 20;
/// Longest display name, in characters.
const MAX_DISPLAY_NAME: usize = 100;

/// A new store that is right as far as can be said without the database.
pub(super) struct Checked {
    pub name: StoreName,
    pub display_name: String,
    pub environment: Environment,
    pub labels: BTreeMap<String, String>,
    pub hosts: Vec<HostName>,
    pub node: Option<NodeId>,
    pub project: String,
    pub template: &'static Template,
    pub revision: Revision,
    pub scale: BTreeMap<ServiceName, u8>,
}

/// Parts that were right, for the questions to the database that can be asked already.
#[derive(Default)]
pub(super) struct Partial {
    pub name: Option<StoreName>,
    pub hosts: Vec<(usize, HostName)>,
    pub node: Option<NodeId>,
}

pub(super) fn check(app: &App, input: &CreateStore) -> (Result<Checked, Vec<Problem>>, Partial) {
    let mut problems = Vec::new();
    let name = input
        .name
        .parse::<StoreName>()
        .map_err(|error| problems.push(Problem::at("/name", "name_shape", error.to_string())))
        .ok();
    let display_name = display_name(&input.display_name, &mut problems);
    let environment = match input.environment.as_str() {
        "" => Some(Environment::Production),
        text => text
            .parse()
            .map_err(|error: crate::domain::store::EnvironmentError| {
                problems.push(Problem::at(
                    "/environment",
                    "unknown_environment",
                    error.to_string(),
                ));
            })
            .ok(),
    };
    if !matches!(input.isolation.as_str(), "" | "standard") {
        problems.push(Problem::at(
            "/isolation",
            "unknown_isolation",
            "the isolation mode of this release is standard",
        ));
    }
    check_labels(&input.labels, &mut problems);
    let hosts = hosts(app, &input.hosts, &mut problems);
    let node = match input.node.as_str() {
        "" => None,
        text => text
            .parse::<NodeId>()
            .map_err(|_| {
                problems.push(Problem::at(
                    "/node",
                    "unknown_node",
                    "there is no such node; see `shopctl node list`",
                ));
            })
            .ok(),
    };
    check_reason(&input.reason, &mut problems);
    check_key(input.idempotency_key.as_deref(), &mut problems);
    let revision = revision(app, input, &mut problems);
    let partial = Partial {
        name: name.clone(),
        hosts: hosts.clone(),
        node: node.clone(),
    };
    let checked = match (name, environment, revision) {
        (Some(name), Some(environment), Some((template, revision))) if problems.is_empty() => {
            Ok(Checked {
                display_name: if display_name.is_empty() {
                    name.to_string()
                } else {
                    display_name
                },
                name,
                environment,
                labels: input.labels.clone(),
                hosts: hosts.into_iter().map(|(_, host)| host).collect(),
                node,
                project: match input.project.as_str() {
                    "" => "default".to_owned(),
                    project => project.to_owned(),
                },
                template,
                revision,
                scale: input.scale.clone(),
            })
        }
        _ => Err(problems),
    };
    (checked, partial)
}

pub(super) fn display_name(text: &str, problems: &mut Vec<Problem>) -> String {
    let text = text.trim();
    if text.chars().count() > MAX_DISPLAY_NAME || text.chars().any(char::is_control) {
        problems.push(Problem::at(
            "/display_name",
            "text_shape",
            format!("a display name is one line of at most {MAX_DISPLAY_NAME} characters"),
        ));
    }
    text.to_owned()
}

pub(super) fn check_labels(labels: &BTreeMap<String, String>, problems: &mut Vec<Problem>) {
    if labels.len() > MAX_LABELS {
        problems.push(Problem::at(
            "/labels",
            "too_many",
            format!("a store has at most {MAX_LABELS} labels"),
        ));
    }
    for (key, value) in labels {
        let pointer = format!("/labels/{}", escape(key));
        if !selector::valid_key(key) {
            problems.push(Problem::at(
                pointer,
                "label_shape",
                "a label's key is 1 to 63 characters a-z, 0-9, dot, slash, underscore and hyphen, a letter or digit at both ends",
            ));
        } else if !selector::valid_value(value) {
            problems.push(Problem::at(
                pointer,
                "label_shape",
                "a label's value is at most 63 characters A-Z, a-z, 0-9, dot, underscore and hyphen",
            ));
        }
    }
}

fn hosts(app: &App, texts: &[String], problems: &mut Vec<Problem>) -> Vec<(usize, HostName)> {
    if texts.len() > MAX_HOSTS {
        problems.push(Problem::at(
            "/hosts",
            "too_many",
            format!("a store has at most {MAX_HOSTS} host names of its own"),
        ));
        return Vec::new();
    }
    let base = &app.context().settings.base_domain;
    let mut seen = BTreeSet::new();
    let mut hosts = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        let pointer = format!("/hosts/{index}");
        match text.parse::<HostName>() {
            Err(error) => problems.push(Problem::at(pointer, "host_shape", error.to_string())),
            Ok(host) if host.as_str().len() > HostName::LONGEST => problems.push(Problem::at(
                pointer,
                "host_too_long",
                format!(
                    "a host name of a store has at most {} characters",
                    HostName::LONGEST
                ),
            )),
            Ok(host) if host.as_str() == base || host.as_str().ends_with(&format!(".{base}")) => {
                problems.push(Problem::at(
                    pointer,
                    "host_reserved",
                    format!("names under {base} are given out by the control plane; leave it out"),
                ));
            }
            Ok(host) if !seen.insert(host.clone()) => problems.push(Problem::at(
                pointer,
                "host_twice",
                "this host name is in the list already",
            )),
            Ok(host) => hosts.push((index, host)),
        }
    }
    hosts
}

fn revision(
    app: &App,
    input: &CreateStore,
    problems: &mut Vec<Problem>,
) -> Option<(&'static Template, Revision)> {
    let catalogue = app.context().catalogue;
    let Some(template) = catalogue.find(&input.template) else {
        let known: Vec<&str> = catalogue.iter().map(|one| one.name.as_str()).collect();
        problems.push(Problem::at(
            "/template",
            "unknown_template",
            format!("there is no such template; there are {}", known.join(", ")),
        ));
        return None;
    };
    let some = |value: u64| (value > 0).then_some(value);
    let choices = Choices {
        parameters: input.parameters.clone(),
        profiles: input.profiles.clone(),
        resources: input
            .resources
            .iter()
            .map(|(service, resources)| {
                let resources = Resources {
                    memory_bytes: some(resources.memory_bytes),
                    cpu_millis: (resources.cpu_millis > 0).then_some(resources.cpu_millis),
                };
                (service.clone(), resources)
            })
            .collect(),
        images: input.images.clone(),
    };
    match template.revision(1, &choices, Isolation::Standard) {
        Ok(revision) => Some((template, revision)),
        Err(found) => {
            problems.extend(
                found
                    .into_iter()
                    .map(|one| Problem::at(one.pointer, one.code.as_str(), one.message)),
            );
            None
        }
    }
}

/// A name as a step of a JSON pointer.
pub(super) fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

//! What the types of a template cannot say: references, hardening, and that it renders under every choice of profiles.

use std::collections::{BTreeMap, BTreeSet};

use serde_saphyr::Spanned;
use shop_proto::{Isolation, ServiceName, StoreId};

mod tasks;

use crate::{
    Choices, NetworkRole, RENDER_VERSIONS, RenderError, Template, TemplateError, TemplateProblem,
    compose::{ComposeFile, ComposeName, Condition, Service},
    interpolate::Interpolated,
    manifest::{Conditions, MANIFEST_SCHEMA, Manifest, Profile, plan_name},
    parameter::ParameterKind,
    render,
};

/// Most combinations of profile choices: each is rendered when the template is read.
const MAX_COMBINATIONS: usize = 64;

/// Name of a profile's variable.
pub(crate) fn profile_variable(profile: &str) -> String {
    format!("PROFILE_{}", profile.to_ascii_uppercase().replace('-', "_"))
}

struct References<'f> {
    path: &'f str,
    file: &'f ComposeFile,
    variables: BTreeSet<String>,
    problems: Vec<TemplateProblem>,
}

/// Checks everything that one part of the file says about another.
pub(crate) fn references(
    folder: &str,
    path: &str,
    file: &ComposeFile,
) -> Result<(), TemplateError> {
    let manifest = &file.manifest.value;
    let parameters = manifest.parameters.keys().map(|name| name.variable());
    let profiles = manifest.profiles.keys().map(|name| profile_variable(name));
    let mut references = References {
        path,
        file,
        variables: parameters.chain(profiles).collect(),
        problems: Vec::new(),
    };
    references.manifest(folder, manifest);
    references.entries(manifest);
    references.top_level(manifest);
    for (name, service) in &file.services {
        references.service(name, service);
    }
    if references.problems.is_empty() {
        Ok(())
    } else {
        Err(TemplateError {
            problems: references.problems,
        })
    }
}

impl References<'_> {
    fn require(
        &mut self,
        holds: bool,
        line: u64,
        attribute: &str,
        reason: impl FnOnce() -> String,
    ) {
        if !holds {
            self.problems.push(TemplateProblem {
                file: self.path.to_owned(),
                line: (line > 0).then_some(line),
                attribute: attribute.to_owned(),
                reason: reason(),
            });
        }
    }

    fn manifest(&mut self, folder: &str, manifest: &Manifest) {
        let line = line_of(&self.file.manifest);
        self.require(manifest.schema == MANIFEST_SCHEMA, line, "schema", || {
            format!("this release reads schema {MANIFEST_SCHEMA} only")
        });
        let (name, major) = match folder.split_once('/') {
            Some((name, major)) => (name, Some(major)),
            None => (folder, None),
        };
        self.require(manifest.template == name, line, "template", || {
            format!("must be the folder's name, {name}")
        });
        let numbers: Vec<&str> = manifest.version.split('.').collect();
        let number = |text: &&str| text.parse::<u32>().is_ok_and(|n| n.to_string() == **text);
        self.require(
            numbers.len() == 3 && numbers.iter().all(number),
            line,
            "version",
            || "must be three numbers such as 1.0.0".to_owned(),
        );
        self.require(
            major.is_none_or(|major| numbers.first() == Some(&major)),
            line,
            "version",
            || format!("must be of the major version that the folder {folder} is for"),
        );
        for (name, profile) in &manifest.profiles {
            self.profile(line, name, profile);
        }
        let combinations: usize = manifest
            .profiles
            .values()
            .map(|profile| profile.choices.len())
            .product();
        self.require(combinations <= MAX_COMBINATIONS, line, "profiles", || {
            format!("{combinations} combinations are more than {MAX_COMBINATIONS}")
        });
    }

    fn profile(&mut self, line: u64, name: &str, profile: &Profile) {
        let word = |text: &str| text.parse::<ServiceName>().is_ok();
        self.require(word(name), line, "profiles", || {
            format!("`{name}` is no name for a profile")
        });
        let choices: BTreeSet<&String> = profile.choices.iter().collect();
        let good = !choices.is_empty()
            && choices.len() == profile.choices.len()
            && choices.iter().all(|choice| word(choice))
            && choices.contains(&profile.default);
        self.require(good, line, "choices", || {
            format!("the choices of {name} must be distinct names, and the default one of them")
        });
    }

    fn when(&mut self, line: u64, subject: &ComposeName, when: &Conditions) {
        for (profile, choice) in when {
            let known = self
                .file
                .manifest
                .value
                .profiles
                .get(profile)
                .is_some_and(|profile| profile.choices.contains(choice));
            self.require(known, line, "when", || {
                format!("{subject}: there is no choice {choice} of a profile {profile}")
            });
        }
    }

    fn entries(&mut self, manifest: &Manifest) {
        let line = line_of(&self.file.manifest);
        let compose = &self.file.services;
        for (key, entry) in &manifest.services {
            self.require(compose.contains_key(key), line, "services", || {
                format!("x-store names a service {key} that is not there")
            });
            self.require(
                plan_name(entry.name.as_ref(), key).is_some(),
                line,
                "name",
                || format!("{key} needs a `name` of 1 to 20 characters"),
            );
            self.when(line, key, &entry.when);
            if let Some(service) = compose.get(key) {
                let conditional = !entry.when.is_empty();
                self.require(
                    conditional != service.value.profiles.is_empty(),
                    line_of(service),
                    "profiles",
                    || "has compose profiles exactly when x-store says `when`".to_owned(),
                );
            }
        }
        for (key, entry) in &manifest.tasks {
            let known =
                compose.contains_key(&entry.from) && !manifest.services.contains_key(&entry.from);
            self.require(known, line, "from", || {
                format!(
                    "task {key} must be made like a compose service that is no service of the store"
                )
            });
            self.require(!entry.command.is_empty(), line, "command", || {
                format!("task {key} has no command")
            });
            self.when(line, key, &entry.when);
        }
        let tasks: BTreeSet<&ComposeName> =
            manifest.tasks.values().map(|entry| &entry.from).collect();
        for (name, service) in compose {
            let placed = manifest.services.contains_key(name) || tasks.contains(name);
            self.require(placed, line_of(service), &name.0, || {
                "is neither a service of the store nor what a task is made like".to_owned()
            });
        }
        for entry in manifest.credentials.values() {
            self.variables(line, "user", &entry.user);
            let path = &entry.path.0;
            self.require(path.starts_with('/'), line, "path", || {
                "a credential's path starts with /".to_owned()
            });
        }
        self.tasks(manifest);
    }

    fn top_level(&mut self, manifest: &Manifest) {
        let file = self.file;
        for (role, network) in &file.networks {
            let internal = network
                .as_ref()
                .is_some_and(|network| network.value.internal);
            let line = network.as_ref().map_or(0, line_of);
            self.require(
                internal != (*role == NetworkRole::Egress),
                line,
                "internal",
                || "app and data have `internal: true`, egress has not".to_owned(),
            );
        }
        let line = line_of(&file.manifest);
        let declared: BTreeSet<&ServiceName> = file.volumes.keys().collect();
        let owned: BTreeSet<&ServiceName> = manifest.volumes.keys().collect();
        self.require(declared == owned, line, "volumes", || {
            "x-store and the file must declare the same volumes".to_owned()
        });
        let same = file.secrets.keys().eq(manifest.secrets.keys());
        self.require(same, line, "secrets", || {
            "x-store and the file must declare the same secrets".to_owned()
        });
        for (name, secret) in &file.secrets {
            let expected = format!("./secrets/{}", name.0);
            self.require(
                secret.value.file == expected,
                line_of(secret),
                "file",
                || format!("must be {expected}"),
            );
        }
    }

    fn service(&mut self, name: &ComposeName, spanned: &Spanned<Service>) {
        let (file, line, service) = (self.file, line_of(spanned), &spanned.value);
        let only =
            |list: &[crate::scalar::Literal], word: &str| list.len() == 1 && list[0].0 == word;
        self.require(only(&service.cap_drop, "ALL"), line, "cap_drop", || {
            "must be [ALL]".to_owned()
        });
        self.require(
            only(&service.security_opt, "no-new-privileges:true"),
            line,
            "security_opt",
            || "must be [\"no-new-privileges:true\"]".to_owned(),
        );
        for value in service.environment.values() {
            self.variables(line, "environment", value);
        }
        for role in service.networks.keys() {
            self.require(file.networks.contains_key(role), line, "networks", || {
                "names a network that is not declared".to_owned()
            });
        }
        let entry = file.manifest.value.services.get(name);
        let plan_name = entry.and_then(|entry| plan_name(entry.name.as_ref(), name));
        for alias in service
            .networks
            .values()
            .flatten()
            .flat_map(|attachment| &attachment.aliases)
        {
            let own = plan_name
                .as_ref()
                .is_some_and(|own| own.as_str() == alias.0);
            self.require(own, line, "aliases", || {
                "an alias is the service's own name in the store".to_owned()
            });
        }
        for used in &service.volumes {
            self.require(
                file.volumes.contains_key(&used.volume),
                line,
                "volumes",
                || format!("volume {} is not declared", used.volume),
            );
        }
        for secret in &service.secrets {
            self.require(file.secrets.contains_key(secret), line, "secrets", || {
                format!("secret {} is not declared", secret.0)
            });
        }
        for (other, dependency) in &service.depends_on {
            let of_store = file.manifest.value.services.contains_key(other);
            let once = file
                .manifest
                .value
                .tasks
                .values()
                .any(|task| task.once && &task.from == other);
            let fits = match dependency.condition {
                Condition::ServiceHealthy => of_store,
                Condition::ServiceCompletedSuccessfully => once,
            };
            self.require(fits, line, "depends_on", || {
                format!(
                    "{other} is not a service that can be healthy, or a once-task that can complete"
                )
            });
        }
    }

    fn variables(&mut self, line: u64, attribute: &str, text: &Interpolated) {
        let unknown: Vec<String> = text
            .names()
            .filter(|name| !self.variables.contains(*name))
            .map(str::to_owned)
            .collect();
        for name in unknown {
            self.require(false, line, attribute, || {
                crate::interpolate::UnknownVariable(name).to_string()
            });
        }
    }
}

fn line_of<T>(spanned: &Spanned<T>) -> u64 {
    spanned.defined.line()
}

/// Renders every combination of profiles: what one of them cannot be is refused now, not when a store asks for it.
pub(crate) fn renderings(path: &str, template: &Template) -> Result<(), TemplateError> {
    let refused = |profiles: &BTreeMap<String, String>, reason: &RenderError| TemplateError {
        problems: vec![TemplateProblem {
            file: path.to_owned(),
            line: None,
            attribute: format!("{profiles:?}"),
            reason: reason.to_string(),
        }],
    };
    let store: StoreId = "a00000000000"
        .parse()
        .expect("a letter and eleven digits are a store id");
    for profiles in template.profile_combinations() {
        let choices = Choices {
            parameters: template.examples(),
            profiles,
            ..Choices::default()
        };
        for version in RENDER_VERSIONS {
            let rendered = template
                .revision(1, &choices, Isolation::Standard)
                .map_err(RenderError::Choices)
                .and_then(|revision| render(&store, &revision, template, *version));
            if let Err(error) = rendered {
                return Err(refused(&choices.profiles, &error));
            }
        }
    }
    Ok(())
}

impl Template {
    /// Every combination of profile choices.
    #[must_use]
    pub fn profile_combinations(&self) -> Vec<BTreeMap<String, String>> {
        let mut combinations = vec![BTreeMap::new()];
        for (name, profile) in &self.manifest.profiles {
            combinations = combinations
                .iter()
                .flat_map(|chosen: &BTreeMap<String, String>| {
                    profile.choices.iter().map(move |choice| {
                        let mut chosen = chosen.clone();
                        chosen.insert(name.clone(), choice.clone());
                        chosen
                    })
                })
                .collect();
        }
        combinations
    }

    /// A value that fits for each parameter without a default.
    #[must_use]
    pub fn examples(&self) -> BTreeMap<String, String> {
        let example = |kind: &ParameterKind| match kind {
            ParameterKind::Text { .. } => "x".to_owned(),
            ParameterKind::Email => "admin@example.com".to_owned(),
            ParameterKind::Int { min, .. } => min.to_string(),
            ParameterKind::Size { min, .. } => format!("{}K", min >> 10),
            ParameterKind::Enum { choices } => choices.first().cloned().unwrap_or_default(),
            ParameterKind::Currency => "EUR".to_owned(),
            ParameterKind::Locale => "en-GB".to_owned(),
            ParameterKind::Host => "shop.example.com".to_owned(),
        };
        self.manifest
            .parameters
            .iter()
            .filter(|(_, parameter)| parameter.required())
            .map(|(name, parameter)| (name.as_str().to_owned(), example(&parameter.kind)))
            .collect()
    }
}

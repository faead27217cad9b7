//! What an operator chose, checked all at once.

use std::collections::BTreeMap;

use shop_proto::{Isolation, Resources, Revision, ServiceName};

use crate::{
    ImageName,
    catalogue::Template,
    compose::ComposeName,
    manifest::{ServiceEntry, holds, plan_name},
    parameter::{ParameterName, ValueError},
};

/// Lowest and highest memory limit of a service, in bytes.
pub const MEMORY_BOUNDS: (u64, u64) = (16 << 20, 64 << 30);
/// Lowest and highest CPU limit of a service, in thousandths of a core.
pub const CPU_BOUNDS: (u32, u32) = (10, 64_000);

/// Choices as they arrive: nothing about them is known to be right.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choices {
    /// By parameter.
    pub parameters: BTreeMap<String, String>,
    /// By profile.
    pub profiles: BTreeMap<String, String>,
    /// By service.
    pub resources: BTreeMap<String, Resources>,
    /// By service; whether a node allows them is the node's to say.
    pub images: BTreeMap<String, String>,
}

/// One thing wrong with the choices.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{pointer}: {message}")]
pub struct ChoiceProblem {
    /// JSON pointer into the request, such as `/parameters/currency`.
    pub pointer: String,
    /// Stable code, such as `parameter_range`.
    pub code: ChoiceCode,
    /// A sentence for a person; never repeats the value.
    pub message: String,
}

/// What is wrong; the text form is part of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChoiceCode {
    /// The template has no such parameter.
    UnknownParameter,
    /// Not of the parameter's type.
    ParameterType,
    /// Outside what the parameter allows.
    ParameterRange,
    /// A parameter without default has no value.
    Required,
    /// The template has no such profile.
    UnknownProfile,
    /// The profile has no such choice.
    ProfileChoice,
    /// No such service under the chosen profiles.
    UnknownService,
    /// A limit is too low or too high.
    ResourceRange,
    /// It names no image.
    ImageShape,
    /// Only the template chooses the image of what keeps data.
    ImageFixed,
}

impl ChoiceCode {
    /// The stable code.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownParameter => "unknown_parameter",
            Self::ParameterType => "parameter_type",
            Self::ParameterRange => "parameter_range",
            Self::Required => "required",
            Self::UnknownProfile => "unknown_profile",
            Self::ProfileChoice => "profile_choice",
            Self::UnknownService => "unknown_service",
            Self::ResourceRange => "resource_range",
            Self::ImageShape => "image_shape",
            Self::ImageFixed => "image_fixed",
        }
    }
}

/// Choices that were checked, with every default in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Checked {
    /// Every parameter with its value.
    pub parameters: BTreeMap<ParameterName, String>,
    /// Every profile with its choice.
    pub profiles: BTreeMap<String, String>,
    /// By service of the plan.
    pub resources: BTreeMap<ServiceName, Resources>,
    /// By service of the plan; none is the template's own.
    pub images: BTreeMap<ServiceName, String>,
}

impl Template {
    /// Whether the choices fit.
    ///
    /// # Errors
    /// Everything that does not fit, at once.
    pub fn check(&self, choices: &Choices) -> Result<(), Vec<ChoiceProblem>> {
        self.checked(choices).map(drop)
    }

    /// A revision from choices: parameters that equal their default are left out, every profile has its choice.
    ///
    /// # Errors
    /// Everything that does not fit, at once.
    pub fn revision(
        &self,
        number: u64,
        choices: &Choices,
        isolation: Isolation,
    ) -> Result<Revision, Vec<ChoiceProblem>> {
        let checked = self.checked(choices)?;
        let differs = |(name, value): &(ParameterName, String)| {
            self.manifest.parameters[name].default.as_ref() != Some(value)
        };
        Ok(Revision {
            number,
            template: self.name.clone(),
            template_digest: self.digest,
            parameters: checked
                .parameters
                .into_iter()
                .filter(differs)
                .map(|(name, value)| (name.as_str().to_owned(), value))
                .collect(),
            profiles: checked.profiles,
            images: checked.images,
            resources: checked.resources,
            isolation,
        })
    }

    pub(crate) fn checked(&self, choices: &Choices) -> Result<Checked, Vec<ChoiceProblem>> {
        let mut problems = Vec::new();
        let parameters = self.checked_parameters(choices, &mut problems);
        let profiles = self.checked_profiles(choices, &mut problems);
        let resources = self.checked_resources(choices, &profiles, &mut problems);
        let images = self.checked_images(choices, &profiles, &mut problems);
        if problems.is_empty() {
            Ok(Checked {
                parameters,
                profiles,
                resources,
                images,
            })
        } else {
            Err(problems)
        }
    }

    fn checked_parameters(
        &self,
        choices: &Choices,
        problems: &mut Vec<ChoiceProblem>,
    ) -> BTreeMap<ParameterName, String> {
        let declared = &self.manifest.parameters;
        for name in choices.parameters.keys() {
            if !declared.keys().any(|known| known.as_str() == name) {
                let known: Vec<&str> = declared.keys().map(ParameterName::as_str).collect();
                let message = format!(
                    "this template has no such parameter; it has {}",
                    known.join(", ")
                );
                problems.push(problem(
                    "parameters",
                    name,
                    ChoiceCode::UnknownParameter,
                    message,
                ));
            }
        }
        let mut values = BTreeMap::new();
        for (name, parameter) in declared {
            let given = choices.parameters.get(name.as_str());
            if let Some(value) = given
                && let Err(error) = parameter.kind.check(value)
            {
                let code = match error {
                    ValueError::Type(_) => ChoiceCode::ParameterType,
                    ValueError::Range(_) => ChoiceCode::ParameterRange,
                };
                problems.push(problem(
                    "parameters",
                    name.as_str(),
                    code,
                    error.to_string(),
                ));
            }
            match given.or(parameter.default.as_ref()) {
                Some(value) => {
                    values.insert(name.clone(), value.clone());
                }
                None => problems.push(problem(
                    "parameters",
                    name.as_str(),
                    ChoiceCode::Required,
                    format!(
                        "this template needs a value of type {}",
                        parameter.kind.name()
                    ),
                )),
            }
        }
        values
    }

    fn checked_profiles(
        &self,
        choices: &Choices,
        problems: &mut Vec<ChoiceProblem>,
    ) -> BTreeMap<String, String> {
        let declared = &self.manifest.profiles;
        for name in choices
            .profiles
            .keys()
            .filter(|name| !declared.contains_key(*name))
        {
            let known: Vec<&str> = declared.keys().map(String::as_str).collect();
            let message = format!(
                "this template has no such profile; it has {}",
                known.join(", ")
            );
            problems.push(problem(
                "profiles",
                name,
                ChoiceCode::UnknownProfile,
                message,
            ));
        }
        let mut chosen = BTreeMap::new();
        for (name, profile) in declared {
            let choice = choices.profiles.get(name).unwrap_or(&profile.default);
            if !profile.choices.contains(choice) {
                let message = format!("must be one of {}", profile.choices.join(", "));
                problems.push(problem(
                    "profiles",
                    name,
                    ChoiceCode::ProfileChoice,
                    message,
                ));
            }
            chosen.insert(name.clone(), choice.clone());
        }
        chosen
    }

    fn checked_resources(
        &self,
        choices: &Choices,
        profiles: &BTreeMap<String, String>,
        problems: &mut Vec<ChoiceProblem>,
    ) -> BTreeMap<ServiceName, Resources> {
        let services = self.services_under(profiles);
        let mut checked = BTreeMap::new();
        for (name, resources) in &choices.resources {
            let Some(service) = services.keys().find(|service| service.as_str() == name) else {
                problems.push(unknown("resources", name, services.keys()));
                continue;
            };
            let (low, high) = MEMORY_BOUNDS;
            if resources
                .memory_bytes
                .is_some_and(|bytes| !(low..=high).contains(&bytes))
            {
                let pointer = format!("{name}/memory_bytes");
                problems.push(range(pointer, format!("must be {low} to {high} bytes")));
            }
            let (low, high) = CPU_BOUNDS;
            if resources
                .cpu_millis
                .is_some_and(|millis| !(low..=high).contains(&millis))
            {
                let pointer = format!("{name}/cpu_millis");
                problems.push(range(
                    pointer,
                    format!("must be {low} to {high} thousandths of a core"),
                ));
            }
            checked.insert(service.clone(), *resources);
        }
        checked
    }

    /// Images in place of the template's. One that is the template's own is no choice.
    fn checked_images(
        &self,
        choices: &Choices,
        profiles: &BTreeMap<String, String>,
        problems: &mut Vec<ChoiceProblem>,
    ) -> BTreeMap<ServiceName, String> {
        let services = self.services_under(profiles);
        let mut checked = BTreeMap::new();
        for (name, image) in &choices.images {
            let found = services.iter().find(|(known, _)| known.as_str() == name);
            let Some((service, (compose, entry))) = found else {
                problems.push(unknown("images", name, services.keys()));
                continue;
            };
            if entry.kind.keeps_data() {
                let message = "the image of what keeps data is the template's: another one may change the data for good, or not read it; \
                               update to another version of the template";
                problems.push(problem(
                    "images",
                    name,
                    ChoiceCode::ImageFixed,
                    message.to_owned(),
                ));
            } else if let Err(error) = image.parse::<ImageName>() {
                problems.push(problem(
                    "images",
                    name,
                    ChoiceCode::ImageShape,
                    error.to_string(),
                ));
            } else if self
                .services
                .get(*compose)
                .is_none_or(|own| own.image.0 != *image)
            {
                checked.insert(service.clone(), image.clone());
            }
        }
        checked
    }

    /// The template's own image of a service.
    #[must_use]
    pub fn own_image(
        &self,
        service: &ServiceName,
        profiles: &BTreeMap<String, String>,
    ) -> Option<&str> {
        let (compose, _) = *self.services_under(profiles).get(service)?;
        Some(&self.services.get(compose)?.image.0)
    }

    /// The services that exist under these profiles.
    fn services_under(
        &self,
        profiles: &BTreeMap<String, String>,
    ) -> BTreeMap<ServiceName, (&ComposeName, &ServiceEntry)> {
        self.manifest
            .services
            .iter()
            .filter(|(_, entry)| holds(&entry.when, profiles))
            .filter_map(|(key, entry)| Some((plan_name(entry.name.as_ref(), key)?, (key, entry))))
            .collect()
    }
}

/// A service that the template does not have, among those that it has.
fn unknown<'a>(
    section: &str,
    name: &str,
    services: impl Iterator<Item = &'a ServiceName>,
) -> ChoiceProblem {
    let known: Vec<&str> = services.map(ServiceName::as_str).collect();
    let message = format!(
        "no such service under these profiles; there are {}",
        known.join(", ")
    );
    problem(section, name, ChoiceCode::UnknownService, message)
}

/// `pointer` is made of a checked service name: nothing in it needs escaping.
fn range(pointer: String, message: String) -> ChoiceProblem {
    ChoiceProblem {
        pointer: format!("/resources/{pointer}"),
        code: ChoiceCode::ResourceRange,
        message,
    }
}

fn problem(section: &str, name: &str, code: ChoiceCode, message: String) -> ChoiceProblem {
    let escaped = name.replace('~', "~0").replace('/', "~1");
    ChoiceProblem {
        pointer: format!("/{section}/{escaped}"),
        code,
        message,
    }
}

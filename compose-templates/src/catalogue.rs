//! The templates this release carries, and the step that decides whether one is trusted.

use std::{collections::BTreeMap, sync::LazyLock};

use sha2::{Digest as _, Sha256};
use shop_proto::{Digest, ServiceName};

use crate::{
    compose::{ComposeFile, ComposeName, Service},
    manifest::{Channel, Manifest, plan_name},
    parse::{self, TemplateError},
    validate,
};

/// A file of a template: path in its folder, and content.
pub type TemplateFile<'a> = (&'a str, &'a str);

/// A folder of a template. Only what the digest covers is embedded: programs are in images.
macro_rules! folder {
    ($name:literal: $($path:literal),+) => {
        ($name, &[$(($path, include_str!(concat!("../", $name, "/", $path)))),+])
    };
}

/// One line for each folder; a test compares it with the disk.
const BUILTIN: &[(&str, &[TemplateFile<'static>])] = &[
    folder!("refshop": "compose.yaml"),
    folder!("refshop/2": "compose.yaml"),
    folder!("refshop/3": "compose.yaml"),
    folder!("wordpress": "compose.yaml"),
];

/// Parsed and checked templates.
#[derive(Debug)]
pub struct Catalogue {
    templates: Vec<Template>,
}

/// A template that passed all checks.
#[derive(Debug)]
pub struct Template {
    /// Such as `refshop`.
    pub name: String,
    /// Such as `1.0.0`.
    pub version: String,
    /// Over the folder's compose.yaml and config files.
    pub digest: Digest,
    /// Parameters, profiles and what people read.
    pub manifest: Manifest,
    pub(crate) services: BTreeMap<ComposeName, Service>,
}

/// A template digest that nothing trusted vouches for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "no trusted template has the digest {0}; upgrade this agent, or choose a template it knows"
)]
pub struct Untrusted(pub Digest);

/// The verifying step: a digest is trusted when this release carries the template. Signed templates will be accepted here as well.
///
/// # Errors
/// When no trusted template has this digest.
pub fn verify(digest: &Digest) -> Result<&'static Template, Untrusted> {
    Catalogue::builtin()
        .by_digest(digest)
        .ok_or(Untrusted(*digest))
}

impl Catalogue {
    /// The templates this release carries.
    ///
    /// # Panics
    /// When a template in the source tree is broken, which its tests catch.
    #[must_use]
    pub fn builtin() -> &'static Self {
        static BUILTIN_CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| {
            let parse =
                |(name, files): &(&str, &[TemplateFile<'_>])| match Template::parse(name, files) {
                    Ok(template) => template,
                    Err(error) => panic!("a built-in template is broken: {error}"),
                };
            Catalogue {
                templates: BUILTIN.iter().map(parse).collect(),
            }
        });
        &BUILTIN_CATALOGUE
    }

    /// By name (`refshop`: the newest stable version), or name and version or its beginning (`refshop@1`, `refshop@1.0.0`: the newest
    /// that fits, stable or not).
    #[must_use]
    pub fn find(&self, reference: &str) -> Option<&Template> {
        let (name, version) = reference
            .split_once('@')
            .map_or((reference, None), |(name, version)| (name, Some(version)));
        let fits = |template: &&Template| {
            template.name == name
                && match version {
                    None => template.manifest.channel == Channel::Stable,
                    Some(wanted) => template.version.strip_prefix(wanted).is_some_and(|rest| {
                        !wanted.is_empty() && (rest.is_empty() || rest.starts_with('.'))
                    }),
                }
        };
        self.iter()
            .filter(fits)
            .max_by_key(|template| template.version_numbers())
    }

    /// By digest.
    #[must_use]
    pub fn by_digest(&self, digest: &Digest) -> Option<&Template> {
        self.iter().find(|template| &template.digest == digest)
    }

    /// Whether a template is what its bare name means.
    #[must_use]
    pub fn is_default(&self, template: &Template) -> bool {
        self.find(&template.name)
            .is_some_and(|found| found.digest == template.digest)
    }

    /// All, by name, oldest version first.
    pub fn iter(&self) -> impl Iterator<Item = &Template> {
        self.templates.iter()
    }
}

impl Template {
    /// Parses and checks a template's folder, and renders it under every choice of profiles. The folder is the template's name; a later
    /// major version has its own inside it, such as `refshop/2`.
    ///
    /// # Errors
    /// Names file, line, attribute and reason.
    pub fn parse(folder: &str, files: &[TemplateFile<'_>]) -> Result<Self, TemplateError> {
        let path = format!("{folder}/compose.yaml");
        let text = files
            .iter()
            .find(|(path, _)| *path == "compose.yaml")
            .map_or("", |(_, text)| text);
        let file = parse::compose_file(&path, text)?;
        validate::references(folder, &path, &file)?;
        let ComposeFile {
            manifest, services, ..
        } = file;
        let template = Self {
            name: manifest.value.template.clone(),
            version: manifest.value.version.clone(),
            digest: digest(files),
            manifest: manifest.value,
            services: services
                .into_iter()
                .map(|(name, service)| (name, service.value))
                .collect(),
        };
        validate::renderings(&path, &template)?;
        Ok(template)
    }

    /// The version's three numbers, for comparing.
    fn version_numbers(&self) -> Vec<u32> {
        self.version
            .split('.')
            .filter_map(|number| number.parse().ok())
            .collect()
    }

    /// Names of the services of all profiles, each once.
    #[must_use]
    pub fn service_names(&self) -> Vec<ServiceName> {
        distinct(
            self.manifest
                .services
                .iter()
                .filter_map(|(key, entry)| plan_name(entry.name.as_ref(), key)),
        )
    }

    /// Names of the tasks of all profiles, each once.
    #[must_use]
    pub fn task_names(&self) -> Vec<ServiceName> {
        distinct(
            self.manifest
                .tasks
                .iter()
                .filter_map(|(key, entry)| plan_name(entry.name.as_ref(), key)),
        )
    }
}

fn distinct(names: impl Iterator<Item = ServiceName>) -> Vec<ServiceName> {
    let mut names: Vec<ServiceName> = names.collect();
    names.sort();
    names.dedup();
    names
}

/// Over path and content of every file, in the order of the paths, each with its length before it.
fn digest(files: &[TemplateFile<'_>]) -> Digest {
    let mut hash = Sha256::new();
    hash.update(b"shopfleet template 1\0");
    let sorted: BTreeMap<&str, &str> = files.iter().copied().collect();
    for (path, content) in sorted {
        for part in [path, content] {
            // A template is far below 2^64 bytes.
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
    }
    Digest::from_bytes(hash.finalize().into())
}

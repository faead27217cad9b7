//! From the text of a template to typed structures, or to a refusal with file, line, attribute and reason.
//!
//! What the types cannot say (references, limits, hardening) is checked in [`crate::validate`].

use std::fmt;

use serde_saphyr::{
    Error, Options,
    options::{DuplicateKeyPolicy, MergeKeyPolicy},
};

use crate::compose::ComposeFile;

/// Largest `compose.yaml`.
const MAX_BYTES: usize = 256 << 10;

/// Why a template is refused; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateError {
    /// Everything found before reading had to stop.
    pub problems: Vec<TemplateProblem>,
}

/// One thing wrong in a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateProblem {
    /// Path under the templates' folder.
    pub file: String,
    /// From 1; of the service or section when the exact one is not known.
    pub line: Option<u64>,
    /// What is wrong, such as `privileged`.
    pub attribute: String,
    /// Why, in words for the author.
    pub reason: String,
}

impl fmt::Display for TemplateProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}: {}", self.attribute, self.reason)
    }
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for TemplateError {}

/// Attributes of the Compose format that are refused for a reason worth saying.
const REFUSED: &[(&[&str], &str)] = &[
    (&["privileged"], "a privileged container owns the host"),
    (
        &[
            "pid",
            "ipc",
            "network_mode",
            "userns_mode",
            "uts",
            "cgroup",
            "cgroup_parent",
        ],
        "a store never shares a namespace or a control group with the host or another container",
    ),
    (
        &["devices", "device_cgroup_rules", "gpus", "use_api_socket"],
        "a store has no devices of the host",
    ),
    (
        &["ports", "expose"],
        "a store publishes no port: the edge reaches its web service",
    ),
    (
        &["driver", "driver_opts", "driver_config"],
        "a volume or network with driver options can be a bind mount in disguise",
    ),
    (
        &["external"],
        "a store uses nothing that another one could use",
    ),
    (
        &["container_name", "hostname", "links", "external_links"],
        "names are made from node, store, service, slot and replica",
    ),
    (
        &["volumes_from"],
        "each volume is named where it is mounted",
    ),
    (
        &[
            "cap_add",
            "sysctls",
            "ulimits",
            "credential_spec",
            "group_add",
        ],
        "nothing is added to what a container may do",
    ),
    (
        &["user"],
        "every store has its own range of user ids: the node sets the user",
    ),
    (
        &["restart", "deploy"],
        "the shop agent is the only supervisor; limits are mem_limit, cpus and pids_limit",
    ),
    (
        &["entrypoint"],
        "the image's own entrypoint waits for secrets and settings",
    ),
    (
        &["env_file"],
        "settings stand in `environment`, secrets in `secrets`",
    ),
    (&["build"], "images are built beforehand"),
    (
        &["labels"],
        "labels are how containers are found again; the node writes them",
    ),
    (
        &["extra_hosts", "dns", "dns_search"],
        "names are answered by the engine and the edge alone",
    ),
    (&["logging"], "the node bounds every log"),
    (&["extends", "include"], "a template is one file"),
];

fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_documents: 1,
            max_depth: 16,
            max_nodes: 20_000,
            max_events: 60_000,
            max_anchors: 64,
            max_aliases: 256,
            max_total_scalar_bytes: MAX_BYTES,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 20_000,
            max_replay_stack_depth: 4,
        },
        duplicate_keys: DuplicateKeyPolicy::Error,
        merge_keys: MergeKeyPolicy::Error,
        strict_booleans: true,
        reject_unsupported_tags: true,
        emit_comments: false,
        with_snippet: false,
    }
}

/// Reads `compose.yaml`.
pub(crate) fn compose_file(file: &str, text: &str) -> Result<ComposeFile, TemplateError> {
    if text.len() > MAX_BYTES {
        return Err(single(file, None, "(file)", "is larger than 256 KiB"));
    }
    serde_saphyr::from_str_with_options(text, options())
        .map_err(|error| refusal(file, text, &error))
}

fn single(file: &str, line: Option<u64>, attribute: &str, reason: &str) -> TemplateError {
    // A key may be the empty text; a refusal still has to name something.
    let attribute = if attribute.trim().is_empty() {
        "(empty key)"
    } else {
        attribute
    };
    TemplateError {
        problems: vec![TemplateProblem {
            file: file.to_owned(),
            line,
            attribute: attribute.to_owned(),
            reason: reason.to_owned(),
        }],
    }
}

fn refusal(file: &str, text: &str, error: &Error) -> TemplateError {
    let location = error.location();
    let line = location.map(|location| location.line());
    let at = || {
        location
            .and_then(|location| attribute_at(text, location.line(), location.column()))
            .unwrap_or_else(|| "(file)".to_owned())
    };
    match error.without_snippet() {
        Error::SerdeUnknownField { field, .. } => {
            let reason = REFUSED
                .iter()
                .find(|(names, _)| names.contains(&field.as_str()))
                .map_or("is not part of the accepted subset", |(_, reason)| reason);
            single(file, line, field, reason)
        }
        Error::SerdeMissingField { field, .. } => single(file, line, field, "is missing"),
        Error::NullIntoString { .. } => {
            single(file, line, &at(), "has no value (null); write one, or \"\"")
        }
        Error::Message { msg, .. } => single(file, line, &at(), msg),
        other => {
            let reason = other.to_string();
            let reason = reason.lines().next().unwrap_or_default();
            // The place is said already.
            let reason = reason.split(" at line ").next().unwrap_or(reason);
            single(file, line, &at(), reason)
        }
    }
}

/// The key that the scalar at a place belongs to: the last one before it on its line, else the nearest above it with less indentation.
fn attribute_at(text: &str, line: u64, column: u64) -> Option<String> {
    let lines: Vec<&str> = text.lines().collect();
    let index = usize::try_from(line).ok()?.checked_sub(1)?;
    let current = lines.get(index)?;
    let before: String = current
        .chars()
        .take(usize::try_from(column).ok()?)
        .collect();
    if let Some(key) = last_key(&before) {
        return Some(key);
    }
    let indent = indentation(current);
    let is_item = current.trim_start().starts_with('-');
    lines[..index]
        .iter()
        .rev()
        .filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'))
        .find(|line| {
            indentation(line) < indent
                || (is_item && indentation(line) == indent && !line.trim_start().starts_with('-'))
        })
        .and_then(|line| last_key(line))
}

fn indentation(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

fn last_key(text: &str) -> Option<String> {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    let bytes = text.as_bytes();
    let colon = (0..bytes.len()).rev().find(|&at| {
        bytes[at] == b':'
            && at > 0
            && word(bytes[at - 1])
            && bytes.get(at + 1).is_none_or(|next| *next == b' ')
    })?;
    let start = (0..colon)
        .rev()
        .find(|&at| !word(bytes[at]))
        .map_or(0, |at| at + 1);
    Some(text[start..colon].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_attribute_of_a_place() {
        let text =
            "services:\n  db:\n    image: x\n    volumes:\n    - /:/host\n    tmpfs: [\"/tmp\"]\n";
        assert_eq!(attribute_at(text, 5, 7).as_deref(), Some("volumes"));
        assert_eq!(attribute_at(text, 6, 13).as_deref(), Some("tmpfs"));
        assert_eq!(attribute_at(text, 3, 12).as_deref(), Some("image"));
        assert_eq!(attribute_at(text, 99, 1), None);
    }
}

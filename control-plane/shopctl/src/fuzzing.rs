//! What fuzz targets call: the operator's files, and text from elsewhere that goes to a terminal.

use std::path::Path;

use shop_proto::wire::admin::v1 as api;
use shop_seal::SignedRoster;

use crate::{
    commands::{audit, tasks},
    context::{self, AdminUrl, Pin},
    output, trust,
    view::AuditEntry,
};

/// Remembered control planes, read and written again.
///
/// # Errors
/// When they are refused.
pub fn contexts(text: &str) -> anyhow::Result<String> {
    context::written(&context::parse(text, Path::new("contexts.toml"))?)
}

/// The file of the operator's own roster, read.
///
/// # Errors
/// When it is refused.
pub fn own_roster(text: &str) -> anyhow::Result<SignedRoster> {
    trust::stored(text, Path::new("roster.json")).map(|own| own.signed)
}

/// The file of the operator's own roster, as it is written.
///
/// # Errors
/// None that is known of.
pub fn roster_file(signed: &SignedRoster) -> anyhow::Result<Vec<u8>> {
    trust::written(signed)
}

/// An address of an admin API, and what is dialled.
#[must_use]
pub fn url(text: &str) -> Option<[String; 2]> {
    let url: AdminUrl = text.parse().ok()?;
    Some([url.to_string(), url.authority().to_owned()])
}

/// A pin, written again.
#[must_use]
pub fn pin(text: &str) -> Option<String> {
    text.parse::<Pin>().ok().map(|pin| pin.to_string())
}

/// One line of outside text, as it is shown.
#[must_use]
pub fn line(text: &str) -> String {
    output::plain(text).into_owned()
}

/// Lines of outside text, as they are shown.
#[must_use]
pub fn lines(text: &str) -> String {
    output::plain_lines(text)
}

/// How many entries of a log follow each other from the first one on.
#[must_use]
pub fn follow(entries: Vec<api::AuditEntry>) -> u64 {
    let entries: Vec<AuditEntry> = entries.into_iter().map(AuditEntry::from).collect();
    audit::follow(&entries)
}

/// A run's output that comes in chunks.
#[must_use]
pub fn shown<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> String {
    tasks::shown(chunks)
}

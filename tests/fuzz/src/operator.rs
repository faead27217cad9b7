//! The operator's side: remembered control planes, words of a command line, the audit log as anybody can check it, text for a terminal.

use clap::Parser as _;
use serde::Serialize;
use shop_proto::{Digest, wire::admin::v1::AuditEntry};
use shopctl::{Cli, fuzzing};

use crate::{Target, chosen, parts, texts};

pub(crate) const TARGETS: &[Target] = &[
    Target::new("contexts", contexts),
    Target::new("command_line", command_line).dear(),
    Target::new("audit_chain", audit_chain),
    Target::new("terminal", terminal),
];

const TOKEN: &str = "sfk1_hiddenhidd_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa_00000000";

fn contexts(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    match fuzzing::contexts(&text) {
        Ok(written) => {
            let again = fuzzing::contexts(&written).expect("what was written is read");
            assert_eq!(again, written);
        }
        // The token of the kept inputs, where it stands as a token.
        Err(error) if text.contains(&format!("token = \"{TOKEN}\"")) => {
            let shown = format!("{error:#}").contains(TOKEN) && text.matches(TOKEN).count() == 1;
            assert!(!shown, "a token is shown: {error:#}");
        }
        Err(_) => {}
    }
}

/// A line of words: taken or refused, never a panic. (The words are not run.)
fn command_line(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let words = std::iter::once("shopctl").chain(text.lines());
    if let Err(error) = Cli::try_parse_from(words) {
        assert!(matches!(error.exit_code(), 0 | 2));
    }
}

/// What is hashed of an entry, written down here a second time, from docs/api.md.
#[derive(Serialize)]
struct Canonical<'a> {
    seq: u64,
    at_unix_ms: i64,
    actor: &'a str,
    source: &'a str,
    request_id: &'a str,
    action: &'a str,
    subject: &'a str,
    decision: &'a str,
    reason: &'a str,
}

fn hash(entry: &AuditEntry) -> String {
    let content = Canonical {
        seq: entry.seq,
        at_unix_ms: entry.at_unix_ms,
        actor: &entry.actor,
        source: &entry.source,
        request_id: &entry.request_id,
        action: &entry.action,
        subject: &entry.subject,
        decision: &entry.decision,
        reason: &entry.reason,
    };
    let content = Digest::of(&serde_json::to_vec(&content).expect("an entry is JSON"));
    let previous: Digest = entry.previous_hash.parse().expect("we wrote it");
    let bytes = [&[1][..], previous.as_bytes(), content.as_bytes()].concat();
    Digest::of(&bytes).to_string()
}

/// A whole log is proven; one in which anything was changed, taken out or put elsewhere is not.
fn audit_chain(input: &[u8]) {
    let Some((change, input)) = chosen(input) else {
        return;
    };
    let [actor, action, subject, reason] = texts(input);
    let mut previous = "0".repeat(64);
    let mut log = Vec::new();
    for seq in 1..=4_u64 {
        let mut entry = AuditEntry {
            seq,
            at: String::new(),
            at_unix_ms: 1_800_000_000_000 + seq as i64,
            actor: actor.clone(),
            source: "api".to_owned(),
            request_id: format!("r{seq}"),
            action: action.clone(),
            subject: subject.clone(),
            decision: "allowed".to_owned(),
            reason: reason.clone(),
            previous_hash: std::mem::take(&mut previous),
            hash: String::new(),
        };
        entry.hash = hash(&entry);
        previous.clone_from(&entry.hash);
        log.push(entry);
    }
    assert_eq!(fuzzing::follow(log.clone()), 4, "a whole log");
    let at = change % 3;
    let mut changed = log.clone();
    let entry = &mut changed[at];
    match change / 3 % 8 {
        0 => entry.actor.push('a'),
        1 => entry.action.push(' '),
        2 => entry.subject.insert(0, '/'),
        3 => entry.reason.push('\0'),
        4 => entry.at_unix_ms += 1,
        // What belongs to one field moves to the next.
        5 => {
            let moved = std::mem::take(&mut entry.request_id);
            entry.source.push_str(&moved);
        }
        6 => changed.swap(at, at + 1),
        _ => {
            changed.remove(at);
        }
    }
    assert_eq!(fuzzing::follow(changed), at as u64, "a change is seen");
    // Whoever hashes the changed entry anew breaks the one after it.
    let entry = &mut log[at];
    entry.reason.push('!');
    entry.hash = hash(entry);
    assert_eq!(fuzzing::follow(log), at as u64 + 1);
}

/// Nothing that a terminal acts on gets through, and nothing is lost on the way.
fn terminal(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let line = fuzzing::line(&text);
    assert!(!line.chars().any(char::is_control), "{line:?}");
    let lines = fuzzing::lines(&text);
    assert!(!lines.chars().any(|c| c.is_control() && c != '\n'));
    assert_eq!(lines.matches('\n').count(), text.matches('\n').count());
    let hidden = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    assert!(!line.chars().any(hidden) && !lines.chars().any(hidden));
    assert!(lines.len() >= text.len() && lines.len() <= 8 * text.len().max(1));
    if let Ok(text) = str::from_utf8(input) {
        // A chunk may end within a character: the text is whole all the same.
        let (first, rest) = input.split_at(input.len() / 2);
        let (second, third) = rest.split_at(rest.len() / 3);
        let shown = fuzzing::shown([first, second, third]);
        assert_eq!(shown.trim_end_matches('\n'), text.trim_end_matches('\n'));
    }
    let [first, second] = parts(input);
    let _ = fuzzing::shown([first, second]);
}

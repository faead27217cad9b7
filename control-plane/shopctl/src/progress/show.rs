//! What an operation looks like while it runs.

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
};

use jiff::Timestamp;
use rustix::termios::tcgetwinsize;

use crate::{
    output::{colours, plain},
    view::{Operation, Replica},
};

/// Draws on standard error, so that standard output carries only the result.
pub(super) enum Display {
    /// Lines that are drawn again.
    Live {
        drawn: usize,
        last: Option<Operation>,
        colours: bool,
    },
    /// One line for each change.
    Lines { last: Option<Operation> },
}

impl Display {
    pub(super) fn new(live: bool) -> Self {
        if live {
            Self::Live {
                drawn: 0,
                last: None,
                colours: colours(),
            }
        } else {
            Self::Lines { last: None }
        }
    }

    /// The operation as it is now.
    pub(super) fn show(&mut self, operation: &Operation) {
        match self {
            Self::Live { last, .. } => {
                *last = Some(operation.clone());
                self.tick();
            }
            Self::Lines { last } => {
                let text: String = changes(last.as_ref(), operation)
                    .iter()
                    .map(|line| format!("{}\n", plain(line)))
                    .collect();
                write(&text);
                *last = Some(operation.clone());
            }
        }
    }

    /// Time went by.
    pub(super) fn tick(&mut self) {
        if let Self::Live {
            drawn,
            last: Some(operation),
            colours,
        } = self
        {
            let width = width();
            let lines = lines(operation, Timestamp::now());
            let mut text = String::new();
            if *drawn > 0 {
                text.push_str(&format!("\u{1b}[{drawn}A"));
            }
            for line in &lines {
                text.push_str("\r\u{1b}[2K");
                text.push_str(&line.paint(*colours, width));
                text.push('\n');
            }
            // A shorter picture than before leaves no rest of the old one.
            text.push_str("\u{1b}[J");
            write(&text);
            *drawn = lines.len();
        }
    }
}

/// Progress that cannot be shown must not end what it shows.
fn write(text: &str) {
    let mut err = io::stderr().lock();
    let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
}

/// Columns of the terminal; 80 when it does not say.
fn width() -> usize {
    tcgetwinsize(io::stderr())
        .ok()
        .map(|size| usize::from(size.ws_col))
        .filter(|columns| *columns > 0)
        .unwrap_or(80)
}

/// How a thing stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Waiting,
    Working,
    Good,
    Bad,
}

#[derive(Debug, PartialEq, Eq)]
struct Line {
    mark: Mark,
    text: String,
}

impl Line {
    fn paint(&self, colours: bool, width: usize) -> String {
        let (sign, colour) = match self.mark {
            Mark::Waiting => ("·", "2"),
            Mark::Working => ("▸", "33"),
            Mark::Good => ("✓", "32"),
            Mark::Bad => ("✗", "31"),
        };
        // A line that wraps would break redrawing.
        let text: String = plain(&self.text)
            .chars()
            .take(width.saturating_sub(4))
            .collect();
        if colours {
            format!("\u{1b}[{colour}m{sign}\u{1b}[0m {text}")
        } else {
            format!("{sign} {text}")
        }
    }
}

fn lines(operation: &Operation, now: Timestamp) -> Vec<Line> {
    let mut lines = vec![Line {
        mark: state_mark(operation.state.as_str()),
        text: format!(
            "{} {} {}{}",
            operation.kind,
            operation.store_name,
            headline(operation),
            elapsed(
                Some(&operation.created_at),
                operation.ended_at.as_deref(),
                now
            )
        ),
    }];
    for step in &operation.steps {
        lines.push(Line {
            mark: state_mark(&step.state),
            text: format!(
                "  {:<18} {}{}{}",
                step.name,
                step.state,
                elapsed(step.started_at.as_deref(), step.ended_at.as_deref(), now),
                step.message
                    .as_ref()
                    .map(|message| format!("  {message}"))
                    .unwrap_or_default()
            ),
        });
    }
    for replica in &operation.replicas {
        lines.push(Line {
            mark: phase_mark(&replica.phase),
            text: format!("  {:<18} {}", name(replica), phase(replica)),
        });
    }
    lines
}

fn headline(operation: &Operation) -> String {
    let why = operation.message.as_ref().or(operation.reason.as_ref());
    match why {
        Some(why) => format!("{}: {why}", operation.state),
        None => operation.state.to_string(),
    }
}

/// ` 12.3 s`, from the start to the end or to now.
fn elapsed(start: Option<&str>, end: Option<&str>, now: Timestamp) -> String {
    let Some(start) = start.and_then(|text| text.parse::<Timestamp>().ok()) else {
        return String::new();
    };
    let end = end.and_then(|text| text.parse().ok()).unwrap_or(now);
    let tenths = (end.as_millisecond() - start.as_millisecond()).max(0) / 100;
    format!("  {}.{} s", tenths / 10, tenths % 10)
}

fn state_mark(state: &str) -> Mark {
    match state {
        "running" => Mark::Working,
        "succeeded" | "done" => Mark::Good,
        "failed" | "cancelled" => Mark::Bad,
        _ => Mark::Waiting,
    }
}

fn phase_mark(phase: &str) -> Mark {
    match phase {
        "ready" => Mark::Good,
        "starting" | "stopping" | "created" => Mark::Working,
        "crash_looping" | "exited" | "unready" => Mark::Bad,
        _ => Mark::Waiting,
    }
}

fn name(replica: &Replica) -> String {
    if replica.replica == 0 {
        replica.service.clone()
    } else {
        format!("{}-{}", replica.service, replica.replica)
    }
}

fn phase(replica: &Replica) -> String {
    let mut text = replica.phase.clone();
    if let Some(reason) = &replica.reason {
        text.push_str(&format!(" ({reason})"));
    }
    if let Some(code) = replica.exit_code {
        text.push_str(&format!(", exit code {code}"));
    }
    if replica.oom_killed {
        text.push_str(", out of memory");
    }
    if replica.restarts > 0 {
        text.push_str(&format!(", restarted {}×", replica.restarts));
    }
    text
}

/// What is new, one sentence each.
fn changes(before: Option<&Operation>, after: &Operation) -> Vec<String> {
    let mut lines = Vec::new();
    let label = format!("{} {}", after.kind, after.store_name);
    let steps_before: BTreeMap<&str, &str> = before
        .iter()
        .flat_map(|operation| &operation.steps)
        .map(|step| (step.name.as_str(), step.state.as_str()))
        .collect();
    for step in &after.steps {
        let known = steps_before.get(step.name.as_str());
        if known != Some(&step.state.as_str()) && (known.is_some() || step.state != "pending") {
            lines.push(format!("{label}: step {} {}", step.name, step.state));
        }
    }
    let replicas_before: BTreeMap<String, String> = before
        .iter()
        .flat_map(|operation| &operation.replicas)
        .map(|replica| (name(replica), phase(replica)))
        .collect();
    for replica in &after.replicas {
        let (name, phase) = (name(replica), phase(replica));
        if replicas_before.get(&name) != Some(&phase) {
            lines.push(format!("{label}: {name} {phase}"));
        }
    }
    let headline = headline(after);
    if before.is_none_or(|operation| self::headline(operation) != headline) {
        lines.push(format!("{label}: {headline}"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::{OperationState, Step};

    fn operation(step: &str, phase: &str, state: OperationState) -> Operation {
        Operation {
            id: "1".to_owned(),
            kind: "create".to_owned(),
            store_id: "s".to_owned(),
            store_name: "demo".to_owned(),
            state,
            reason: None,
            message: None,
            steps: vec![Step {
                name: "placed".to_owned(),
                state: step.to_owned(),
                message: None,
                started_at: Some("2026-01-01T00:00:00Z".to_owned()),
                ended_at: None,
            }],
            requested_by: String::new(),
            requested_reason: None,
            created_at: "2026-01-01T00:00:00Z".to_owned(),
            started_at: None,
            ended_at: None,
            generation: 1,
            replicas: vec![Replica {
                service: "db".to_owned(),
                slot: "fixed".to_owned(),
                replica: 0,
                phase: phase.to_owned(),
                reason: None,
                exit_code: None,
                oom_killed: false,
                restarts: 0,
                since: None,
                last_log: None,
            }],
        }
    }

    #[test]
    fn only_changes_become_lines() {
        let first = operation("pending", "absent", OperationState::Pending);
        assert_eq!(
            changes(None, &first),
            ["create demo: db absent", "create demo: pending"]
        );
        assert!(changes(Some(&first), &first).is_empty());
        let second = operation("done", "ready", OperationState::Succeeded);
        assert_eq!(
            changes(Some(&first), &second),
            [
                "create demo: step placed done",
                "create demo: db ready",
                "create demo: succeeded"
            ]
        );
    }

    #[test]
    fn live_lines_show_elapsed_time_and_no_foreign_control_bytes() {
        let mut hostile = operation("running", "starting", OperationState::Running);
        hostile.message = Some("\u{1b}[2Jgone".to_owned());
        let now = "2026-01-01T00:00:12.34Z".parse().unwrap();
        let lines = lines(&hostile, now);
        assert_eq!(lines[1].text, "  placed             running  12.3 s");
        assert!(!lines[0].paint(false, 100).contains('\u{1b}'));
    }
}

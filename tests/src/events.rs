//! What Docker does to containers while a story goes on, as it says itself.

use std::collections::BTreeSet;
use std::io::Read;
use std::process::{Child, Command, Stdio};

use anyhow::Context;

/// Events are collected until it is ended.
#[derive(Debug)]
pub struct Listener {
    child: Child,
    said: Option<std::thread::JoinHandle<std::io::Result<String>>>,
}

/// Something that happened to a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Such as `die` or `start`.
    pub action: String,
    /// The container's name.
    pub name: String,
}

impl Listener {
    /// Listens for these events of containers with these labels (`key=value`).
    pub fn start(labels: &[&str], actions: &[&str]) -> anyhow::Result<Self> {
        let mut args = vec![
            "events".to_owned(),
            "--filter=type=container".to_owned(),
            "--format={{.Action}} {{.Actor.Attributes.name}}".to_owned(),
        ];
        args.extend(labels.iter().map(|label| format!("--filter=label={label}")));
        args.extend(
            actions
                .iter()
                .map(|action| format!("--filter=event={action}")),
        );
        let mut child = Command::new("docker")
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut out = child.stdout.take().context("no standard output")?;
        let said = std::thread::spawn(move || {
            let mut text = String::new();
            out.read_to_string(&mut text).map(|_| text)
        });
        Ok(Self {
            child,
            said: Some(said),
        })
    }

    /// All that happened, in its order.
    pub fn finish(mut self) -> anyhow::Result<Vec<Event>> {
        self.child.kill()?;
        let said = self.said.take().context("ended already")?;
        let text = said
            .join()
            .map_err(|_| anyhow::anyhow!("the reader died"))??;
        Ok(text.lines().filter_map(Event::parse).collect())
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // It may have been ended before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Event {
    fn parse(line: &str) -> Option<Self> {
        let (action, name) = line.split_once(' ')?;
        Some(Self {
            action: action.to_owned(),
            name: name.to_owned(),
        })
    }
}

/// The most containers that were down at once: from their `die` to their next `start`.
#[must_use]
pub fn most_down(events: &[Event]) -> usize {
    let mut down = BTreeSet::new();
    let mut most = 0;
    for event in events {
        match event.action.as_str() {
            "die" => drop(down.insert(event.name.as_str())),
            "start" => drop(down.remove(event.name.as_str())),
            _ => {}
        }
        most = most.max(down.len());
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn down_is_from_the_end_to_the_next_start() {
        let lines = ["die a", "die b", "start a", "die c", "start c", "start b"];
        let events: Vec<Event> = lines.into_iter().filter_map(Event::parse).collect();
        assert_eq!(most_down(&events), 2);
        assert_eq!(most_down(&events[..1]), 1);
    }
}

//! What goes on behind Docker's back on the second host: processes of containers that it forgot when it was killed.

use std::fs;

use super::{LONG, SecondHost};
use crate::fleet::PATIENCE;
use crate::process;
use crate::wait::wait_for;

impl SecondHost {
    /// Ids of containers that have a process while Docker says that they do not run: what it forgot when it was killed.
    pub fn forgotten(&self) -> anyhow::Result<Vec<String>> {
        let running = self.docker(&["ps", "--quiet", "--no-trunc"])?;
        let shims = shims(&self.name)?;
        Ok(shims
            .into_iter()
            .filter(|id| !running.contains(id.as_str()))
            .collect())
    }

    /// Waits until no process is left that Docker does not know of.
    pub fn none_forgotten(&self) -> anyhow::Result<()> {
        wait_for(
            "Docker knows of every process of its containers",
            PATIENCE,
            || self.forgotten(),
            Vec::is_empty,
        )
        .map(drop)
    }

    /// What runs here and what does not, and the end of what was said, for a story that gives up.
    pub fn picture(&self) -> anyhow::Result<String> {
        let format = "{{.ID}} {{.Names}} {{.Status}}";
        let containers = self.docker(&["ps", "--all", "--format", format])?;
        let mut text = format!(
            "{containers}forgotten: {:?}\nagent.log:\n{}\n",
            self.forgotten()?,
            self.log_tail("agent.log")
        );
        let names = self.docker(&["ps", "--all", "--format", "{{.Names}}"])?;
        for name in names.lines() {
            let socket = format!("unix://{}", self.socket());
            let args = ["--host", &socket, "logs", "--tail", "8", name];
            let said = process::run("docker", &args, LONG)?;
            text.push_str(&format!("{name}:\n{}{}", said.stdout, said.stderr));
        }
        Ok(text)
    }
}

/// Ids of containers whose keeper, a shim, runs in a namespace of containerd.
fn shims(namespace: &str) -> anyhow::Result<Vec<String>> {
    let mut ids = Vec::new();
    for entry in fs::read_dir("/proc")? {
        // One that ended meanwhile has no command line any more.
        let Ok(line) = fs::read_to_string(entry?.path().join("cmdline")) else {
            continue;
        };
        let words: Vec<&str> = line.split('\0').collect();
        let value = |option: &str| {
            let at = words.iter().position(|word| *word == option)?;
            words.get(at + 1).copied()
        };
        if words[0].contains("containerd-shim") && value("-namespace") == Some(namespace) {
            ids.extend(value("-id").map(str::to_owned));
        }
    }
    Ok(ids)
}

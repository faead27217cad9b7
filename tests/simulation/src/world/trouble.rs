//! What goes wrong in a run: processes that are killed, power that is cut, a control plane that comes from a backup or is behind.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, PoisonError},
    time::Duration,
};

use tokio::sync::mpsc;

use super::{PLANE, World, disk, template};
use crate::plane::{self, Disk, Rough};

/// The host name of a control plane that is behind.
const STALE: &str = "stale";

impl World<'_> {
    /// Kills the control plane, as a power cut does; it comes back after a while.
    pub fn kill_plane(&mut self, away: Duration) {
        if !self.plane.runs {
            return;
        }
        self.trace.say("plane is killed");
        self.plane.runs = false;
        self.plane.back_at = Some(self.elapsed + away);
        *self.jobs.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.sim.crash(PLANE);
    }

    /// Kills a node agent; it comes back after a while.
    pub fn kill_node(&mut self, index: usize, away: Duration) {
        let Some(machine) = self.machines.get(index).cloned() else {
            return;
        };
        let Some(process) = self.nodes.get_mut(machine.name).filter(|it| it.runs) else {
            return;
        };
        self.trace.say(format!("{} is killed", machine.name));
        process.runs = false;
        process.back_at = Some(self.elapsed + away);
        machine.lock().up = false;
        machine.way.open(false);
        machine.way.cut();
        self.sim.crash(machine.name);
    }

    /// A host loses power: everything on it ends, and its processes come back with it.
    pub fn power_cut(&mut self, index: usize, away: Duration) {
        let Some(machine) = self.machines.get(index).cloned() else {
            return;
        };
        self.trace.say(format!("{} loses power", machine.name));
        self.kill_node(index, away);
        let elapsed = self.elapsed;
        let mut ended = Vec::new();
        for ((name, _), process) in &mut self.agents {
            if *name == machine.name && process.runs {
                process.runs = false;
                process.back_at = Some(elapsed + away);
                ended.push(process.host.clone());
            }
        }
        for host in ended {
            self.sim.crash(host.as_str());
        }
        machine.power_cut();
    }

    /// Kills one of the shop agents.
    pub fn kill_agent(&mut self, nth: usize, away: Duration) {
        let count = self.agents.len().max(1);
        let elapsed = self.elapsed;
        let Some(((name, store), process)) = self.agents.iter_mut().nth(nth % count) else {
            return;
        };
        if process.runs {
            self.trace.say(format!("agent {store} on {name} is killed"));
            process.runs = false;
            process.back_at = Some(elapsed + away);
            let host = process.host.clone();
            self.sim.crash(host.as_str());
        }
    }

    /// A backup of the control plane's database, as of now.
    ///
    /// # Errors
    /// When the disk says no.
    pub fn backup(&self) -> anyhow::Result<PathBuf> {
        let path = self.disk.path().join("backup.db");
        std::fs::copy(self.database(), &path)?;
        self.trace.say("a backup is made");
        Ok(path)
    }

    /// The control plane's database is replaced by another, as after a restore; it starts anew.
    ///
    /// # Errors
    /// As [`World::step`], and when the disk says no.
    pub fn restore(&mut self, backup: &Path) -> anyhow::Result<()> {
        self.kill_plane(Duration::from_secs(1));
        std::fs::copy(backup, self.database())?;
        self.trace.say("a backup is restored");
        self.pass(Duration::from_secs(2))
    }

    /// Another control plane with the same identity and an older database answers everybody from now on.
    pub fn led_astray(&mut self, backup: &Path) {
        let disk = Disk {
            identity: disk(template()).identity,
            database: backup.to_owned(),
        };
        let rough = Arc::<Rough>::default();
        self.sim.host(STALE, move || {
            // Nobody asks it for anything; its queue stays open as long as it runs.
            let (sender, queue) = mpsc::channel(1);
            let running = plane::run(disk.clone(), rough.clone(), queue);
            async move {
                let ended = running.await.map_err(Into::into);
                drop(sender);
                ended
            }
        });
        self.lead_all(STALE);
    }

    /// Everybody speaks with the true control plane again.
    pub fn led_back(&mut self) {
        self.lead_all(PLANE);
        self.sim.crash(STALE);
    }

    fn lead_all(&self, host: &'static str) {
        self.trace.say(format!("all ways lead to {host}"));
        for machine in &self.machines {
            machine.way.lead_to(host);
            machine.way.cut();
        }
    }
}

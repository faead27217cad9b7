//! A second host on this machine: a network namespace, a dockerd in it with its own paths, and the node agent beside it.

mod forgotten;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use serde_json::Value;

use crate::fleet::{Fleet, NodeView, PATIENCE};
use crate::lane;
use crate::plane::program;
use crate::process;
use crate::wait::wait_for;

const POOL: &str = "10.196.0.0/14";
const HTTP: u16 = 18080;
const HTTPS: u16 = 18443;
/// Where quickstart leaves what a further host needs.
const IMAGES: &str = "/var/lib/shopfleet-quickstart/images";
const SHORT: Duration = Duration::from_secs(30);
const LONG: Duration = Duration::from_secs(300);

/// Where this machine is reached from that host.
pub fn gateway() -> String {
    lane::outside().to_string()
}

/// Ended, with everything of it removed, when dropped.
#[derive(Debug)]
pub struct SecondHost {
    /// Of the host, of its network, and of what is its own in its Docker's containerd.
    name: String,
    /// This machine's end of the link to it.
    link: String,
    dir: PathBuf,
    dockerd: Option<Child>,
    agent: Option<Child>,
    /// The agent's arguments after it joined.
    agent_args: Vec<String>,
    /// From this share of its disk in use on, in percent, it takes no new stores.
    disk_limit: u32,
}

fn ip(args: &[&str]) -> anyhow::Result<()> {
    process::run("ip", args, SHORT)?.ok().map(drop)
}

impl SecondHost {
    /// Makes the namespace and starts Docker in it. Images come when the node joins.
    pub fn start() -> anyhow::Result<Self> {
        let name = lane::host();
        let [link, far_end] = lane::interfaces();
        let dir = PathBuf::from("/var/lib").join(&name);
        fs::create_dir_all(dir.join("run"))?;
        let mut host = Self {
            name,
            link,
            dir,
            dockerd: None,
            agent: None,
            agent_args: Vec::new(),
            // Its disk is this machine's, and how full that is is not what stories are about.
            disk_limit: 97,
        };
        let (name, link) = (host.name.as_str(), host.link.as_str());
        let (outside, inside) = (lane::outside().to_string(), lane::inside().to_string());
        // One that a killed run left behind.
        let _ = ip(&["netns", "delete", name]);
        let _ = ip(&["link", "delete", link]);
        ip(&["netns", "add", name])?;
        ip(&[
            "link", "add", link, "type", "veth", "peer", "name", &far_end, "netns", name,
        ])?;
        ip(&["address", "add", &format!("{outside}/30"), "dev", link])?;
        ip(&["link", "set", link, "up"])?;
        let within = |args: &[&str]| ip(&[&["-netns", name], args].concat());
        within(&["address", "add", &format!("{inside}/30"), "dev", &far_end])?;
        within(&["link", "set", &far_end, "up"])?;
        within(&["link", "set", "lo", "up"])?;
        within(&["route", "add", "default", "via", &outside])?;
        host.start_docker()?;
        Ok(host)
    }

    /// An address of this host's edge.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.edge())
    }

    /// Where buyers come in.
    pub fn edge(&self) -> String {
        format!("{}:{HTTP}", lane::inside())
    }

    /// A place of this host.
    pub fn path(&self, name: &str) -> String {
        self.dir.join(name).to_string_lossy().into_owned()
    }

    /// Docker's own socket.
    pub fn socket(&self) -> String {
        self.path("docker.sock")
    }

    /// Puts the node's state, and with it the stores' data, on a file system of that size, which may get as full as is usual. Before it joins.
    pub fn small_disk(&mut self, megabytes: u32) -> anyhow::Result<()> {
        self.disk_limit = 85;
        fs::create_dir_all(self.path("state"))?;
        let size = format!("size={megabytes}m,mode=711");
        process::run(
            "mount",
            &["-t", "tmpfs", "-o", &size, "tmpfs", &self.path("state")],
            SHORT,
        )?
        .ok()
        .map(drop)
    }

    /// A program inside the host's network, with its output in a log.
    fn spawn(&self, log: &str, program: &str, args: &[String]) -> anyhow::Result<Child> {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.dir.join(log))?;
        Command::new("nsenter")
            .arg(format!("--net=/run/netns/{}", self.name))
            .arg(program)
            .args(args)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("{program} did not start"))
    }

    /// Asks this host's Docker.
    pub fn docker(&self, args: &[&str]) -> anyhow::Result<String> {
        let socket = format!("unix://{}", self.socket());
        let mut all = vec!["--host", &socket];
        all.extend_from_slice(args);
        process::run("docker", &all, LONG)?.ok()
    }

    fn start_docker(&mut self) -> anyhow::Result<()> {
        let args = [
            format!("--host=unix://{}", self.socket()),
            format!("--data-root={}", self.path("docker")),
            format!("--exec-root={}", self.path("exec")),
            format!("--pidfile={}", self.path("docker.pid")),
            format!("--containerd-namespace={}", self.name),
        ];
        self.dockerd = Some(self.spawn("dockerd.log", "dockerd", &args)?);
        wait_for(
            "the second Docker answers",
            SHORT * 2,
            || Ok(self.docker(&["version"]).is_ok()),
            |up| *up,
        )
        .with_context(|| format!("the end of its log:\n{}", self.log_tail("dockerd.log")))
        .map(drop)
    }

    /// The end of a log, such as `agent.log`.
    pub fn log_tail(&self, log: &str) -> String {
        let text = fs::read_to_string(self.dir.join(log)).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }

    /// Runs the command that `shopctl node join` prints, with this host's own pool, ports and paths added, and the images
    /// that quickstart left behind. When this returns the agent runs; it may still be loading them.
    pub fn join(&mut self, fleet: &Fleet) -> anyhow::Result<()> {
        self.join_through(fleet, &self.socket())
    }

    /// Waits until the control plane calls this host ready, and gives its id.
    pub fn ready(&self, fleet: &Fleet) -> anyhow::Result<String> {
        let ours = |nodes: &Vec<NodeView>| {
            nodes
                .iter()
                .find(|n| n.status == "ready" && n.name == self.name)
                .map(|n| n.id.clone())
        };
        let nodes = wait_for(
            "the second host is ready",
            PATIENCE * 2,
            || fleet.nodes(),
            |nodes| ours(nodes).is_some(),
        )
        .with_context(|| format!("the end of its log:\n{}", self.log_tail("agent.log")))?;
        ours(&nodes).context("no such node")
    }

    /// As [`SecondHost::join`], with the agent reaching Docker through another socket.
    pub fn join_through(&mut self, fleet: &Fleet, engine: &str) -> anyhow::Result<()> {
        let images = std::env::var("SHOPFLEET_NODE_IMAGES").unwrap_or_else(|_| IMAGES.to_owned());
        let token = self.path("join-token");
        let join: Value = fleet.json(&["node", "join", "--token-file", &token])?;
        let command = join["command"]
            .as_str()
            .context("no command")?
            .replace("\\\n", " ");
        let mut words = command
            .split_whitespace()
            .map(|word| word.trim_matches('\'').to_owned());
        anyhow::ensure!(
            words.next().as_deref() == Some("shop-agent"),
            "not our command: {command}"
        );
        let mut args: Vec<String> = words.collect();
        for (option, value) in [
            ("--name", self.name.clone()),
            ("--pool", POOL.to_owned()),
            ("--edge-http", HTTP.to_string()),
            ("--edge-https", HTTPS.to_string()),
            ("--docker", engine.to_owned()),
            ("--images", images),
            ("--state-dir", self.path("state")),
            ("--run-dir", self.path("run")),
            ("--disk-limit", self.disk_limit.to_string()),
        ] {
            args.extend([option.to_owned(), value]);
        }
        self.agent_args = args;
        self.start_agent()
    }

    fn start_agent(&mut self) -> anyhow::Result<()> {
        let program = program("shop-agent");
        self.agent = Some(self.spawn("agent.log", &program.to_string_lossy(), &self.agent_args)?);
        Ok(())
    }

    /// Names of running containers.
    pub fn running_services(&self) -> anyhow::Result<Vec<String>> {
        Ok(self
            .docker(&["ps", "--format", "{{.Names}}"])?
            .lines()
            .map(str::to_owned)
            .collect())
    }

    /// As a power cut: agent, containers and Docker killed, run-time directory emptied, all started again.
    pub fn reboot(&mut self) -> anyhow::Result<()> {
        self.stop_agent()?;
        let ids = self.docker(&["ps", "--quiet"])?;
        let mut args = vec!["container", "inspect", "--format", "{{.State.Pid}}"];
        args.extend(ids.split_whitespace());
        let mut pids = if args.len() > 4 {
            self.docker(&args)?
        } else {
            String::new()
        };
        // Docker first: it must not see its containers end, as in a power cut.
        if let Some(mut dockerd) = self.dockerd.take() {
            dockerd.kill()?;
            dockerd.wait()?;
        }
        pids.push_str(
            &fs::read_to_string(self.dir.join("exec/containerd/containerd.pid"))
                .unwrap_or_default(),
        );
        for pid in pids.split_whitespace() {
            // One that ended with another is as good as killed.
            let _ = process::run("kill", &["-9", pid], SHORT);
        }
        // What a reboot empties: every mount, secrets included, and the run-time directories.
        unmount_below(&self.dir);
        fs::remove_dir_all(self.dir.join("exec"))?;
        fs::remove_file(self.dir.join("docker.pid"))?;
        for entry in fs::read_dir(self.dir.join("run"))? {
            let path = entry?.path();
            if path.is_dir() {
                fs::remove_dir_all(path)?
            } else {
                fs::remove_file(path)?
            }
        }
        self.start_docker()?;
        self.start_agent()
    }

    /// Fills the file system of a place until that much of it is in use, in percent; more than it was told before.
    pub fn fill(&self, place: &str, percent: u64) -> anyhow::Result<()> {
        let stat = process::run(
            "df",
            &["--output=size,used", "--block-size=1K", &self.path(place)],
            SHORT,
        )?
        .ok()?;
        let mut numbers = stat.lines().last().unwrap_or_default().split_whitespace();
        let mut next = || -> anyhow::Result<u64> { Ok(numbers.next().context("df")?.parse()?) };
        let (size, used) = (next()?, next()?);
        let filler = self.dir.join(place).join("filler");
        let already = fs::metadata(&filler).map_or(0, |m| m.len() / 1024);
        let wanted = already + (size * percent / 100).saturating_sub(used);
        let length = format!("{wanted}K");
        process::run(
            "fallocate",
            &["--length", &length, &filler.to_string_lossy()],
            SHORT,
        )?
        .ok()
        .map(drop)
    }

    /// Takes away what [`SecondHost::fill`] put there.
    pub fn unfill(&self, place: &str) -> anyhow::Result<()> {
        Ok(fs::remove_file(self.dir.join(place).join("filler"))?)
    }

    /// kill -9 of Docker alone, as the kernel does when memory is short; containers run on, and it is started again.
    pub fn kill_docker(&mut self) -> anyhow::Result<()> {
        if let Some(mut dockerd) = self.dockerd.take() {
            dockerd.kill()?;
            dockerd.wait()?;
        }
        // Its containerd is its child and dies with it; the containers do not.
        let containerd = self.dir.join("exec/containerd/containerd.pid");
        if let Ok(pid) = fs::read_to_string(&containerd) {
            // Dead already is as good.
            let _ = process::run("kill", &["-9", pid.trim()], SHORT);
        }
        // Stale, and misleading where nobody reaps orphans: the new Docker would wait for the dead one.
        for left in [
            "docker.pid",
            "docker.sock",
            "exec/containerd/containerd.pid",
            "exec/containerd/containerd.sock",
        ] {
            let path = self.dir.join(left);
            if path.exists() {
                fs::remove_file(path)?;
            }
        }
        self.start_docker()
    }

    /// Names of all containers of a store, running or not.
    pub fn of_store(&self, store: &str) -> anyhow::Result<Vec<String>> {
        let filter = format!("label=shopfleet.store={store}");
        let listed =
            self.docker(&["ps", "--all", "--filter", &filter, "--format", "{{.Names}}"])?;
        let mut names: Vec<String> = listed.lines().map(str::to_owned).collect();
        names.sort();
        Ok(names)
    }

    /// Everything that Docker and the file system still hold of a store.
    pub fn left_of(&self, store: &str) -> anyhow::Result<Vec<String>> {
        let mut left = self.of_store(store)?;
        for kind in ["network", "volume"] {
            let filter = format!("name={store}");
            let listed = self.docker(&[kind, "ls", "--quiet", "--filter", &filter])?;
            left.extend(listed.lines().map(|id| format!("{kind} {id}")));
        }
        for place in ["state", "run"] {
            let found = process::run(
                "find",
                &[&self.path(place), "-path", &format!("*{store}*")],
                SHORT,
            )?;
            left.extend(found.stdout.lines().map(str::to_owned));
        }
        // The tombstone stays until the control plane has acknowledged it.
        left.retain(|line| !line.contains("/tombstones/"));
        Ok(left)
    }

    /// The host is gone from the network's point of view.
    pub fn lose(&mut self) -> anyhow::Result<()> {
        ip(&["link", "set", &self.link, "down"])
    }

    pub fn come_back(&mut self) -> anyhow::Result<()> {
        ip(&["link", "set", &self.link, "up"])
    }

    fn stop_agent(&mut self) -> anyhow::Result<()> {
        if let Some(mut agent) = self.agent.take() {
            agent.kill()?;
            agent.wait()?;
        }
        Ok(())
    }

    fn stop_docker(&mut self) -> anyhow::Result<()> {
        if let Some(mut dockerd) = self.dockerd.take() {
            process::run("kill", &["-TERM", &dockerd.id().to_string()], SHORT)?.ok()?;
            wait_for(
                "the second Docker ends",
                SHORT * 2,
                || Ok(dockerd.try_wait()?.is_some()),
                |ended| *ended,
            )?;
        }
        Ok(())
    }
}

impl Drop for SecondHost {
    fn drop(&mut self) {
        // Each step is tried whatever became of the others; what is left would show in the residue check.
        let _ = self.come_back();
        let _ = self.stop_agent();
        if let Ok(all) = self.docker(&["ps", "--all", "--quiet"]) {
            for id in all.split_whitespace() {
                let _ = self.docker(&["rm", "--force", "--volumes", id]);
            }
        }
        if let Ok(all) = self.docker(&["volume", "ls", "--quiet"]) {
            for name in all.split_whitespace() {
                let _ = self.docker(&["volume", "rm", name]);
            }
        }
        let _ = self.stop_docker();
        let _ = ip(&["link", "delete", &self.link]);
        let _ = ip(&["netns", "delete", &self.name]);
        unmount_below(&self.dir);
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Docker leaves mounts of network namespaces and volumes under its directories when it is ended hard.
fn unmount_below(dir: &Path) {
    let Ok(mounts) = fs::read_to_string("/proc/self/mounts") else {
        return;
    };
    let prefix = dir.to_string_lossy();
    let below: Vec<&str> = mounts
        .lines()
        .filter_map(|l| l.split(' ').nth(1))
        .filter(|m| m.starts_with(prefix.as_ref()))
        .collect();
    for mount in below.into_iter().rev() {
        let _ = process::run("umount", &["--lazy", mount], SHORT);
    }
}

//! A control plane of a story's own beside the installed one: other ports, other data, its own settings, a process of this test.
//! With it a story can be rough without anybody else noticing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context;

use crate::fleet::{Fleet, PATIENCE};
use crate::http;
use crate::lane::port;
use crate::process;
use crate::repository::root;
use crate::wait::wait_for;

// Ports in lane 0.
const ADMIN: u16 = 17440;
const ENROLMENT: u16 = 17442;
const AGENTS: u16 = 17443;
const METRICS: u16 = 17449;
const SHORT: Duration = Duration::from_secs(30);

/// Where it keeps its state.
#[derive(Debug, Clone)]
pub enum Database {
    Sqlite,
    /// A database of its own on this server, which is made anew: `postgres://user@host:port`.
    Postgres(String),
}

/// Ended, with everything of it removed, when dropped.
#[derive(Debug)]
pub struct Plane {
    dir: tempfile::TempDir,
    settings: Vec<(String, String)>,
    process: Option<Child>,
    database: Option<String>,
}

/// Where it listens for agents without a certificate.
pub fn enrolment() -> u16 {
    port(ENROLMENT)
}

/// Where it listens for agents with one.
pub fn agents() -> u16 {
    port(AGENTS)
}

/// Our programs: what the build made, or those in `SHOPFLEET_BINS`.
pub fn program(name: &str) -> PathBuf {
    std::env::var_os("SHOPFLEET_BINS")
        .map_or_else(
            || root().join("target/x86_64-unknown-linux-gnu/quick"),
            PathBuf::from,
        )
        .join(name)
}

impl Plane {
    /// Makes one, reached by agents at `advertise` (`HOST`, or `HOST:ENROLMENT_PORT,AGENTS_PORT` when something stands before it), with
    /// `SHOPFLEET_*` settings; and logs a CLI of its own in.
    pub fn start(
        database: &Database,
        advertise: &str,
        settings: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let mut plane = Self {
            dir: tempfile::tempdir()?,
            settings: settings
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
            process: None,
            database: None,
        };
        let said = plane.init(database, advertise)?;
        let pin = said
            .split_whitespace()
            .find(|word| word.starts_with("sha256:"))
            .with_context(|| format!("init printed no pin: {said}"))?
            .to_owned();
        plane.serve()?;
        let fleet = plane.fleet("127.0.0.1:9".to_owned());
        let url = format!("https://127.0.0.1:{}", port(ADMIN));
        let token = plane.path("token");
        fleet
            .ctl(&[
                "login",
                &url,
                "--name",
                "story",
                "--ca-pin",
                &pin,
                "--token-file",
                &token,
            ])?
            .ok()?;
        fleet.ctl(&["trust", "init"])?.ok()?;
        Ok(plane)
    }

    /// As its operator sees it, with buyers coming in at `edge`.
    pub fn fleet(&self, edge: String) -> Fleet {
        Fleet::of_story(&program("shopctl"), &self.dir.path().join("cli"), edge)
    }

    /// kill -9, and up again.
    pub fn kill_and_restart(&mut self) -> anyhow::Result<()> {
        self.end();
        self.serve()
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    fn init(&mut self, database: &Database, advertise: &str) -> anyhow::Result<String> {
        let reached = match advertise.contains(':') {
            true => advertise.to_owned(),
            false => format!("{advertise}:{},{}", enrolment(), agents()),
        };
        let mut args = vec![
            "init".to_owned(),
            format!("--data={}", self.path("data")),
            format!("--advertise={reached}"),
            format!("--listen-admin=127.0.0.1:{}", port(ADMIN)),
            format!("--listen-enrolment=0.0.0.0:{}", enrolment()),
            format!("--listen-agents=0.0.0.0:{}", agents()),
            format!("--listen-metrics=127.0.0.1:{}", port(METRICS)),
            format!("--token-file={}", self.path("token")),
        ];
        if let Database::Postgres(server) = database {
            let name = format!("story_{}", std::process::id());
            let made = format!("CREATE DATABASE {name}");
            psql(server, &made)?;
            self.database = Some(server.clone());
            fs::write(self.path("url"), format!("{server}/{name}\n"))?;
            args.push(format!("--database-file={}", self.path("url")));
        }
        process::run(&program("control-plane").to_string_lossy(), &args, SHORT)?.ok()
    }

    fn serve(&mut self) -> anyhow::Result<()> {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path("log"))?;
        let child = Command::new(program("control-plane"))
            .args(["serve", "--data", &self.path("data")])
            .envs(self.settings.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        self.process = Some(child);
        let ready = format!("http://127.0.0.1:{}/readyz", port(METRICS));
        wait_for(
            "the story's control plane is ready",
            PATIENCE,
            || http::curl(&["--max-time", "2", &ready]),
            |answer| answer.status == 200,
        )
        .with_context(|| tail(Path::new(&self.path("log"))))
        .map(drop)
    }

    fn end(&mut self) {
        if let Some(mut process) = self.process.take() {
            // Ended already is as good.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        self.end();
        if let Some(server) = self.database.take() {
            let gone = format!(
                "DROP DATABASE IF EXISTS story_{} WITH (FORCE)",
                std::process::id()
            );
            // The server itself goes at the end of the run.
            let _ = psql(&server, &gone);
        }
    }
}

fn psql(server: &str, statement: &str) -> anyhow::Result<()> {
    let url = format!("{server}/postgres");
    process::run("psql", &["--quiet", "--command", statement, &url], SHORT)?
        .ok()
        .map(drop)
}

fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    format!(
        "the end of its log:\n{}",
        lines[lines.len().saturating_sub(15)..].join("\n")
    )
}

//! A control plane: in this process, or as a process of its own that can be killed.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use clap::Parser as _;
use control_plane::{
    cli::Cli,
    commands,
    config::{Config, FILE},
    identity::Authority,
    server::{Addresses, Server},
};
use jiff::Timestamp;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::watch,
};

use crate::{client::Target, memory, world::until};

/// Where it listens now. A restart moves it, as `:0` does.
#[derive(Clone)]
pub struct Place {
    pub admin: SocketAddr,
    pub metrics: SocketAddr,
    pub target: Target,
}

/// How it runs.
enum Running {
    Inside(Box<Server>),
    Process(Child),
}

pub struct Plane {
    directory: tempfile::TempDir,
    config: Config,
    place: watch::Sender<Place>,
    running: Option<Running>,
    /// Starts of the process so far; each has its own log.
    starts: usize,
}

impl Plane {
    /// After `init`, with a configuration changed as wanted; not running.
    pub async fn new(change: impl FnOnce(&mut Config)) -> Self {
        Self::on(None, change).await
    }

    /// On another database than the usual file.
    pub async fn on(database: Option<&str>, change: impl FnOnce(&mut Config)) -> Self {
        control_plane::telemetry::start();
        // The first test sets it for all.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let directory = memory::directory();
        let data = directory.path();
        let token = data.join("token");
        let mut arguments: Vec<&std::ffi::OsStr> = vec![
            "control-plane".as_ref(),
            "init".as_ref(),
            "--token-file".as_ref(),
            token.as_ref(),
            "--data".as_ref(),
            data.as_ref(),
        ];
        if let Some(url) = database {
            arguments.extend([std::ffi::OsStr::new("--database"), url.as_ref()]);
        }
        commands::run(Cli::try_parse_from(arguments).unwrap())
            .await
            .unwrap();
        let mut config = Config::load(&data.join(FILE), |_| None).unwrap();
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        config.listen.admin = free;
        config.listen.enrolment = free;
        config.listen.agents = free;
        config.listen.metrics = free;
        change(&mut config);
        config.save(&data.join(FILE)).unwrap();
        let authority = Authority::load(&config.identity(), Timestamp::now()).unwrap();
        // Nothing listens there.
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
        let place = Place {
            admin: nowhere,
            metrics: nowhere,
            target: Target {
                enrolment: nowhere,
                agents: nowhere,
                roots: authority.bundle().roots,
            },
        };
        Self {
            directory,
            config,
            place: watch::channel(place).0,
            running: None,
            starts: 0,
        }
    }

    pub fn place(&self) -> watch::Receiver<Place> {
        self.place.subscribe()
    }

    pub fn data(&self) -> &Path {
        self.directory.path()
    }

    pub fn database(&self) -> PathBuf {
        let url = self.config.database.url.reveal();
        url.trim_start_matches("sqlite://").into()
    }

    pub fn token(&self) -> String {
        let text = fs::read_to_string(self.data().join("token")).unwrap();
        text.trim().to_owned()
    }

    /// In this process.
    pub async fn start(&mut self) {
        let server = Server::start(self.config.clone()).await.unwrap();
        let addresses = server.addresses();
        self.moved(addresses);
        self.running = Some(Running::Inside(Box::new(server)));
    }

    /// As a process of its own.
    pub async fn spawn(&mut self) {
        self.starts += 1;
        let log = self.log();
        let child = Command::new(env!("CARGO_BIN_EXE_control-plane"))
            .args(["serve", "--data"])
            .arg(self.data())
            .env("SHOPFLEET_LOG", "info,control_plane=trace")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        self.running = Some(Running::Process(child));
        let said = until("the control plane serves", async || {
            let text = fs::read_to_string(&log).unwrap();
            text.lines()
                .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
                .find(|line| line["message"] == "serving")
                .ok_or(text)
        })
        .await;
        let at = |name: &str| said[name].as_str().unwrap().parse().unwrap();
        self.moved(Addresses {
            admin: at("admin"),
            enrolment: at("enrolment"),
            agents: at("agents"),
            metrics: at("metrics"),
        });
    }

    fn moved(&self, addresses: Addresses) {
        self.place.send_modify(|place| {
            place.admin = addresses.admin;
            place.metrics = addresses.metrics;
            place.target.enrolment = addresses.enrolment;
            place.target.agents = addresses.agents;
        });
    }

    /// What `/readyz` answers.
    pub async fn readiness(&self) -> String {
        let metrics = self.place.borrow().metrics;
        let mut stream = tokio::net::TcpStream::connect(metrics).await.unwrap();
        let request = b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    fn log(&self) -> PathBuf {
        self.data().join(format!("log-{}", self.starts))
    }

    /// Everything that its processes have logged.
    pub fn logs(&self) -> String {
        (1..=self.starts)
            .map(|start| {
                fs::read_to_string(self.data().join(format!("log-{start}"))).unwrap_or_default()
            })
            .collect()
    }

    /// As SIGTERM does.
    pub async fn stop(&mut self) {
        match self.running.take() {
            Some(Running::Inside(server)) => server.stop().await,
            Some(Running::Process(child)) => kill(child),
            None => {}
        }
    }

    /// Asks a process to end, and tells how it did.
    pub async fn terminate(&mut self) -> std::process::ExitStatus {
        let Some(Running::Process(mut child)) = self.running.take() else {
            panic!("only a process can be asked to end")
        };
        let id = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        until("it has ended", async || {
            let ended = child.try_wait().unwrap();
            ended.ok_or_else(|| "still running".to_owned())
        })
        .await
    }

    /// As a power cut does. Only for a process.
    pub fn kill(&mut self) {
        match self.running.take() {
            Some(Running::Process(child)) => kill(child),
            _ => panic!("only a process can be killed"),
        }
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        if let Some(Running::Process(child)) = self.running.take() {
            kill(child);
        }
    }
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

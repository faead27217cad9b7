//! The peer people have: `docker-compose up -d` of the same template, with its health checks and `depends_on`.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow};

use super::deep;
use crate::process;

const UP_LIMIT: Duration = Duration::from_secs(240);

/// One project in its own directory: the template's compose file, its secrets, and fixed networks.
pub struct Compose {
    directory: PathBuf,
    project: String,
    subnet: u8,
}

impl Compose {
    /// Prepares a project whose health checks run every `interval`; `subnet` is the third byte of 10.199.x.0.
    pub fn prepare(
        template: &Path,
        secrets: &Path,
        root: &Path,
        project: &str,
        interval: &str,
        subnet: u8,
    ) -> anyhow::Result<Self> {
        let directory = root.join(project);
        fs::create_dir_all(directory.join("secrets"))?;
        for file in fs::read_dir(secrets)? {
            let file = file?;
            fs::copy(
                file.path(),
                directory.join("secrets").join(file.file_name()),
            )?;
        }
        let text = fs::read_to_string(template)
            .with_context(|| format!("no template at {}", template.display()))?;
        let changed = text.replace("interval: 5s", &format!("interval: {interval}"));
        anyhow::ensure!(
            interval == "5s" || changed != text,
            "the template has no 5 s interval"
        );
        fs::write(directory.join("compose.yaml"), changed)?;
        let fixed = format!(
            "services:\n  web-nginx: {{networks: {{app: {{ipv4_address: 10.199.{subnet}.3}}}}}}\n\
             networks:\n  app: {{ipam: {{config: [{{subnet: 10.199.{subnet}.0/27}}]}}}}\n  \
             data: {{ipam: {{config: [{{subnet: 10.199.{subnet}.32/27}}]}}}}\n  \
             egress: {{ipam: {{config: [{{subnet: 10.199.{subnet}.64/27}}]}}}}\n"
        );
        fs::write(directory.join("fixed.yaml"), fixed)?;
        Ok(Self {
            directory,
            project: project.to_owned(),
            subnet,
        })
    }

    /// From nothing, or from stopped, to the first 200 of the deep check.
    pub fn up(&self) -> anyhow::Result<Instant> {
        thread::scope(|scope| {
            let ready = scope.spawn(|| {
                let web = IpAddr::V4(Ipv4Addr::new(10, 199, self.subnet, 3));
                deep::wait(web, 8080, "compose.localhost")
            });
            self.run(&["up", "-d"])?;
            ready.join().map_err(|_| anyhow!("the watcher panicked"))?
        })
    }

    /// Names another release of the shop's own images; the next [`Compose::up`] goes there.
    pub fn release(&self, number: u32) -> anyhow::Result<()> {
        let file = self.directory.join("compose.yaml");
        let text = fs::read_to_string(&file)?;
        let changed: Vec<String> = text
            .lines()
            .map(|line| match line.rsplit_once(':') {
                Some((image, _)) if line.contains("image: shopfleet/refshop-") => {
                    format!("{image}:{number}")
                }
                _ => line.to_owned(),
            })
            .collect();
        fs::write(file, changed.join("\n") + "\n")?;
        Ok(())
    }

    /// Where its web container answers.
    #[must_use]
    pub fn web(&self) -> SocketAddr {
        (Ipv4Addr::new(10, 199, self.subnet, 3), 8080).into()
    }

    /// Stops everything, keeps everything.
    pub fn stop(&self) -> anyhow::Result<()> {
        self.run(&["stop"])
    }

    /// Everything gone again.
    pub fn down(&self) -> anyhow::Result<()> {
        self.run(&["down", "--volumes", "--timeout", "1"])
    }

    fn run(&self, command: &[&str]) -> anyhow::Result<()> {
        let main = self.directory.join("compose.yaml");
        let fixed = self.directory.join("fixed.yaml");
        let mut args: Vec<&str> = vec![
            "--project-name",
            &self.project,
            "--file",
            main.to_str().context("path")?,
            "--file",
            fixed.to_str().context("path")?,
        ];
        args.extend_from_slice(&["--profile", "nginx", "--profile", "sphinx"]);
        args.extend_from_slice(command);
        process::run("docker-compose", &args, UP_LIMIT)?
            .ok()
            .map(drop)
    }
}

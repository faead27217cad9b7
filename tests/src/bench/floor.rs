//! The floor: what the engine allows. Creates in parallel, knows the best order, probes every 10 ms, and does nothing else:
//! no agent, no checks, no repair, no firewall. At most 200 lines, so that it stays a fair bound.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    thread,
    time::Instant,
};

use anyhow::anyhow;
use serde_json::{Value, json};

use super::{deep, engine};

const NETWORKS: [(&str, u8); 3] = [("app", 0), ("data", 32), ("egress", 64)];
const VOLUMES: [&str; 4] = ["db-data", "cache-data", "media", "search-data"];

struct Container {
    name: &'static str,
    image: &'static str,
    command: Option<&'static [&'static str]>,
    networks: &'static [&'static str],
    host: u8,
    mounts: &'static [(&'static str, &'static str, bool)],
    tmpfs: &'static [(&'static str, &'static str)],
    secrets: &'static [&'static str],
    memory_mib: u64,
    cpu_millis: u64,
    pids: u64,
}

const SHOP_SECRETS: &[&str] = &["db_password", "cache_password", "app_key", "admin_password"];
const DB: Container = Container {
    name: "db", image: "shopfleet/mariadb:1", command: None, networks: &["data"], host: 3,
    mounts: &[("db-data", "/var/lib/mysql", false)], tmpfs: &[("/tmp", "64m"), ("/run/mysqld", "1m")],
    secrets: &["db_password", "db_root_password"], memory_mib: 384, cpu_millis: 1000, pids: 128,
};
const CACHE: Container = Container {
    name: "cache", image: "shopfleet/redis:1", command: None, networks: &["data"], host: 4,
    mounts: &[("cache-data", "/data", false)], tmpfs: &[("/tmp", "8m")],
    secrets: &["cache_password"], memory_mib: 96, cpu_millis: 500, pids: 32,
};
const SEARCH: Container = Container {
    name: "search", image: "shopfleet/sphinx:1", command: None, networks: &["data"], host: 5,
    mounts: &[("search-data", "/var/lib/sphinx", false)], tmpfs: &[("/tmp", "8m")],
    secrets: &[], memory_mib: 128, cpu_millis: 500, pids: 64,
};
const PHP: Container = Container {
    name: "php-fpm", image: "shopfleet/refshop-php-fpm:1", command: None, networks: &["app", "data", "egress"], host: 10,
    mounts: &[("media", "/srv/shop/public/media", false)], tmpfs: &[("/tmp", "64m")],
    secrets: SHOP_SECRETS, memory_mib: 384, cpu_millis: 1000, pids: 128,
};
const INSTALL: Container = Container {
    name: "install", image: "shopfleet/refshop-php-fpm:1", command: Some(&["bin/shop", "install"]), networks: &["data"], host: 24,
    mounts: &[("media", "/srv/shop/public/media", false)], tmpfs: &[("/tmp", "64m")],
    secrets: SHOP_SECRETS, memory_mib: 256, cpu_millis: 1000, pids: 64,
};
const WEB: Container = Container {
    name: "web", image: "shopfleet/refshop-nginx:1", command: None, networks: &["app"], host: 3,
    mounts: &[("media", "/srv/shop/public/media", true)], tmpfs: &[("/tmp", "32m")],
    secrets: &[], memory_mib: 64, cpu_millis: 500, pids: 64,
};
const ALL: [&Container; 6] = [&DB, &CACHE, &SEARCH, &PHP, &INSTALL, &WEB];

/// One shop. `subnet` is the third byte of 10.199.x.0; `secrets` is a directory with one file per secret.
pub struct Floor<'a> {
    pub project: String,
    pub subnet: u8,
    pub secrets: &'a Path,
}

impl Floor<'_> {
    /// Where its web answers.
    pub fn web(&self) -> IpAddr {
        self.address("app", WEB.host)
    }

    fn address(&self, network: &str, host: u8) -> IpAddr {
        let base = NETWORKS.iter().find(|(name, _)| *name == network).map_or(0, |(_, base)| *base);
        IpAddr::V4(Ipv4Addr::new(10, 199, self.subnet, base + host))
    }

    fn named(&self, name: &str) -> String {
        format!("{}-{name}", self.project)
    }

    /// From nothing to the first 200 of the deep check.
    pub fn up(&self) -> anyhow::Result<Instant> {
        in_parallel(NETWORKS.map(|(name, base)| move || self.network(name, base)))?;
        in_parallel(VOLUMES.map(|name| {
            move || engine::call("POST", "/volumes/create", Some(&json!({"Name": self.named(name)}))).map(drop)
        }))?;
        thread::scope(|scope| {
            // The database is the long pole: it starts before anything else is made.
            let db = scope.spawn(|| self.run(&DB));
            let rest = scope.spawn(|| {
                in_parallel([&CACHE, &SEARCH].map(|container| move || self.run(container)))?;
                self.create(&INSTALL)
            });
            let front = scope.spawn(|| in_parallel([&PHP, &WEB].map(|container| move || self.create(container))));
            join(db)?;
            join(rest)?;
            deep::wait_for_port(SocketAddr::new(self.address("data", CACHE.host), 6379), false)?;
            deep::wait_for_port(SocketAddr::new(self.address("data", SEARCH.host), 9306), true)?;
            deep::wait_for_port(SocketAddr::new(self.address("data", DB.host), 3306), true)?;
            let install = scope.spawn(|| self.start(&INSTALL));
            join(front)?;
            in_parallel([&PHP, &WEB].map(|container| move || self.start(container)))?;
            join(install)?;
            deep::wait(self.web(), 8080, "floor.localhost")
        })
    }

    /// Everything gone again.
    pub fn down(&self) -> anyhow::Result<()> {
        in_parallel(ALL.map(|container| {
            move || engine::call("DELETE", &format!("/containers/{}?force=1", self.named(container.name)), None).map(drop)
        }))?;
        for (name, _) in NETWORKS {
            engine::call("DELETE", &format!("/networks/{}", self.named(name)), None)?;
        }
        for name in VOLUMES {
            engine::call("DELETE", &format!("/volumes/{}", self.named(name)), None)?;
        }
        Ok(())
    }

    fn network(&self, name: &str, base: u8) -> anyhow::Result<()> {
        let subnet = format!("10.199.{}.{base}/27", self.subnet);
        let body = json!({
            "Name": self.named(name), "CheckDuplicate": true, "Internal": name != "egress",
            "IPAM": {"Config": [{"Subnet": subnet}]},
        });
        engine::call("POST", "/networks/create", Some(&body)).map(drop)
    }

    fn run(&self, container: &Container) -> anyhow::Result<()> {
        self.create(container)?;
        self.start(container)
    }

    fn create(&self, container: &Container) -> anyhow::Result<()> {
        let endpoint = |network: &str| {
            json!({"IPAMConfig": {"IPv4Address": self.address(network, container.host).to_string()}, "Aliases": [container.name]})
        };
        let mut mounts: Vec<Value> = container.mounts.iter().map(|(volume, path, read_only)| {
            json!({"Type": "volume", "Source": self.named(volume), "Target": path, "ReadOnly": read_only})
        }).collect();
        mounts.extend(container.secrets.iter().map(|name| {
            json!({"Type": "bind", "Source": self.secrets.join(name), "Target": format!("/run/secrets/{name}"), "ReadOnly": true})
        }));
        let tmpfs: serde_json::Map<String, Value> = container.tmpfs.iter()
            .map(|(path, size)| ((*path).to_owned(), json!(format!("size={size}")))).collect();
        let first = container.networks[0];
        let body = json!({
            "Image": container.image, "Cmd": container.command,
            "Env": ["SHOP_NAME=Refshop", "ADMIN_EMAIL=admin@example.com", "SHOP_CURRENCY=EUR", "SHOP_LOCALE=en-GB",
                    "SHOP_SEARCH=sphinx", "FPM_MAX_CHILDREN=6", "DB_NAME=shop", "DB_USER=shop", "DB_BUFFER_POOL=64M"],
            "HostConfig": {
                "NetworkMode": self.named(first), "ReadonlyRootfs": true, "CapDrop": ["ALL"],
                "SecurityOpt": ["no-new-privileges:true"], "Memory": container.memory_mib << 20,
                "NanoCpus": container.cpu_millis * 1_000_000, "PidsLimit": container.pids,
                "Mounts": mounts, "Tmpfs": tmpfs,
            },
            "NetworkingConfig": {"EndpointsConfig": {self.named(first): endpoint(first)}},
        });
        let name = self.named(container.name);
        engine::call("POST", &format!("/containers/create?name={name}"), Some(&body))?;
        for network in &container.networks[1..] {
            let body = json!({"Container": name, "EndpointConfig": endpoint(network)});
            engine::call("POST", &format!("/networks/{}/connect", self.named(network)), Some(&body))?;
        }
        Ok(())
    }

    fn start(&self, container: &Container) -> anyhow::Result<()> {
        engine::call("POST", &format!("/containers/{}/start", self.named(container.name)), None).map(drop)
    }
}

fn in_parallel<const N: usize, F: FnOnce() -> anyhow::Result<()> + Send>(work: [F; N]) -> anyhow::Result<()> {
    thread::scope(|scope| work.map(|one| scope.spawn(one)).into_iter().try_for_each(join))
}

fn join<T>(handle: thread::ScopedJoinHandle<'_, anyhow::Result<T>>) -> anyhow::Result<T> {
    handle.join().map_err(|_| anyhow!("a thread of the floor client panicked"))?
}

//! A node whose stores exist on the wire alone: it joins a control plane and says what the agents of healthy stores say.
//! The hundreds of stores that `tests/bench rollout` has no room for.
//!
//! `scripted_node HOST ROOTS.pem TOKEN-FILE` prints the node's id and goes on until its standard input ends.

#![allow(dead_code, reason = "the stories use the rest of the script")]

use std::{env, fs, io::Read as _, net::IpAddr};

use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use tokio::sync::watch;

use crate::{
    client::Target,
    node::{Node, Script},
    plane::Place,
};

#[path = "../tests/support/client.rs"]
mod client;
#[path = "../tests/stories/node.rs"]
mod node;
#[path = "../tests/stories/shop.rs"]
mod shop;
#[path = "../tests/support/wait.rs"]
mod wait;

mod plane {
    /// Where a control plane listens, as far as agents ask.
    #[derive(Clone)]
    pub struct Place {
        pub target: crate::client::Target,
    }
}

const ENROLMENT: u16 = 7442;
const AGENTS: u16 = 7443;
/// So that no store waits for room.
const MEMORY_GIB: u64 = 4096;
const CPU_MILLIS: u32 = 4_000_000;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    let [host, roots, token] = args.as_slice() else {
        anyhow::bail!("usage: scripted_node HOST ROOTS.pem TOKEN-FILE");
    };
    let host: IpAddr = host.parse()?;
    let token = fs::read_to_string(token)?;
    // Only this program chooses one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let place = Place {
        target: Target {
            enrolment: (host, ENROLMENT).into(),
            agents: (host, AGENTS).into(),
            roots: CertificateDer::pem_file_iter(roots)?.collect::<Result<_, _>>()?,
        },
    };
    // Lives as long as the node: its agents ask for changes.
    let (_place, place) = watch::channel(place);
    let mut capacity = node::capacity(MEMORY_GIB, 10);
    capacity.cpu_millis = CPU_MILLIS;
    let script = Script {
        capacity,
        ..Script::default()
    };
    let node = Node::join("scripted", token.trim(), script, place).await;
    println!("{}", node.id());
    let ended = || std::io::stdin().read_to_end(&mut Vec::new());
    tokio::task::spawn_blocking(ended).await??;
    Ok(())
}

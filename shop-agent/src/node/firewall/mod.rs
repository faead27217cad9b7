//! Keeps the node's firewall table loaded: replaced atomically when bridges come or go, looked at on a timer, loaded again when somebody
//! removed or changed it.

mod flows;
mod ruleset;

use std::{net::Ipv4Addr, process::Stdio, sync::Arc, time::Duration};

use shop_proto::{Digest, NodeId};
use tokio::{io::AsyncWriteExt as _, process::Command, sync::Semaphore};

use flows::{Flows, Look};
pub use ruleset::Port;
#[cfg(feature = "fuzzing")]
pub use ruleset::resolvers as resolvers_of;
use ruleset::{Bridge, Edge, Role, Rules};
use shop_plan::NetworkName;

use super::{
    context::{Node, now_unix_ms},
    edge,
    names::{ASK_PORT, DNS_PORT, PAGE_PORT},
    outbox::{Note, Severity},
    state::StoreRecord,
};

/// Longest run of nft.
const DEADLINE: Duration = Duration::from_secs(10);
/// Between two looks at the table.
const LOOK: Duration = Duration::from_secs(15);
/// Where resolvers are named. Docker takes the second for its containers where the first names only this host (systemd-resolved).
const RESOLV_CONF: [&str; 2] = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"];

/// The table as it was loaded last, and one change of it at a time.
pub struct Firewall {
    turn: Semaphore,
    loaded: std::sync::Mutex<Option<Loaded>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Loaded {
    /// Of the text that was loaded.
    text: Digest,
    /// Of what nft said afterwards, counters left out.
    listing: Digest,
}

/// Why the table is not loaded.
#[derive(Debug, thiserror::Error)]
pub enum FirewallError {
    /// nft is not there, or cannot run.
    #[error("nft cannot be run: install nftables")]
    Run(#[source] std::io::Error),
    /// nft said no.
    #[error("nft refused the rules: {0}")]
    Refused(String),
    /// nft hangs.
    #[error("nft did not end in time")]
    Deadline,
    /// The node is ending.
    #[error("the node is ending")]
    Closed,
}

impl Default for Firewall {
    fn default() -> Self {
        Self {
            turn: Semaphore::new(1),
            loaded: std::sync::Mutex::default(),
        }
    }
}

impl Firewall {
    fn loaded(&self) -> Option<Loaded> {
        *self.lock()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Loaded>> {
        self.loaded
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Loads the table if it is not the one that should be there. Cheap when nothing has changed.
///
/// # Errors
/// See [`FirewallError`]; the table before stays.
pub async fn assert(node: &Node) -> Result<(), FirewallError> {
    let turn = node.firewall.turn.acquire().await;
    let _turn = turn.map_err(|_| FirewallError::Closed)?;
    let text = ruleset::render(&rules(node));
    let digest = Digest::of(text.as_bytes());
    if node.firewall.loaded().map(|it| it.text) == Some(digest) {
        return Ok(());
    }
    load(node, &text, digest).await
}

/// Looks again and again; a table that somebody changed is replaced, and that is said.
pub async fn keep(node: Arc<Node>) {
    let mut flows = Flows::default();
    loop {
        match flows.look(&node.id).await {
            Look::Quiet => {}
            Look::Again => reasserted(&node),
            Look::Missing(error) => uncounted(&node, &error),
        }
        tokio::time::sleep(LOOK).await;
        if let Err(error) = look(&node).await {
            tracing::error!(%error, "the firewall table cannot be kept loaded; stores may reach this host");
        }
    }
}

/// Takes the table away, and the one that counts.
///
/// # Errors
/// When nft fails for another reason than that there is none.
pub async fn remove(node: &NodeId) -> Result<(), FirewallError> {
    flows::remove(node).await?;
    let table = ruleset::table(node);
    // Adding first makes the removal succeed when there is none.
    let text = format!("add table inet {table}\ndelete table inet {table}\n");
    nft(&["-f", "-"], &text).await.map(|_| ())
}

async fn look(node: &Node) -> Result<(), FirewallError> {
    let turn = node.firewall.turn.acquire().await;
    let _turn = turn.map_err(|_| FirewallError::Closed)?;
    let listing = list(&node.id).await;
    let intact = match (&listing, node.firewall.loaded()) {
        (Ok(listing), Some(loaded)) => *listing == loaded.listing,
        _ => false,
    };
    if intact {
        return Ok(());
    }
    let again = node.firewall.loaded().is_some();
    let text = ruleset::render(&rules(node));
    let digest = Digest::of(text.as_bytes());
    load(node, &text, digest).await?;
    if again {
        reasserted(node);
    }
    Ok(())
}

fn reasserted(node: &Node) {
    tracing::warn!("a firewall table had been changed or removed; it is loaded again");
    warn(
        node,
        "firewall_reasserted",
        "a firewall table of the node had been changed or removed by somebody else; it is loaded again",
    );
}

fn uncounted(node: &Node, error: &FirewallError) {
    tracing::warn!(%error, "connections of stores are not counted: one store can use up what there is for all");
    warn(
        node,
        "connections_not_limited",
        "connections of stores are not limited on this node, whose kernel seems to lack nft_connlimit: one store can use up what there is for all",
    );
}

fn warn(node: &Node, code: &'static str, message: &str) {
    node.outbox.note(Note {
        store: None,
        code,
        severity: Severity::Warning,
        message: message.to_owned(),
        at_unix_ms: now_unix_ms(),
    });
}

async fn load(node: &Node, text: &str, digest: Digest) -> Result<(), FirewallError> {
    nft(&["-f", "-"], text).await?;
    let listing = list(&node.id).await?;
    *node.firewall.lock() = Some(Loaded {
        text: digest,
        listing,
    });
    Ok(())
}

async fn list(node: &NodeId) -> Result<Digest, FirewallError> {
    let table = ruleset::table(node);
    let listing = nft(&["-s", "list", "table", "inet", &table], "").await?;
    Ok(Digest::of(&listing))
}

/// Runs nft.
pub(super) async fn nft(arguments: &[&str], input: &str) -> Result<Vec<u8>, FirewallError> {
    let mut child = Command::new("nft")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(FirewallError::Run)?;
    let stdin = child.stdin.take();
    let run = async {
        if let Some(mut stdin) = stdin {
            stdin.write_all(input.as_bytes()).await?;
            drop(stdin);
        }
        child.wait_with_output().await
    };
    let output = tokio::time::timeout(DEADLINE, run)
        .await
        .map_err(|_| FirewallError::Deadline)?
        .map_err(FirewallError::Run)?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        let said = String::from_utf8_lossy(&output.stderr);
        Err(FirewallError::Refused(said.chars().take(400).collect()))
    }
}

fn rules(node: &Node) -> Rules<'_> {
    let names = node.pool.subnet(node.record.names_subnet);
    let mut bridges = vec![Bridge {
        name: shop_plan::names::bridge(&node.id, node.record.names_subnet.get()),
        gateway: names.gateway(),
        role: Role::Names,
    }];
    for record in node.state.stores() {
        bridges.extend(of_store(node, &record));
    }
    for tombstone in node.state.tombstones() {
        // Until they are gone, containers of a store being retired stay shut in.
        bridges.extend(tombstone.remains.iter().flat_map(|it| of_store(node, it)));
    }
    bridges.sort_unstable();
    Rules {
        node: &node.id,
        bridges,
        resolvers: resolvers(),
        edge: (!node.args.no_edge).then(|| Edge {
            uid: edge::uid(node),
            ports: edge::ports(node),
            dns_port: DNS_PORT,
            ask_port: ASK_PORT,
            web_port: PAGE_PORT,
        }),
    }
}

/// What containers ask for names of the world.
fn resolvers() -> Vec<Ipv4Addr> {
    let files = RESOLV_CONF
        .iter()
        .filter_map(|file| std::fs::read_to_string(file).ok());
    let mut named = files.map(|text| ruleset::resolvers(&text));
    named.find(|found| !found.is_empty()).unwrap_or_default()
}

fn of_store(node: &Node, record: &StoreRecord) -> Vec<Bridge> {
    record
        .subnets
        .iter()
        .map(|(network, index)| Bridge {
            name: shop_plan::names::bridge(&node.id, index.get()),
            gateway: node.pool.subnet(*index).gateway(),
            role: if *network == NetworkName::Egress {
                Role::Egress
            } else {
                Role::Internal
            },
        })
        .collect()
}

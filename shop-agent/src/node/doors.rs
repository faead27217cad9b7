//! Shuts the door of a PHP container that is taken away: who comes is turned away at once, while those inside and those who wait at the door
//! are served. A web server asks Docker for addresses, which names a container until it has ended; what it sent there in the meantime would wait
//! unread and be reset, and it could not know whether PHP had begun with it. Turned away before anything was sent, it asks another one, forms
//! included, whichever web server it is.
//!
//! The door is a rule of its own table, which forgets an address by itself. It takes a kernel that shows bridged packets to the firewall, as
//! Docker sets it up; without that, it is as if there were no door.

use std::{
    collections::BTreeMap,
    fs,
    net::Ipv4Addr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use shop_plan::{ServiceKind, address};
use shop_proto::{NodeId, ReplicaKey};
use tokio::{sync::Semaphore, time::Instant};

use super::{
    context::{Node, Store},
    firewall::{self, FirewallError},
};
use crate::blocking::off_thread;

/// Longer than the wait here and any grace of our images: what is shut longer has nobody behind it.
const SHUT: Duration = Duration::from_secs(120);
/// How long those who wait at the door may take to be let in; then the container is told to end all the same.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks at the door. A handshake under way when it was shut is over by then.
const LOOK: Duration = Duration::from_millis(50);
/// State of a listening socket, as the kernel writes it.
const LISTENING: &str = "0A";

/// Addresses whose door is shut, and until when the kernel remembers it.
pub struct Doors {
    shut: Mutex<BTreeMap<Ipv4Addr, Instant>>,
    turn: Semaphore,
}

impl Default for Doors {
    fn default() -> Self {
        Self {
            shut: Mutex::default(),
            turn: Semaphore::new(1),
        }
    }
}

impl Doors {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Ipv4Addr, Instant>> {
        self.shut.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Shuts the door of a PHP container and waits until nobody stands there. Nothing for other services.
pub async fn leave(node: &Node, store: &Store, key: &ReplicaKey, container: &str) {
    let Some(address) = of(node, store, key) else {
        return;
    };
    if let Err(error) = shut(node, address).await {
        tracing::warn!(%error, %key, store = %store.id, "the door of a container that ends stays open");
        return;
    }
    let Ok(Some(process)) = node.engine.main_process(container).await else {
        return;
    };
    if tokio::time::timeout(PATIENCE, emptied(process))
        .await
        .is_err()
    {
        tracing::warn!(%key, store = %store.id, "requests still wait at the door of a container that ends");
    }
}

/// Opens the door again for a container that starts at this address.
pub async fn open(node: &Node, store: &Store, key: &ReplicaKey) {
    let Some(address) = of(node, store, key) else {
        return;
    };
    let until = node.doors.lock().remove(&address);
    if until.is_none_or(|until| until <= Instant::now()) {
        return;
    }
    let text = format!(
        "add element inet {table} shut {{ {address} }}\ndelete element inet {table} shut {{ {address} }}\n",
        table = table(&node.id)
    );
    if let Err(error) = change(node, &text).await {
        tracing::error!(%error, %key, store = %store.id, "the door of a container that starts stays shut for a while");
    }
}

/// Takes the table away: when the node leaves, and when its agent starts, which knows of no door.
///
/// # Errors
/// When nft fails for another reason than that there is none.
pub async fn remove(node: &NodeId) -> Result<(), FirewallError> {
    let table = table(node);
    // Adding first makes the removal succeed when there is none.
    let text = format!("add table inet {table}\ndelete table inet {table}\n");
    firewall::nft(&["-f", "-"], &text).await.map(drop)
}

/// Where its web servers find a PHP container of a slot.
fn of(node: &Node, store: &Store, key: &ReplicaKey) -> Option<Ipv4Addr> {
    let record = node.state.store(&store.id)?;
    let plans = store.plans(&record).ok()?;
    let place = node.place(&record);
    plans.iter().find_map(|rendered| {
        let plan = &rendered.plan;
        let service = plan.service(&key.service).filter(|_| plan.allows(key))?;
        if service.kind != ServiceKind::PhpFpm {
            return None;
        }
        let network = service.container.networks_in(key.slot).into_iter().next()?;
        let part = address::replica(plan, key, network)?;
        Some(place.subnet(network)?.host(part))
    })
}

async fn shut(node: &Node, address: Ipv4Addr) -> Result<(), FirewallError> {
    let until = Instant::now() + SHUT;
    {
        let mut shut = node.doors.lock();
        shut.retain(|_, until| *until > Instant::now());
        shut.insert(address, until);
    }
    change(node, &rules(&node.id, address)).await
}

async fn change(node: &Node, text: &str) -> Result<(), FirewallError> {
    let turn = node.doors.turn.acquire().await;
    let _turn = turn.map_err(|_| FirewallError::Closed)?;
    firewall::nft(&["-f", "-"], text).await.map(drop)
}

fn table(node: &NodeId) -> String {
    format!("shopfleet_{node}_doors")
}

/// One transaction. Table, set and chain may be there; the rule is written anew, so that it is there once.
fn rules(node: &NodeId, address: Ipv4Addr) -> String {
    format!(
        "table inet {table} {{
  set shut {{ type ipv4_addr; flags timeout; }}
  chain forward {{ type filter hook forward priority filter - 11; policy accept; }}
}}
flush chain inet {table} forward
add rule inet {table} forward ip daddr @shut tcp flags & (fin | syn | rst | ack) == syn reject with tcp reset
add element inet {table} shut {{ {address} timeout {}s }}
",
        SHUT.as_secs(),
        table = table(node),
    )
}

/// Waits until nobody waits at any door of a process's network, twice in a row.
async fn emptied(process: u32) {
    let mut before = false;
    loop {
        // A process that is gone, or that we cannot see, keeps nobody waiting.
        let count = off_thread(move || waiting(process)).await;
        let empty = count.is_ok_and(|count| count == 0);
        if empty && before {
            return;
        }
        before = empty;
        tokio::time::sleep(LOOK).await;
    }
}

fn waiting(process: u32) -> u64 {
    ["tcp", "tcp6"]
        .into_iter()
        .filter_map(|table| fs::read_to_string(format!("/proc/{process}/net/{table}")).ok())
        .map(|table| queued(&table))
        .fold(0, u64::saturating_add)
}

/// Connections that no process has taken yet, of all listening sockets: the kernel counts them where others have their unread bytes.
pub(super) fn queued(table: &str) -> u64 {
    table
        .lines()
        .filter_map(|line| {
            let mut fields = line.split_whitespace().skip(3);
            let listening = fields.next()? == LISTENING;
            let (_, unread) = fields.next()?.split_once(':')?;
            let unread = u64::from_str_radix(unread, 16).ok()?;
            listening.then_some(unread)
        })
        .fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_at_the_door_are_counted_and_those_inside_are_not() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n   \
            0: 00000000:2328 00000000:0000 0A 00000000:0000001F 00:00000000 00000000     0\n   \
            1: 0300090A:2328 0200090A:C126 01 00000000:000000FF 00:00000000 00000000     0\n   \
            2: 00000000:2329 00000000:0000 0A 00000000:00000001 00:00000000 00000000     0\n";
        assert_eq!(queued(table), 32);
        assert_eq!(queued("nonsense\n\n1: a b 0A nothing"), 0);
    }

    #[tokio::test]
    async fn a_listener_that_takes_nobody_has_somebody_at_its_door() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let line = |text: &str| format!(":{:04X} 00000000:0000 {LISTENING} {text}", address.port());
        let _waits = std::net::TcpStream::connect(address).unwrap();
        let table = fs::read_to_string("/proc/self/net/tcp").unwrap();
        let entry = table.lines().find(|it| it.contains(&line(""))).unwrap();
        assert_eq!(queued(entry), 1);
        let _inside = listener.accept().unwrap();
        let table = fs::read_to_string("/proc/self/net/tcp").unwrap();
        let entry = table.lines().find(|it| it.contains(&line(""))).unwrap();
        assert_eq!(queued(entry), 0);
    }

    #[test]
    fn only_who_comes_anew_is_turned_away() {
        let text = rules(&"node01".parse().unwrap(), Ipv4Addr::new(10, 200, 0, 5));
        assert!(text.contains("(fin | syn | rst | ack) == syn reject with tcp reset"));
        assert!(text.contains("shut { 10.200.0.5 timeout 120s }"));
        assert!(text.starts_with("table inet shopfleet_node01_doors {"));
    }
}

//! A node that follows a script: the real protocol, a ledger in memory, no engine.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use rcgen::SigningKey as _;
use shop_proto::{
    PROTOCOL,
    wire::{
        enrollment::v1::EnrollResponse,
        node::v1::{self as wire, control_message::Message as Down, node_message::Message as Up},
    },
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tonic::Status;

use crate::{
    client::{Key, join, node_hello, node_session},
    plane::Place,
    shop::{Behaviour, Shop},
    wait::until,
};

/// Between attempts to come back.
pub const RECONNECT: Duration = Duration::from_millis(20);

/// What a node does with a store that is to be retired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retiring {
    Finish,
    /// Persists the tombstone and gets no further.
    Stall,
}

/// What a node does; can be changed while it runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Script {
    pub connected: bool,
    /// Whether its shop agents reach the control plane.
    pub uplink: bool,
    pub prepare: bool,
    /// Code of what keeps it from preparing anything.
    pub trouble: Option<&'static str>,
    pub vouch: bool,
    pub retiring: Retiring,
    pub shops: Behaviour,
    pub capacity: wire::Capacity,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            connected: true,
            uplink: true,
            prepare: true,
            trouble: None,
            vouch: true,
            retiring: Retiring::Finish,
            shops: Behaviour::Serve,
            capacity: capacity(64, 10),
        }
    }
}

pub fn capacity(gib: u64, disk_used_percent: u64) -> wire::Capacity {
    wire::Capacity {
        memory_bytes: gib << 30,
        cpu_millis: 64_000,
        disk_total_bytes: 100 << 30,
        disk_free_bytes: (100 - disk_used_percent) << 30,
        disk_limit_percent: 0,
        edge_scheme: "http".to_owned(),
        edge_port: 8080,
        images: Vec::new(),
        allowed_images: vec!["own-repository".to_owned()],
    }
}

/// A store in the node's ledger.
struct Held {
    assignment: wire::Assignment,
    /// A tombstone, with the generation that asked for it.
    retiring: Option<u64>,
    vouched: bool,
    shop: Shop,
}

#[derive(Default)]
struct Ledger {
    held: BTreeMap<String, Held>,
    /// Orders that went back in time: a control plane that is not behind never sends one.
    outdated: Vec<String>,
    roster: Option<Vec<u8>>,
}

struct Inner {
    credential: EnrollResponse,
    key: Key,
    place: watch::Receiver<Place>,
    script: watch::Sender<Script>,
    ledger: Mutex<Ledger>,
    /// Messages of its sessions so far, its shops' included.
    seen: watch::Sender<u64>,
    /// Into the session it has now.
    voice: Mutex<Option<mpsc::Sender<wire::NodeMessage>>>,
}

/// Stops when dropped, and its shops with it.
pub struct Node {
    inner: Arc<Inner>,
    task: JoinHandle<()>,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.task.abort();
        self.inner.ledger.lock().unwrap().held.clear();
    }
}

impl Node {
    pub async fn join(
        name: &str,
        token: &str,
        script: Script,
        place: watch::Receiver<Place>,
    ) -> Self {
        let key = Key::new();
        let target = place.borrow().target.clone();
        let credential = join(&target, token, &key).await.unwrap();
        assert!(!credential.node_id.is_empty(), "{name} has an id");
        let inner = Arc::new(Inner {
            credential,
            key,
            place,
            script: watch::channel(script).0,
            ledger: Mutex::default(),
            seen: watch::channel(0).0,
            voice: Mutex::default(),
        });
        let task = tokio::spawn(run(inner.clone()));
        Self { inner, task }
    }

    pub fn id(&self) -> &str {
        &self.inner.credential.node_id
    }

    pub fn credential(&self) -> (&EnrollResponse, &Key) {
        (&self.inner.credential, &self.inner.key)
    }

    pub fn change(&self, change: impl FnOnce(&mut Script)) {
        self.inner.script.send_modify(change);
    }

    pub fn seen(&self) -> watch::Receiver<u64> {
        self.inner.seen.subscribe()
    }

    /// Ids of stores it holds, with their generation; those it takes down not.
    pub fn holds(&self) -> BTreeMap<String, u64> {
        let ledger = self.inner.ledger.lock().unwrap();
        let live = ledger
            .held
            .iter()
            .filter(|(_, held)| held.retiring.is_none());
        live.map(|(id, held)| (id.clone(), held.assignment.generation))
            .collect()
    }

    /// Ids of stores it has a tombstone of.
    pub fn tombstones(&self) -> Vec<String> {
        let ledger = self.inner.ledger.lock().unwrap();
        let dead = ledger
            .held
            .iter()
            .filter(|(_, held)| held.retiring.is_some());
        dead.map(|(id, _)| id.clone()).collect()
    }

    pub fn outdated(&self) -> Vec<String> {
        self.inner.ledger.lock().unwrap().outdated.clone()
    }

    /// The shop agent of a store it holds.
    pub fn shop<T>(&self, store: &str, look: impl FnOnce(&Shop) -> T) -> Option<T> {
        let ledger = self.inner.ledger.lock().unwrap();
        ledger.held.get(store).map(|held| look(&held.shop))
    }

    /// As when its disk is replaced: back with nothing.
    pub async fn lose_everything(&self) {
        self.change(|script| script.connected = false);
        until("its session is over", async || {
            match self.inner.voice.lock().unwrap().is_none() {
                true => Ok(()),
                false => Err("not yet".to_owned()),
            }
        })
        .await;
        self.inner.ledger.lock().unwrap().held.clear();
        self.change(|script| script.connected = true);
    }

    /// Rosters that it and its shops were given.
    pub fn rosters(&self) -> Vec<Vec<u8>> {
        let ledger = self.inner.ledger.lock().unwrap();
        let shops = ledger.held.values().filter_map(|held| held.shop.roster());
        ledger.roster.clone().into_iter().chain(shops).collect()
    }

    /// Stops a shop agent; what it holds stays.
    pub fn silence(&self, store: &str) {
        let mut ledger = self.inner.ledger.lock().unwrap();
        ledger.held.get_mut(store).unwrap().shop.stop();
    }

    /// Something that is not in the script.
    pub async fn say(&self, message: Up) {
        let voice = self.inner.voice.lock().unwrap().clone();
        self.inner
            .say(&voice.expect("a session"), vec![message])
            .await
            .unwrap();
    }

    pub async fn until_holds(&self, store: &str) -> u64 {
        until(&format!("node {} holds {store}", self.id()), async || {
            let holds = self.holds();
            holds
                .get(store)
                .copied()
                .ok_or_else(|| format!("{holds:?}"))
        })
        .await
    }
}

async fn run(inner: Arc<Inner>) {
    let mut script = inner.script.subscribe();
    loop {
        if script.wait_for(|script| script.connected).await.is_err() {
            return;
        }
        // Whatever ended it, a node comes back.
        if let Err(status) = session(&inner).await {
            tracing::debug!(%status, "the scripted node's session ended");
        }
        // Kept, it would hold the session open.
        inner.voice.lock().unwrap().take();
        tokio::time::sleep(RECONNECT).await;
    }
}

async fn session(inner: &Arc<Inner>) -> Result<(), Status> {
    let target = inner.place.borrow().target.clone();
    let mut script = inner.script.subscribe();
    let credential = (&inner.credential, &inner.key);
    let mut session = node_session(&target, credential, inner.hello()).await?;
    inner.say(&session.up, inner.levels()).await?;
    *inner.voice.lock().unwrap() = Some(session.up.clone());
    loop {
        tokio::select! {
            order = session.down.message() => {
                let Some(order) = order? else { return Ok(()) };
                inner.seen.send_modify(|seen| *seen += 1);
                let Some(order) = order.message else { continue };
                let answers = obey(inner, order);
                inner.say(&session.up, answers).await?;
            }
            changed = script.changed() => {
                let now = script.borrow_and_update().clone();
                if changed.is_err() || !now.connected {
                    return Ok(());
                }
                inner.say(&session.up, vec![Up::Capacity(now.capacity)]).await?;
                inner.say(&session.up, inner.levels()).await?;
            }
        }
    }
}

impl Inner {
    /// With the node's signature under the end of a store.
    fn proven(&self, mut message: Up) -> Up {
        if let Up::RetireStatus(status) = &mut message
            && status.state == "gone"
        {
            let document = serde_json::json!({
                "store": status.store_id, "node": self.credential.node_id, "generation": status.generation,
            });
            status.receipt_document = document.to_string();
            let signature = self.key.pair.sign(status.receipt_document.as_bytes());
            status.receipt_signature = signature.unwrap();
        }
        message
    }

    fn hello(&self) -> wire::NodeMessage {
        let mut message = node_hello(PROTOCOL);
        if let Some(Up::Hello(hello)) = &mut message.message {
            hello.capacity = Some(self.script.borrow().capacity.clone());
            let ledger = self.ledger.lock().unwrap();
            hello.inventory = ledger
                .held
                .iter()
                .map(|(id, held)| wire::InventoryItem {
                    store_id: id.clone(),
                    generation: held.retiring.unwrap_or(held.assignment.generation),
                    spec_digest: held.assignment.spec_digest.clone(),
                    state: match held.retiring {
                        None => "assigned".to_owned(),
                        Some(_) => "retiring".to_owned(),
                    },
                })
                .collect();
        }
        message
    }

    async fn say(
        &self,
        up: &mpsc::Sender<wire::NodeMessage>,
        messages: Vec<Up>,
    ) -> Result<(), Status> {
        for message in messages {
            self.seen.send_modify(|seen| *seen += 1);
            let message = wire::NodeMessage {
                message: Some(self.proven(message)),
            };
            up.send(message)
                .await
                .map_err(|_| Status::unavailable("the session is over"))?;
        }
        Ok(())
    }

    /// How everything it holds stands, as far as the script lets it.
    fn levels(&self) -> Vec<Up> {
        let ledger = self.ledger.lock().unwrap();
        let script = self.script.borrow().clone();
        let levels = ledger.held.values().map(|held| level(held, &script));
        levels.flatten().collect()
    }
}

fn level(held: &Held, script: &Script) -> Vec<Up> {
    let wire::Assignment {
        store_id,
        generation,
        ..
    } = &held.assignment;
    if let Some(generation) = held.retiring {
        let states: &[&str] = match script.retiring {
            Retiring::Finish => &["tombstoned", "stopping", "removing", "gone"],
            Retiring::Stall => &["tombstoned"],
        };
        return states
            .iter()
            .map(|state| Up::RetireStatus(retire_status(store_id, generation, state)))
            .collect();
    }
    let mut messages = vec![status(store_id, *generation, "accepted", "")];
    if let Some(code) = script.trouble {
        messages.push(status(store_id, *generation, "error", code));
        return messages;
    }
    if script.prepare {
        messages.push(status(store_id, *generation, "prepared", ""));
    }
    if script.prepare && script.vouch && !held.vouched {
        messages.push(Up::Vouch(wire::Vouch {
            store_id: store_id.clone(),
            spki_sha256: held.shop.spki(),
            sealing_public_key: vec![9; 32],
        }));
    }
    messages
}

fn status(store: &str, generation: u64, state: &str, code: &str) -> Up {
    Up::AssignmentStatus(wire::AssignmentStatus {
        store_id: store.to_owned(),
        generation,
        plan_digest: String::new(),
        state: state.to_owned(),
        code: code.to_owned(),
        message: String::new(),
    })
}

pub fn retire_status(store: &str, generation: u64, state: &str) -> wire::RetireStatus {
    wire::RetireStatus {
        store_id: store.to_owned(),
        generation,
        state: state.to_owned(),
        message: String::new(),
        ..wire::RetireStatus::default()
    }
}

fn obey(inner: &Arc<Inner>, order: Down) -> Vec<Up> {
    let mut ledger = inner.ledger.lock().unwrap();
    match order {
        Down::Assignment(assignment) => assign(inner, &mut ledger, assignment),
        Down::Retire(order) => {
            let Some(held) = ledger.held.get_mut(&order.store_id) else {
                // Nothing is left, and that is what was asked for.
                let gone = retire_status(&order.store_id, order.generation, "gone");
                return vec![Up::RetireStatus(gone)];
            };
            if order.generation < held.assignment.generation {
                let refused = retire_status(&order.store_id, order.generation, "refused");
                ledger.outdated.push(format!("{order:?}"));
                return vec![Up::RetireStatus(refused)];
            }
            held.retiring = Some(order.generation);
            held.shop.stop();
            level(held, &inner.script.borrow())
        }
        Down::RetireRecorded(order) => {
            let recorded = ledger.held.get(&order.store_id);
            if recorded.is_some_and(|held| held.retiring.is_some()) {
                ledger.held.remove(&order.store_id);
            }
            Vec::new()
        }
        Down::VouchRecorded(order) => {
            if let Some(held) = ledger.held.get_mut(&order.store_id)
                && held.retiring.is_none()
            {
                held.vouched = true;
                let (place, script) = (inner.place.clone(), inner.script.subscribe());
                held.shop.start(place, script, inner.seen.clone());
            }
            Vec::new()
        }
        Down::Roster(roster) => {
            ledger.roster = Some(roster.document);
            Vec::new()
        }
        _ => Vec::new(),
    }
}

fn assign(inner: &Inner, ledger: &mut Ledger, assignment: wire::Assignment) -> Vec<Up> {
    let (store, generation) = (assignment.store_id.clone(), assignment.generation);
    let script = inner.script.borrow().clone();
    let Some(held) = ledger.held.get_mut(&store) else {
        let held = Held {
            shop: Shop::new(&store),
            assignment,
            retiring: None,
            vouched: false,
        };
        let messages = level(&held, &script);
        ledger.held.insert(store, held);
        return messages;
    };
    let same = held.assignment.spec_digest == assignment.spec_digest;
    let code = match generation.cmp(&held.assignment.generation) {
        _ if held.retiring.is_some() => "retiring",
        std::cmp::Ordering::Less => "generation_outdated",
        std::cmp::Ordering::Equal if !same => "content_changed",
        _ => {
            held.assignment = assignment;
            return level(held, &script);
        }
    };
    ledger.outdated.push(format!("{code}: {assignment:?}"));
    vec![status(&store, generation, "refused", code)]
}

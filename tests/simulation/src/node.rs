//! A node agent: the real memory with its generation rule and tombstones on disk, the real way to join, dial and come back; a [`Machine`]
//! where Docker would be.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use secrecy::SecretString;
use shop_agent::{
    engine::KnownPlan,
    identity::{Authority, Credential, KeyPair, Trust, enroll},
    node::{
        paths::Paths,
        state::{Accept, AcceptError, NodeRecord, Order, State, Surroundings},
    },
    uplink::{Ended, channel, keep},
};
use shop_plan::{render, verify};
use shop_proto::{
    Digest, Generation, NodeId, PROTOCOL, Spec, StoreId,
    wire::node::v1::{
        self as wire, control_message::Message as Down, node_client::NodeClient,
        node_message::Message as Up,
    },
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use crate::{
    chance,
    machine::Machine,
    net::{AGENTS, ENROLMENT},
};

/// How long preparing a store takes.
const PREPARING: Duration = Duration::from_millis(120);
/// Something may have been missed.
const LOOK: Duration = Duration::from_secs(2);
/// Between two tries to join, as a person tries whose network fails.
const JOIN_AGAIN: Duration = Duration::from_millis(500);

struct Node {
    machine: Arc<Machine>,
    id: NodeId,
    state: State,
    trust: Trust,
    credential: Credential,
}

/// Runs until its host is crashed.
///
/// # Errors
/// When it cannot join or read its disk.
pub async fn run(machine: Arc<Machine>, token: String, root_pin: Digest) -> anyhow::Result<()> {
    machine.way.open(true);
    let trust = Trust::new([root_pin], [])?;
    let (id, credential) = loop {
        match joined(&machine, &token, &trust).await {
            Ok(joined) => break joined,
            Err(error) => {
                machine
                    .trace
                    .say(format!("{} cannot join: {error:#}", machine.name));
                tokio::time::sleep(JOIN_AGAIN).await;
            }
        }
    };
    let state = load(&machine, &id, root_pin)?;
    machine.lock().up = true;
    machine.trace.say(format!("{} is up", machine.name));
    let node = Node {
        machine,
        id,
        state,
        trust,
        credential,
    };
    keep("control-plane", CancellationToken::new(), || async {
        match node.session().await {
            Ok(ended) => ended,
            Err(error) => Ended::lost(format!("{error:#}")),
        }
    })
    .await;
    Ok(())
}

async fn joined(
    machine: &Machine,
    token: &str,
    trust: &Trust,
) -> anyhow::Result<(NodeId, Credential)> {
    let held = {
        let inner = machine.lock();
        inner.node.clone().zip(inner.credential.clone())
    };
    if let Some((id, bytes)) = held {
        return Ok((id, Credential::decode(&bytes)?));
    }
    let channel = channel(&machine.way.address(ENROLMENT), trust.enrolment_config()?).await?;
    let authority = Authority::JoinToken {
        token: SecretString::from(token.to_owned()),
        node_name: machine.name.to_owned(),
    };
    let enrolled = enroll(channel, Arc::new(KeyPair::generate()?), None, authority).await?;
    let id = enrolled.node.context("a node id")?;
    let mut inner = machine.lock();
    inner.credential = Some(enrolled.credential.encode().to_vec());
    inner.node = Some(id.clone());
    Ok((id, enrolled.credential))
}

fn load(machine: &Machine, id: &NodeId, root_pin: Digest) -> anyhow::Result<State> {
    let pool: shop_agent::node::ipam::Cidr = "10.200.0.0/14".parse()?;
    let record = NodeRecord {
        id: id.clone(),
        name: machine.name.to_owned(),
        root_pins: vec![root_pin],
        pool: pool.into(),
        first_uid: 200_000,
        names_subnet: shop_agent::node::ipam::next_subnet(
            pool,
            &std::collections::BTreeSet::new(),
            &[],
        )?,
        operator_root_pin: None,
    };
    let paths = Paths::new(&machine.disk, &machine.disk.join("run"), id);
    for directory in [paths.stores(), paths.tombstones(), paths.intents()] {
        std::fs::create_dir_all(directory)?;
    }
    Ok(State::load(paths, &record, pool)?)
}

impl Node {
    async fn session(&self) -> anyhow::Result<Ended> {
        let config = self.trust.session_config(&self.credential)?;
        let channel = channel(&self.machine.way.address(AGENTS), config).await?;
        let (out, queue) = mpsc::channel(64);
        out.try_send(self.hello())?;
        let mut client = NodeClient::new(channel);
        let opened = client.session(ReceiverStream::new(queue));
        let mut orders = tokio::time::timeout(Duration::from_secs(15), opened)
            .await??
            .into_inner();
        self.machine
            .trace
            .say(format!("{} has a session", self.machine.name));
        self.look(&out).await?;
        let mut looks = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                order = orders.message() => {
                    let Some(order) = order?.and_then(|order| order.message) else {
                        return Ok(Ended::lost("the control plane ended it"));
                    };
                    if let Down::Reconnect(after) = &order {
                        return Ok(Ended::come_back(Duration::from_millis(after.reconnect_in_ms)));
                    }
                    self.obey(order, &out).await?;
                }
                _ = looks.tick() => self.look(&out).await?,
            }
        }
    }

    fn hello(&self) -> wire::NodeMessage {
        let assigned = self
            .state
            .stores()
            .into_iter()
            .map(|record| wire::InventoryItem {
                store_id: record.store.to_string(),
                generation: record.newest.generation.get(),
                spec_digest: record.newest.spec_digest.to_string(),
                state: "assigned".to_owned(),
            });
        let retiring = self
            .state
            .tombstones()
            .into_iter()
            .map(|it| wire::InventoryItem {
                store_id: it.store.to_string(),
                generation: it.generation.get(),
                spec_digest: String::new(),
                state: "retiring".to_owned(),
            });
        message(Up::Hello(wire::Hello {
            protocol: PROTOCOL,
            render_versions: shop_plan::RENDER_VERSIONS.to_vec(),
            agent_version: "0.1.0".to_owned(),
            boot_id: "boot".to_owned(),
            inventory: assigned.chain(retiring).collect(),
            capacity: Some(wire::Capacity {
                memory_bytes: 64 << 30,
                cpu_millis: 64_000,
                disk_total_bytes: 100 << 30,
                disk_free_bytes: 50 << 30,
                disk_limit_percent: 0,
                edge_scheme: "http".to_owned(),
                edge_port: 8080,
                images: Vec::new(),
                allowed_images: Vec::new(),
            }),
            engine_version: "20.10.24".to_owned(),
            capabilities: Vec::new(),
        }))
    }

    /// Level-triggered: makes everything as the memory says, and says how it stands.
    async fn look(&self, out: &mpsc::Sender<wire::NodeMessage>) -> anyhow::Result<()> {
        for record in self.state.stores() {
            self.prepare(&record.store).await?;
            let vouch = {
                let inner = self.machine.lock();
                let bench = inner.stores.get(&record.store);
                bench
                    .filter(|bench| !bench.vouched)
                    .and_then(|bench| bench.introduced)
            };
            let newest = &record.newest;
            out.send(status(&record.store, newest.generation, "prepared", ""))
                .await?;
            if let Some((spki, sealing)) = vouch {
                out.send(message(Up::Vouch(wire::Vouch {
                    store_id: record.store.to_string(),
                    spki_sha256: spki.to_string(),
                    sealing_public_key: sealing.to_vec(),
                })))
                .await?;
            }
        }
        for tombstone in self.state.tombstones() {
            let said = self.tear_down(&tombstone.store);
            out.send(self.retirement(&tombstone.store, tombstone.generation, said)?)
                .await?;
        }
        Ok(())
    }

    async fn obey(&self, order: Down, out: &mpsc::Sender<wire::NodeMessage>) -> anyhow::Result<()> {
        match order {
            Down::Assignment(it) => {
                let store: StoreId = it.store_id.parse()?;
                let generation = Generation::new(it.generation).context("a generation")?;
                let spec: Spec = it.spec.context("a spec")?.try_into()?;
                let answer = match self.accept(&store, generation, it.render_version, spec) {
                    Ok(accept) => {
                        let new = if accept == Accept::Taken {
                            "takes"
                        } else {
                            "knows"
                        };
                        self.machine
                            .trace
                            .say(format!("{} {new} {store} g{generation}", self.machine.name));
                        self.prepare(&store).await?;
                        status(&store, generation, "prepared", "")
                    }
                    Err(code) => {
                        self.machine.trace.say(format!(
                            "{} refuses {store} g{generation}: {code}",
                            self.machine.name
                        ));
                        status(&store, generation, "refused", code)
                    }
                };
                out.send(answer).await?;
            }
            Down::Retire(it) => {
                let store: StoreId = it.store_id.parse()?;
                let generation = Generation::new(it.generation).context("a generation")?;
                match self.state.bury(&store, generation) {
                    Ok(_) => {
                        self.machine.trace.say(format!(
                            "{} buries {store} g{generation}",
                            self.machine.name
                        ));
                        out.send(self.retirement(&store, generation, "tombstoned")?)
                            .await?;
                        tokio::time::sleep(PREPARING).await;
                        let said = self.tear_down(&store);
                        out.send(self.retirement(&store, generation, said)?).await?;
                    }
                    Err(error) => {
                        self.machine.trace.say(format!(
                            "{} does not bury {store} g{generation}: {error}",
                            self.machine.name
                        ));
                        out.send(self.retirement(&store, generation, "refused")?)
                            .await?;
                    }
                }
            }
            Down::RetireRecorded(it) => {
                if let Err(error) = self.state.forget(&it.store_id.parse()?) {
                    // The end is told again with the next look.
                    let name = self.machine.name;
                    self.machine
                        .trace
                        .say(format!("{name} keeps a tombstone: {error}"));
                }
            }
            Down::VouchRecorded(it) => {
                let store: StoreId = it.store_id.parse()?;
                if let Some(bench) = self.machine.lock().stores.get_mut(&store) {
                    bench.vouched = true;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn accept(
        &self,
        store: &StoreId,
        generation: Generation,
        render_version: u32,
        spec: Spec,
    ) -> Result<Accept, &'static str> {
        let template = verify(&spec.revision.template_digest).map_err(|_| "template_untrusted")?;
        let plan = render(store, &spec.revision, template, render_version)
            .map_err(|_| "not_renderable")?;
        let order = Order {
            store: store.clone(),
            generation,
            render_version,
            spec,
            plan_digest: plan.digest(),
        };
        let now = Surroundings {
            host_routes: Vec::new(),
            unix_ms: chance::now_unix_ms(),
        };
        self.state.accept(order, &now).map_err(|error| match error {
            AcceptError::GenerationOutdated { .. } => "generation_outdated",
            AcceptError::ContentChanged => "content_changed",
            AcceptError::Retiring => "retiring",
            AcceptError::HostTaken { .. } => "host_taken",
            AcceptError::Exhausted(_) => "exhausted",
            AcceptError::File(_) => "node_disk",
        })
    }

    async fn prepare(&self, store: &StoreId) -> anyhow::Result<()> {
        let Some(record) = self.state.store(store) else {
            return Ok(());
        };
        let newest = &record.newest;
        let known = {
            let inner = self.machine.lock();
            inner
                .stores
                .get(store)
                .and_then(|bench| bench.plans.first())
                .is_some_and(|(known, _)| known.generation == newest.generation)
        };
        if known {
            return Ok(());
        }
        tokio::time::sleep(PREPARING).await;
        let template = verify(&newest.spec.revision.template_digest)?;
        let plan = render(
            store,
            &newest.spec.revision,
            template,
            newest.render_version,
        )?;
        for consumer in plan.secret_consumers().keys() {
            std::fs::create_dir_all(self.machine.secrets(store).join(consumer.as_str()))?;
        }
        std::fs::create_dir_all(self.machine.vault(store))?;
        let known = KnownPlan {
            generation: newest.generation,
            plan: plan.digest(),
        };
        self.machine.prepare(store, known, Arc::new(plan));
        self.machine.ring(store);
        Ok(())
    }

    /// What is to be said then.
    fn tear_down(&self, store: &StoreId) -> &'static str {
        let there = self.machine.lock().stores.contains_key(store);
        if there {
            self.machine
                .tear_down(store, self.state.tombstone(store).is_some());
        }
        match self.state.emptied(store, chance::now_unix_ms()) {
            Ok(()) => "gone",
            Err(_) => "blocked",
        }
    }

    fn retirement(
        &self,
        store: &StoreId,
        generation: Generation,
        state: &str,
    ) -> anyhow::Result<wire::NodeMessage> {
        let document = format!(
            "{{\"store\":\"{store}\",\"node\":\"{}\",\"generation\":{generation}}}",
            self.id
        );
        let gone = state == "gone";
        let signature = match gone {
            true => self.credential.key().sign(document.as_bytes())?,
            false => Vec::new(),
        };
        Ok(message(Up::RetireStatus(wire::RetireStatus {
            store_id: store.to_string(),
            generation: generation.get(),
            state: state.to_owned(),
            message: String::new(),
            receipt_document: if gone { document } else { String::new() },
            receipt_signature: signature,
        })))
    }
}

const fn message(message: Up) -> wire::NodeMessage {
    wire::NodeMessage {
        message: Some(message),
    }
}

fn status(store: &StoreId, generation: Generation, state: &str, code: &str) -> wire::NodeMessage {
    message(Up::AssignmentStatus(wire::AssignmentStatus {
        store_id: store.to_string(),
        generation: generation.get(),
        plan_digest: String::new(),
        state: state.to_owned(),
        code: code.to_owned(),
        message: String::new(),
    }))
}

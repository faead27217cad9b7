//! An enrolment listener and an agents' listener on free ports, with their events in hand.

use std::{ops::Deref, sync::Arc, time::Duration};

use control_plane::{
    fleet::{Fleet, FleetEvent, Gate, Limits, Seen, bind, serve_agents, serve_enrolment},
    identity::{
        Authority, DenySet, Enrolment, IdentityDir,
        tls::{self, ServerIdentity},
    },
};
use jiff::Timestamp;
use shop_proto::{Digest, StoreId, TokenText, TrustDomain};
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use crate::client::{PATIENCE, Target};
use crate::memory::{Memory, Token};

pub struct Rig {
    pub target: Target,
    pub authority: Arc<Authority>,
    pub records: Arc<Memory>,
    pub deny: DenySet,
    pub fleet: Fleet,
    pub rules: Arc<Enrolment>,
    pub events: mpsc::Receiver<FleetEvent>,
    pub closing: CancellationToken,
    _directory: tempfile::TempDir,
}

impl Deref for Rig {
    type Target = Target;

    fn deref(&self) -> &Target {
        &self.target
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.closing.cancel();
    }
}

impl Rig {
    pub fn start() -> Self {
        // The first test sets it for all.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let directory = tempfile::tempdir().unwrap();
        let files = IdentityDir::new(directory.path().join("identity"));
        let domain: TrustDomain = "shopfleet".parse().unwrap();
        let now = Timestamp::now();
        Authority::create(&files, &domain, now).unwrap();
        let authority = Arc::new(Authority::load(&files, now).unwrap());
        let records = Arc::new(Memory::default());
        let deny = DenySet::default();
        let rules = Arc::new(Enrolment::new(
            authority.clone(),
            records.clone(),
            deny.clone(),
        ));
        let (closing, tasks) = (CancellationToken::new(), TaskTracker::new());
        let (fleet, events) =
            Fleet::new(rules.clone(), deny.clone(), tasks.clone(), closing.clone());
        let server = ServerIdentity::new(&authority, Vec::new(), now).unwrap();

        let gate = |tls, clients| {
            let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
            let address = listener.local_addr().unwrap();
            let gate = Gate {
                name: "test",
                listener: Box::new(listener),
                tls,
                clients,
                limits: Limits {
                    connections: 64,
                    lifetime: None,
                },
                seen: Arc::<Seen>::default(),
            };
            (gate.open(&tasks, closing.clone()), address)
        };
        let (connections, enrolment) = gate(tls::enrolment(server.clone()).unwrap(), None);
        tasks.spawn(serve_enrolment(rules.clone(), connections, closing.clone()));
        let tls = tls::agents(server, &authority, deny.clone()).unwrap();
        let (connections, agents) = gate(tls, Some(domain));
        tasks.spawn(serve_agents(fleet.clone(), connections, closing.clone()));
        Self {
            target: Target {
                enrolment,
                agents,
                roots: authority.bundle().roots,
            },
            authority,
            records,
            deny,
            fleet,
            rules,
            events,
            closing,
            _directory: directory,
        }
    }

    /// A fresh join token that ends after this time.
    pub fn token(&self, id: char, life: Duration) -> String {
        let (id, secret) = (id.to_string().repeat(10), "s".repeat(52));
        let token = Token {
            secret: Digest::of(secret.as_bytes()),
            expires_at: Timestamp::now() + life,
            used: None,
        };
        self.records.state().tokens.insert(id.clone(), token);
        TokenText::join(id, secret, self.authority.root_pin())
            .unwrap()
            .reveal()
    }

    pub fn vouch(&self, store: &str, spki: Digest) -> StoreId {
        let store: StoreId = store.parse().unwrap();
        self.records.state().vouchers.insert(store.clone(), spki);
        store
    }

    pub async fn event(&mut self) -> FleetEvent {
        tokio::time::timeout(PATIENCE, self.events.recv())
            .await
            .expect("an event in time")
            .expect("the fleet lives")
    }
}

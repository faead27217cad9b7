//! An operator who wants one thing after another of a few stores, and remembers what was acknowledged.

use std::collections::BTreeMap;

use shop_proto::wire::admin::v1 as api;
use tonic::{Code, Status};

use crate::{
    api::{Api, act, new_store},
    node::Node,
    world::until,
};

/// Small and the same on every run of a seed (xorshift, Marsaglia 2003).
pub struct Dice(u64);

impl Dice {
    /// Another seed is another story: `SHOPFLEET_TEST_SEED=7`.
    pub fn seeded(usual: u64) -> Self {
        let seed = std::env::var("SHOPFLEET_TEST_SEED").map_or(usual, |it| it.parse().unwrap());
        println!("seed {seed}");
        Self(seed)
    }

    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// One thing that an operator wants, asked until it is acknowledged, always under the same key.
#[derive(Debug, Clone)]
pub struct Wish {
    store: String,
    wanted: &'static str,
    key: String,
}

impl Wish {
    pub async fn until_acknowledged(self, api: Api) -> (Self, api::Operation) {
        let operation = until(&format!("{self:?} is acknowledged"), async || {
            match self.ask(&api).await {
                Ok(operation) => Ok(operation),
                // Only a control plane that is away may leave this unanswered.
                Err(status)
                    if matches!(
                        status.code(),
                        Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal
                    ) =>
                {
                    Err(format!("{status:?}"))
                }
                Err(status) => panic!("{self:?}: {status:?}"),
            }
        })
        .await;
        (self, operation)
    }

    async fn ask(&self, api: &Api) -> Result<api::Operation, Status> {
        if self.wanted == "created" {
            let mut request = new_store(&self.store);
            request.idempotency_key.clone_from(&self.key);
            return api.try_create(request).await;
        }
        let mut request = act(&self.store);
        request.idempotency_key.clone_from(&self.key);
        let mut grpc = api.grpc();
        let answer = match self.wanted {
            "stopped" => grpc.stop_store(request).await,
            "running" => grpc.start_store(request).await,
            _ => {
                request.now = true;
                grpc.delete_store(request).await
            }
        };
        answer.map(tonic::Response::into_inner)
    }
}

/// Everything wished so far.
#[derive(Default)]
pub struct Wishes {
    wanted: BTreeMap<String, &'static str>,
    acknowledged: Vec<(Wish, api::Operation)>,
    round: u64,
}

impl Wishes {
    /// The next wish about one of a few stores: what makes sense after what was wished before.
    pub fn next(&mut self, dice: &mut Dice) -> Wish {
        self.round += 1;
        let store = format!("shop-{}", dice.roll(5));
        let next = match (self.wanted.get(&store).copied(), dice.roll(4)) {
            (None | Some("deleted"), _) => "created",
            (Some("stopped"), 0) | (Some(_), 1) => "deleted",
            (Some("stopped"), _) => "running",
            (Some(_), _) => "stopped",
        };
        // The name of a store that is being deleted is not free yet: another one then.
        let store = match (next, self.wanted.get(&store)) {
            ("created", Some(_)) => format!("shop-{}", 10 + self.round),
            _ => store,
        };
        Wish {
            store,
            wanted: next,
            key: format!("wish-{}", self.round),
        }
    }

    pub fn acknowledged(&mut self, wish: Wish, operation: api::Operation) {
        let now = match wish.wanted {
            "created" => "running",
            other => other,
        };
        self.wanted.insert(wish.store.clone(), now);
        self.acknowledged.push((wish, operation));
    }

    /// Every store is as it was wished last, and no operation was lost or done twice.
    pub async fn until_true(&self, api: &Api) {
        for (store, state) in &self.wanted {
            match *state {
                "deleted" => api.until_gone(store).await,
                state => drop(api.until_status(store, state).await),
            }
        }
        for (wish, operation) in &self.acknowledged {
            let found = api.operation(&operation.id).await.unwrap();
            assert!(
                matches!(found.state.as_str(), "succeeded" | "cancelled"),
                "{wish:?}: {found:?}"
            );
            let again = wish.ask(api).await.unwrap();
            assert_eq!(again.id, operation.id);
        }
    }
}

/// Nodes hold exactly what they were given, and nothing went back in time.
pub async fn one_copy_of_each(api: &Api, nodes: &[Node; 2]) {
    until(
        "every store is on one node, and nothing else is",
        async || {
            let mut held: Vec<(String, String)> = nodes
                .iter()
                .flat_map(|node| {
                    let id = node.id().to_owned();
                    node.holds()
                        .into_keys()
                        .map(move |store| (store, id.clone()))
                })
                .collect();
            held.sort();
            let mut known: Vec<(String, String)> = api
                .stores()
                .await
                .into_iter()
                .filter(|store| !store.node.is_empty())
                .map(|store| (store.id, store.node))
                .collect();
            known.sort();
            if held == known {
                Ok(())
            } else {
                Err(format!("held {held:?}, known {known:?}"))
            }
        },
    )
    .await;
    for node in nodes {
        assert_eq!(node.outdated(), Vec::<String>::new());
        assert_eq!(node.tombstones(), Vec::<String>::new());
    }
}

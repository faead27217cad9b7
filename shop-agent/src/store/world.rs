//! What the reconciler has seen, and how seeing something changes it. No I/O; time and randomness are passed in.

use std::collections::{BTreeMap, BTreeSet};

use shop_plan::AllowedImages;
use shop_proto::{Digest, ReplicaKey, ServiceName, Slot};
use tokio::time::Instant;

use super::{
    sealed::SealedTo,
    steps::{Goal, Health, Replica, Target},
    supervise::Record,
};
use crate::{
    engine::{Container, ContainerState, Exit, KnownPlan, Limits, Listing, Network, Serve},
    ledger::{DriftKind, DriftWhat, Move, Phase},
};

/// What was seen, and what is being done about it.
#[derive(Debug, Default)]
pub struct World {
    /// Containers.
    pub replicas: BTreeMap<ReplicaKey, Replica>,
    /// Grows each time a container starts, so that an answer about an earlier start is not taken for this one.
    pub starts: BTreeMap<ReplicaKey, u64>,
    /// Ends and failures.
    pub records: BTreeMap<Target, Record>,
    /// What must wait.
    pub holds: BTreeMap<Target, Instant>,
    /// What went wrong last, and is not right yet.
    pub problems: BTreeMap<Target, Problem>,
    /// What failed containers and tasks said last.
    pub last_words: BTreeMap<Target, SealedTo>,
    /// Consumers that have their secrets.
    pub delivered: BTreeSet<ServiceName>,
    /// What is being worked on.
    pub busy: BTreeSet<Target>,
    /// Consumers that are just being handed what is not right any more.
    outdated: BTreeSet<ServiceName>,
    /// Who serves.
    pub serving: Serve,
    /// Plans the node knows; empty until the first list.
    pub plans: Vec<KnownPlan>,
    /// The store's networks.
    pub networks: Vec<Network>,
    /// Images that may take the place of a template's own, as the node said last.
    pub allowed_images: AllowedImages,
    /// The deep check has passed since the start.
    pub deep: bool,
    /// Since when each thing is ready.
    pub ready_since: BTreeMap<ReplicaKey, Instant>,
    /// Whether the node was asked at all.
    pub listed: bool,
    /// Containers that buyers may still be sent to, and until when.
    pub lingering: BTreeMap<ReplicaKey, Instant>,
    /// Volumes that existed and are gone.
    pub lost_volumes: BTreeSet<ServiceName>,
    /// What somebody else did to containers, as the last lists showed; taken out by who tells it.
    pub noticed: Vec<(DriftKind, ReplicaKey, DriftWhat)>,
    /// Counts changes that we made ourselves.
    epoch: u64,
    changed: BTreeMap<ReplicaKey, u64>,
    serving_changed: u64,
}

/// Something that went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Stable code.
    pub reason: &'static str,
    /// A sentence; no bytes of the shop.
    pub message: String,
    /// How the process ended, if it did.
    pub exit: Option<Exit>,
}

/// An end that nobody asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Which container.
    pub key: ReplicaKey,
    /// How.
    pub exit: Exit,
}

impl World {
    /// What consumers should have is something else now.
    pub fn redeliver(&mut self) {
        self.delivered.clear();
        self.outdated = self
            .busy
            .iter()
            .filter_map(|target| match target {
                Target::Secrets(consumer) => Some(consumer.clone()),
                _ => None,
            })
            .collect();
    }

    /// A consumer was handed what was right when that began.
    pub fn handed_over(&mut self, consumer: ServiceName) {
        if !self.outdated.remove(&consumer) {
            self.delivered.insert(consumer);
        }
    }

    /// Where the world stands; passed back with a list, so that what we did meanwhile is not undone by it.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Takes in the truth, as it was when `asked_at` was current. Returns ends that nobody asked for.
    pub fn listed(
        &mut self,
        listing: Listing,
        asked_at: u64,
        goal: Goal,
        now: Instant,
        unit: f64,
    ) -> Vec<Ended> {
        let first = !std::mem::replace(&mut self.listed, true);
        self.plans = listing.plans;
        self.lost_volumes = listing.lost_volumes;
        self.allowed_images = listing.allowed_images;
        if !listing.networks.is_empty() {
            self.networks = listing.networks;
        }
        if self.serving_changed <= asked_at && !self.busy.contains(&Target::Serve) {
            self.serving = listing.serving;
        }
        let stale = |world: &Self, key: &ReplicaKey| {
            world.busy.contains(&Target::Replica(key.clone()))
                || world
                    .changed
                    .get(key)
                    .is_some_and(|changed| *changed > asked_at)
        };
        let seen: BTreeSet<ReplicaKey> = listing
            .containers
            .iter()
            .map(|container| container.key.clone())
            .collect();
        let gone: Vec<ReplicaKey> = self
            .replicas
            .keys()
            .filter(|key| !seen.contains(*key) && !stale(self, key))
            .cloned()
            .collect();
        for key in gone {
            if goal == Goal::Run && !first {
                self.notice(DriftKind::Container, &key, DriftWhat::Removed);
            }
            self.replicas.remove(&key);
            self.ready_since.remove(&key);
        }
        let mut ended = Vec::new();
        for container in listing.containers {
            if stale(self, &container.key) {
                continue;
            }
            if goal == Goal::Run && self.going_by_hand(&container) {
                self.notice(DriftKind::Container, &container.key, DriftWhat::Removed);
            }
            if goal == Goal::Run && self.limited_by_hand(&container) {
                self.notice(DriftKind::Limits, &container.key, DriftWhat::Changed);
            }
            if let Some(exit) = self.seen(&container)
                && goal == Goal::Run
                && !first
            {
                let what = by_hand(&exit);
                if let Some(what) = what {
                    self.notice(DriftKind::Container, &container.key, what);
                }
                self.ended(&container.key, &exit, now, unit);
                // What somebody stopped did not end by itself.
                if what != Some(DriftWhat::Stopped) {
                    ended.push(Ended {
                        key: container.key,
                        exit,
                    });
                }
            }
        }
        ended
    }

    fn notice(&mut self, kind: DriftKind, key: &ReplicaKey, what: DriftWhat) {
        self.noticed.push((kind, key.clone(), what));
    }

    /// Whether a container that ran is being removed, and not by us: we stop first.
    fn going_by_hand(&self, container: &Container) -> bool {
        let known = self.replicas.get(&container.key);
        container.state == ContainerState::Going
            && known.is_some_and(|known| container_runs(&known.state))
    }

    /// Whether a running container has other limits than when it was looked at last, and not from us.
    fn limited_by_hand(&self, container: &Container) -> bool {
        let known = self
            .replicas
            .get(&container.key)
            .filter(|known| container_runs(&known.state) && container_runs(&container.state))
            .and_then(|known| known.limits);
        known.is_some() && container.limits.is_some() && known != container.limits
    }

    /// Takes in one container. Returns its exit when it ran before.
    fn seen(&mut self, container: &Container) -> Option<Exit> {
        let before = self
            .replicas
            .get(&container.key)
            .map(|replica| replica.state.clone());
        let same_start = match (&before, &container.state) {
            // We started it ourselves and did not know when exactly.
            (
                Some(ContainerState::Running { since_unix_ms: 0 }),
                ContainerState::Running { .. },
            ) => true,
            (Some(before), now) => before == now,
            (None, _) => false,
        };
        if container_runs(&container.state) && !same_start {
            self.begin(&container.key);
        }
        let health = match (same_start, self.replicas.get(&container.key)) {
            (true, Some(replica)) => replica.health,
            _ => Health::Unknown,
        };
        self.replicas.insert(
            container.key.clone(),
            Replica {
                spec_hash: container.spec_hash,
                limits: container.limits,
                state: container.state.clone(),
                health,
            },
        );
        match (before, &container.state) {
            (Some(before), ContainerState::Exited(exit)) if container_runs(&before) => {
                self.ready_since.remove(&container.key);
                Some(exit.clone())
            }
            _ => None,
        }
    }

    fn ended(&mut self, key: &ReplicaKey, exit: &Exit, now: Instant, unit: f64) {
        let target = Target::Replica(key.clone());
        let again = self
            .records
            .entry(target.clone())
            .or_default()
            .ended(now, unit);
        self.holds.insert(target.clone(), again);
        let (reason, what) = if exit.oom_killed {
            (
                "oom_killed",
                "was killed for using more memory than its limit",
            )
        } else {
            ("exited", "ended by itself")
        };
        self.problems.insert(
            target,
            Problem {
                reason,
                message: format!("{} {what} (exit code {})", key.service, exit.code),
                exit: Some(exit.clone()),
            },
        );
    }

    /// We made it.
    pub fn created(&mut self, key: &ReplicaKey, spec_hash: Digest) {
        self.touch(key);
        self.replicas.entry(key.clone()).or_insert(Replica {
            spec_hash,
            limits: None,
            state: ContainerState::Created,
            health: Health::Unknown,
        });
        self.well(&Target::Replica(key.clone()));
    }

    /// We started it.
    pub fn started(&mut self, key: &ReplicaKey) {
        self.touch(key);
        self.begin(key);
        if let Some(replica) = self.replicas.get_mut(key) {
            replica.state = ContainerState::Running { since_unix_ms: 0 };
            replica.health = Health::Unknown;
        }
        self.holds.remove(&Target::Replica(key.clone()));
    }

    /// We stopped it.
    pub fn stopped(&mut self, key: &ReplicaKey) {
        self.touch(key);
        self.ready_since.remove(key);
        if let Some(replica) = self.replicas.get_mut(key) {
            // The next list knows the code; it does not matter to us.
            replica.state = ContainerState::Exited(Exit {
                code: 0,
                oom_killed: false,
                at_unix_ms: 0,
            });
            replica.health = Health::Unknown;
        }
        self.well(&Target::Replica(key.clone()));
    }

    /// We removed it.
    pub fn removed(&mut self, key: &ReplicaKey) {
        self.touch(key);
        self.ready_since.remove(key);
        self.replicas.remove(key);
        let target = Target::Replica(key.clone());
        self.well(&target);
        // What comes in its place has not failed yet.
        self.records.remove(&target);
    }

    /// We gave it these limits.
    pub fn limited(&mut self, key: &ReplicaKey, limits: Limits) {
        self.touch(key);
        if let Some(replica) = self.replicas.get_mut(key) {
            replica.limits = Some(limits);
        }
        self.well(&Target::Replica(key.clone()));
    }

    /// A list was taken for the first time: who served until just now is not known.
    pub fn began(&mut self, now: Instant) {
        let slotted = self
            .replicas
            .iter()
            .filter(|(key, replica)| key.slot != Slot::Fixed && replica.running());
        self.lingering = slotted
            .map(|(key, _)| (key.clone(), now + LINGER))
            .collect();
    }

    /// An update went on.
    pub fn moved(&mut self, made: &Move) {
        match made {
            // The whole store has answered through the new slot.
            Move::Switch { .. } | Move::Commit(_) => self.deep = true,
            // The old slot rests: whether it still answers is asked anew.
            Move::Enter(Phase::Migrating) | Move::Migrated(_) => self.deep = false,
            _ => {}
        }
    }

    /// We said who serves.
    pub fn served(&mut self, serving: Serve, edge: &ServiceName, now: Instant) {
        let replicas = |serve: &Serve| match serve {
            Serve::Slot { slot, replicas } => replicas
                .iter()
                .map(|replica| ReplicaKey {
                    service: edge.clone(),
                    slot: *slot,
                    replica: *replica,
                })
                .collect(),
            Serve::None | Serve::Maintenance | Serve::Paused => BTreeSet::new(),
        };
        self.lingering.retain(|_, until| *until > now);
        for key in replicas(&self.serving).difference(&replicas(&serving)) {
            self.lingering.insert(key.clone(), now + LINGER);
        }
        self.epoch += 1;
        self.serving_changed = self.epoch;
        self.serving = serving;
        self.well(&Target::Serve);
    }

    /// Something we tried did not work; it is tried again after a while.
    pub fn failed(&mut self, target: Target, problem: Problem, now: Instant, unit: f64) {
        let again = self
            .records
            .entry(target.clone())
            .or_default()
            .ended(now, unit);
        // Never at once: the cause needs a moment to go away.
        self.holds.insert(target.clone(), again.max(now + MOMENT));
        self.problems.insert(target, problem);
    }

    /// A probe's answer about this start of a container.
    pub fn probed(&mut self, key: &ReplicaKey, start: u64, health: Health, now: Instant) {
        if self.start(key) != start {
            return;
        }
        let Some(replica) = self
            .replicas
            .get_mut(key)
            .filter(|replica| replica.running())
        else {
            return;
        };
        // Slow to come up is not frozen.
        let was_ready = matches!(replica.health, Health::Ready | Health::Frozen);
        replica.health = match health {
            Health::Frozen if !was_ready => Health::Unready,
            health => health,
        };
        if health == Health::Ready {
            self.ready_since.entry(key.clone()).or_insert(now);
            self.well(&Target::Replica(key.clone()));
        } else {
            self.ready_since.remove(key);
        }
    }

    /// Forgives what has been ready for long enough.
    pub fn settle(&mut self, now: Instant) {
        for (key, since) in &self.ready_since {
            if let Some(record) = self.records.get_mut(&Target::Replica(key.clone())) {
                record.ready(*since, now);
            }
        }
    }

    /// A new order: what waited because of the old one need not.
    pub fn reordered(&mut self) {
        self.holds.clear();
    }

    /// This start's number.
    #[must_use]
    pub fn start(&self, key: &ReplicaKey) -> u64 {
        self.starts.get(key).copied().unwrap_or(0)
    }

    /// Forgets what of our own doing failed and is not to be done any more. What ended badly by itself is remembered.
    pub fn left_undone(&mut self, to_do: &BTreeSet<Target>) {
        let ours = |target: &Target| {
            matches!(
                target,
                Target::Ledger | Target::Runs | Target::Drift | Target::Logins | Target::Task(_)
            )
        };
        let problems = self.problems.iter();
        let over: Vec<Target> = problems
            .filter(|(target, problem)| ours(target) && problem.exit.is_none())
            .map(|(target, _)| target.clone())
            .filter(|target| !to_do.contains(target) && !self.busy.contains(target))
            .collect();
        for target in over {
            self.well(&target);
        }
    }

    /// Nothing is wrong with it any more.
    pub fn well(&mut self, target: &Target) {
        self.problems.remove(target);
        self.holds.remove(target);
    }

    fn begin(&mut self, key: &ReplicaKey) {
        *self.starts.entry(key.clone()).or_default() += 1;
        self.ready_since.remove(key);
    }

    fn touch(&mut self, key: &ReplicaKey) {
        self.epoch += 1;
        self.changed.insert(key.clone(), self.epoch);
    }
}

/// What was done to a service that ended like this, if something was. Services do not end by themselves without an error;
/// these are the codes of one that was asked to stop, and of one that was killed.
const fn by_hand(exit: &Exit) -> Option<DriftWhat> {
    match exit.code {
        _ if exit.oom_killed => None,
        0 | 143 => Some(DriftWhat::Stopped),
        137 => Some(DriftWhat::Killed),
        _ => None,
    }
}

/// How long buyers may still be sent to who serves no more: the edge's refresh (250 ms), and a margin.
pub const LINGER: std::time::Duration = std::time::Duration::from_millis(1250);
/// Shortest wait before something that failed is tried again.
const MOMENT: std::time::Duration = std::time::Duration::from_millis(250);

const fn container_runs(state: &ContainerState) -> bool {
    matches!(state, ContainerState::Running { .. })
}

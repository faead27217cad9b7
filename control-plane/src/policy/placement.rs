//! Which node a store goes to: where its reservation fits, on the emptiest of those, with a turn for every organisation. And whether a change
//! of one that is there has the room it needs.

use std::collections::{BTreeMap, VecDeque};

use jiff::{SignedDuration, Timestamp};
use shop_plan::{AllowedImages, Permission};
use shop_proto::{NodeId, StoreId};

use crate::domain::{
    breaker::Admission,
    node::{Node, NodeStatus},
    store::{Reservation, Store},
};

/// Kept for the host itself, unless that were more than a quarter of what it has.
const HOST_MEMORY: u64 = 1 << 30;
/// What has waited for room on its node for so long is not overtaken there any more: what is smaller could take every bit of room that
/// comes free, for ever. Several times as long as an update holds its room, so that two of them need not know of each other.
pub const PATIENCE: SignedDuration = SignedDuration::from_mins(10);

/// What a store waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wants {
    /// A node: it is new.
    Place,
    /// Room on its node, where its data is.
    Return,
    /// More room on its node, where it goes on meanwhile: a change of it runs more than it does.
    Grow,
}

/// A store that waits for room. Oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub store: StoreId,
    pub organisation: String,
    pub reservation: Reservation,
    /// An operator chose the node.
    pub pinned: Option<NodeId>,
    pub wants: Wants,
    /// When it was asked for; none: just now.
    pub since: Option<Timestamp>,
    /// Images in place of the template's: the template's own, and the one that is to run.
    pub images: Vec<(String, String)>,
}

impl Request {
    /// What a store's last change waits for; `None` when it does not wait.
    #[must_use]
    pub fn growth(store: &Store) -> Option<Self> {
        Some(Self {
            store: store.id.clone(),
            organisation: store.organisation.clone(),
            reservation: store.room_awaited()?,
            pinned: Some(store.placement.as_ref()?.node.clone()),
            wants: Wants::Grow,
            since: None,
            images: Vec::new(),
        })
    }

    /// Whether it has waited for so long that nothing overtakes it on its node.
    fn overdue(&self, nodes: &[Candidate], now: Timestamp) -> bool {
        let mut nodes = nodes.iter();
        let here = nodes.find(|node| self.pinned.as_ref() == Some(&node.node));
        self.wants == Wants::Grow
            && here
                .zip(self.since)
                .is_some_and(|(here, since)| here.keeps_room(self.reservation, since, now))
    }
}

/// A node and the room on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    pub node: NodeId,
    pub status: NodeStatus,
    pub free_memory: u64,
    pub free_cpu: u64,
    /// What it has in all, for comparing nodes of different size.
    pub memory: u64,
    /// Stores on their way up there.
    pub starting: u32,
    /// Whether new stores may go there, as those before fared.
    pub admission: Admission,
    /// Images that may take the place of a template's own.
    pub allowed: AllowedImages,
    /// What changes under way there hold, and give back when they are over.
    pub passing: Reservation,
    /// What room there is goes to a change that has waited for long.
    pub kept: bool,
}

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Place(NodeId),
    Wait(Why),
}

/// Why a store waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// None is joined, or none has a session.
    NoNodes,
    /// None has enough unreserved memory and CPU.
    NoCapacity,
    /// What room there is on its node goes to somebody who has waited for long.
    Behind,
    /// None allows the images that it is to run.
    ImageNotAllowed,
    /// Those with room have full disks.
    DiskPressure,
    /// Those with room are left alone for a while: new stores failed there one after the other.
    NodeTripped,
    /// There is room, but as many are starting as may at once.
    Queued,
}

impl Why {
    /// Stable.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::NoNodes => "no_nodes",
            Self::NoCapacity | Self::Behind => "no_capacity",
            Self::ImageNotAllowed => "image_not_allowed",
            Self::DiskPressure => "disk_pressure",
            Self::NodeTripped => "node_tripped",
            Self::Queued => "queued",
        }
    }

    /// What an operator reads.
    #[must_use]
    pub fn message(self, request: &Request) -> String {
        let Reservation {
            memory_bytes,
            cpu_millis,
        } = request.reservation;
        match (self, &request.pinned) {
            (Self::NoNodes, None) => {
                "no node is connected; join one with `shopctl node join`, or look at the node agents there are".to_owned()
            }
            (Self::NoNodes, Some(node)) => format!("node {node} is not connected"),
            (Self::NoCapacity, Some(node)) if request.wants == Wants::Grow => format!(
                "node {node} has not the {} MiB of memory and {cpu_millis} thousandths of a core left to reserve that the change takes beside what \
                 runs; it goes on when there is room: pause or delete stores there",
                memory_bytes >> 20
            ),
            (Self::NoCapacity, Some(node)) => format!(
                "node {node} has no {} MiB of memory and {cpu_millis} thousandths of a core left to reserve; make room there: pause or delete stores",
                memory_bytes >> 20
            ),
            (Self::NoCapacity, None) => format!(
                "no node has {} MiB of memory and {cpu_millis} thousandths of a core left to reserve; join another node, or delete stores",
                memory_bytes >> 20
            ),
            (Self::Behind, _) => format!(
                "another store has waited for room on this node for more than {} minutes and goes first; make room there: pause or delete stores, or \
                 cancel what waits: `shopctl operation list`",
                PATIENCE.as_mins()
            ),
            (Self::ImageNotAllowed, _) => {
                let images: Vec<&str> = request.images.iter().map(|(_, image)| image.as_str()).collect();
                format!(
                    "no node that may take it allows {}; the administrator of a host allows an image there, in the node's file allowed-images",
                    images.join(", ")
                )
            }
            (Self::DiskPressure, _) => {
                "the nodes that have room are short of disk; make room there, or join another node".to_owned()
            }
            (Self::NodeTripped, _) => {
                "on the nodes that have room, new stores failed one after the other; they are tried again after a while: see `shopctl node list` and the failed stores' `shopctl store explain`".to_owned()
            }
            (Self::Queued, _) => "waits for its turn: other stores are starting".to_owned(),
        }
    }
}

impl Candidate {
    /// The room on a node, given what is reserved there.
    #[must_use]
    pub fn of(
        node: &Node,
        reserved: Reservation,
        starting: u32,
        cpu_overcommit: u32,
        now: Timestamp,
    ) -> Self {
        let memory = node.capacity.memory_bytes;
        let usable = memory - HOST_MEMORY.min(memory / 4);
        let cpu = u64::from(node.capacity.cpu_millis) * u64::from(cpu_overcommit);
        Self {
            node: node.id.clone(),
            status: node.status(),
            passing: Reservation::default(),
            kept: false,
            free_memory: usable.saturating_sub(reserved.memory_bytes),
            free_cpu: cpu.saturating_sub(u64::from(reserved.cpu_millis)),
            memory,
            starting,
            admission: node.breaker.admission(now),
            allowed: node.allowed_images(),
        }
    }

    /// Whether its administrator allows what the store is to run. One that was there before runs there already, or its node says why not.
    fn allows(&self, request: &Request) -> bool {
        let allowed = |(own, image): &(String, String)| {
            self.allowed.permission(own, image) != Permission::Denied
        };
        request.wants != Wants::Place || request.images.iter().all(allowed)
    }

    /// Whether there is so much left to reserve.
    fn has(&self, reservation: Reservation) -> bool {
        self.free_memory >= reservation.memory_bytes
            && self.free_cpu >= u64::from(reservation.cpu_millis)
    }

    /// Whether so much more can be reserved there for what goes on without it, or is not there yet.
    #[must_use]
    pub fn fits(&self, reservation: Reservation) -> bool {
        !self.kept && self.has(reservation)
    }

    /// Whether what waits there for so much room, and was asked for then, is not to be overtaken any more. Only while the room comes by
    /// itself: nobody waits behind what waits for an operator.
    #[must_use]
    pub fn keeps_room(&self, wanted: Reservation, since: Timestamp, now: Timestamp) -> bool {
        let memory = self.free_memory.saturating_add(self.passing.memory_bytes);
        let cpu = self
            .free_cpu
            .saturating_add(u64::from(self.passing.cpu_millis));
        now.duration_since(since) >= PATIENCE
            && memory >= wanted.memory_bytes
            && cpu >= u64::from(wanted.cpu_millis)
    }

    /// Counts on the room that a store's change under way gives back, if it is here.
    pub fn expects(&mut self, holder: &Store) {
        if holder
            .placement
            .as_ref()
            .is_some_and(|it| it.node == self.node)
        {
            self.passing = self.passing.and(holder.room_given_back());
        }
    }
}

/// A verdict for every request. One that does not fit holds up nobody else, until it has waited for long ([`PATIENCE`]): then its node keeps
/// the room for it that changes under way give back. A store that comes back, and serves nobody until then, never waits for that.
#[must_use]
pub fn place(
    requests: &[Request],
    mut nodes: Vec<Candidate>,
    starting_at_once: u32,
    now: Timestamp,
) -> Vec<(StoreId, Verdict)> {
    let (mut overdue, others): (Vec<&Request>, Vec<&Request>) = requests
        .iter()
        .partition(|request| request.overdue(&nodes, now));
    overdue.sort_by_key(|request| request.since);
    let late = overdue.len();
    overdue
        .into_iter()
        .chain(fair_order(others))
        .enumerate()
        .map(|(index, request)| {
            let verdict = choose(request, &nodes, starting_at_once);
            let on = match &verdict {
                Verdict::Place(chosen) => Some(chosen),
                Verdict::Wait(Why::NoCapacity) if index < late => request.pinned.as_ref(),
                Verdict::Wait(_) => None,
            };
            if let Some(node) = nodes.iter_mut().find(|node| Some(&node.node) == on) {
                if matches!(verdict, Verdict::Place(_)) {
                    node.free_memory -= request.reservation.memory_bytes;
                    node.free_cpu -= u64::from(request.reservation.cpu_millis);
                    node.starting += u32::from(request.wants != Wants::Grow);
                } else {
                    node.kept = true;
                }
            }
            (request.store.clone(), verdict)
        })
        .collect()
}

/// One of each organisation in turn; within one, as they came.
fn fair_order(requests: Vec<&Request>) -> Vec<&Request> {
    let mut queues: BTreeMap<&str, VecDeque<&Request>> = BTreeMap::new();
    let count = requests.len();
    for request in requests {
        queues
            .entry(request.organisation.as_str())
            .or_default()
            .push_back(request);
    }
    let mut order = Vec::with_capacity(count);
    while !queues.is_empty() {
        queues.retain(|_, queue| {
            order.extend(queue.pop_front());
            !queue.is_empty()
        });
    }
    order
}

fn choose(request: &Request, nodes: &[Candidate], starting_at_once: u32) -> Verdict {
    if request.wants == Wants::Grow {
        // It is there already: only room keeps it from going on.
        let here = nodes
            .iter()
            .find(|node| request.pinned.as_ref() == Some(&node.node));
        return match here {
            Some(node) if node.fits(request.reservation) => Verdict::Place(node.node.clone()),
            Some(node) if node.kept => Verdict::Wait(Why::Behind),
            _ => Verdict::Wait(Why::NoCapacity),
        };
    }
    let reachable: Vec<&Candidate> = nodes
        .iter()
        .filter(|node| request.pinned.as_ref().is_none_or(|pin| *pin == node.node))
        .filter(|node| node.status != NodeStatus::Unreachable)
        .collect();
    if reachable.is_empty() {
        return Verdict::Wait(Why::NoNodes);
    }
    let allowing: Vec<&Candidate> = reachable
        .into_iter()
        .filter(|node| node.allows(request))
        .collect();
    if allowing.is_empty() {
        return Verdict::Wait(Why::ImageNotAllowed);
    }
    let kept = allowing.iter().any(|node| node.kept);
    let with_room: Vec<&Candidate> = allowing
        .into_iter()
        .filter(|node| match request.wants {
            Wants::Return => node.has(request.reservation),
            _ => node.fits(request.reservation),
        })
        .collect();
    if with_room.is_empty() {
        let behind = kept && request.pinned.is_some() && request.wants != Wants::Return;
        return Verdict::Wait(if behind { Why::Behind } else { Why::NoCapacity });
    }
    let healthy: Vec<&Candidate> = with_room
        .into_iter()
        .filter(|node| node.status == NodeStatus::Ready)
        .collect();
    if healthy.is_empty() {
        return Verdict::Wait(Why::DiskPressure);
    }
    let admitted: Vec<&Candidate> = healthy
        .into_iter()
        .filter(|node| request.wants == Wants::Return || node.admission != Admission::Closed)
        .collect();
    if admitted.is_empty() {
        return Verdict::Wait(Why::NodeTripped);
    }
    // Spread: the largest share of memory left; ties go to whoever starts least, then by id so that the same input gives the same answer.
    admitted
        .into_iter()
        .filter(|node| {
            let at_once = match node.admission {
                Admission::OnTrial => 1,
                Admission::Free | Admission::Closed => starting_at_once,
            };
            node.starting < at_once
        })
        .max_by_key(|node| {
            let share = u128::from(node.free_memory) * 10_000 / u128::from(node.memory.max(1));
            (
                share,
                std::cmp::Reverse(node.starting),
                std::cmp::Reverse(node.node.clone()),
            )
        })
        .map_or(Verdict::Wait(Why::Queued), |node| {
            Verdict::Place(node.node.clone())
        })
}

#[cfg(test)]
mod tests;

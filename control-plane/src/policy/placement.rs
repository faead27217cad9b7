//! Which node a store goes to: where its reservation fits, on the emptiest of those, with a turn for every organisation. And whether a change
//! of one that is there has the room it needs.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;
use shop_plan::{AllowedImages, Permission};
use shop_proto::{NodeId, StoreId};

use crate::domain::{
    breaker::Admission,
    node::{Node, NodeStatus},
    store::{Reservation, Store},
};

/// Kept for the host itself, unless that were more than a quarter of what it has.
const HOST_MEMORY: u64 = 1 << 30;

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
            images: Vec::new(),
        })
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
            Self::NoCapacity => "no_capacity",
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

    /// Whether so much more can be reserved there.
    #[must_use]
    pub fn fits(&self, reservation: Reservation) -> bool {
        self.free_memory >= reservation.memory_bytes
            && self.free_cpu >= u64::from(reservation.cpu_millis)
    }
}

/// A verdict for every request. One that does not fit holds up nobody else.
#[must_use]
pub fn place(
    requests: &[Request],
    mut nodes: Vec<Candidate>,
    starting_at_once: u32,
) -> Vec<(StoreId, Verdict)> {
    fair_order(requests)
        .into_iter()
        .map(|request| {
            let verdict = choose(request, &nodes, starting_at_once);
            if let Verdict::Place(chosen) = &verdict
                && let Some(node) = nodes.iter_mut().find(|node| node.node == *chosen)
            {
                node.free_memory -= request.reservation.memory_bytes;
                node.free_cpu -= u64::from(request.reservation.cpu_millis);
                node.starting += u32::from(request.wants != Wants::Grow);
            }
            (request.store.clone(), verdict)
        })
        .collect()
}

/// One of each organisation in turn; within one, as they came.
fn fair_order(requests: &[Request]) -> Vec<&Request> {
    let mut queues: BTreeMap<&str, VecDeque<&Request>> = BTreeMap::new();
    for request in requests {
        queues
            .entry(request.organisation.as_str())
            .or_default()
            .push_back(request);
    }
    let mut order = Vec::with_capacity(requests.len());
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
        return nodes
            .iter()
            .find(|node| request.pinned.as_ref() == Some(&node.node))
            .filter(|node| node.fits(request.reservation))
            .map_or(Verdict::Wait(Why::NoCapacity), |node| {
                Verdict::Place(node.node.clone())
            });
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
    let with_room: Vec<&Candidate> = allowing
        .into_iter()
        .filter(|node| node.fits(request.reservation))
        .collect();
    if with_room.is_empty() {
        return Verdict::Wait(Why::NoCapacity);
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
mod tests {
    use super::*;

    fn node(id: &str, free_mib: u64) -> Candidate {
        Candidate {
            node: id.parse().unwrap(),
            status: NodeStatus::Ready,
            free_memory: free_mib << 20,
            free_cpu: 8_000,
            memory: 4096 << 20,
            starting: 0,
            admission: Admission::Free,
            allowed: AllowedImages::builtin(),
        }
    }

    fn request(store: &str, organisation: &str) -> Request {
        Request {
            store: format!("{store:a<12}").parse().unwrap(),
            organisation: organisation.to_owned(),
            reservation: Reservation {
                memory_bytes: 512 << 20,
                cpu_millis: 500,
            },
            pinned: None,
            wants: Wants::Place,
            images: Vec::new(),
        }
    }

    fn verdict(request: &Request, nodes: Vec<Candidate>) -> Verdict {
        place(std::slice::from_ref(request), nodes, 4).remove(0).1
    }

    #[test]
    fn a_store_goes_where_its_images_are_allowed() {
        let mut asked = request("s", "o");
        let own = "shopfleet/refshop-php-fpm:1".to_owned();
        asked.images = vec![(own, "example/php:8.2".to_owned())];
        let (strict, mut open) = (node("n00001", 4000), node("n00002", 1000));
        open.allowed = AllowedImages::told(["example/php"]);
        assert_eq!(
            verdict(&asked, vec![strict.clone()]),
            Verdict::Wait(Why::ImageNotAllowed)
        );
        assert_eq!(
            verdict(&asked, vec![strict.clone(), open.clone()]),
            Verdict::Place(open.node)
        );
        // Its data is there; whether its image may still run is its node's to say.
        asked.wants = Wants::Return;
        assert_eq!(
            verdict(&asked, vec![strict.clone()]),
            Verdict::Place(strict.node)
        );
    }

    #[test]
    fn waits_with_the_reason() {
        let asked = request("s", "o");
        assert_eq!(verdict(&asked, vec![]), Verdict::Wait(Why::NoNodes));
        let mut away = node("n00001", 4000);
        away.status = NodeStatus::Unreachable;
        assert_eq!(verdict(&asked, vec![away]), Verdict::Wait(Why::NoNodes));
        assert_eq!(
            verdict(&asked, vec![node("n00001", 511)]),
            Verdict::Wait(Why::NoCapacity)
        );
        let mut no_cpu = node("n00001", 4000);
        no_cpu.free_cpu = 499;
        assert_eq!(
            verdict(&asked, vec![no_cpu]),
            Verdict::Wait(Why::NoCapacity)
        );
        let mut full = node("n00001", 4000);
        full.status = NodeStatus::DiskPressure;
        assert_eq!(
            verdict(&asked, vec![full]),
            Verdict::Wait(Why::DiskPressure)
        );
        let mut busy = node("n00001", 4000);
        busy.starting = 4;
        assert_eq!(verdict(&asked, vec![busy]), Verdict::Wait(Why::Queued));
    }

    #[test]
    fn a_node_where_stores_fail_is_left_alone_then_tried_with_one() {
        let asked = request("s", "o");
        let mut bad = node("n00001", 4000);
        bad.admission = Admission::Closed;
        assert_eq!(
            verdict(&asked, vec![bad.clone()]),
            Verdict::Wait(Why::NodeTripped)
        );
        // Another one takes its stores, however full.
        assert_eq!(
            verdict(&asked, vec![bad.clone(), node("n00002", 600)]),
            Verdict::Place("n00002".parse().unwrap())
        );
        // A store whose data is there comes back.
        let mut back = request("s", "o");
        back.wants = Wants::Return;
        assert!(matches!(
            verdict(&back, vec![bad.clone()]),
            Verdict::Place(_)
        ));
        bad.admission = Admission::OnTrial;
        let two = [request("a", "o"), request("b", "o")];
        let verdicts: Vec<Verdict> = place(&two, vec![bad], 4)
            .into_iter()
            .map(|(_, verdict)| verdict)
            .collect();
        assert!(matches!(verdicts[0], Verdict::Place(_)));
        assert_eq!(verdicts[1], Verdict::Wait(Why::Queued));
    }

    #[test]
    fn spreads_and_never_overbooks() {
        let requests: Vec<Request> = ["a", "b", "c", "d", "e"]
            .map(|store| request(store, "o"))
            .into();
        let verdicts = place(
            &requests,
            vec![node("n00001", 1100), node("n00002", 1100)],
            4,
        );
        let placed = |id: &str| {
            verdicts
                .iter()
                .filter(|(_, verdict)| *verdict == Verdict::Place(id.parse().unwrap()))
                .count()
        };
        assert_eq!((placed("n00001"), placed("n00002")), (2, 2));
        assert_eq!(verdicts[4].1, Verdict::Wait(Why::NoCapacity));
    }

    #[test]
    fn a_pinned_store_goes_nowhere_else() {
        let mut asked = request("s", "o");
        asked.pinned = Some("n00002".parse().unwrap());
        let nodes = vec![node("n00001", 4000), node("n00002", 100)];
        assert_eq!(verdict(&asked, nodes), Verdict::Wait(Why::NoCapacity));
    }

    #[test]
    fn what_grows_waits_for_room_on_its_node_and_for_nothing_else() {
        let mut growing = request("s", "o");
        growing.wants = Wants::Grow;
        growing.pinned = Some("n00001".parse().unwrap());
        let mut busy = node("n00001", 512);
        busy.starting = 9;
        busy.status = NodeStatus::DiskPressure;
        busy.admission = Admission::Closed;
        assert!(matches!(verdict(&growing, vec![busy]), Verdict::Place(_)));
        let elsewhere = vec![node("n00001", 511), node("n00002", 4000)];
        assert_eq!(verdict(&growing, elsewhere), Verdict::Wait(Why::NoCapacity));
        // Two want the last of it: one has it.
        let mut other = growing.clone();
        other.store = "taaaaaaaaaaa".parse().unwrap();
        let verdicts = place(&[growing, other], vec![node("n00001", 1000)], 4);
        assert!(matches!(verdicts[0].1, Verdict::Place(_)));
        assert_eq!(verdicts[1].1, Verdict::Wait(Why::NoCapacity));
    }

    #[test]
    fn one_organisation_does_not_starve_another() {
        let mut requests: Vec<Request> = (0..6_u8)
            .map(|index| request(&format!("a{index}"), "big"))
            .collect();
        requests.push(request("z", "small"));
        let verdicts = place(&requests, vec![node("n00001", 1100)], 4);
        let small = verdicts
            .iter()
            .find(|(store, _)| store.as_str().starts_with('z'))
            .unwrap();
        assert!(matches!(small.1, Verdict::Place(_)));
    }
}

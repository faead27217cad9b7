//! What was sent lately, so that a change elsewhere does not send everything again. A hint: losing it costs a repeated order.

use std::{collections::HashMap, sync::Mutex, time::Duration};

use shop_proto::{NodeId, StoreId};
use tokio::{sync::Notify, time::Instant};

/// An order that is not acknowledged is repeated after so long.
const REPEAT: Duration = Duration::from_secs(5);
/// One that was refused for something that passes waits twice as long each time, up to this: what is in the way is cleared by people,
/// and they wait for it then.
const LONGEST: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Target {
    Node(NodeId, StoreId),
    Agent(StoreId),
}

#[derive(Debug, Clone, Copy)]
struct Last {
    generation: u64,
    at: Instant,
    /// Times it was sent although it had been refused.
    refusals: u32,
    /// When it is sent again.
    again: Instant,
}

#[derive(Default)]
pub(super) struct Sent {
    last: Mutex<HashMap<Target, Last>>,
    /// A session came up: what it missed is to be sent now.
    woken: Notify,
}

impl Sent {
    /// Whether an order of this generation is due.
    pub(super) fn due(&self, target: &Target, generation: u64) -> bool {
        self.last.lock().is_ok_and(|last| {
            last.get(target)
                .is_none_or(|last| last.generation != generation || last.again <= Instant::now())
        })
    }

    /// Notes that it was sent; `refused`: although it was refused before, for something that passes.
    pub(super) fn record(&self, target: Target, generation: u64, refused: bool) {
        if let Ok(mut last) = self.last.lock() {
            let before = last.get(&target).filter(|it| it.generation == generation);
            let refusals = match refused {
                true => before.map_or(0, |before| before.refusals).saturating_add(1),
                false => 0,
            };
            let at = Instant::now();
            let new = Last {
                generation,
                at,
                refusals,
                again: at + pause(refusals, rand::random()),
            };
            last.insert(target, new);
        }
    }

    /// Entries that say nothing any more.
    pub(super) fn prune(&self) {
        if let Ok(mut last) = self.last.lock() {
            last.retain(|_, last| last.at.elapsed() < 2 * LONGEST);
        }
    }

    pub(super) fn forget_node(&self, node: &NodeId) {
        if let Ok(mut last) = self.last.lock() {
            last.retain(|target, _| !matches!(target, Target::Node(other, _) if other == node));
        }
        self.woken.notify_one();
    }

    pub(super) fn forget_agent(&self, store: &StoreId) {
        if let Ok(mut last) = self.last.lock() {
            last.remove(&Target::Agent(store.clone()));
        }
        self.woken.notify_one();
    }

    pub(super) async fn woken(&self) {
        self.woken.notified().await;
    }
}

/// How long until an order is repeated that was sent so many times in vain. `unit` is a random number in 0..1: a fleet whose disks have
/// filled up together does not ask together.
fn pause(refusals: u32, unit: f64) -> Duration {
    match refusals.checked_sub(1) {
        None => REPEAT,
        Some(doublings) => {
            let bound = REPEAT.saturating_mul(1 << doublings.min(8)).min(LONGEST);
            bound.mul_f64(0.5 + unit.clamp(0.0, 1.0) / 2.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_make_patient_up_to_a_bound_and_never_all_at_once() {
        assert_eq!(pause(0, 0.0), REPEAT);
        assert_eq!(pause(1, 1.0), REPEAT);
        assert_eq!(pause(2, 1.0), 2 * REPEAT);
        assert_eq!(pause(40, 1.0), LONGEST);
        assert_eq!(pause(40, 0.0), LONGEST / 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_order_is_repeated_after_a_while_and_a_newer_one_at_once() {
        let sent = Sent::default();
        let target = Target::Agent("k3v9q2m8x1aa".parse().unwrap());
        for _ in 0..5 {
            assert!(sent.due(&target, 3));
            sent.record(target.clone(), 3, true);
            assert!(!sent.due(&target, 3));
            tokio::time::advance(LONGEST).await;
            sent.prune();
        }
        sent.record(target.clone(), 3, true);
        tokio::time::advance(REPEAT).await;
        assert!(!sent.due(&target, 3), "it has waited longer before");
        assert!(sent.due(&target, 4), "another one");
        sent.record(target.clone(), 4, false);
        tokio::time::advance(REPEAT).await;
        assert!(sent.due(&target, 4), "nothing refused this one");
    }
}

//! The way back: who is still sent to the slot that is left, and what is kept for it.

use super::*;

/// The slot that was just left is wanted again at once: until nobody is sent there any more it stays whole, and then its web goes first.
#[test]
fn a_slot_that_was_just_left_is_not_taken_apart_under_its_last_buyers() {
    let mut shop = running();
    shop.ask(2);
    shop.until(Phase::Switched);
    while !matches!(shop.serving, Serve::Slot { slot: Slot::B, .. }) {
        shop.live(0, true);
    }
    shop.watching.ends = 2;
    shop.until(Phase::RolledBack);
    while !matches!(shop.serving, Serve::Slot { slot: Slot::A, .. }) {
        shop.live(0, true);
    }
    // As the control plane says it: back to what serves, then the next try.
    shop.ask(1);
    shop.ask(4);
    let in_b = |key: &ReplicaKey| key.slot == Slot::B;
    let (mut lingered, mut stopped) = (0, BTreeSet::new());
    while stopped.len() < 2 {
        let lingers = shop.lingering.keys().any(in_b);
        lingered += u32::from(lingers);
        for step in shop.decide().now {
            let Step::Stop(key) = step else { continue };
            if !in_b(&key) {
                continue;
            }
            assert!(!lingers, "{key} stops while buyers are sent to its slot");
            if key.service.as_str() == "php-fpm" {
                let web = ReplicaKey {
                    service: "web".parse().unwrap(),
                    ..key.clone()
                };
                let runs = shop.replicas.get(&web).is_some_and(Replica::running);
                assert!(!runs, "{key} stops before its web");
            }
            stopped.insert(key);
        }
        shop.live(0, true);
    }
    assert!(lingered > 0);
    shop.arrives(4, &[]);
}

#[test]
fn an_operators_way_back_in_the_window_is_quick() {
    let mut shop = running();
    shop.ask(4);
    shop.until(Phase::Switched);
    let old = shop.slot_hashes(Slot::A);
    shop.ask(1);
    shop.until(Phase::Checking);
    assert_eq!(
        shop.slot_hashes(Slot::A),
        old,
        "the old slot is there still"
    );
    shop.arrives(1, &[]);
    assert_eq!(shop.entries.slot, Some(Slot::A));
}

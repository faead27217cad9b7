//! Which stores of a rollout are updated next: canaries first, then batch after batch, and no further once too many failed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use shop_proto::StoreId;

use crate::domain::rollout::{Batch, Member, MemberState, Wish};

/// Stores that one rollout updates at once, however large a wave is: each fills a second slot on its node meanwhile.
pub const AT_ONCE: usize = 16;

/// What comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// These begin now.
    Start(Vec<StoreId>),
    /// Those that are being updated come to their end first.
    Wait,
    /// More of a wave failed than may.
    Halt {
        wave: u32,
        failed: Vec<StoreId>,
        /// Stores of that wave that took part.
        of: usize,
        /// So many of them may fail.
        may: usize,
    },
    /// Nothing is left.
    Finish,
}

/// The wave of each of `count` stores, in their order: `canary` in the first, then batches.
#[must_use]
pub fn waves(count: u32, canary: u32, batch: Batch) -> Vec<u32> {
    let size = match batch {
        Batch::Percent(share) => (u64::from(count) * u64::from(share)).div_ceil(100),
        Batch::Count(size) => u64::from(size),
    };
    let size = u32::try_from(size).unwrap_or(u32::MAX).max(1);
    let first = u32::from(canary > 0);
    (0..count)
        .map(|index| match index.checked_sub(canary) {
            None => 0,
            Some(after) => first + after / size,
        })
        .collect()
}

/// The wave that is under way: the first with somebody left in it.
#[must_use]
pub fn wave(members: &[Member]) -> Option<u32> {
    members
        .iter()
        .filter(|member| matches!(member.state, MemberState::Waiting | MemberState::Updating))
        .map(|member| member.wave)
        .min()
}

/// The first wave of which more failed than may, those left out that an operator has gone on from.
fn beyond_limit(wish: &Wish, members: &[Member], forgiven: u32) -> Option<Verdict> {
    let mut waves: BTreeMap<u32, (usize, Vec<StoreId>)> = BTreeMap::new();
    for member in members
        .iter()
        .filter(|member| member.state != MemberState::Skipped)
    {
        let (of, failed) = waves.entry(member.wave).or_default();
        *of += 1;
        if member.state == MemberState::Failed {
            failed.push(member.store.clone());
        }
    }
    // A wave begins when the one before is over: what was forgiven failed in the first of them.
    let mut forgiven = forgiven as usize;
    for (wave, (of, failed)) in waves {
        let may = wish.may_fail(wave, of);
        let counted = failed.len().saturating_sub(forgiven);
        forgiven = forgiven.saturating_sub(failed.len());
        if counted > may {
            return Some(Verdict::Halt {
                wave,
                failed,
                of,
                may,
            });
        }
    }
    None
}

/// Decides. `forgiven`: failures an operator has gone on from. `held_up`: stores whose node has no room for another update now.
#[must_use]
pub fn next(
    wish: &Wish,
    members: &[Member],
    forgiven: u32,
    held_up: &BTreeSet<StoreId>,
) -> Verdict {
    if let Some(halt) = beyond_limit(wish, members, forgiven) {
        return halt;
    }
    let Some(wave) = wave(members) else {
        return Verdict::Finish;
    };
    let of_wave = |state| {
        members
            .iter()
            .filter(move |member| member.wave == wave && member.state == state)
    };
    let updating = of_wave(MemberState::Updating).count();
    let waiting: Vec<&Member> = of_wave(MemberState::Waiting)
        .filter(|member| !held_up.contains(&member.store))
        .collect();
    let start: Vec<StoreId> = in_turn(&waiting)
        .into_iter()
        .take(AT_ONCE.saturating_sub(updating))
        .collect();
    if start.is_empty() {
        Verdict::Wait
    } else {
        Verdict::Start(start)
    }
}

/// One of each organisation in turn; within one, as they came.
fn in_turn(waiting: &[&Member]) -> Vec<StoreId> {
    let mut queues: BTreeMap<&str, VecDeque<&StoreId>> = BTreeMap::new();
    for member in waiting {
        queues
            .entry(member.organisation.as_str())
            .or_default()
            .push_back(&member.store);
    }
    let mut order = Vec::with_capacity(waiting.len());
    while !queues.is_empty() {
        queues.retain(|_, queue| {
            order.extend(queue.pop_front().cloned());
            !queue.is_empty()
        });
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn may(fail: u32) -> Wish {
        Wish {
            max_failures: fail,
            ..Wish::default()
        }
    }

    fn members(states: &[(u32, MemberState)]) -> Vec<Member> {
        states
            .iter()
            .enumerate()
            .map(|(index, (wave, state))| Member {
                store: format!("s{index:0>11}").parse().unwrap(),
                name: format!("shop-{index}").parse().unwrap(),
                organisation: if index % 5 == 0 { "small" } else { "big" }.to_owned(),
                wave: *wave,
                state: *state,
                operation: None,
                before: 1,
                reason: String::new(),
                message: String::new(),
            })
            .collect()
    }

    #[test]
    fn the_canary_is_alone_and_batches_cover_everybody_once() {
        assert_eq!(waves(5, 1, Batch::Count(2)), [0, 1, 1, 2, 2]);
        assert_eq!(waves(4, 0, Batch::Count(2)), [0, 0, 1, 1]);
        let of_twenty = waves(20, 1, Batch::Percent(10));
        assert_eq!(of_twenty.iter().filter(|wave| **wave == 0).count(), 1);
        assert_eq!(of_twenty.iter().filter(|wave| **wave == 1).count(), 2);
        assert_eq!(waves(3, 10, Batch::Percent(1)), [0, 0, 0]);
        assert!(waves(0, 1, Batch::Percent(1)).is_empty());
        for count in 0..60 {
            let waves = waves(count, 2, Batch::Percent(7));
            assert_eq!(waves.len(), count as usize);
            assert!(waves.is_sorted());
        }
    }

    #[test]
    fn the_next_wave_begins_when_the_one_before_is_over() {
        use MemberState::{Done, Updating, Waiting};
        let before = members(&[(0, Updating), (1, Waiting), (1, Waiting)]);
        assert_eq!(next(&may(0), &before, 0, &BTreeSet::new()), Verdict::Wait);
        let after = members(&[(0, Done), (1, Waiting), (1, Waiting)]);
        assert!(
            matches!(next(&may(0), &after, 0, &BTreeSet::new()), Verdict::Start(stores) if stores.len() == 2)
        );
        let end = members(&[(0, Done), (1, MemberState::Skipped)]);
        assert_eq!(next(&may(0), &end, 0, &BTreeSet::new()), Verdict::Finish);
    }

    #[test]
    fn it_halts_on_one_failure_too_many_and_goes_on_when_that_is_forgiven() {
        use MemberState::{Done, Failed, Waiting};
        let failed = members(&[(0, Failed), (1, Waiting)]);
        assert!(
            matches!(next(&may(0), &failed, 0, &BTreeSet::new()), Verdict::Halt { failed, .. } if failed.len() == 1)
        );
        assert!(matches!(
            next(&may(1), &failed, 0, &BTreeSet::new()),
            Verdict::Start(_)
        ));
        assert!(matches!(
            next(&may(0), &failed, 1, &BTreeSet::new()),
            Verdict::Start(_)
        ));
        // The last store counts as well.
        let last = members(&[(0, Done), (1, Failed)]);
        assert!(matches!(
            next(&may(0), &last, 0, &BTreeSet::new()),
            Verdict::Halt { .. }
        ));
    }

    #[test]
    fn each_wave_has_its_own_limit_and_the_canaries_none() {
        use MemberState::{Done, Failed, Skipped, Waiting};
        let nobody = BTreeSet::new();
        let mut wish = may(1);
        wish.canary = 1;
        let canary = members(&[(0, Failed), (1, Waiting)]);
        assert!(matches!(
            next(&wish, &canary, 0, &nobody),
            Verdict::Halt {
                wave: 0,
                of: 1,
                may: 0,
                ..
            }
        ));
        // One of each wave is no sum of two.
        let each = members(&[(0, Done), (1, Failed), (1, Done), (2, Failed), (2, Waiting)]);
        assert!(matches!(next(&wish, &each, 0, &nobody), Verdict::Start(_)));
        let two = members(&[(0, Done), (1, Failed), (1, Failed), (2, Waiting)]);
        assert!(matches!(
            next(&wish, &two, 0, &nobody),
            Verdict::Halt {
                wave: 1,
                of: 2,
                may: 1,
                ..
            }
        ));
        assert!(matches!(next(&wish, &two, 2, &nobody), Verdict::Start(_)));
        // What was forgiven in one wave excuses nothing in the next.
        let later = members(&[
            (0, Done),
            (1, Failed),
            (1, Failed),
            (2, Failed),
            (2, Failed),
        ]);
        assert!(matches!(
            next(&wish, &later, 2, &nobody),
            Verdict::Halt { wave: 2, .. }
        ));
        // A share is one of those that take part.
        wish.max_failures_percent = 50;
        let half = members(&[(1, Failed), (1, Done), (1, Skipped), (1, Waiting)]);
        assert!(matches!(next(&wish, &half, 0, &nobody), Verdict::Start(_)));
        let more = members(&[(1, Failed), (1, Failed), (1, Skipped), (1, Waiting)]);
        assert!(matches!(
            next(&wish, &more, 0, &nobody),
            Verdict::Halt { of: 3, may: 1, .. }
        ));
    }

    #[test]
    fn where_there_is_no_room_nothing_more_begins_and_elsewhere_it_goes_on() {
        use MemberState::{Updating, Waiting};
        let wave = members(&[(0, Updating), (0, Waiting), (0, Waiting)]);
        let held_up = BTreeSet::from([wave[1].store.clone()]);
        assert_eq!(
            next(&may(0), &wave, 0, &held_up),
            Verdict::Start(vec![wave[2].store.clone()])
        );
        let all = wave.iter().map(|member| member.store.clone()).collect();
        assert_eq!(next(&may(0), &wave, 0, &all), Verdict::Wait);
    }

    #[test]
    fn a_large_wave_is_taken_in_parts_and_every_organisation_has_a_turn() {
        let many = members(&[(0, MemberState::Waiting); 100]);
        let Verdict::Start(first) = next(&may(0), &many, 0, &BTreeSet::new()) else {
            panic!("nothing starts");
        };
        assert_eq!(first.len(), AT_ONCE);
        let small = many
            .iter()
            .filter(|member| member.organisation == "small" && first.contains(&member.store));
        assert_eq!(small.count(), AT_ONCE / 2);
    }
}

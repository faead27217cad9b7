//! From every state that a crash can leave, the current edge ends up serving alone, and nobody who is served is cut off on the way.

use super::*;

const SEEN: [Seen; 5] = [
    Seen::Absent,
    Seen::Ended(Make::Current),
    Seen::Ended(Make::Other),
    Seen::Running(Make::Current),
    Seen::Running(Make::Other),
];
/// More steps than any way takes: remove, start, answer, switch, two looks at the drain, remove.
const ENOUGH: usize = 12;

/// A node: what is on disk, in Docker and in the firewall. The node agent itself remembers nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct World {
    meant: Side,
    a: Seen,
    b: Seen,
    /// Where the firewall sends new connections; loaded before each look.
    rules: Side,
    /// Each side's: whether it was told to send its visitors over, and whether it has some.
    told: [bool; 2],
    visited: [bool; 2],
}

/// Where the node agent is cut off within a step: after so many of its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    Nowhere,
    After(usize),
}

/// What a step is made of, each of it whole or not done.
#[derive(Debug, Clone, Copy)]
enum Part {
    Tell(bool),
    Create,
    Run,
    Mean,
    Load,
    Stop,
    Remove,
}

impl World {
    fn seen(&mut self, side: Side) -> &mut Seen {
        match side {
            Side::A => &mut self.a,
            Side::B => &mut self.b,
        }
    }

    fn is(mut self, side: Side) -> Seen {
        *self.seen(side)
    }

    fn view(self) -> View {
        let other = self.meant.other();
        View {
            meant: self.meant,
            here: self.is(self.meant),
            there: self.is(other),
            left: self.told[other as usize] && !self.visited[other as usize],
        }
    }

    /// A look: the rules first, then one step, cut off where it says.
    fn look(&mut self, cut: Cut) -> Step {
        self.rules = self.meant;
        // New visitors come all the time; those of an edge that was told go over.
        for side in Side::BOTH {
            let runs = matches!(self.is(side), Seen::Running(_));
            let at = side as usize;
            if self.told[at] || !runs {
                self.visited[at] = false;
            } else if self.rules == side {
                self.visited[at] = true;
            }
        }
        let step = next(self.view());
        let (side, parts): (Side, &[Part]) = match step {
            Step::Rest => return step,
            Step::Start(side) => (side, &[Part::Tell(false), Part::Create, Part::Run]),
            Step::Switch(side) => (side, &[Part::Tell(false), Part::Mean, Part::Load]),
            Step::Drain(side) => (side, &[Part::Tell(true)]),
            Step::Remove(side) => (side, &[Part::Stop, Part::Remove]),
        };
        let served = matches!(self.is(self.rules), Seen::Running(_));
        for (at, part) in parts.iter().enumerate() {
            if cut == Cut::After(at) {
                break;
            }
            self.act(side, *part);
            assert!(
                !served || matches!(self.is(self.rules), Seen::Running(_)),
                "nobody serves any more: {self:?}"
            );
        }
        step
    }

    fn act(&mut self, side: Side, part: Part) {
        let at = side as usize;
        match part {
            Part::Tell(told) => self.told[at] = told,
            Part::Create => {
                if self.is(side) == Seen::Absent {
                    *self.seen(side) = Seen::Ended(Make::Current);
                }
            }
            Part::Run => *self.seen(side) = Seen::Running(Make::Current),
            Part::Mean => self.meant = side,
            Part::Load => self.rules = side,
            Part::Stop => {
                assert!(!self.visited[at], "cut off: {self:?}");
                if let Seen::Running(make) = self.is(side) {
                    *self.seen(side) = Seen::Ended(make);
                }
            }
            Part::Remove => *self.seen(side) = Seen::Absent,
        }
    }

    fn settled(self) -> bool {
        self.is(self.meant) == Seen::Running(Make::Current)
            && self.is(self.meant.other()) == Seen::Absent
            && self.rules == self.meant
            && !self.told[self.meant as usize]
    }
}

fn worlds() -> Vec<World> {
    let mut worlds = Vec::new();
    for meant in Side::BOTH {
        for told in [false, true] {
            for a in SEEN {
                for b in SEEN {
                    let runs = |it| matches!(it, Seen::Running(_));
                    worlds.push(World {
                        meant,
                        a,
                        b,
                        rules: meant,
                        told: [told && meant == Side::B, told && meant == Side::A],
                        visited: [runs(a), runs(b)],
                    });
                }
            }
        }
    }
    worlds
}

fn settle(mut world: World) -> World {
    let from = world;
    for _ in 0..ENOUGH {
        if world.look(Cut::Nowhere) == Step::Rest {
            assert!(world.settled(), "{from:?} came to rest as {world:?}");
            return world;
        }
    }
    panic!("{from:?} came to no rest: {world:?}")
}

#[test]
fn from_everywhere_the_current_edge_ends_up_alone() {
    for world in worlds() {
        settle(world);
    }
}

#[test]
fn a_node_agent_that_is_cut_off_anywhere_goes_on() {
    for world in worlds() {
        let mut whole = world;
        for _ in 0..ENOUGH {
            for after in 0..3 {
                let mut cut = whole;
                cut.look(Cut::After(after));
                settle(cut);
            }
            if whole.look(Cut::Nowhere) == Step::Rest {
                break;
            }
        }
    }
}

#[test]
fn a_new_edge_takes_over_in_four_steps() {
    let mut world = World {
        meant: Side::A,
        a: Seen::Running(Make::Other),
        b: Seen::Absent,
        rules: Side::A,
        told: [false, false],
        visited: [true, false],
    };
    let steps: Vec<Step> = std::iter::from_fn(|| {
        let step = world.look(Cut::Nowhere);
        (step != Step::Rest).then_some(step)
    })
    .take(ENOUGH)
    .collect();
    assert_eq!(
        steps,
        [
            Step::Start(Side::B),
            Step::Switch(Side::B),
            Step::Drain(Side::A),
            Step::Remove(Side::A),
        ]
    );
}

#[test]
fn going_back_while_the_old_one_drains_is_a_switch() {
    let world = World {
        meant: Side::B,
        a: Seen::Running(Make::Current),
        b: Seen::Running(Make::Other),
        rules: Side::B,
        told: [true, false],
        visited: [true, true],
    };
    assert_eq!(next(world.view()), Step::Switch(Side::A));
    assert_eq!(settle(world).meant, Side::A);
}

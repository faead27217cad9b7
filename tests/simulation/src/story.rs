//! What happens in a run: wishes and trouble for a while, then peace, then silence.

use std::time::Duration;

use anyhow::bail;

use crate::world::{Changes, Ended, World, on_its_own_thread};

/// How long there is trouble.
const TROUBLE: Duration = Duration::from_secs(40);
/// How long a control plane that is behind is listened to.
const BEHIND: Duration = Duration::from_secs(25);
/// How long the control plane is away at the end, when nothing may happen.
const SILENCE: Duration = Duration::from_secs(20);

/// Nothing is done for so long: then nothing is under way. An agent waits up to half a minute before it tries again what failed again and
/// again, and ten seconds, here, until the window of an update is over.
const QUIET: Duration = Duration::from_secs(35);

/// Longer than it takes until a store has served for a while.
const STEADY: Duration = Duration::from_secs(20);

/// The story of a seed: three of four are about trouble, one of four about a control plane that is behind. In half of those about trouble it
/// comes to stores that have served for a while, which is where passwords are rotated.
#[must_use]
pub fn run(seed: u64) -> Ended {
    on_its_own_thread(seed, move |world| match seed % 8 {
        6 => behind(world, true),
        7.. => behind(world, false),
        late @ 0..=5 => {
            if late >= 3 {
                wishes(world, 4)?;
                peace(world)?;
                world.pass(STEADY)?;
            }
            trouble(world)?;
            peace(world)?;
            silence(world)
        }
    })
}

/// A control plane that is behind, by a restored backup or beside the true one: it does nothing to any store that it does not know better.
fn behind(world: &mut World<'_>, restored: bool) -> anyhow::Result<()> {
    wishes(world, 6)?;
    let backup = world.backup()?;
    wishes(world, 6)?;
    peace(world)?;
    let before = quiet(world)?;
    if restored {
        world.restore(&backup)?;
    } else {
        world.led_astray(&backup);
    }
    world.pass(BEHIND)?;
    let done = world.done_since(&before);
    if !done.is_empty() {
        bail!(
            "a control plane that is behind did something to {}",
            done.join(", ")
        );
    }
    if !restored {
        world.led_back();
        peace(world)?;
    }
    Ok(())
}

/// So many wishes, one after another.
///
/// # Errors
/// When a process ends.
pub fn wishes(world: &mut World<'_>, count: u64) -> anyhow::Result<()> {
    for _ in 0..count {
        world.wish();
        let pause = world
            .dice
            .between(Duration::from_millis(100), Duration::from_secs(6));
        world.pass(pause)?;
    }
    Ok(())
}

fn trouble(world: &mut World<'_>) -> anyhow::Result<()> {
    let until = world.elapsed() + TROUBLE;
    let rough = world
        .dice
        .one_in(2)
        .then(|| crate::chance::Dice::new(world.dice.bits()));
    world.rough.set(rough);
    for machine in world.machines.clone() {
        let (rough, silent) = (world.dice.one_in(2), world.dice.one_in(4));
        let mut inner = machine.lock();
        (inner.rough, inner.silent) = (rough, silent);
    }
    let trouble = world.dice.roll(10);
    while world.elapsed() < until {
        let pause = world
            .dice
            .between(Duration::from_millis(100), Duration::from_secs(3));
        world.pass(pause)?;
        match world.dice.roll(3 + trouble) {
            0..=2 => world.wish(),
            _ => strike(world),
        }
    }
    Ok(())
}

/// One piece of bad luck.
fn strike(world: &mut World<'_>) {
    let away = world
        .dice
        .between(Duration::from_millis(50), Duration::from_secs(8));
    let index = usize::from(world.dice.one_in(2));
    match world.dice.roll(12) {
        10 => world.power_cut(index, away),
        11 => {
            let machine = world.machines[index].clone();
            let full = machine.lock().full;
            machine.fill(!full);
        }
        0 => world.kill_plane(away),
        1 => world.kill_node(index, away),
        2 | 3 => {
            let nth = usize::try_from(world.dice.roll(16)).unwrap_or_default();
            world.kill_agent(nth, away);
        }
        4 => {
            let machine = world.machines[index].clone();
            world
                .trace
                .say(format!("{}: connections are cut", machine.name));
            machine.way.cut();
        }
        5 => apart(world, index, Direction::Both),
        6 => apart(world, index, Direction::Up),
        7 => apart(world, index, Direction::Down),
        8 => {
            let machine = world.machines[index].clone();
            let stores: Vec<_> = machine.lock().stores.keys().cloned().collect();
            let Some(store) = world.dice.pick(&stores).cloned() else {
                return;
            };
            let running: Vec<_> = machine.running(&store).into_iter().collect();
            if let Some(key) = world.dice.pick(&running) {
                machine.kill(&store, key);
            }
        }
        _ => together(world),
    }
}

enum Direction {
    Both,
    Up,
    Down,
}

fn apart(world: &mut World<'_>, index: usize, direction: Direction) {
    for host in world.hosts_of(index) {
        let host = host.as_str();
        match direction {
            Direction::Both => world.sim.partition(host, "plane"),
            Direction::Up => world.sim.partition_oneway(host, "plane"),
            Direction::Down => world.sim.partition_oneway("plane", host),
        }
    }
    world.trace.say(format!("host {index} is cut off"));
}

fn together(world: &mut World<'_>) {
    for index in 0..world.machines.len() {
        for host in world.hosts_of(index) {
            world.sim.repair(host.as_str(), "plane");
        }
    }
    world.trace.say("the network is whole");
}

/// Trouble is over: soon all is as it was acknowledged, each thing in its time ([`crate::look::Difference::patience`]).
///
/// # Errors
/// When it is not.
pub fn peace(world: &mut World<'_>) -> anyhow::Result<()> {
    world.trace.say("peace");
    world.rough.set(None);
    together(world);
    for machine in world.machines.clone() {
        machine.fill(false);
        let mut inner = machine.lock();
        inner.rough = false;
        inner.silent = false;
    }
    let left = world.settled()?;
    if !left.is_empty() {
        bail!("not settled in time: {}", left.join("; "));
    }
    Ok(())
}

/// The control plane goes away and comes back, and nothing at all happens to any store.
///
/// # Errors
/// When something does.
pub fn silence(world: &mut World<'_>) -> anyhow::Result<()> {
    let before = quiet(world)?;
    world.kill_plane(SILENCE);
    world.pass(SILENCE + Duration::from_secs(10))?;
    let done = world.done_since(&before);
    if !done.is_empty() {
        bail!(
            "done because the control plane was away: {}",
            done.join(", ")
        );
    }
    Ok(())
}

/// Waits until nothing is done any more: old slots drain and are removed after their operation has ended.
fn quiet(world: &mut World<'_>) -> anyhow::Result<Changes> {
    let mut before = world.changes();
    for _ in 0..12 {
        world.pass(QUIET)?;
        if world.done_since(&before).is_empty() {
            break;
        }
        before = world.changes();
    }
    Ok(before)
}

//! The checks can fail: each is shown something that must never be, and says so.

use std::time::Duration;

use shop_simulation::{
    logins::Flaw,
    story::{peace, silence, wishes},
    world::{World, on_its_own_thread},
    wrong::rotation::OnTrial,
};

/// What is said about a run in which something goes wrong on purpose.
fn said(wrong: impl FnOnce(&mut World<'_>) -> anyhow::Result<()> + Send + 'static) -> String {
    let ended = on_its_own_thread(1, |world| {
        wishes(world, 3)?;
        peace(world)?;
        wrong(world)
    });
    ended.problems.join("\n")
}

fn expect(said: &str, word: &str) {
    assert!(said.contains(word), "not noticed: {word:?} in {said:?}");
}

#[test]
fn nothing_wrong_is_nothing_said() {
    assert_eq!(said(silence), "");
}

#[test]
fn something_done_while_the_control_plane_is_away() {
    let said = said(|world| {
        let (machine, store, key) = world.something_that_runs()?;
        // After the half minute and more in which nothing is done.
        world.later(Duration::from_secs(40), move || machine.kill(&store, &key));
        silence(world)
    });
    expect(&said, "because the control plane was away");
}

#[test]
fn an_acknowledged_write_that_is_lost() {
    let said = said(|world| {
        let empty = world.empty_database();
        world.restore(&empty)?;
        peace(world)
    });
    expect(&said, "not settled");
}

#[test]
fn a_generation_that_goes_back() {
    let said = said(|world| {
        let (machine, store, _) = world.something_that_runs()?;
        world.set_back(&machine, &store)?;
        world.pass(Duration::from_secs(2))
    });
    expect(&said, "went back from");
}

#[test]
fn a_database_that_runs_twice() {
    let said = said(|world| {
        let (machine, store, _) = world.something_that_runs()?;
        world.double(&machine, &store);
        world.pass(Duration::from_secs(2))
    });
    expect(&said, "runs on");
}

#[test]
fn a_store_that_does_not_come_back() {
    let said = said(|world| {
        let (machine, store, key) = world.something_that_runs()?;
        world.kill_node(0, Duration::from_secs(1000));
        world.kill_node(1, Duration::from_secs(1000));
        machine.kill(&store, &key);
        wishes(world, 3)?;
        peace(world)
    });
    expect(&said, "not settled");
}

#[test]
fn an_orphan() {
    let said = said(|world| {
        let (machine, store, _) = world.something_that_runs()?;
        world.orphan(&machine, &store)?;
        peace(world)
    });
    expect(&said, "known to nobody");
}

#[test]
fn a_volume_that_goes_without_a_tombstone() {
    let said = said(|world| {
        let (machine, store, _) = world.something_that_runs()?;
        machine.tear_down(&store, false);
        Ok(())
    });
    expect(&said, "without a tombstone");
    expect(&said, "nobody asked for it");
}

#[test]
fn traffic_that_moves_to_where_nothing_is_ready() {
    let said = said(|world| world.serve_the_empty_slot());
    expect(&said, "where nothing is ready");
}

/// What is said when something goes wrong while two passwords count.
fn said_of_a_rotation(
    wrong: impl FnOnce(&mut World<'_>, OnTrial) -> anyhow::Result<()> + Send + 'static,
) -> String {
    said(|world| {
        let rotating = world.something_on_trial()?;
        wrong(world, rotating)
    })
}

#[test]
fn nothing_wrong_with_a_rotation_is_nothing_said() {
    assert_eq!(said_of_a_rotation(|world, _| peace(world)), "");
    let taken_back = |world: &mut World<'_>, _| {
        world.take_back();
        peace(world)
    };
    assert_eq!(said_of_a_rotation(taken_back), "");
}

#[test]
fn a_password_that_goes_before_those_who_hold_it() {
    let said = said_of_a_rotation(|world, rotating| {
        rotating.drop_the_old()?;
        world.pass(Duration::from_secs(2))
    });
    expect(&said, "php-fpm-a-0 holds a password that does not count");
}

#[test]
fn a_database_that_starts_with_one_of_two_passwords() {
    let said = said_of_a_rotation(|world, rotating| {
        rotating.lose_the_coming()?;
        world.pass(Duration::from_secs(10))
    });
    expect(&said, "php-fpm is handed a password that does not count");
}

#[test]
fn a_password_that_nobody_made() {
    let said = said_of_a_rotation(|world, rotating| {
        rotating.hand_out_nonsense()?;
        world.pass(Duration::from_secs(2))
    });
    expect(&said, "php-fpm is handed a password that does not count");
}

#[test]
fn a_third_password() {
    let said = said_of_a_rotation(|world, rotating| {
        rotating.let_in_a_stranger()?;
        world.pass(Duration::from_secs(2))
    });
    expect(&said, "3 passwords count");
}

#[test]
fn an_old_password_that_counts_when_the_rotation_is_over() {
    let said = said_of_a_rotation(|world, rotating| {
        rotating.flawed(Flaw::Deaf)?;
        peace(world)
    });
    expect(&said, "2 passwords count");
}

#[test]
fn a_rotation_that_leaves_the_wrong_password() {
    let said = said_of_a_rotation(|world, rotating| {
        rotating.flawed(Flaw::Contrary)?;
        peace(world)
    });
    expect(&said, "a rotation left the old password");
}

#[test]
fn a_rotation_taken_back_that_leaves_the_wrong_password() {
    let said = said_of_a_rotation(|world, rotating| {
        rotating.flawed(Flaw::Contrary)?;
        world.take_back();
        peace(world)
    });
    expect(&said, "taken back left the new password");
}

#[test]
fn a_database_that_is_stopped_for_a_rotation() {
    let said = said_of_a_rotation(|world, rotating| world.stop_the_database(&rotating));
    expect(&said, "is stopped for a rotation");
}

#[test]
fn a_rotation_that_is_said_to_be_done_and_is_not() {
    let said = said_of_a_rotation(|world, rotating| {
        peace(world)?;
        rotating.forget()?;
        peace(world)
    });
    expect(&said, "and the new password counts: false");
}

//! The memory across restarts and crashes, and the generation rule.

use std::{fs, path::Path};

use shop_plan::Catalogue;
use shop_proto::{Isolation, Revision, RunState, SPEC_FORMAT, Spec, StoreId};

use super::{
    files::{directory, replace},
    *,
};
use crate::node::context::plan_of;

pub(crate) fn spec(revision: u64) -> Spec {
    let template = Catalogue::builtin().find("refshop").unwrap();
    Spec {
        format: SPEC_FORMAT,
        store_name: "demo".parse().unwrap(),
        revision: Revision {
            number: revision,
            template: template.name.clone(),
            template_digest: template.digest,
            parameters: [].into(),
            profiles: [
                ("web".to_owned(), "nginx".to_owned()),
                ("search".to_owned(), "sphinx".to_owned()),
            ]
            .into(),
            images: [].into(),
            resources: [].into(),
            isolation: Isolation::Standard,
        },
        hosts: vec![shop_proto::Host {
            name: "demo.localhost".parse().unwrap(),
            verified: true,
        }],
        scale: [].into(),
        run_state: RunState::Running,
        restart_seq: 0,
        maintenance: false,
        hold_until_unix_ms: None,
        watch: None,
        rotations: std::collections::BTreeMap::new(),
    }
}

fn record() -> NodeRecord {
    NodeRecord {
        id: "node01".parse().unwrap(),
        name: "test".to_owned(),
        root_pins: Vec::new(),
        pool: "10.200.0.0/14".parse::<Cidr>().unwrap().into(),
        first_uid: 200_000,
        names_subnet: serde_json::from_str("0").unwrap(),
        operator_root_pin: None,
    }
}

pub(crate) fn load(root: &Path) -> State {
    let record = record();
    let paths = Paths::new(&root.join("state"), &root.join("run"), &record.id);
    for private in [paths.stores(), paths.tombstones(), paths.intents()] {
        directory(&private, 0o700, None).unwrap();
    }
    State::load(paths, &record, "10.200.0.0/14".parse().unwrap()).unwrap()
}

/// Of a store whose host names are its own.
pub(crate) fn order(store: &str, generation: u64, mut spec: Spec) -> Order {
    for host in &mut spec.hosts {
        host.name = format!("{store}.{}", host.name).parse().unwrap();
    }
    order_as_is(store, generation, spec)
}

fn order_as_is(store: &str, generation: u64, spec: Spec) -> Order {
    let store: StoreId = store.parse().unwrap();
    Order {
        plan_digest: plan_of(&store, &spec, 1).unwrap().digest(),
        store,
        generation: Generation::new(generation).unwrap(),
        render_version: 1,
        spec,
    }
}

fn accept(state: &State, order: Order) -> Result<Accept, AcceptError> {
    state.accept(order, &Surroundings::default())
}

const ONE: &str = "aaaaaaaaaaa1";
const TWO: &str = "aaaaaaaaaaa2";

#[test]
fn the_generation_rule_holds_across_a_restart() {
    let root = tempfile::tempdir().unwrap();
    let state = load(root.path());
    assert_eq!(
        accept(&state, order(ONE, 2, spec(1))).unwrap(),
        Accept::Taken
    );
    drop(state);
    let state = load(root.path());
    assert_eq!(
        accept(&state, order(ONE, 2, spec(1))).unwrap(),
        Accept::Known
    );
    assert!(matches!(
        accept(&state, order(ONE, 1, spec(1))),
        Err(AcceptError::GenerationOutdated { .. })
    ));
    assert!(matches!(
        accept(&state, order(ONE, 2, spec(2))),
        Err(AcceptError::ContentChanged)
    ));
    assert_eq!(
        accept(&state, order(ONE, 3, spec(2))).unwrap(),
        Accept::Taken
    );
    let held = state.store(&ONE.parse().unwrap()).unwrap();
    let generations: Vec<u64> = held.known().iter().map(|it| it.generation.get()).collect();
    assert_eq!(generations, [3, 2], "the newest, and what may still serve");
}

/// Whom buyers are led to is not decided by an id: whoever has a host name keeps it, until it is buried.
#[test]
fn a_host_name_is_one_store_s() {
    let root = tempfile::tempdir().unwrap();
    let state = load(root.path());
    let with = |verified| {
        let mut spec = spec(1);
        spec.hosts[0].verified = verified;
        spec
    };
    accept(&state, order_as_is(TWO, 1, with(true))).unwrap();
    let taken = |generation| {
        let refused = accept(&state, order_as_is(ONE, generation, with(true)));
        matches!(refused, Err(AcceptError::HostTaken { holder, .. }) if holder.as_str() == TWO)
    };
    assert!(taken(1));
    assert!(state.store(&ONE.parse().unwrap()).is_none());
    accept(&state, order_as_is(ONE, 1, with(false))).unwrap();
    assert!(taken(2), "nor by a later order");
    accept(&state, order_as_is(TWO, 2, with(true))).unwrap();
    let generation = Generation::new(3).unwrap();
    state.bury(&TWO.parse().unwrap(), generation).unwrap();
    accept(&state, order_as_is(ONE, 2, with(true))).unwrap();
}

#[test]
fn stores_share_neither_users_nor_addresses_and_freed_ones_rest() {
    let root = tempfile::tempdir().unwrap();
    let state = load(root.path());
    let (one, two): (StoreId, StoreId) = (ONE.parse().unwrap(), TWO.parse().unwrap());
    accept(&state, order(ONE, 1, spec(1))).unwrap();
    accept(&state, order(TWO, 1, spec(1))).unwrap();
    let of = |store: &StoreId, now| {
        let now = Surroundings {
            unix_ms: now,
            ..Surroundings::default()
        };
        let record = state.ranges(store, &now).unwrap();
        record.subnets.values().copied().collect::<Vec<_>>()
    };
    let (first, second) = (of(&one, 0), of(&two, 0));
    assert!(first.iter().all(|subnet| !second.contains(subnet)));
    assert_eq!(first, of(&one, 0), "asked again, the same");
    assert_ne!(
        state.store(&one).unwrap().uid_base,
        state.store(&two).unwrap().uid_base
    );

    state.bury(&one, Generation::new(2).unwrap()).unwrap();
    state.emptied(&one, 1_000).unwrap();
    state.forget(&one).unwrap();
    let at = |store, unix_ms| {
        let now = Surroundings {
            unix_ms,
            ..Surroundings::default()
        };
        state.accept(order(store, 1, spec(1)), &now).unwrap();
        of(&store.parse().unwrap(), unix_ms)
    };
    let resting = at("aaaaaaaaaaa3", 2_000);
    assert!(resting.iter().all(|subnet| !first.contains(subnet)));
    assert_eq!(at("aaaaaaaaaaa4", 1_000 + QUARANTINE_MS), first);
}

#[test]
fn a_tombstone_wins_over_everything_that_comes_later() {
    let root = tempfile::tempdir().unwrap();
    let state = load(root.path());
    let one: StoreId = ONE.parse().unwrap();
    accept(&state, order(ONE, 5, spec(1))).unwrap();
    assert!(matches!(
        state.bury(&one, Generation::new(4).unwrap()),
        Err(AcceptError::GenerationOutdated { .. })
    ));
    // From a control plane that has lost what it ordered last, such as a deletion taken back.
    assert!(matches!(
        state.bury(&one, Generation::new(5).unwrap()),
        Err(AcceptError::ContentChanged)
    ));
    state.bury(&one, Generation::new(6).unwrap()).unwrap();
    assert!(matches!(
        accept(&state, order(ONE, 7, spec(1))),
        Err(AcceptError::Retiring)
    ));
    assert!(matches!(
        state.change(&one, |record| record.serve = Serve::Maintenance),
        Err(ChangeError::Unknown)
    ));
    // Not forgotten before it is empty.
    state.forget(&one).unwrap();
    assert!(load(root.path()).tombstone(&one).is_some());
    state.emptied(&one, 0).unwrap();
    state.forget(&one).unwrap();
    assert!(load(root.path()).tombstone(&one).is_none());
}

#[test]
fn a_crash_between_tombstone_and_record_leaves_only_the_tombstone() {
    let root = tempfile::tempdir().unwrap();
    let state = load(root.path());
    let one: StoreId = ONE.parse().unwrap();
    accept(&state, order(ONE, 1, spec(1))).unwrap();
    let file = state.paths.stores().join(format!("{ONE}.json"));
    let before = fs::read(&file).unwrap();
    state.bury(&one, Generation::new(2).unwrap()).unwrap();
    replace(&file, &before, 0o600).unwrap();
    let state = load(root.path());
    assert!(state.store(&one).is_none());
    assert!(state.tombstone(&one).unwrap().remains.is_some());
    assert!(!file.exists());
}

#[test]
fn half_written_files_do_not_count_and_newer_ones_are_left_alone() {
    let root = tempfile::tempdir().unwrap();
    let state = load(root.path());
    accept(&state, order(ONE, 1, spec(1))).unwrap();
    let file = state.paths.stores().join(format!("{ONE}.json"));
    // A crash while the next version was written beside it.
    fs::write(state.paths.stores().join(format!("{ONE}.json.new")), b"{").unwrap();
    assert!(load(root.path()).store(&ONE.parse().unwrap()).is_some());

    let text = fs::read_to_string(&file).unwrap();
    let newer = text.replacen("\"format\": 1", "\"format\": 2", 1);
    assert_ne!(text, newer);
    fs::write(&file, &newer).unwrap();
    let paths = state.paths.clone();
    assert!(matches!(
        State::load(paths, &record(), state.pool),
        Err(FileError::Newer { found: 2, .. })
    ));
    assert_eq!(fs::read_to_string(&file).unwrap(), newer);
}

fn slot(slot: shop_proto::Slot) -> Serve {
    Serve::Slot {
        slot,
        replicas: vec![0],
    }
}

#[test]
fn the_newest_the_serving_and_the_one_before_stay_known() {
    use shop_proto::Slot::{A, B};
    let root = tempfile::tempdir().unwrap();
    let state = load(root.path());
    let one: StoreId = ONE.parse().unwrap();
    let known = || -> Vec<u64> {
        let held = state.store(&one).unwrap();
        held.known()
            .iter()
            .map(|it| it.spec.revision.number)
            .collect()
    };
    let serve = |to| {
        let plan = state.store(&one).unwrap().newest.plan_digest;
        state
            .change(&one, |record| record.send_to(plan, slot(to)))
            .unwrap();
    };
    accept(&state, order(ONE, 1, spec(1))).unwrap();
    // Before anything serves, what was asked for before stays known.
    accept(&state, order(ONE, 2, spec(2))).unwrap();
    assert_eq!(known(), [2, 1]);
    serve(A);
    assert_eq!(known(), [2, 1], "it may be in force behind the page");
    accept(&state, order(ONE, 3, spec(3))).unwrap();
    assert_eq!(known(), [3, 2, 1]);
    serve(B);
    assert_eq!(known(), [3, 2, 1], "the way back");
    accept(&state, order(ONE, 4, spec(4))).unwrap();
    accept(&state, order(ONE, 5, spec(5))).unwrap();
    assert_eq!(known(), [5, 3, 2, 4, 1], "its agent may be at the fourth");

    // The fifth is taken back: the third serves again.
    let fifth = state.store(&one).unwrap().newest.plan_digest;
    serve(A);
    let third = order(ONE, 9, spec(3)).plan_digest;
    state
        .change(&one, |record| record.send_to(third, slot(B)))
        .unwrap();
    let held = state.store(&one).unwrap();
    assert_eq!(held.serving_digest(), Some(third));
    assert_eq!(held.previous.as_ref().unwrap().plan_digest, fifth);

    // The next generation says the third again: one plan, named once.
    accept(&state, order(ONE, 6, spec(3))).unwrap();
    assert_eq!(known(), [3, 5, 4, 1]);
    assert_eq!(
        *load(root.path()).store(&one).unwrap(),
        *state.store(&one).unwrap()
    );
}

#[test]
fn what_the_spec_says_holds_without_the_agents_word() {
    let root = tempfile::tempdir().unwrap();
    let state = load(root.path());
    let one: StoreId = ONE.parse().unwrap();
    accept(&state, order(ONE, 1, spec(1))).unwrap();
    let plan = state.store(&one).unwrap().newest.plan_digest;
    state
        .change(&one, |record| {
            record.send_to(plan, slot(shop_proto::Slot::A));
        })
        .unwrap();
    let mut generation = 1;
    let mut now = |change: &dyn Fn(&mut Spec)| {
        generation += 1;
        let mut spec = spec(1);
        change(&mut spec);
        accept(&state, order(ONE, generation, spec)).unwrap();
        state.store(&one).unwrap().serving_now().clone()
    };
    assert_eq!(now(&|spec| spec.maintenance = true), Serve::Maintenance);
    assert_eq!(
        now(&|spec| spec.run_state = RunState::Paused),
        Serve::Paused
    );
    assert_eq!(
        now(&|spec| spec.run_state = RunState::Stopped),
        Serve::Nothing
    );
    assert_eq!(now(&|_| {}), slot(shop_proto::Slot::A));
}

#[test]
fn what_a_removal_found_is_kept_until_it_is_recorded() {
    let root = tempfile::tempdir().unwrap();
    let state = load(root.path());
    let one: StoreId = ONE.parse().unwrap();
    let generation = |number| Generation::new(number).unwrap();
    accept(&state, order(ONE, 1, spec(1))).unwrap();
    state.bury(&one, generation(2)).unwrap();
    state
        .found(&one, |tombstone| {
            tombstone.removed.containers.insert("web".to_owned());
        })
        .unwrap();
    state.emptied(&one, 0).unwrap();
    let written = |tombstone: &mut Tombstone| tombstone.receipt = Some("written".to_owned());
    state.found(&one, written).unwrap();
    let state = load(root.path());
    let held = state.bury(&one, generation(2)).unwrap();
    assert_eq!(held.receipt.as_deref(), Some("written"));
    // Ordered again under a newer generation: the receipt has to name that one.
    let held = state.bury(&one, generation(3)).unwrap();
    assert_eq!((held.generation, &held.receipt), (generation(3), &None));
    assert!(held.removed.containers.contains("web"));
    assert!(
        state
            .found(&TWO.parse().unwrap(), written)
            .unwrap()
            .is_none()
    );
}

/// What release 0.1.0 wrote is read, says the same, and renders the same. These files are never changed; the next release adds its own.
#[test]
fn the_files_of_0_1_0_are_read() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/0.1.0/node");
    let root = tempfile::tempdir().unwrap();
    let state = load(root.path());
    for folder in ["", "stores", "tombstones"] {
        for entry in fs::read_dir(fixtures.join(folder)).unwrap() {
            let from = entry.unwrap().path();
            if from.is_file() {
                let to = state.paths.state().join(folder);
                fs::copy(&from, to.join(from.file_name().unwrap())).unwrap();
            }
        }
    }
    let joined: NodeRecord = kept(&state.paths.node_file()).unwrap().unwrap();
    assert!(joined.pool.cidr().is_ok());
    let state = load(root.path());

    // Of before an update could be under way: what serves is the newest, and nobody said so.
    let old = state.store(&"ynib6pxeem4d".parse().unwrap()).unwrap();
    assert_eq!(old.serving.as_ref(), Some(&old.newest));
    assert_eq!(old.known().len(), 1);
    let plan = plan_of(&old.store, &old.newest.spec, old.newest.render_version).unwrap();
    assert_eq!(plan.digest(), old.newest.plan_digest);
    assert_eq!(old.newest.spec.digest(), old.newest.spec_digest);

    let new = state.store(&TWO.parse().unwrap()).unwrap();
    let generations: Vec<u64> = new.known().iter().map(|it| it.generation.get()).collect();
    assert_eq!(generations, [5, 2, 1, 4]);
    assert_eq!(new.serve, Serve::Paused);
    assert_eq!(*new.serving_now(), Serve::Maintenance);
    assert!(new.volumes.contains("db-data"));

    let gone = state.tombstone(&"aaaaaaaaaaa3".parse().unwrap()).unwrap();
    assert_eq!(gone.receipt.as_deref(), Some("{\"format\": 1}"));
    assert_eq!(gone.removed.containers.len(), 1);
    let going = state.tombstone(&"aaaaaaaaaaa4".parse().unwrap()).unwrap();
    assert!(going.remains.is_some() && going.stop.is_none());

    // Nobody is given what they hold, nor what rests.
    let now = Surroundings {
        unix_ms: 1_795_239_998_000,
        ..Surroundings::default()
    };
    state
        .accept(order("aaaaaaaaaaa5", 1, spec(1)), &now)
        .unwrap();
    let five = state.store(&"aaaaaaaaaaa5".parse().unwrap()).unwrap();
    let taken: Vec<String> = five
        .subnets
        .values()
        .map(|index| serde_json::to_string(index).unwrap())
        .collect();
    assert_eq!(taken, ["14", "15", "16", "17"]);
    assert_eq!(five.uid_base, 200_128);
}

//! Where stores go and why they wait, by examples.

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
        passing: Reservation::default(),
        kept: false,
    }
}

fn at(minute: i64) -> Timestamp {
    Timestamp::from_second(minute * 60).unwrap()
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
        since: None,
        images: Vec::new(),
    }
}

fn verdict(request: &Request, nodes: Vec<Candidate>) -> Verdict {
    place(std::slice::from_ref(request), nodes, 4, at(0))
        .remove(0)
        .1
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
    let verdicts: Vec<Verdict> = place(&two, vec![bad], 4, at(0))
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
        at(0),
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
    let verdicts = place(&[growing, other], vec![node("n00001", 1000)], 4, at(0));
    assert!(matches!(verdicts[0].1, Verdict::Place(_)));
    assert_eq!(verdicts[1].1, Verdict::Wait(Why::NoCapacity));
}

#[test]
fn what_has_waited_for_long_is_not_overtaken_on_its_node() {
    let here = || Some("n00001".parse().unwrap());
    let mut large = request("large", "o");
    large.reservation.memory_bytes = 2000 << 20;
    (large.pinned, large.wants, large.since) = (here(), Wants::Grow, Some(at(0)));
    let mut small = request("small", "other");
    (small.pinned, small.wants, small.since) = (here(), Wants::Grow, Some(at(3)));
    let new = request("new", "third");
    let nodes = || {
        // An update that is under way there gives back what is missing.
        let mut busy = node("n00001", 1500);
        busy.passing.memory_bytes = 500 << 20;
        vec![busy, node("n00002", 600)]
    };
    let asked = [small.clone(), new.clone(), large.clone()];
    let verdict = |minute: i64, asked: &[Request], nodes: Vec<Candidate>| {
        let verdicts: BTreeMap<_, _> = place(asked, nodes, 4, at(minute)).into_iter().collect();
        move |of: &Request| verdicts[&of.store].clone()
    };
    let on = |id: &str| Verdict::Place(id.parse().unwrap());
    let early = verdict(9, &asked, nodes());
    assert_eq!(early(&small), on("n00001"));
    assert_eq!(early(&large), Verdict::Wait(Why::NoCapacity));
    // Then the room is kept for it; other nodes go on as ever.
    let late = verdict(10, &asked, nodes());
    assert_eq!(late(&small), Verdict::Wait(Why::Behind));
    assert_eq!(late(&large), Verdict::Wait(Why::NoCapacity));
    assert_eq!(late(&new), on("n00002"));
    assert_eq!(Why::Behind.code(), "no_capacity");
    // There is room for it at last, and for the others in what is left.
    let free = verdict(10, &asked, vec![node("n00001", 2600)]);
    assert_eq!(free(&large), on("n00001"));
    assert_eq!(free(&small), on("n00001"));
    // Of two that have waited for long, who has waited longest goes first.
    let both = verdict(30, &asked, vec![node("n00001", 2000)]);
    assert_eq!(
        (both(&large), both(&small)),
        (on("n00001"), Verdict::Wait(Why::NoCapacity))
    );
    // A store that comes back serves nobody until it has its room: it waits behind no other one's change.
    let mut back = request("back", "fourth");
    (back.pinned, back.wants) = (here(), Wants::Return);
    let asked = [large.clone(), back.clone()];
    assert_eq!(verdict(10, &asked, nodes())(&back), on("n00001"));
    // What would need more than comes free by itself keeps nobody waiting.
    large.reservation.memory_bytes += 1;
    let never = verdict(10, &[small.clone(), large], nodes());
    assert_eq!(never(&small), on("n00001"));
}

#[test]
fn one_organisation_does_not_starve_another() {
    let mut requests: Vec<Request> = (0..6_u8)
        .map(|index| request(&format!("a{index}"), "big"))
        .collect();
    requests.push(request("z", "small"));
    let verdicts = place(&requests, vec![node("n00001", 1100)], 4, at(0));
    let small = verdicts
        .iter()
        .find(|(store, _)| store.as_str().starts_with('z'))
        .unwrap();
    assert!(matches!(small.1, Verdict::Place(_)));
}

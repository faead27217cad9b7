//! The name responder: its file, and questions that anybody in a store can ask.

use std::{collections::BTreeMap, net::Ipv4Addr, sync::LazyLock};

use shop_agent::names::{Answer, INSIDE, NamesFile, SUFFIX, fuzzing};
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, TYPE, rdata::RData};

use crate::Target;

pub(crate) const TARGETS: &[Target] = &[
    Target::new("names_file", names_file),
    Target::new("dns", dns).with_seeds(questions),
    Target::new("dns_stream", dns_stream).with_seeds(streams),
    Target::new("certificate_asked", certificates),
];

const PAGE: Ipv4Addr = Ipv4Addr::new(10, 200, 0, 2);
const HOST: &str = "shop.example.com";
const PAUSED: &str = "paused.example.com";
const HOSTS: [&str; 2] = [HOST, PAUSED];
/// More than one answer has room for.
const REPLICAS: u8 = 9;

static NAMES: LazyLock<NamesFile> = LazyLock::new(|| {
    let replicas = (3..3 + REPLICAS).map(|last| Ipv4Addr::new(10, 200, 0, 64 + last));
    let hosts = BTreeMap::from([
        (HOST.to_owned(), Answer::Addresses(replicas.collect())),
        (PAUSED.to_owned(), Answer::Paused),
    ]);
    let own = BTreeMap::from([(HOST.to_owned(), vec![Ipv4Addr::new(10, 200, 0, 64)])]);
    NamesFile::new(hosts, own)
});

fn names_file(input: &[u8]) {
    if let Some(file) = NamesFile::decode(input) {
        assert_eq!(NamesFile::decode(&file.encode()), Some(file));
    }
}

/// A reply fits where the question came from, is one to that question, and names only containers of the host or the page.
fn dns(input: &[u8]) {
    // What a datagram holds at most.
    let input = &input[..input.len().min(512)];
    let Some(reply) = fuzzing::reply(input, &NAMES, PAGE) else {
        return;
    };
    assert!(reply.len() <= 512, "{} bytes", reply.len());
    assert_eq!(reply.get(..2), input.get(..2), "the id");
    let parsed = Packet::parse(&reply).expect("a reply of ours is DNS");
    assert!(parsed.has_flags(PacketFlag::RESPONSE));
    assert!(!parsed.has_flags(PacketFlag::RECURSION_AVAILABLE));
    let asked = Packet::parse(input).expect("it was answered");
    assert!(
        !asked.has_flags(PacketFlag::RESPONSE),
        "two could talk forever"
    );
    let Some(question) = parsed.questions.first() else {
        assert!(parsed.answers.is_empty());
        return;
    };
    assert_eq!(
        Some(&question.qname),
        asked.questions.first().map(|it| &it.qname)
    );
    let name = question.qname.to_string().to_ascii_lowercase();
    assert!(parsed.answers.len() <= 6);
    for answer in &parsed.answers {
        assert_eq!(answer.name, question.qname);
        assert_eq!(answer.ttl, 0, "nobody keeps it");
        let RData::A(address) = &answer.rdata else {
            panic!("{:?}", answer.rdata);
        };
        let address = Ipv4Addr::from_bits(address.address);
        let container = address.octets()[..3] == [10, 200, 0] && address.octets()[3] > 64;
        assert!(address == PAGE || container, "{address}");
        if container {
            assert!(name.starts_with(HOST), "{name} leads to a shop's container");
        }
    }
}

/// Over TCP the same is answered, question by question, up to the first that is cut off or is none.
fn dns_stream(input: &[u8]) {
    let told = fuzzing::talked(input, &NAMES, PAGE).expect("a runtime");
    let (mut left, mut expected) = (input, Vec::new());
    while let Some((length, rest)) = left.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes(*length));
        let question = rest.get(..length).filter(|_| length <= 512);
        let Some(reply) = question.and_then(|it| fuzzing::reply(it, &NAMES, PAGE)) else {
            break;
        };
        let length_of_reply = u16::try_from(reply.len()).expect("a reply is short");
        expected.extend(length_of_reply.to_be_bytes());
        expected.extend(reply);
        left = &rest[length..];
    }
    assert!(told == expected, "{}", told.escape_ascii());
}

/// A line is a question. Only names of ours may have a certificate, each only so often.
fn certificates(input: &[u8]) {
    const LIMIT: u32 = 2;
    let text = String::from_utf8_lossy(input);
    let queries: Vec<&str> = text.lines().take(64).collect();
    let free = fuzzing::certificates(&queries, &NAMES, None);
    let limited = fuzzing::certificates(&queries, &NAMES, Some(LIMIT));
    let mut given = BTreeMap::new();
    for ((query, free), limited) in queries.into_iter().zip(free).zip(limited) {
        let query = query.to_ascii_lowercase();
        let named = HOSTS
            .into_iter()
            .find(|host| query.split('&').any(|it| it == format!("domain={host}")));
        if free.as_u16() != 200 {
            assert_eq!((free.as_u16(), limited.as_u16()), (404, 404), "{query}");
            continue;
        }
        let host = named.unwrap_or_else(|| panic!("{query} names none of ours"));
        let given: &mut u32 = given.entry(host).or_default();
        *given += u32::from(limited.as_u16() == 200);
        assert!(*given <= LIMIT, "{host} has got more than {LIMIT}");
        assert!(
            *given == LIMIT || limited.as_u16() == 200,
            "{host} got none"
        );
    }
}

fn streams() -> Vec<Vec<u8>> {
    let framed = |question: Vec<u8>| {
        let length = u16::try_from(question.len()).expect("a question is short");
        [&length.to_be_bytes(), question.as_slice()].concat()
    };
    let all: Vec<Vec<u8>> = questions().into_iter().map(framed).collect();
    let mut cut_off = all.concat();
    cut_off.pop();
    vec![all.concat(), cut_off, vec![0, 0], vec![0xff, 0xff, 1]]
}

fn question(name: &str, what: TYPE) -> Vec<u8> {
    let mut packet = Packet::new_query(7);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    packet.questions.push(Question::new(
        Name::new_unchecked(name),
        QTYPE::TYPE(what),
        QCLASS::CLASS(CLASS::IN),
        false,
    ));
    packet.build_bytes_vec().expect("a question")
}

fn questions() -> Vec<Vec<u8>> {
    let long = vec!["a".repeat(60); 3].join(".");
    vec![
        question(&format!("{HOST}.{SUFFIX}"), TYPE::A),
        question(&format!("SHOP.example.com.{SUFFIX}"), TYPE::AAAA),
        question(&format!("{PAUSED}.{SUFFIX}"), TYPE::A),
        question(&format!("{HOST}.10.200.0.70.{INSIDE}"), TYPE::A),
        question(&format!("{HOST}.10.200.0.100.{INSIDE}"), TYPE::A),
        question(&format!("nobody.example.com.{SUFFIX}"), TYPE::A),
        question(&format!("{long}.{SUFFIX}"), TYPE::A),
        question("example.com", TYPE::TXT),
    ]
}

//! The responder over real sockets.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
};

use shop_proto::HostName;
use simple_dns::{CLASS, Name, Packet, QCLASS, QTYPE, Question, RCODE, TYPE, rdata::RData};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UdpSocket},
};

use super::{
    Answer, FILE, INSIDE, MAX_BYTES, NamesFile, SUFFIX,
    ask::Ask,
    dns::{Responder, reply},
    file::Table,
    page::Page,
};
use crate::durable::replace;

const PAGE: Ipv4Addr = Ipv4Addr::new(10, 200, 0, 2);

fn write(directory: &std::path::Path, hosts: &[(&str, Answer)]) {
    let hosts: BTreeMap<String, Answer> = hosts
        .iter()
        .map(|(host, answer)| ((*host).to_owned(), answer.clone()))
        .collect();
    let networks = vec![
        "10.200.0.32".parse().unwrap(),
        "10.200.0.64".parse().unwrap(),
    ];
    let own = BTreeMap::from([("demo.localhost".to_owned(), networks)]);
    replace(&directory.join(FILE), &NamesFile::new(hosts, own).encode()).unwrap();
}

fn question(name: &str, qtype: TYPE) -> Vec<u8> {
    let mut packet = Packet::new_query(7);
    packet.questions.push(Question::new(
        Name::new(name).unwrap(),
        QTYPE::TYPE(qtype),
        QCLASS::CLASS(CLASS::IN),
        false,
    ));
    packet.build_bytes_vec().unwrap()
}

fn read(answer: &[u8]) -> (RCODE, Vec<String>, Vec<u32>) {
    let packet = Packet::parse(answer).unwrap();
    assert_eq!(packet.id(), 7);
    let addresses = packet
        .answers
        .iter()
        .map(|record| match &record.rdata {
            RData::A(a) => std::net::Ipv4Addr::from_bits(a.address).to_string(),
            other => panic!("{other:?}"),
        })
        .collect();
    let ttls = packet.answers.iter().map(|record| record.ttl).collect();
    (packet.rcode(), addresses, ttls)
}

async fn ask(server: SocketAddr, name: &str) -> (RCODE, Vec<String>, Vec<u32>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket
        .send_to(&question(name, TYPE::A), server)
        .await
        .unwrap();
    let mut buffer = [0; 512];
    let length = socket.recv(&mut buffer).await.unwrap();
    read(&buffer[..length])
}

/// What the edge asks for is a name, too.
#[test]
fn the_longest_host_name_can_be_asked_for() {
    let longest = "x".repeat(HostName::LONGEST);
    let inside = format!("{longest}.{}.{INSIDE}", Ipv4Addr::from([100; 4]));
    let outside = format!("{longest}.{SUFFIX}");
    assert_eq!(inside.len().max(outside.len()), 253);
}

#[tokio::test]
async fn answers_follow_the_file_and_are_never_cached() {
    let directory = tempfile::tempdir().unwrap();
    let serving = Answer::Addresses(vec![
        "10.200.0.35".parse().unwrap(),
        "10.200.0.36".parse().unwrap(),
    ]);
    write(
        directory.path(),
        &[
            ("demo.localhost", serving),
            ("off.localhost", Answer::Nothing),
        ],
    );
    let table = Table::new(directory.path().join(FILE));
    let responder = Responder::bind("127.0.0.1:0".parse().unwrap(), table, PAGE)
        .await
        .unwrap();
    let server = responder.address().unwrap();
    let serve = tokio::spawn(responder.serve());

    let (code, addresses, ttls) = ask(server, "demo.localhost.names.shopfleet").await;
    assert_eq!(code, RCODE::NoError);
    assert_eq!(addresses, ["10.200.0.35", "10.200.0.36"]);
    assert_eq!(ttls, [0, 0]);
    assert_eq!(
        ask(server, "off.localhost.names.shopfleet").await.1,
        ["10.200.0.2"]
    );
    assert_eq!(
        ask(server, "other.localhost.names.shopfleet").await.0,
        RCODE::NameError
    );
    for not_ours in [
        "demo.localhost",
        "demo.localhost.inside.shopfleet",
        "demo.localhost.x.0.0.35.inside.shopfleet",
        "0.200.0.35.inside.shopfleet",
    ] {
        assert_eq!(ask(server, not_ours).await.0, RCODE::Refused, "{not_ours}");
    }
    for (from, sent_to) in [
        ("10.200.0.35", "10.200.0.35"),
        ("10.200.0.90", "10.200.0.35"),
        // Another store, or this host.
        ("10.200.0.99", "10.200.0.2"),
        ("10.200.0.3", "10.200.0.2"),
    ] {
        let name = format!("demo.localhost.{from}.inside.shopfleet");
        let (code, addresses, _) = ask(server, &name).await;
        assert_eq!((code, &*addresses[0]), (RCODE::NoError, sent_to), "{from}");
    }
    let nowhere = "other.localhost.10.200.0.35.inside.shopfleet";
    assert_eq!(ask(server, nowhere).await.0, RCODE::NameError);

    write(directory.path(), &[("demo.localhost", Answer::Maintenance)]);
    assert_eq!(
        ask(server, "DEMO.localhost.names.shopfleet").await.1,
        ["10.200.0.2"]
    );

    // A damaged file leaves what was known.
    replace(&directory.path().join(FILE), b"{").unwrap();
    assert_eq!(
        ask(server, "demo.localhost.names.shopfleet").await.0,
        RCODE::NoError
    );

    let mut stream = TcpStream::connect(server).await.unwrap();
    let asked = question("demo.localhost.names.shopfleet", TYPE::A);
    stream
        .write_u16(asked.len().try_into().unwrap())
        .await
        .unwrap();
    stream.write_all(&asked).await.unwrap();
    let length = stream.read_u16().await.unwrap();
    let mut answer = vec![0; length.into()];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(read(&answer).1, ["10.200.0.2"]);
    serve.abort();
}

#[test]
fn other_types_have_no_answer_and_noise_no_reply() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), &[("demo.localhost", Answer::Nothing)]);
    let table = Table::new(directory.path().join(FILE));
    let asked = question("demo.localhost.names.shopfleet", TYPE::AAAA);
    let (code, addresses, _) = read(&reply(&asked, &table, PAGE).unwrap());
    assert_eq!((code, addresses.len()), (RCODE::NoError, 0));
    assert_eq!(reply(b"noise", &table, PAGE), None);
    let answered = reply(&asked, &table, PAGE).unwrap();
    assert_eq!(
        reply(&answered, &table, PAGE),
        None,
        "an answer is no question"
    );
}

#[tokio::test]
async fn the_page_says_when_to_come_back() {
    let directory = tempfile::tempdir().unwrap();
    write(
        directory.path(),
        &[
            ("demo.localhost", Answer::Maintenance),
            ("shut.localhost", Answer::Paused),
        ],
    );
    let table = Table::new(directory.path().join(FILE));
    let page = Page::bind("127.0.0.1:0".parse().unwrap(), table)
        .await
        .unwrap();
    let server = page.address().unwrap();
    let serve = tokio::spawn(page.serve());
    for (host, expected, after) in [
        ("demo.localhost:8080", "Back in a moment", "10"),
        ("shut.localhost", "Closed for now", "600"),
        ("x.localhost", "Not available", "10"),
    ] {
        let mut stream = TcpStream::connect(server).await.unwrap();
        let request =
            format!("POST /cart HTTP/1.1\r\nHost: {host}\r\nContent-Length: 3\r\n\r\nabc");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        let after = format!("retry-after: {after}\r\n");
        assert!(answer.contains(&after), "{answer}");
        assert!(answer.contains(expected), "{answer}");
    }
    serve.abort();
}

#[tokio::test]
async fn only_routed_host_names_may_have_a_certificate_and_only_so_often() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), &[("demo.localhost", Answer::Nothing)]);
    let table = Table::new(directory.path().join(FILE));
    let ask = Ask::bind("127.0.0.1:0".parse().unwrap(), table, Some(2))
        .await
        .unwrap();
    let server = ask.address().unwrap();
    let serve = tokio::spawn(ask.serve());
    for (query, expected) in [
        ("?domain=demo.localhost", "200"),
        ("?domain=other.localhost", "404"),
        ("", "404"),
        ("?x=1&domain=DEMO.localhost", "200"),
        ("?domain=demo.localhost", "429"),
    ] {
        let mut stream = TcpStream::connect(server).await.unwrap();
        let request = format!("GET /{query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {expected}")),
            "{query}: {answer}"
        );
    }
    serve.abort();
}

#[test]
fn a_file_that_is_too_large_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let table = Table::new(directory.path().join(FILE));
    let answers = || ["a.localhost", "b.localhost"].map(|host| table.answer(host).is_some());
    write(directory.path(), &[("a.localhost", Answer::Nothing)]);
    assert_eq!(answers(), [true, false]);
    let hosts = BTreeMap::from([("b.localhost".to_owned(), Answer::Nothing)]);
    let mut large = NamesFile::new(hosts, BTreeMap::new()).encode();
    large.resize(usize::try_from(MAX_BYTES).unwrap() + 1, b' ');
    replace(&directory.path().join(FILE), &large).unwrap();
    assert_eq!(answers(), [true, false]);
    write(directory.path(), &[("b.localhost", Answer::Nothing)]);
    assert_eq!(answers(), [false, true]);
}

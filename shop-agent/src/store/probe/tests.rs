//! Every protocol against a scripted server on a real socket: what it wants to hear, what it says, what we make of it.

use std::time::Duration;

use shop_plan::Probe;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    task::JoinHandle,
};

use super::{NotReady, Question, ask};

/// Serves one connection: for each line of the script, waits for bytes that contain the first part, then says the second.
async fn scripted(script: Vec<(&'static [u8], Vec<u8>)>) -> (u16, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        for (wanted, answer) in script {
            let mut heard = Vec::new();
            while !wanted.is_empty() && !heard.windows(wanted.len()).any(|window| window == wanted)
            {
                assert_ne!(
                    stream.read_buf(&mut heard).await.unwrap(),
                    0,
                    "heard {heard:?}"
                );
            }
            stream.write_all(&answer).await.unwrap();
        }
    });
    (port, server)
}

async fn judge(
    probe: impl FnOnce(u16) -> Probe,
    script: Vec<(&'static [u8], Vec<u8>)>,
) -> Result<(), NotReady> {
    let (port, server) = scripted(script).await;
    let answer = ask(&question(probe(port))).await;
    server.await.unwrap();
    answer
}

fn question(probe: Probe) -> Question {
    let password = matches!(
        &probe,
        Probe::Redis {
            password_secret: Some(_),
            ..
        }
    );
    Question {
        address: std::net::Ipv4Addr::LOCALHOST,
        probe,
        host: "shop.localhost".to_owned(),
        password: password.then(|| "hunter2".into()),
        deadline: Duration::from_secs(10),
    }
}

fn http(port: u16) -> Probe {
    Probe::Http {
        port,
        path: "/health".to_owned(),
    }
}

fn fastcgi(port: u16) -> Probe {
    Probe::Fastcgi {
        port,
        path: "/-/fpm/ping".to_owned(),
        expect: "pong".to_owned(),
    }
}

fn redis(port: u16) -> Probe {
    Probe::Redis {
        port,
        password_secret: Some("cache_password".to_owned()),
    }
}

fn stdout(text: &str) -> Vec<u8> {
    let mut bytes = vec![1, 6, 0, 1, 0, text.len() as u8, 2, 0];
    bytes.extend_from_slice(text.as_bytes());
    bytes.extend_from_slice(&[0, 0]);
    // END_REQUEST, application status 0.
    bytes.extend_from_slice(&[1, 3, 0, 1, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    bytes
}

#[tokio::test]
async fn http_is_ready_on_200_only_and_sends_the_shops_host() {
    let wanted: &[u8] = b"Host: shop.localhost\r\nX-Forwarded-Proto: https\r\n";
    let ok = vec![(wanted, b"HTTP/1.1 200 OK\r\n\r\n{}".to_vec())];
    assert_eq!(judge(http, ok).await, Ok(()));
    for (line, status) in [
        ("HTTP/1.1 503 No\r\n\r\n", 503),
        ("HTTP/1.0 301 Go\r\n\r\n", 301),
    ] {
        let script = vec![(wanted, line.as_bytes().to_vec())];
        assert_eq!(judge(http, script).await, Err(NotReady::Status(status)));
    }
    let noise = vec![(wanted, b"SSH-2.0-x\r\n".to_vec())];
    assert_eq!(judge(http, noise).await, Err(NotReady::Unexpected));
}

#[tokio::test]
async fn fastcgi_wants_the_page_itself() {
    let wanted: &[u8] = b"REQUEST_METHODGET";
    let pong = stdout("Content-type: text/plain\r\n\r\npong");
    assert_eq!(judge(fastcgi, vec![(wanted, pong)]).await, Ok(()));
    let unknown =
        stdout("Status: 404 Not Found\r\nContent-type: text/html\r\n\r\nFile not found.\n");
    assert_eq!(
        judge(fastcgi, vec![(wanted, unknown)]).await,
        Err(NotReady::Status(404))
    );
    let other = stdout("Content-type: text/html\r\n\r\n<html>");
    assert_eq!(
        judge(fastcgi, vec![(wanted, other)]).await,
        Err(NotReady::Unexpected)
    );
}

#[tokio::test]
async fn mysql_wants_a_handshake() {
    let mysql = |port| Probe::Mysql { port };
    let handshake = vec![(&b""[..], vec![0x4a, 0, 0, 0, 0x0a, b'1', b'0'])];
    assert_eq!(judge(mysql, handshake).await, Ok(()));
    let blocked = vec![(&b""[..], vec![0x4a, 0, 0, 0, 0xff, 0x69, 0x04])];
    assert_eq!(judge(mysql, blocked).await, Err(NotReady::Starting));
    let noise = vec![(&b""[..], b"HTTP/1.1 400\r\n".to_vec())];
    assert_eq!(judge(mysql, noise).await, Err(NotReady::Unexpected));
}

#[tokio::test]
async fn postgres_may_refuse_us_but_not_be_starting() {
    let postgres = |port| Probe::Postgres { port };
    let wanted: &[u8] = b"database\0postgres\0\0";
    let message = |kind: u8, body: &[u8]| {
        let mut bytes = vec![kind];
        bytes.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
        bytes.extend_from_slice(body);
        bytes
    };
    let authenticate = message(b'R', &[0, 0, 0, 10]);
    assert_eq!(judge(postgres, vec![(wanted, authenticate)]).await, Ok(()));
    let no_such_user = message(b'E', b"SFATAL\0C28000\0\0");
    assert_eq!(judge(postgres, vec![(wanted, no_such_user)]).await, Ok(()));
    let starting = message(
        b'E',
        b"SFATAL\0C57P03\0Mthe database system is starting up\0\0",
    );
    assert_eq!(
        judge(postgres, vec![(wanted, starting)]).await,
        Err(NotReady::Starting)
    );
}

#[tokio::test]
async fn redis_authenticates_and_may_be_loading() {
    let auth: &[u8] = b"AUTH\r\n$7\r\nhunter2\r\n";
    let ready = vec![
        (auth, b"+OK\r\n".to_vec()),
        (&b"PING"[..], b"+PONG\r\n".to_vec()),
    ];
    assert_eq!(judge(redis, ready).await, Ok(()));
    let loading = vec![
        (auth, b"+OK\r\n".to_vec()),
        (
            &b"PING"[..],
            b"-LOADING Redis is loading the dataset in memory\r\n".to_vec(),
        ),
    ];
    assert_eq!(judge(redis, loading).await, Err(NotReady::Starting));
    let wrong = vec![(
        auth,
        b"-WRONGPASS invalid username-password pair\r\n".to_vec(),
    )];
    assert_eq!(judge(redis, wrong).await, Err(NotReady::Unauthenticated));
}

#[tokio::test]
async fn silence_endless_talk_and_a_closed_port_are_not_ready() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut silent = question(http(port));
    silent.deadline = Duration::from_millis(50);
    assert_eq!(ask(&silent).await, Err(NotReady::TimedOut));
    drop(listener);
    assert_eq!(
        ask(&silent).await,
        Err(NotReady::Connection(std::io::ErrorKind::ConnectionRefused))
    );
    let endless = vec![(&b"GET"[..], vec![b'x'; 20 << 10])];
    let (port, server) = scripted(endless).await;
    assert_eq!(ask(&question(http(port))).await, Err(NotReady::Unexpected));
    server.abort();
}

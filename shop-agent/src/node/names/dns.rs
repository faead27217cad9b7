//! Questions and answers: A records of `<host>.names.shopfleet` and, when a store asks, of `<host>.<its address>.inside.shopfleet`; never
//! cached, over UDP and TCP.

use std::{io, net::Ipv4Addr, net::SocketAddr, sync::Arc, time::Duration};

use simple_dns::{
    CLASS, Packet, PacketFlag, QTYPE, RCODE, ResourceRecord, TYPE,
    rdata::{A, RData},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, UdpSocket},
    sync::Semaphore,
    task::JoinSet,
};

use super::{INSIDE, SUFFIX, file::Answer, file::Table};

/// The largest question.
const QUESTION_BYTES: usize = 512;
/// TCP connections at once.
const CONNECTIONS: usize = 32;
/// A TCP peer that says nothing for this long is let go.
const IDLE: Duration = Duration::from_secs(10);
/// Answers of one name: what fits in 512 bytes with the longest name.
const ANSWERS: usize = 6;
/// After the socket failed, which only a lack of resources does.
const PAUSE: Duration = Duration::from_millis(100);

/// The bound sockets.
pub(super) struct Responder {
    udp: UdpSocket,
    tcp: TcpListener,
    table: Table,
    page: Ipv4Addr,
}

impl Responder {
    pub(super) async fn bind(
        address: SocketAddr,
        table: Table,
        page: Ipv4Addr,
    ) -> io::Result<Self> {
        let udp = UdpSocket::bind(address).await?;
        // With port 0 (tests) TCP follows what UDP was given.
        let tcp = TcpListener::bind(udp.local_addr()?).await?;
        Ok(Self {
            udp,
            tcp,
            table,
            page,
        })
    }

    #[cfg(test)]
    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        self.udp.local_addr()
    }

    /// Answers until dropped.
    pub(super) async fn serve(self) {
        let mut datagram = [0; QUESTION_BYTES];
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                received = self.udp.recv_from(&mut datagram) => match received {
                    Ok((length, peer)) => if let Some(answer) = reply(&datagram[..length], &self.table, self.page) {
                        // A datagram that cannot be sent is asked for again.
                        let _ = self.udp.send_to(&answer, peer).await;
                    },
                    Err(_) => tokio::time::sleep(PAUSE).await,
                },
                accepted = self.tcp.accept() => match accepted {
                    Ok((stream, _)) => if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
                        let (table, page) = (self.table.clone(), self.page);
                        connections.spawn(async move {
                            let _place = place;
                            // A peer that hangs up is no news.
                            let _ = talk(stream, &table, page).await;
                        });
                    },
                    Err(_) => tokio::time::sleep(PAUSE).await,
                },
                Some(_) = connections.join_next() => {}
            }
        }
    }
}

/// Answers one question after the other, until there is none or one that is no question.
pub(super) async fn talk(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    table: &Table,
    page: Ipv4Addr,
) -> io::Result<()> {
    let mut question = [0; QUESTION_BYTES];
    loop {
        let length = usize::from(
            tokio::time::timeout(IDLE, stream.read_u16())
                .await
                .map_err(|_| io::ErrorKind::TimedOut)??,
        );
        let question = question
            .get_mut(..length)
            .ok_or(io::ErrorKind::InvalidData)?;
        tokio::time::timeout(IDLE, stream.read_exact(question))
            .await
            .map_err(|_| io::ErrorKind::TimedOut)??;
        let Some(answer) = reply(question, table, page) else {
            return Ok(());
        };
        let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
        let framed = [&length.to_be_bytes(), answer.as_slice()].concat();
        tokio::time::timeout(IDLE, stream.write_all(&framed))
            .await
            .map_err(|_| io::ErrorKind::TimedOut)??;
    }
}

/// The answer to a question; `None` for what is no question.
pub(super) fn reply(question: &[u8], table: &Table, page: Ipv4Addr) -> Option<Vec<u8>> {
    let question = Packet::parse(question).ok()?;
    if question.has_flags(PacketFlag::RESPONSE) {
        return None;
    }
    let mut reply = Packet::new_reply(question.id());
    reply.set_flags(PacketFlag::AUTHORITATIVE_ANSWER);
    if question.has_flags(PacketFlag::RECURSION_DESIRED) {
        reply.set_flags(PacketFlag::RECURSION_DESIRED);
    }
    let [asked] = question.questions.as_slice() else {
        *reply.rcode_mut() = RCODE::FormatError;
        return reply.build_bytes_vec().ok();
    };
    let name = asked.qname.to_string().to_ascii_lowercase();
    let answer = Asked::of(&name).map(|asked| match asked {
        Asked::ByBuyers(host) => table.answer(host),
        Asked::ByStore(host, from) => table.answer_within(host, from),
    });
    let addresses = match answer.as_ref().map(Option::as_ref) {
        None => {
            *reply.rcode_mut() = RCODE::Refused;
            Vec::new()
        }
        Some(None) => {
            *reply.rcode_mut() = RCODE::NameError;
            Vec::new()
        }
        Some(Some(Answer::Addresses(addresses))) if !addresses.is_empty() => addresses.clone(),
        // The page says why, and the edge has no reason to wait for somebody better.
        Some(Some(_)) => vec![page],
    };
    if matches!(asked.qtype, QTYPE::TYPE(TYPE::A) | QTYPE::ANY) {
        reply.answers = addresses
            .into_iter()
            .take(ANSWERS)
            .map(|address| {
                let data = RData::A(A {
                    address: address.to_bits(),
                });
                ResourceRecord::new(asked.qname.clone(), CLASS::IN, 0, data)
            })
            .collect();
    }
    reply.questions = vec![asked.clone()];
    reply.build_bytes_vec_compressed().ok()
}

/// What a name asks for.
enum Asked<'a> {
    ByBuyers(&'a str),
    ByStore(&'a str, Ipv4Addr),
}

impl<'a> Asked<'a> {
    /// `None` for names that are not ours.
    fn of(name: &'a str) -> Option<Self> {
        let below = |zone: &str| name.strip_suffix(zone)?.strip_suffix('.');
        if let Some(host) = below(SUFFIX) {
            return Some(Self::ByBuyers(host));
        }
        let asked = below(INSIDE)?;
        // An address is four labels.
        let (at, _) = asked.rmatch_indices('.').nth(3)?;
        let (host, address) = (asked.get(..at)?, asked.get(at + 1..)?);
        Some(Self::ByStore(host, address.parse().ok()?))
    }
}

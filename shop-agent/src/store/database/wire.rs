//! As much of MySQL's protocol as a login by `mysql_native_password` and one statement need.
//!
//! The method proves a password by SHA-1 over a challenge; it is what the shops' PHP speaks with this database as well, on a network
//! that nobody but the store is on.

use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use zeroize::Zeroizing;

use super::DatabaseError;

const METHOD: &[u8] = b"mysql_native_password";
/// Protocol version byte of a handshake.
const HANDSHAKE: u8 = 0x0a;
const OK: u8 = 0x00;
const ERROR: u8 = 0xff;
/// "Show it with another method", or with another challenge: a user with two passwords is asked once for each.
const ANOTHER_METHOD: u8 = 0xfe;
/// Long password flag, protocol 4.1, secure connection, several results (a procedure that composes its statement is refused to who cannot
/// take them, though it has none), pluggable authentication.
const CAPABILITIES: u32 = 0x1 | 0x200 | 0x8000 | 0x2_0000 | 0x8_0000;
const UTF8MB4: u8 = 45;
/// One statement.
const QUERY: u8 = 0x03;
/// No answer here is longer.
const LARGEST_PACKET: usize = 4 << 10;
/// Answers to a login: one for each of a user's two passwords, and room for one that asks once more.
const ROUNDS: usize = 4;
/// Bytes of a challenge.
const CHALLENGE: usize = 20;
/// Access denied.
const DENIED: u16 = 1045;
/// No such procedure, or none that this user may call.
const NO_PROCEDURE: [u16; 2] = [1305, 1370];

/// A session with a database.
pub struct Connection<S> {
    stream: S,
    sequence: u8,
}

/// How the database keeps a password.
pub fn hash(password: &SecretString) -> String {
    let once = sha1(password.expose_secret().as_bytes());
    let twice = sha1(&*once);
    format!("*{}", data_encoding::HEXUPPER.encode(&*twice))
}

fn sha1(bytes: &[u8]) -> Zeroizing<[u8; CHALLENGE]> {
    let mut out = Zeroizing::new([0; CHALLENGE]);
    out.copy_from_slice(digest(&SHA1_FOR_LEGACY_USE_ONLY, bytes).as_ref());
    out
}

/// SHA1(password) xor SHA1(challenge + SHA1(SHA1(password))).
fn proof(password: &str, challenge: &[u8; CHALLENGE]) -> Zeroizing<[u8; CHALLENGE]> {
    let once = sha1(password.as_bytes());
    let mut salted = Zeroizing::new([0; 2 * CHALLENGE]);
    salted[..CHALLENGE].copy_from_slice(challenge);
    salted[CHALLENGE..].copy_from_slice(&*sha1(&*once));
    let mut proof = sha1(&*salted);
    for (byte, key) in proof.iter_mut().zip(once.iter()) {
        *byte ^= key;
    }
    proof
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Connection<S> {
    /// Logs in.
    ///
    /// # Errors
    /// When the database does not speak, or refuses the password.
    pub async fn log_in(stream: S, user: &str, password: &str) -> Result<Self, DatabaseError> {
        let mut connection = Self {
            stream,
            sequence: 0,
        };
        let greeting = connection.packet().await?;
        let challenge = challenge_of(&greeting).ok_or_else(|| refusal(&greeting))?;
        let mut answer = Vec::with_capacity(128);
        answer.extend(CAPABILITIES.to_le_bytes());
        answer.extend((1_u32 << 24).to_le_bytes());
        answer.push(UTF8MB4);
        answer.extend([0; 23]);
        answer.extend(user.as_bytes());
        answer.push(0);
        answer.push(CHALLENGE as u8);
        answer.extend(proof(password, &challenge).iter());
        answer.extend(METHOD);
        answer.push(0);
        connection.send(&answer).await?;
        for _ in 0..ROUNDS {
            let packet = connection.packet().await?;
            match packet.first() {
                Some(&OK) => return Ok(connection),
                Some(&ANOTHER_METHOD) => {
                    let challenge = another_challenge(&packet).ok_or(DatabaseError::Unexpected)?;
                    connection.send(&*proof(password, &challenge)).await?;
                }
                _ => return Err(refusal(&packet)),
            }
        }
        Err(DatabaseError::Unexpected)
    }

    /// Runs a statement that answers no rows.
    ///
    /// # Errors
    /// When the database refuses it.
    pub async fn run(&mut self, statement: &str) -> Result<(), DatabaseError> {
        self.sequence = 0;
        let mut packet = vec![QUERY];
        packet.extend(statement.as_bytes());
        self.send(&packet).await?;
        let answer = self.packet().await?;
        match answer.first() {
            Some(&OK) => Ok(()),
            _ => Err(refusal(&answer)),
        }
    }

    async fn send(&mut self, payload: &[u8]) -> Result<(), DatabaseError> {
        let length = u32::try_from(payload.len()).map_err(|_| DatabaseError::Unexpected)?;
        let mut packet = Zeroizing::new(Vec::with_capacity(payload.len() + 4));
        packet.extend(&length.to_le_bytes()[..3]);
        packet.push(self.sequence);
        packet.extend(payload);
        self.stream.write_all(&packet).await?;
        self.sequence = self.sequence.wrapping_add(1);
        Ok(())
    }

    async fn packet(&mut self) -> Result<Vec<u8>, DatabaseError> {
        let mut head = [0; 4];
        self.stream.read_exact(&mut head).await?;
        let [low, middle, high, sequence] = head;
        let length = u32::from_le_bytes([low, middle, high, 0]) as usize;
        if length > LARGEST_PACKET {
            return Err(DatabaseError::Unexpected);
        }
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).await?;
        self.sequence = sequence.wrapping_add(1);
        Ok(payload)
    }
}

fn refusal(packet: &[u8]) -> DatabaseError {
    match *packet {
        [ERROR, low, high, ..] => match u16::from_le_bytes([low, high]) {
            DENIED => DatabaseError::Denied,
            code if NO_PROCEDURE.contains(&code) => DatabaseError::TooOld,
            code => DatabaseError::Refused(code),
        },
        _ => DatabaseError::Unexpected,
    }
}

/// Of a handshake: version, server version, thread, 8 bytes of challenge, flags, then 12 more bytes of challenge.
fn challenge_of(greeting: &[u8]) -> Option<[u8; CHALLENGE]> {
    let (&HANDSHAKE, rest) = greeting.split_first()? else {
        return None;
    };
    let version = rest.iter().position(|byte| *byte == 0)?;
    let rest = rest.get(version + 1 + 4..)?;
    let mut challenge = [0; CHALLENGE];
    challenge[..8].copy_from_slice(rest.get(..8)?);
    // Filler, capabilities (2), character set, status (2), capabilities (2), length, ten reserved bytes.
    challenge[8..].copy_from_slice(rest.get(27..27 + 12)?);
    Some(challenge)
}

fn another_challenge(packet: &[u8]) -> Option<[u8; CHALLENGE]> {
    let rest = packet.get(1..)?;
    let end = rest.iter().position(|byte| *byte == 0)?;
    if rest.get(..end)? != METHOD {
        return None;
    }
    rest.get(end + 1..end + 1 + CHALLENGE)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_hashed_as_the_database_does() {
        // SELECT PASSWORD('secret')
        assert_eq!(
            hash(&SecretString::from("secret")),
            "*14E65567ABDB5135D0CFD9A70B3032C179A49EE7"
        );
    }

    #[test]
    fn half_a_greeting_is_none() {
        let mut greeting = vec![HANDSHAKE];
        greeting.extend(b"10.11\0\x01\0\0\0abcdefgh\0");
        greeting.extend([0; 18]);
        greeting.extend(b"ijklmnopqrst\0");
        assert_eq!(challenge_of(&greeting), Some(*b"abcdefghijklmnopqrst"));
        for length in 0..greeting.len() - 1 {
            assert_eq!(challenge_of(&greeting[..length]), None, "{length}");
        }
    }
}

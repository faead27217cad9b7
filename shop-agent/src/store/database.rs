//! Tells a running MariaDB which passwords of a user it accepts. No restart, and no connection that stands is touched.
//!
//! The database's image makes a procedure at every start that sets the accepted passwords of the shop's own user, and of no other; that
//! user may call it. So this needs no other login than the one that is rotated. Only hashes are sent, the form in which the database
//! keeps them. Decision record 18.

use std::{io, net::SocketAddrV4, time::Duration};

use async_trait::async_trait;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::net::TcpStream;

mod wire;

use wire::{Connection, hash};

/// Longest time for all of it: a few packets over a bridge of this host, and one statement that writes a row.
const DEADLINE: Duration = Duration::from_secs(5);
/// The procedure that the database's init file makes.
const PROCEDURE: &str = "mysql.shopfleet_accept";

/// What a user is to be let in with. Has no `Debug`.
#[derive(Clone)]
pub struct Accept {
    /// The database.
    pub address: SocketAddrV4,
    /// User name.
    pub user: String,
    /// One or two passwords, at least one of which is accepted now.
    pub passwords: Vec<SecretString>,
}

/// A database that was not told, or did not do it. Never carries bytes that it sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DatabaseError {
    /// Nothing listens, or the connection broke.
    #[error("no connection to the database ({0})")]
    Connection(io::ErrorKind),
    /// It took too long.
    #[error("no answer of the database in time")]
    TimedOut,
    /// It refuses a password that it should accept.
    #[error("the database refuses a password that it should accept")]
    Denied,
    /// Its image makes no such procedure.
    #[error(
        "this database container is of a release that cannot take a second password while it runs; an update that changes the database's \
         settings (such as its memory) makes it anew"
    )]
    TooOld,
    /// It refuses the statement.
    #[error("the database refuses, with error {0}")]
    Refused(u16),
    /// It speaks, but not as expected.
    #[error("an unexpected answer of the database")]
    Unexpected,
}

impl From<io::Error> for DatabaseError {
    fn from(error: io::Error) -> Self {
        Self::Connection(error.kind())
    }
}

/// Whoever can tell a database: the network, or a test.
#[async_trait]
pub trait Databases: Send + Sync + 'static {
    /// Lets a user in with exactly these passwords from now on, and looks that it does. Safe to repeat.
    async fn accept(&self, accept: &Accept) -> Result<(), DatabaseError>;
}

/// Over the store's networks.
pub struct NetworkDatabases;

#[async_trait]
impl Databases for NetworkDatabases {
    async fn accept(&self, accept: &Accept) -> Result<(), DatabaseError> {
        tokio::time::timeout(DEADLINE, accepted(accept))
            .await
            .unwrap_or(Err(DatabaseError::TimedOut))
    }
}

async fn accepted(accept: &Accept) -> Result<(), DatabaseError> {
    let mut hashes = accept.passwords.iter().map(hash);
    let (first, second) = (
        hashes.next().ok_or(DatabaseError::Unexpected)?,
        hashes.next().unwrap_or_default(),
    );
    let mut connection = let_in(accept).await?;
    let told = connection
        .run(&format!("CALL {PROCEDURE}('{first}', '{second}')"))
        .await;
    match told {
        // One that cannot accept two accepts the one that it was started with, and has just let us in.
        Err(DatabaseError::TooOld) if second.is_empty() => return Ok(()),
        told => told?,
    }
    for password in &accept.passwords {
        logged_in(accept, password).await?;
    }
    Ok(())
}

/// A login and one statement, over a connection that stands.
#[cfg(feature = "fuzzing")]
pub(super) async fn spoken(
    stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send,
    user: &str,
    password: &str,
) -> Result<(), DatabaseError> {
    let mut connection = Connection::log_in(stream, user, password).await?;
    connection.run(&format!("CALL {PROCEDURE}('', '')")).await
}

/// With whichever password is accepted now.
async fn let_in(accept: &Accept) -> Result<Connection<TcpStream>, DatabaseError> {
    let mut refused = DatabaseError::Denied;
    for password in &accept.passwords {
        match logged_in(accept, password).await {
            Err(DatabaseError::Denied) => refused = DatabaseError::Denied,
            other => return other,
        }
    }
    Err(refused)
}

async fn logged_in(
    accept: &Accept,
    password: &SecretString,
) -> Result<Connection<TcpStream>, DatabaseError> {
    let stream = TcpStream::connect(accept.address).await?;
    stream.set_nodelay(true)?;
    Connection::log_in(stream, &accept.user, password.expose_secret()).await
}

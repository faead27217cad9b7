//! The only place that names sqlx.

/// The database did not do it.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// Locked by something else for longer than we wait.
    #[error("the database is busy")]
    Busy(#[source] sqlx::Error),
    /// No space left.
    #[error("the database's disk is full")]
    Full(#[source] sqlx::Error),
    /// No connection.
    #[error("the database does not answer")]
    Unreachable(#[source] sqlx::Error),
}
#[derive(Clone)]
pub struct Db;
mod signatures;
pub use signatures::*;

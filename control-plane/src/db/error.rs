//! What can go wrong with the database, told apart by what somebody has to do about it.

use std::borrow::Cow;

/// The database did not do it. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// Locked by something else for longer than we wait.
    #[error("the database is busy")]
    Busy(#[source] sqlx::Error),
    /// No space left.
    #[error("the database's disk is full")]
    Full(#[source] sqlx::Error),
    /// No connection, or the disk fails under it.
    #[error("the database does not answer")]
    Unreachable(#[source] sqlx::Error),
    /// Something unique is there already.
    #[error("{constraint} is taken")]
    Taken {
        constraint: String,
        #[source]
        source: sqlx::Error,
    },
    /// Somebody else changed the row since it was read.
    #[error("the {what} was changed by somebody else at the same time")]
    Stale { what: &'static str },
    /// A release newer than this one wrote the schema.
    #[error(
        "the database has migration {found}, newer than this release knows; run a release that knows it"
    )]
    SchemaNewer { found: i64 },
    /// A migration is missing.
    #[error("the database lacks migration {missing}; run `control-plane migrate`")]
    SchemaOlder { missing: i64 },
    /// The schema could not be changed.
    #[error("a migration failed")]
    Migration(#[source] sqlx::migrate::MigrateError),
    /// A row that this release cannot read.
    #[error("column {column} holds something unexpected: {problem}")]
    Corrupt {
        column: &'static str,
        problem: Cow<'static, str>,
    },
    /// The URL names no database we know.
    #[error("a database URL starts with sqlite: or postgres:; a plain path is a SQLite file")]
    Url,
    /// Anything else.
    #[error("the database refused")]
    Other(#[source] sqlx::Error),
}

impl DbError {
    /// What keeps PostgreSQL from giving a connection. Its locks are waited for on one, so no connection in time means that it is away.
    pub(super) fn unconnected(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::PoolTimedOut => Self::Unreachable(error),
            other => other.into(),
        }
    }

    pub(super) fn corrupt(column: &'static str, problem: impl Into<Cow<'static, str>>) -> Self {
        Self::Corrupt {
            column,
            problem: problem.into(),
        }
    }
}

/// Primary result codes of SQLite (sqlite.org/rescode.html); extended codes carry them in the low byte.
mod sqlite {
    pub(super) const BUSY: u32 = 5;
    pub(super) const LOCKED: u32 = 6;
    pub(super) const READONLY: u32 = 8;
    pub(super) const IOERR: u32 = 10;
    pub(super) const FULL: u32 = 13;
    pub(super) const CANTOPEN: u32 = 14;
}

impl From<sqlx::Error> for DbError {
    fn from(error: sqlx::Error) -> Self {
        let database = match &error {
            sqlx::Error::PoolTimedOut => return Self::Busy(error),
            sqlx::Error::Io(_) | sqlx::Error::PoolClosed | sqlx::Error::Tls(_) => {
                return Self::Unreachable(error);
            }
            sqlx::Error::Database(database) => database,
            _ => return Self::Other(error),
        };
        if database.is_unique_violation() {
            return Self::Taken {
                constraint: database
                    .constraint()
                    .map_or_else(|| database.message().to_owned(), ToOwned::to_owned),
                source: error,
            };
        }
        let code = database.code().unwrap_or_default().into_owned();
        // SQLSTATE (postgresql.org/docs/15/errcodes-appendix.html) has five characters; SQLite's codes are shorter numbers or from 256 on.
        if code.len() == 5 {
            return match code.as_str() {
                "53100" => Self::Full(error),
                "40001" | "40P01" | "55P03" | "57014" => Self::Busy(error),
                code if code.starts_with("08") || code.starts_with("57P") => {
                    Self::Unreachable(error)
                }
                _ => Self::Other(error),
            };
        }
        match code.parse::<u32>().map(|code| code & 0xff) {
            Ok(sqlite::BUSY | sqlite::LOCKED) => Self::Busy(error),
            Ok(sqlite::FULL) => Self::Full(error),
            Ok(sqlite::READONLY | sqlite::IOERR | sqlite::CANTOPEN) => Self::Unreachable(error),
            _ => Self::Other(error),
        }
    }
}

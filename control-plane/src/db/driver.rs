//! The seam between our SQL and two databases: a connection that runs a statement with `$n` arguments, stamped for SQLite and PostgreSQL.
//!
//! Three types are enough for everything we keep: text, 64-bit integers, bytes. What is a time, an id or JSON is decided one layer up.

use async_trait::async_trait;
use jiff::Timestamp;
use shop_proto::{Digest, Generation, NodeId, StoreId, StoreName};
use sqlx::{Column, Postgres, Row as _, Sqlite, Transaction, TypeInfo, ValueRef};

use super::{
    DbError,
    alone::{Turn, finished},
};

/// One argument. A missing one still has a type, which PostgreSQL asks for.
#[derive(Debug, Clone)]
pub(super) enum Arg {
    Text(Option<String>),
    Int(Option<i64>),
    Bytes(Vec<u8>),
}

/// One value of a row.
#[derive(Debug, Clone)]
enum Cell {
    Null,
    Text(String),
    Int(i64),
    Bytes(Vec<u8>),
}

/// One row.
#[derive(Debug, Clone)]
pub(super) struct Row(Vec<(String, Cell)>);

/// A statement made of our own words and `$n`: never of input.
pub(super) type Sql = std::borrow::Cow<'static, str>;

/// An open transaction on one of the databases.
#[async_trait]
pub(super) trait Connection: Send {
    /// Rows affected.
    async fn execute(&mut self, sql: Sql, args: Vec<Arg>) -> Result<u64, sqlx::Error>;
    async fn rows(&mut self, sql: Sql, args: Vec<Arg>) -> Result<Vec<Row>, sqlx::Error>;
    async fn commit(self: Box<Self>) -> Result<(), sqlx::Error>;
}

macro_rules! connection {
    ($connection:ty, $database:ty, $finish:path, |$this:ident| $executor:expr, |$ended:ident| $commit:expr) => {
        #[async_trait]
        impl Connection for $connection {
            async fn execute(&mut self, sql: Sql, args: Vec<Arg>) -> Result<u64, sqlx::Error> {
                let mut query = sqlx::query::<$database>(sqlx::AssertSqlSafe(sql));
                for arg in args {
                    query = match arg {
                        Arg::Text(value) => query.bind(value),
                        Arg::Int(value) => query.bind(value),
                        Arg::Bytes(value) => query.bind(value),
                    };
                }
                let $this = self;
                Ok($finish(query.execute($executor)).await?.rows_affected())
            }

            async fn rows(&mut self, sql: Sql, args: Vec<Arg>) -> Result<Vec<Row>, sqlx::Error> {
                let mut query = sqlx::query::<$database>(sqlx::AssertSqlSafe(sql));
                for arg in args {
                    query = match arg {
                        Arg::Text(value) => query.bind(value),
                        Arg::Int(value) => query.bind(value),
                        Arg::Bytes(value) => query.bind(value),
                    };
                }
                let $this = self;
                let rows = $finish(query.fetch_all($executor)).await?;
                rows.iter()
                    .map(|row| {
                        row.columns()
                            .iter()
                            .enumerate()
                            .map(|(index, column)| {
                                let value = row.try_get_raw(index)?;
                                let cell = if value.is_null() {
                                    Cell::Null
                                } else {
                                    match value.type_info().name() {
                                        "TEXT" | "VARCHAR" | "NAME" => {
                                            Cell::Text(row.try_get(index)?)
                                        }
                                        "INTEGER" | "INT8" => Cell::Int(row.try_get(index)?),
                                        _ => Cell::Bytes(row.try_get(index)?),
                                    }
                                };
                                Ok((column.name().to_owned(), cell))
                            })
                            .collect::<Result<Vec<_>, sqlx::Error>>()
                            .map(Row)
                    })
                    .collect()
            }

            async fn commit(self: Box<Self>) -> Result<(), sqlx::Error> {
                let $ended = self;
                $commit
            }
        }
    };
}

connection!(
    Transaction<'static, Sqlite>,
    Sqlite,
    std::convert::identity,
    |tx| &mut **tx,
    |tx| Transaction::commit(*tx).await
);
connection!(
    Transaction<'static, Postgres>,
    Postgres,
    std::convert::identity,
    |tx| &mut **tx,
    |tx| Transaction::commit(*tx).await
);
connection!(Turn, Sqlite, at_once, |turn| turn.connection(), |turn| {
    (*turn).end()
});

async fn at_once<T>(work: impl Future<Output = T>) -> T {
    finished(work)
}

impl Row {
    fn cell(&self, column: &'static str) -> Result<&Cell, DbError> {
        self.0
            .iter()
            .find(|(name, _)| name == column)
            .map(|(_, cell)| cell)
            .ok_or_else(|| DbError::corrupt(column, "no such column"))
    }

    pub(super) fn text(&self, column: &'static str) -> Result<String, DbError> {
        self.maybe_text(column)?
            .ok_or_else(|| DbError::corrupt(column, "null"))
    }

    pub(super) fn maybe_text(&self, column: &'static str) -> Result<Option<String>, DbError> {
        match self.cell(column)? {
            Cell::Null => Ok(None),
            Cell::Text(value) => Ok(Some(value.clone())),
            _ => Err(DbError::corrupt(column, "not text")),
        }
    }

    pub(super) fn int(&self, column: &'static str) -> Result<i64, DbError> {
        self.maybe_int(column)?
            .ok_or_else(|| DbError::corrupt(column, "null"))
    }

    pub(super) fn maybe_int(&self, column: &'static str) -> Result<Option<i64>, DbError> {
        match self.cell(column)? {
            Cell::Null => Ok(None),
            Cell::Int(value) => Ok(Some(*value)),
            _ => Err(DbError::corrupt(column, "not an integer")),
        }
    }

    /// An integer that is never negative.
    pub(super) fn count<T: TryFrom<i64>>(&self, column: &'static str) -> Result<T, DbError> {
        T::try_from(self.int(column)?).map_err(|_| DbError::corrupt(column, "out of range"))
    }

    pub(super) fn bytes(&self, column: &'static str) -> Result<Vec<u8>, DbError> {
        match self.cell(column)? {
            Cell::Bytes(value) => Ok(value.clone()),
            // SQLite gives an empty blob the type of nothing.
            Cell::Null => Ok(Vec::new()),
            _ => Err(DbError::corrupt(column, "not bytes")),
        }
    }

    /// A text with a shape.
    pub(super) fn parsed<T>(&self, column: &'static str) -> Result<T, DbError>
    where
        T: std::str::FromStr,
        T::Err: std::fmt::Display,
    {
        self.text(column)?
            .parse()
            .map_err(|error: T::Err| DbError::corrupt(column, error.to_string()))
    }

    /// A text with a shape, or none.
    pub(super) fn maybe_parsed<T>(&self, column: &'static str) -> Result<Option<T>, DbError>
    where
        T: std::str::FromStr,
        T::Err: std::fmt::Display,
    {
        self.maybe_text(column)?
            .map(|text| {
                text.parse()
                    .map_err(|error: T::Err| DbError::corrupt(column, error.to_string()))
            })
            .transpose()
    }

    /// JSON.
    pub(super) fn json<T: serde::de::DeserializeOwned>(
        &self,
        column: &'static str,
    ) -> Result<T, DbError> {
        serde_json::from_str(&self.text(column)?)
            .map_err(|error| DbError::corrupt(column, error.to_string()))
    }

    pub(super) fn time(&self, column: &'static str) -> Result<Timestamp, DbError> {
        self.maybe_time(column)?
            .ok_or_else(|| DbError::corrupt(column, "null"))
    }

    pub(super) fn maybe_time(&self, column: &'static str) -> Result<Option<Timestamp>, DbError> {
        self.maybe_int(column)?
            .map(|ms| {
                Timestamp::from_millisecond(ms).map_err(|_| DbError::corrupt(column, "not a time"))
            })
            .transpose()
    }
}

/// JSON of plain data.
pub(super) fn json<T: serde::Serialize>(value: &T) -> Result<String, DbError> {
    serde_json::to_string(value).map_err(|error| DbError::corrupt("json", error.to_string()))
}

macro_rules! text_args {
    ($($kind:ty),*) => { $(
        impl From<&$kind> for Arg {
            fn from(value: &$kind) -> Self {
                Self::Text(Some(value.to_string()))
            }
        }
        impl From<Option<&$kind>> for Arg {
            fn from(value: Option<&$kind>) -> Self {
                Self::Text(value.map(ToString::to_string))
            }
        }
    )* };
}
text_args!(str, String, StoreId, NodeId, StoreName, Digest);

impl From<String> for Arg {
    fn from(value: String) -> Self {
        Self::Text(Some(value))
    }
}

impl From<Option<String>> for Arg {
    fn from(value: Option<String>) -> Self {
        Self::Text(value)
    }
}

impl From<i64> for Arg {
    fn from(value: i64) -> Self {
        Self::Int(Some(value))
    }
}

impl From<Option<i64>> for Arg {
    fn from(value: Option<i64>) -> Self {
        Self::Int(value)
    }
}

impl From<u32> for Arg {
    fn from(value: u32) -> Self {
        Self::Int(Some(i64::from(value)))
    }
}

/// Counters and byte sizes: none comes near 2^63, and one that did would stop there instead of turning negative.
impl From<u64> for Arg {
    fn from(value: u64) -> Self {
        Self::Int(Some(i64::try_from(value).unwrap_or(i64::MAX)))
    }
}

impl From<bool> for Arg {
    fn from(value: bool) -> Self {
        Self::Int(Some(i64::from(value)))
    }
}

impl From<Generation> for Arg {
    fn from(value: Generation) -> Self {
        value.get().into()
    }
}

impl From<Timestamp> for Arg {
    fn from(value: Timestamp) -> Self {
        Self::Int(Some(value.as_millisecond()))
    }
}

impl From<Option<Timestamp>> for Arg {
    fn from(value: Option<Timestamp>) -> Self {
        Self::Int(value.map(Timestamp::as_millisecond))
    }
}

impl From<&[u8]> for Arg {
    fn from(value: &[u8]) -> Self {
        Self::Bytes(value.to_owned())
    }
}

macro_rules! args {
    ($($value:expr),* $(,)?) => { vec![$($crate::db::driver::Arg::from($value)),*] };
}
pub(super) use args;

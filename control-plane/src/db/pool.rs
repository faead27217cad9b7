//! Connections, transactions, migrations.

use std::{io, path::Path, str::FromStr, sync::Arc, time::Duration};

use sqlx::{
    Connection as _, PgPool, SqliteConnection, SqlitePool,
    migrate::{MigrateError, Migrator},
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::sync::watch;

use super::{
    DbError,
    alone::{Alone, finished},
    driver::{Arg, Connection, Row, Sql, args},
};

static SQLITE_MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");
static POSTGRES_MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

/// How long a caller waits for a connection; then it is told that the database is busy.
const ACQUIRE: Duration = Duration::from_secs(5);
/// How long SQLite waits for another process's lock.
const BUSY: Duration = Duration::from_secs(5);
/// How long PostgreSQL may work on one statement, and wait for the turn to write.
const STATEMENT: &str = "10s";
const LOCK: &str = "5s";
const READERS: u32 = 4;
/// Bytes that an SQLite file's file system must have left: a few changes of a busy moment.
const LEAST_ROOM: u64 = 1 << 20;
/// PostgreSQL's locks are its databases', and one of them may hold several control planes' tables, each in a schema: all writers of one schema
/// take this number with that of the schema.
const WRITER_LOCK: i64 = 0x5f0b;
const TURN: &str = "SELECT pg_advisory_xact_lock($1::int, (SELECT oid::int FROM pg_namespace WHERE nspname = current_schema()))";

/// The database. Cheap to clone.
#[derive(Clone)]
pub struct Db {
    pools: Pools,
    changes: Arc<watch::Sender<u64>>,
}

#[derive(Clone)]
enum Pools {
    Sqlite {
        writer: SqlitePool,
        readers: SqlitePool,
    },
    Postgres(PgPool),
    Alone(Alone),
}

/// Which database it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

impl Engine {
    /// As shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgresql",
        }
    }
}

/// An open transaction. Dropped without [`Tx::commit`], it changes nothing.
pub struct Tx {
    connection: Box<dyn Connection>,
    /// Newest change_seq given out in this transaction.
    changed: Option<u64>,
    changes: Arc<watch::Sender<u64>>,
}

impl Db {
    /// `sqlite:///path/to/file.db`, a plain path, or `postgres://…`. Makes the SQLite file, readable by its owner only; does not migrate.
    ///
    /// # Errors
    /// When the URL names no database, or none answers there.
    pub async fn open(url: &str) -> Result<Self, DbError> {
        let pools = if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            let options = PgConnectOptions::from_str(url)?
                .application_name("shopfleet")
                .options([("statement_timeout", STATEMENT), ("lock_timeout", LOCK)]);
            let pool = PgPoolOptions::new()
                .max_connections(READERS + 4)
                .acquire_timeout(ACQUIRE)
                .connect_with(options)
                .await?;
            Pools::Postgres(pool)
        } else {
            let path = url
                .strip_prefix("sqlite://")
                .or_else(|| url.strip_prefix("sqlite:"))
                .unwrap_or(url);
            if path.contains("://") || path.is_empty() {
                return Err(DbError::Url);
            }
            Self::open_sqlite(path).await?
        };
        Ok(Self {
            pools,
            changes: Arc::new(watch::channel(0).0),
        })
    }

    /// An SQLite file for a simulation: in step with simulated time, and not durable. Does not migrate.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub fn open_simulated(path: &Path) -> Result<Self, DbError> {
        Ok(Self {
            pools: Pools::Alone(Alone::open(path)?),
            changes: Arc::new(watch::channel(0).0),
        })
    }

    async fn open_sqlite(path: &str) -> Result<Pools, DbError> {
        make_private(path).map_err(|error| DbError::Unreachable(sqlx::Error::Io(error)))?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY);
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(ACQUIRE)
            .idle_timeout(None)
            .max_lifetime(None)
            .after_release(|connection, _| Box::pin(outside(connection)))
            .connect_with(options.clone())
            .await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(ACQUIRE)
            .after_release(|connection, _| Box::pin(outside(connection)))
            .connect_with(options.pragma("query_only", "ON"))
            .await?;
        Ok(Pools::Sqlite { writer, readers })
    }

    /// Which database it is.
    #[must_use]
    pub const fn engine(&self) -> Engine {
        match self.pools {
            Pools::Sqlite { .. } | Pools::Alone(_) => Engine::Sqlite,
            Pools::Postgres(_) => Engine::Postgres,
        }
    }

    const fn migrations(&self) -> &'static Migrator {
        match self.pools {
            Pools::Sqlite { .. } | Pools::Alone(_) => &SQLITE_MIGRATIONS,
            Pools::Postgres(_) => &POSTGRES_MIGRATIONS,
        }
    }

    /// Brings the schema to what this release knows. Running it again changes nothing. Names the migrations that ran.
    ///
    /// # Errors
    /// When a newer release has been here, or a statement fails; then nothing of that migration stays.
    pub async fn migrate(&self) -> Result<Vec<String>, DbError> {
        let before = self.applied().await?;
        let done = match &self.pools {
            Pools::Sqlite { writer, .. } => SQLITE_MIGRATIONS.run(writer).await,
            Pools::Postgres(pool) => POSTGRES_MIGRATIONS.run(pool).await,
            Pools::Alone(alone) => {
                let mut connection = alone.connection().await;
                finished(SQLITE_MIGRATIONS.run(&mut *connection))
            }
        };
        done.map_err(|error| match error {
            MigrateError::VersionMissing(found) => DbError::SchemaNewer { found },
            MigrateError::Execute(error) => error.into(),
            other => DbError::Migration(other),
        })?;
        Ok(self
            .migrations()
            .iter()
            .filter(|migration| !before.contains(&migration.version))
            .map(|migration| format!("{:04} {}", migration.version, migration.description))
            .collect())
    }

    /// Whether the schema is exactly this release's.
    ///
    /// # Errors
    /// When it is older or newer, or the database does not answer.
    pub async fn check_schema(&self) -> Result<(), DbError> {
        let applied = self.applied().await?;
        let known: Vec<i64> = self.migrations().iter().map(|m| m.version).collect();
        if let Some(found) = applied.iter().find(|version| !known.contains(version)) {
            return Err(DbError::SchemaNewer { found: *found });
        }
        match known.iter().find(|version| !applied.contains(version)) {
            Some(missing) => Err(DbError::SchemaOlder { missing: *missing }),
            None => Ok(()),
        }
    }

    async fn applied(&self) -> Result<Vec<i64>, DbError> {
        let mut tx = self.read().await?;
        let there = match self.engine() {
            Engine::Sqlite => "SELECT name FROM sqlite_master WHERE name = '_sqlx_migrations'",
            Engine::Postgres => {
                "SELECT tablename FROM pg_tables WHERE tablename = '_sqlx_migrations' AND schemaname = current_schema()"
            }
        };
        if tx.rows(there, vec![]).await?.is_empty() {
            return Ok(Vec::new());
        }
        let sql = "SELECT version FROM _sqlx_migrations ORDER BY version";
        let rows = tx.rows(sql, vec![]).await?;
        rows.iter().map(|row| row.int("version")).collect()
    }

    /// Answers and takes writes, and has room for more of them.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<(), DbError> {
        if let Pools::Sqlite { writer, .. } = &self.pools {
            let path = writer.connect_options().get_filename().to_path_buf();
            tokio::task::spawn_blocking(move || room(&path))
                .await
                .map_err(|error| {
                    DbError::Unreachable(sqlx::Error::Io(io::Error::other(error)))
                })??;
        }
        let mut tx = self.write().await?;
        tx.execute(
            "UPDATE counters SET value = value WHERE name = $1",
            args!["change"],
        )
        .await?;
        tx.commit().await
    }

    /// Hint that something changed: the newest change_seq committed here. The tables are the truth.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// A transaction that may write. There is one at a time.
    ///
    /// # Errors
    /// When the turn does not come in time.
    pub async fn write(&self) -> Result<Tx, DbError> {
        match &self.pools {
            Pools::Sqlite { writer, .. } => {
                Ok(self.tx(Box::new(writer.begin_with("BEGIN IMMEDIATE").await?)))
            }
            Pools::Postgres(pool) => {
                let mut tx = self.tx(Box::new(pool.begin().await.map_err(DbError::unconnected)?));
                tx.execute(TURN, args![WRITER_LOCK]).await?;
                Ok(tx)
            }
            Pools::Alone(alone) => Ok(self.tx(Box::new(alone.begin().await?))),
        }
    }

    /// One consistent view. Writing through it fails.
    ///
    /// # Errors
    /// When no connection is free in time.
    pub async fn read(&self) -> Result<Tx, DbError> {
        match &self.pools {
            Pools::Sqlite { readers, .. } => Ok(self.tx(Box::new(readers.begin().await?))),
            Pools::Postgres(pool) => {
                let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY";
                let begun = pool.begin_with(begin).await;
                Ok(self.tx(Box::new(begun.map_err(DbError::unconnected)?)))
            }
            Pools::Alone(alone) => Ok(self.tx(Box::new(alone.begin().await?))),
        }
    }

    fn tx(&self, connection: Box<dyn Connection>) -> Tx {
        Tx {
            connection,
            changed: None,
            changes: Arc::clone(&self.changes),
        }
    }

    /// Waits for what is under way and closes the files.
    pub async fn close(&self) {
        match &self.pools {
            Pools::Sqlite { writer, readers } => {
                readers.close().await;
                writer.close().await;
            }
            Pools::Postgres(pool) => pool.close().await,
            Pools::Alone(_) => {}
        }
    }
}

/// Whether the file system of an SQLite file has room. What goes into a part of the log that was written before says nothing about it.
fn room(path: &Path) -> Result<(), DbError> {
    let found = rustix::fs::statvfs(path)
        .map_err(|error| DbError::Unreachable(sqlx::Error::Io(error.into())))?;
    if found.f_bavail.saturating_mul(found.f_frsize) < LEAST_ROOM {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        return Err(DbError::Full(sqlx::Error::Io(full)));
    }
    Ok(())
}

impl Tx {
    pub(super) async fn execute(
        &mut self,
        sql: impl Into<Sql>,
        args: Vec<Arg>,
    ) -> Result<u64, DbError> {
        Ok(self.connection.execute(sql.into(), args).await?)
    }

    pub(super) async fn rows(
        &mut self,
        sql: impl Into<Sql>,
        args: Vec<Arg>,
    ) -> Result<Vec<Row>, DbError> {
        Ok(self.connection.rows(sql.into(), args).await?)
    }

    pub(super) async fn row(
        &mut self,
        sql: impl Into<Sql>,
        args: Vec<Arg>,
    ) -> Result<Option<Row>, DbError> {
        Ok(self.rows(sql, args).await?.into_iter().next())
    }

    /// The next number of a counter.
    pub(super) async fn next(&mut self, counter: &'static str) -> Result<u64, DbError> {
        let sql = "UPDATE counters SET value = value + 1 WHERE name = $1 RETURNING value";
        self.row(sql, args![counter])
            .await?
            .ok_or_else(|| DbError::corrupt("counters", "a counter is missing"))?
            .count("value")
    }

    /// The next change_seq; announced when the transaction commits.
    pub(super) async fn next_change(&mut self) -> Result<u64, DbError> {
        let seq = self.next("change").await?;
        self.changed = Some(seq);
        Ok(seq)
    }

    /// The newest change_seq.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn change_seq(&mut self) -> Result<u64, DbError> {
        self.row(
            "SELECT value FROM counters WHERE name = $1",
            args!["change"],
        )
        .await?
        .ok_or_else(|| DbError::corrupt("counters", "a counter is missing"))?
        .count("value")
    }

    /// Makes everything durable, then tells who waits for changes.
    ///
    /// # Errors
    /// When it is not durable; then nothing of it stays.
    pub async fn commit(self) -> Result<(), DbError> {
        self.connection.commit().await?;
        if let Some(seq) = self.changed {
            self.changes.send_if_modified(|newest| {
                let newer = seq > *newest;
                *newest = (*newest).max(seq);
                newer
            });
        }
        Ok(())
    }
}

/// Whether a connection has left its transaction, and so may be used again. On a full disk SQLite rolls back by itself; the driver's own
/// ROLLBACK then fails and it believes for ever that a transaction is open. Such a connection is closed, and a new one takes its place.
async fn outside(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    // What was sent before, such as a dropped transaction's ROLLBACK, is done when this answers.
    connection.ping().await?;
    Ok(!connection.is_in_transaction())
}

/// The file holds token digests and the audit chain: nobody else's business.
fn make_private(path: &str) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_writer_outlives_a_transaction_that_sqlite_ended_by_itself() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("test.db");
        let db = Db::open(&path.display().to_string()).await.unwrap();
        db.migrate().await.unwrap();
        let mut tx = db.write().await.unwrap();
        tx.execute("ROLLBACK", vec![]).await.unwrap();
        drop(tx);
        db.ping().await.unwrap();
        let mut tx = db.write().await.unwrap();
        tx.execute("ROLLBACK", vec![]).await.unwrap();
        assert!(tx.commit().await.is_err(), "it did not become durable");
        db.ping().await.unwrap();
    }
}

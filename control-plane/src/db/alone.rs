//! One SQLite connection whose statements are finished before anything else goes on. For simulations: a statement takes no simulated time,
//! and no thread decides what happens next. Not for serving: it holds up the runtime, and it is not durable.

use std::{
    path::Path,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
};

use sqlx::{
    ConnectOptions as _, Executor as _, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use tokio::sync::{Mutex, OwnedMutexGuard};

/// The connection. Cheap to clone.
#[derive(Clone)]
pub(super) struct Alone(Arc<Mutex<SqliteConnection>>);

/// A transaction on it; the next one waits for its end.
pub(super) struct Turn {
    connection: OwnedMutexGuard<SqliteConnection>,
    open: bool,
}

impl Alone {
    pub(super) fn open(path: &Path) -> Result<Self, sqlx::Error> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Memory)
            .synchronous(SqliteSynchronous::Off)
            .foreign_keys(true);
        Ok(Self(Arc::new(Mutex::new(finished(options.connect())?))))
    }

    pub(super) async fn connection(&self) -> OwnedMutexGuard<SqliteConnection> {
        self.0.clone().lock_owned().await
    }

    pub(super) async fn begin(&self) -> Result<Turn, sqlx::Error> {
        let mut connection = self.connection().await;
        finished(connection.execute("BEGIN IMMEDIATE"))?;
        Ok(Turn {
            connection,
            open: true,
        })
    }
}

impl Turn {
    pub(super) fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }

    pub(super) fn end(mut self) -> Result<(), sqlx::Error> {
        finished(self.connection.execute("COMMIT"))?;
        self.open = false;
        Ok(())
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.open {
            // A statement that failed may have ended the transaction already.
            let _ = finished(self.connection.execute("ROLLBACK"));
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for the database's thread, and for nothing else.
pub(super) fn finished<T>(work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        match work.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(done) => return done,
            Poll::Pending => thread::park(),
        }
    }
}

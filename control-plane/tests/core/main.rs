//! The control plane's core on real databases: every test runs on SQLite, and on PostgreSQL when `SHOPFLEET_TEST_POSTGRES` names one.

mod access;
mod behind;
mod deletion;
mod faults;
mod harness;
mod life;
#[path = "../support/memory.rs"]
mod memory;
mod outgrown;
mod records;
mod refusals;
mod rollouts;
mod room;
mod rotation;
mod support;

/// One test on every database there is.
macro_rules! on_every_database {
    ($($name:ident),* $(,)?) => { $(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            for url in crate::harness::databases() {
                body::$name(url.as_deref()).await;
            }
        }
    )* };
}
pub(crate) use on_every_database;

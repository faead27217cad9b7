//! The only place that names sqlx: what the control plane keeps, on SQLite or PostgreSQL, through one body of SQL.
//!
//! One writer at a time on both: SQLite has no more, and on PostgreSQL a transaction lock gives the same order, so that `change_seq` and the
//! audit chain have no gaps and nothing becomes visible out of order.

mod alone;
mod audit;
mod driver;
mod durations;
mod enrolment;
mod error;
mod events;
mod nodes;
mod operations;
mod pool;
mod receipts;
mod relayed;
mod revisions;
mod rollouts;
mod stores;
mod tasks;
mod tokens;

pub use enrolment::{JoinAttempt, JoinRefusal, SAME_ANSWER};
pub use error::DbError;
pub use operations::IdempotencyRecord;
pub use pool::{Db, Engine, Tx};
pub use stores::{NodeLoad, StoreFilter, StoreSort};

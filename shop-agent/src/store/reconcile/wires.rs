//! What goes in and out of the reconciler.

use super::tasks::AboutRun;
use shop_proto::ServiceName;
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    ledger::{Accepted, Run},
    store::{order::Refusal, report::Report},
};

/// What the session asks of the reconciler.
#[derive(Debug)]
pub enum Command {
    /// To be this store. Answered when it is on disk, or refused.
    Desired(Box<Accepted>, oneshot::Sender<Result<(), Refusal>>),
    /// Something about a run of a task. Answered when it is on disk, or with the code of why it is not.
    Run(AboutRun, oneshot::Sender<Result<(), &'static str>>),
}

/// What the reconciler has to say, besides reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// Something worth telling.
    Event(Event),
    /// The order cannot be carried out.
    Refusal(Refusal),
}

/// Something worth telling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Stable code.
    pub code: &'static str,
    /// `info`, `warning` or `error`.
    pub severity: &'static str,
    /// One sentence; no bytes of the shop.
    pub message: String,
    /// When, in Unix milliseconds.
    pub at_unix_ms: i64,
    /// Which service, if one.
    pub service: Option<ServiceName>,
}

/// Ends of the reconciler's channels.
pub struct Wires {
    /// Orders.
    pub commands: mpsc::Receiver<Command>,
    /// The latest report.
    pub reports: watch::Sender<Report>,
    /// Runs of tasks, but for those that the control plane has recorded.
    pub runs: watch::Sender<Vec<Run>>,
    /// Events and late refusals; when full, dropped: they are told by reports as well.
    pub notices: mpsc::Sender<Notice>,
}

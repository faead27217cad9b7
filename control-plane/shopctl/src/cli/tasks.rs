//! `store task …` as clap reads it.

use clap::{Args, Subcommand};

use super::Wait;

#[derive(Debug, Subcommand)]
pub(crate) enum TaskCommand {
    /// Run a task of a store once.
    Run(TaskRun),
    /// Show what a store offers and what was run.
    List {
        /// Name or id.
        store: String,
    },
    /// Show what a run wrote, sealed on the way to you.
    Logs {
        /// Name or id.
        store: String,
        /// Id of the run.
        run: String,
    },
    /// End a run before its time.
    Cancel {
        /// Id of the run.
        run: String,
        /// Why, for the audit log.
        #[arg(long, default_value = "")]
        reason: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct TaskRun {
    /// Name or id.
    pub store: String,
    /// Which task; `shopctl store task list STORE` shows them.
    pub task: String,
    /// Its arguments, in order. One that starts with a hyphen comes after `--`.
    pub arguments: Vec<String>,
    /// Show what it writes until it ends.
    #[arg(short, long)]
    pub follow: bool,
    /// Why, for the audit log.
    #[arg(long, default_value = "")]
    pub reason: String,
    /// Makes a repeated command answer as the first did.
    #[arg(long, value_name = "KEY", default_value = "")]
    pub idempotency_key: String,
    #[command(flatten)]
    pub wait: Wait,
}

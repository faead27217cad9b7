//! `shopctl`, the operator's command line.
//!
//! It speaks to the control plane only through `shopfleet.admin.v1`, over TLS whose root it pins, and holds the operator's signing keys:
//! what the control plane must not be able to read or forge is signed, sealed and opened here. No database, no CA, no Docker.

mod cli;
mod client;
mod commands;
mod connect;
mod context;
mod failure;
mod files;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod output;
mod progress;
mod prompt;
mod trust;
mod view;

use std::{process::ExitCode, sync::Arc};

pub use cli::Cli;
use failure::Failure;

/// Runs one command line to its end. Exit codes: 0 done, 1 failed, 2 bad usage, 3 not ready in time.
#[must_use]
pub fn run(cli: Cli) -> ExitCode {
    match execute(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let failure = error.downcast_ref::<Failure>();
            if failure.is_some_and(Failure::is_silent) {
                return ExitCode::SUCCESS;
            }
            eprint!("{}", output::plain_lines(&failure::report(&error)));
            ExitCode::from(failure.map_or(1, Failure::exit_code))
        }
    }
}

fn execute(cli: Cli) -> anyhow::Result<()> {
    // One crypto provider in the whole process; a second installation can only be the same one.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(commands::dispatch(cli, provider))
}

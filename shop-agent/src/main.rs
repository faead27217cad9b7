//! Parses, starts telemetry, runs one role. Everything else is in the library.

use std::process::ExitCode;

use clap::Parser as _;
#[cfg(feature = "node")]
use shop_agent::node;
use shop_agent::{
    cli::{Cli, Command},
    hardening, names, store, telemetry,
};

fn main() -> ExitCode {
    let cli = Cli::parse();
    telemetry::start();
    if let Err(error) = hardening::undumpable() {
        tracing::warn!(%error, "other processes of this user can read this one's memory");
    }
    // The one TLS provider. An error means that it is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let typed = cli.command.is_typed();
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if typed => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        // One thread: a shop agent waits, and must be small.
        Command::Run(args) => tokio::runtime::Builder::new_current_thread()
            .enable_all()
            // File-system calls only; each thread costs memory.
            .max_blocking_threads(2)
            .build()?
            .block_on(store::run(args)),
        #[cfg(feature = "node")]
        Command::Node(args) => tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?
            .block_on(node::run(args)),
        #[cfg(feature = "node")]
        Command::Export(args) => tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?
            .block_on(node::export(args))
            .map_err(Into::into),
        Command::Names(args) => tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?
            .block_on(names::run(args)),
        Command::SelfTest => {
            telemetry::self_test()?;
            println!("ok");
            Ok(())
        }
    }
}

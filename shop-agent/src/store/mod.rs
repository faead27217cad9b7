//! The shop-agent role: one store, its secrets, its services.

use std::path::PathBuf;

use clap::Args;

mod probe;

/// Arguments of `shop-agent run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Socket of the node agent's broker. `enroll.sock` and `session.sock` lie beside it.
    #[arg(
        long,
        env = "SHOPFLEET_BROKER",
        default_value = "/run/shopfleet/broker.sock"
    )]
    pub broker: PathBuf,
    /// Directory of the vault and the ledger: the agent's own volume.
    #[arg(long, env = "SHOPFLEET_VAULT", default_value = "/var/lib/shopfleet")]
    pub vault: PathBuf,
    /// Directory with one secrets volume per consumer.
    #[arg(long, env = "SHOPFLEET_SECRETS", default_value = "/secrets")]
    pub secrets: PathBuf,
}

/// Runs until SIGTERM. What it started keeps running.
///
/// # Errors
/// When the vault cannot be used.
pub async fn run(_args: RunArgs) -> anyhow::Result<()> {
    anyhow::bail!("not in this build")
}

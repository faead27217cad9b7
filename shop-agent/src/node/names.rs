//! The name responder.

use clap::Args;

/// Arguments of `shop-agent names`.
#[derive(Debug, Args)]
pub struct NamesArgs {}

/// Runs until SIGTERM.
///
/// # Errors
/// When the socket cannot be bound.
pub async fn run(_args: NamesArgs) -> anyhow::Result<()> {
    anyhow::bail!("not in this build")
}

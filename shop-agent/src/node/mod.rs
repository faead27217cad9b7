//! The node role: Docker, firewall, addresses, the broker.

use clap::Args;

pub mod names;

/// Arguments of `shop-agent node`.
#[derive(Debug, Args)]
pub struct NodeArgs {}

/// Runs until SIGTERM.
///
/// # Errors
/// When the node cannot be run.
pub async fn run(_args: NodeArgs) -> anyhow::Result<()> {
    anyhow::bail!("not in this build")
}

//! The command line. Each role owns its own arguments; secrets are never among them.

use clap::{Parser, Subcommand};

#[cfg(feature = "node")]
use crate::node;
use crate::{names, store};

/// Agents of Shopfleet.
#[derive(Debug, Parser)]
#[command(name = "shop-agent", version, about)]
pub struct Cli {
    /// Which role to run.
    #[command(subcommand)]
    pub command: Command,
}

/// The roles.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the agent of one store, inside the store's networks.
    Run(store::RunArgs),
    /// Run the agent of this host.
    #[cfg(feature = "node")]
    Node(node::NodeArgs),
    /// Write what the volumes of a stopped store hold to standard output, as a tar archive.
    #[cfg(feature = "node")]
    Export(node::ExportArgs),
    /// Answer the edge's questions about which containers serve a host name.
    Names(names::NamesArgs),
    /// Check that this binary can do on this machine what it will need: randomness, keys, TLS.
    SelfTest,
}

impl Command {
    /// Whether a person types it and reads what comes of it; the others are run by something that reads logs.
    #[must_use]
    pub const fn is_typed(&self) -> bool {
        #[cfg(feature = "node")]
        if matches!(self, Self::Export(_)) {
            return true;
        }
        matches!(self, Self::SelfTest)
    }
}

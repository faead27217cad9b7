//! The command line.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand};
use shop_proto::TrustDomain;

use crate::config::{Advertised, DEFAULT_DATA, FILE};

/// The control plane of a Shopfleet: desired state, identity, placement, operations and audit. It holds no store secret.
#[derive(Debug, Parser)]
#[command(name = "control-plane", version, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make configuration, identity, database and the first admin token. Run again, it changes nothing.
    Init(Box<Init>),
    /// Serve until SIGTERM.
    Serve(Location),
    /// Bring the database's schema to what this release knows.
    Migrate(Location),
    /// Manage admin tokens on the host itself.
    Token {
        #[command(subcommand)]
        command: Token,
    },
    /// Print the OpenAPI document of the admin API.
    Openapi,
    /// Ask the running control plane whether it is ready; exit code 0 when it is.
    Health(Location),
}

/// Which configuration.
#[derive(Debug, Clone, Args)]
pub struct Location {
    /// The configuration file.
    #[arg(long, env = "SHOPFLEET_CONFIG", conflicts_with = "data")]
    config: Option<PathBuf>,
    /// The data directory, with the configuration file in it.
    #[arg(long, default_value = DEFAULT_DATA)]
    data: PathBuf,
}

impl Location {
    /// Path of the configuration file.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.config.clone().unwrap_or_else(|| self.data.join(FILE))
    }
}

/// `init`.
#[derive(Debug, Clone, Args)]
pub struct Init {
    /// Where to keep everything.
    #[arg(long, default_value = DEFAULT_DATA)]
    pub data: PathBuf,
    /// Where agents reach this control plane: HOST or HOST:ENROLMENT_PORT,AGENTS_PORT. May be repeated.
    #[arg(long, value_name = "HOST[:PORT,PORT]")]
    pub advertise: Vec<Advertised>,
    /// Stores get names under it.
    #[arg(long, default_value = "localhost")]
    pub base_domain: String,
    /// The first part of every identity. Cannot be changed later.
    #[arg(long, default_value = "shopfleet")]
    pub trust_domain: TrustDomain,
    /// `sqlite:///path` or `postgres://…`; a SQLite file in the data directory when left out. A URL with a password is better read from a
    /// file: other users see arguments.
    #[arg(long, conflicts_with = "database_file")]
    pub database: Option<String>,
    /// A file with the database URL in its first line.
    #[arg(long)]
    pub database_file: Option<PathBuf>,
    /// Bind the admin API here.
    #[arg(long)]
    pub listen_admin: Option<SocketAddr>,
    /// Bind enrolment here.
    #[arg(long)]
    pub listen_enrolment: Option<SocketAddr>,
    /// Bind the agents' sessions here.
    #[arg(long)]
    pub listen_agents: Option<SocketAddr>,
    /// Bind metrics and probes here.
    #[arg(long)]
    pub listen_metrics: Option<SocketAddr>,
    #[command(flatten)]
    pub output: TokenOutput,
}

/// `token`.
#[derive(Debug, Subcommand)]
pub enum Token {
    /// Make a new owner token; the ones made here before stop working.
    ResetAdmin {
        #[command(flatten)]
        location: Location,
        #[command(flatten)]
        output: TokenOutput,
    },
}

/// Where a fresh token goes.
#[derive(Debug, Clone, Args)]
pub struct TokenOutput {
    /// Write the token to this file, 0600, instead of showing it; `-` prints the token and nothing else.
    #[arg(long, value_name = "PATH")]
    pub token_file: Option<PathBuf>,
}

//! The command line as clap reads it. No behaviour.

mod amend;
mod rollouts;
mod tasks;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use amend::{
    Change, Limit, Limited, MaintenanceCommand, Plain, StoreHold, StoreLabel, StoreRollback,
    StoreRotate, StoreScale, StoreUpdate,
};
pub(crate) use rollouts::{Failures, RolloutCommand, RolloutStart};
pub(crate) use tasks::{TaskCommand, TaskRun};

/// Operate a fleet of isolated shops.
#[derive(Debug, Parser)]
#[command(
    name = "shopctl",
    version,
    propagate_version = false,
    max_term_width = 100
)]
pub struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Context to use instead of the current one.
    #[arg(long, global = true, env = "SHOPFLEET_CONTEXT", value_name = "NAME")]
    pub context: Option<String>,
    /// Where contexts and keys are kept [default: ~/.config/shopfleet].
    #[arg(long, global = true, env = "SHOPFLEET_CONFIG_DIR", value_name = "DIR")]
    pub config_dir: Option<PathBuf>,
    /// How to print results.
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table)]
    pub output: Format,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
    /// For people and programs.
    Yaml,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Remember a control plane: pins its root and keeps the token.
    Login(Login),
    /// Manage remembered control planes.
    #[command(subcommand)]
    Context(ContextCommand),
    /// Create and operate stores.
    #[command(subcommand)]
    Store(StoreCommand),
    /// See nodes and let new ones join.
    #[command(subcommand)]
    Node(NodeCommand),
    /// See which shops can be made.
    #[command(subcommand)]
    Template(TemplateCommand),
    /// See what was asked for and how far it is.
    #[command(subcommand)]
    Operation(OperationCommand),
    /// Update many stores, wave after wave.
    #[command(subcommand)]
    Rollout(RolloutCommand),
    /// Manage API tokens.
    #[command(subcommand)]
    Token(TokenCommand),
    /// Read and verify the audit log.
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Manage the operator's root and signing keys.
    #[command(subcommand)]
    Trust(TrustCommand),
    /// The state of the fleet at a glance.
    Status,
    /// A local door to the admin API for a browser or curl.
    Proxy(Proxy),
    /// Print a shell's completion script.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Print the versions of this tool and of the control plane.
    Version,
}

#[derive(Debug, Args)]
pub(crate) struct Login {
    /// Where the admin API is, such as https://shop-control.example:7440.
    pub url: String,
    /// The root's pin, sha256:<64 hex characters>, as `control-plane init` printed it.
    #[arg(long, value_name = "PIN")]
    pub ca_pin: String,
    /// Read the token from this file instead of standard input.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Name of the context.
    #[arg(long, default_value = "default", value_name = "NAME")]
    pub name: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ContextCommand {
    /// List contexts.
    List,
    /// Make a context the current one.
    Use {
        /// Its name.
        name: String,
    },
    /// Forget a context and its token.
    Remove {
        /// Its name.
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Create a store.
    Create(Box<StoreCreate>),
    /// List stores.
    List(StoreList),
    /// Show one store.
    Get {
        /// Name or id.
        store: String,
    },
    /// Start a stopped store.
    Start(StoreAction),
    /// Stop a store; its data stays.
    Stop(StoreAction),
    /// Restart a store's services.
    Restart(StoreAction),
    /// Delete a store with all its data: stopped at once, gone after a time of grace.
    Delete(StoreDelete),
    /// Make a new store with this one's configuration: no data, no secrets, no host names.
    Clone(Box<StoreClone>),
    /// Take a deletion back while its time of grace lasts.
    Undelete(StoreAction),
    /// Show what a node signed about a deleted store, checked, and how to check it again.
    Receipt {
        /// Name or id.
        store: String,
    },
    /// Bring another revision: template version, parameters, profiles, limits; nobody waits, and a bad minute takes it back.
    Update(Box<StoreUpdate>),
    /// Show what an update would do, service by service.
    Diff(Box<StoreUpdate>),
    /// List the revisions of a store that are kept.
    Revisions {
        /// Name or id.
        store: String,
    },
    /// Go back to a revision that served.
    Rollback(StoreRollback),
    /// Give generated secrets new values while the store serves; the old ones are accepted until nobody has them any more.
    RotateSecret(StoreRotate),
    /// Change how many replicas of web and php-fpm serve.
    Scale(StoreScale),
    /// Show the maintenance page, or the shop again.
    #[command(subcommand)]
    Maintenance(MaintenanceCommand),
    /// Stop a store's containers and free its room on the node; the edge says so to buyers.
    Pause(Plain),
    /// Start a paused store again.
    Wake(Plain),
    /// Show what somebody changes by hand without repairing it, for a while.
    Hold(StoreHold),
    /// End a hold.
    Release(Plain),
    /// Set or remove labels, and the name for people.
    Label(StoreLabel),
    /// Say why a store is not running, or not what was asked, and what to type next.
    Explain {
        /// Name or id.
        store: String,
    },
    /// Show the last log lines of a store's services, sealed on the way to you.
    Logs {
        /// Name or id.
        store: String,
        /// One service only.
        service: Option<String>,
    },
    /// Run a store's tasks and see what was run.
    #[command(subcommand)]
    Task(TaskCommand),
    /// Show what happened to a store.
    Events {
        /// Name or id.
        store: String,
        /// Go on with new events as they come.
        #[arg(short, long)]
        follow: bool,
    },
    /// Show a store's services.
    Ps {
        /// Name or id.
        store: String,
    },
    /// Print a store's address.
    Open {
        /// Name or id.
        store: String,
        /// Open it in a browser as well.
        #[arg(long)]
        browser: bool,
    },
    /// Reveal a generated login of a store, sealed on the way to you.
    Credentials {
        /// Name or id.
        store: String,
        /// Which login.
        #[arg(default_value = "admin")]
        name: String,
    },
}

/// Waiting for an operation.
#[derive(Debug, Clone, Args)]
pub(crate) struct Wait {
    /// Wait until it is done, with live progress.
    #[arg(long)]
    pub wait: bool,
    /// How long to wait, in seconds.
    #[arg(long, default_value_t = 600, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub timeout: u64,
}

#[derive(Debug, Args)]
pub(crate) struct StoreCreate {
    /// a-z, 0-9 and single hyphens; unique.
    pub name: String,
    /// Template, such as refshop or refshop@1.
    #[arg(long)]
    pub template: String,
    /// Template parameter; repeat for more.
    #[arg(long = "param", visible_alias = "set", value_name = "KEY=VALUE", value_parser = key_value)]
    pub parameters: Vec<(String, String)>,
    /// Template profile, such as web=nginx; repeat for more.
    #[arg(long = "profile", value_name = "KEY=VALUE", value_parser = key_value)]
    pub profiles: Vec<(String, String)>,
    /// Limits, such as php-fpm.memory=512M or db.cpu=1.5; repeat for more.
    #[arg(long = "resources", value_name = "SERVICE.LIMIT=VALUE", value_parser = amend::limit)]
    pub resources: Vec<Limit>,
    /// Another image than the template's, which a node's allow-list must hold; repeat for more.
    #[arg(long = "image", value_name = "SERVICE=IMAGE", value_parser = key_value)]
    pub images: Vec<(String, String)>,
    /// How much of the outside it may reach: standard.
    #[arg(long, default_value = "")]
    pub isolation: String,
    /// A further host name; repeat for more.
    #[arg(long = "host", value_name = "NAME")]
    pub hosts: Vec<String>,
    /// Label; repeat for more.
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = key_value)]
    pub labels: Vec<(String, String)>,
    /// A name for people.
    #[arg(long, default_value = "")]
    pub display_name: String,
    /// production, staging, preview or development.
    #[arg(long, default_value = "")]
    pub environment: String,
    /// Project it belongs to.
    #[arg(long, default_value = "")]
    pub project: String,
    /// Node to place it on; the scheduler chooses when absent.
    #[arg(long, default_value = "")]
    pub node: String,
    /// Why, for the audit log.
    #[arg(long, default_value = "")]
    pub reason: String,
    /// Makes a repeated command answer as the first did.
    #[arg(long, value_name = "KEY", default_value = "")]
    pub idempotency_key: String,
    #[command(flatten)]
    pub wait: Wait,
}

#[derive(Debug, Args)]
pub(crate) struct StoreList {
    /// Label selector, such as team=a,tier!=test.
    #[arg(short = 'l', long, default_value = "")]
    pub selector: String,
    /// Only stores with this status.
    #[arg(long, default_value = "")]
    pub status: String,
    /// name or created; a leading - reverses.
    #[arg(long, default_value = "name", allow_hyphen_values = true)]
    pub sort: String,
}

#[derive(Debug, Args)]
pub(crate) struct StoreAction {
    /// Name or id.
    pub store: String,
    /// Why, for the audit log.
    #[arg(long, default_value = "")]
    pub reason: String,
    /// Only when this is still the store's generation.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub if_generation: u64,
    #[command(flatten)]
    pub wait: Wait,
}

#[derive(Debug, Args)]
pub(crate) struct StoreDelete {
    #[command(flatten)]
    pub action: StoreAction,
    /// Do not ask for the store's name.
    #[arg(short, long)]
    pub yes: bool,
    /// Without a time of grace: there is no way back.
    #[arg(long, conflicts_with = "grace")]
    pub now: bool,
    /// How long it can be taken back, such as 30m, 1h or 72h [default: the control plane's setting, 24h].
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "TIME"
    )]
    pub grace: String,
    /// Give up on a node that does not come back: ends the record, and takes down there what is left when it comes back after all.
    #[arg(long, conflicts_with_all = ["now", "grace"])]
    pub force_forget: bool,
}

#[derive(Debug, Args)]
pub(crate) struct StoreClone {
    /// Name or id of the store whose configuration is taken.
    pub store: String,
    /// Name of the new store.
    pub name: String,
    /// A name for people.
    #[arg(long, default_value = "")]
    pub display_name: String,
    /// Label over those of the first; repeat for more.
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = key_value)]
    pub labels: Vec<(String, String)>,
    /// production, staging, preview or development; that of the first when absent.
    #[arg(long, default_value = "")]
    pub environment: String,
    /// A host name of the new store; repeat for more.
    #[arg(long = "host", value_name = "NAME")]
    pub hosts: Vec<String>,
    /// Node to place it on; the scheduler chooses when absent.
    #[arg(long, default_value = "")]
    pub node: String,
    /// Why, for the audit log.
    #[arg(long, default_value = "")]
    pub reason: String,
    #[command(flatten)]
    pub wait: Wait,
}

#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// List nodes.
    List,
    /// Make a single-use join token and print the command that uses it.
    Join {
        /// How long the token is good for, in seconds.
        #[arg(long, default_value_t = 900, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(60..=86_400))]
        ttl: u32,
        /// Write the token to this new file (0600) instead of printing it.
        #[arg(long, value_name = "FILE")]
        token_file: Option<PathBuf>,
    },
    /// Forget a node that has no stores.
    Remove {
        /// Id or name.
        node: String,
        /// Why, for the audit log.
        #[arg(long, default_value = "")]
        reason: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum TemplateCommand {
    /// List templates.
    List,
    /// Show a template's parameters and profiles.
    Show {
        /// refshop or refshop@1.
        template: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum OperationCommand {
    /// List operations, newest first.
    List {
        /// Only of this store.
        #[arg(long, default_value = "")]
        store: String,
        /// Only in this state.
        #[arg(long, default_value = "")]
        state: String,
        /// How many.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
    },
    /// Take an operation back where that is possible; says why when it is too late.
    Cancel {
        /// Its id.
        id: String,
        /// Why, for the audit log.
        #[arg(long, default_value = "")]
        reason: String,
        #[command(flatten)]
        wait: Wait,
    },
    /// Follow an operation to its end.
    Watch {
        /// Its id.
        id: String,
        /// How long to follow, in seconds.
        #[arg(long, default_value_t = 600, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
        timeout: u64,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make an API token; it is shown once.
    Create {
        /// What it is for.
        name: String,
        /// owner, admin, developer or viewer.
        #[arg(long, default_value = "developer")]
        role: String,
        /// Days it is good for.
        #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=366))]
        days: u32,
        /// Write the token to this new file (0600) instead of printing it.
        #[arg(long, value_name = "FILE")]
        token_file: Option<PathBuf>,
    },
    /// List API tokens; never their secrets.
    List,
    /// Revoke an API token at once.
    Revoke {
        /// Its id.
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// List the last audit entries.
    List {
        /// How many.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=10_000))]
        limit: u64,
    },
    /// Recompute the hash chain of the whole log.
    Verify,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TrustCommand {
    /// Make the operator's root, a signing key and a roster of one, and publish the roster.
    Init,
    /// Print the pin of the operator's root and the id of the signing key.
    Show,
}

#[derive(Debug, Args)]
pub(crate) struct Proxy {
    /// Local port; 0 chooses a free one.
    #[arg(long, default_value_t = 7441)]
    pub port: u16,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write it as KEY=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn no_secret_can_be_given_as_an_argument() {
        for name in ["--token", "--password", "--secret"] {
            assert!(
                Cli::try_parse_from([
                    "shopctl",
                    "login",
                    "https://a:1",
                    "--ca-pin",
                    "x",
                    name,
                    "y"
                ])
                .is_err(),
                "{name}"
            );
        }
    }

    #[test]
    fn key_values() {
        assert_eq!(key_value("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert_eq!(key_value("a="), Ok(("a".to_owned(), String::new())));
        assert!(key_value("a").is_err());
        assert!(key_value("=b").is_err());
    }
}

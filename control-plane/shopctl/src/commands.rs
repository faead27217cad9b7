//! One module per noun; here only the way to them.

mod amend;
pub(crate) mod audit;
mod deletion;
mod explain;
mod fleet;
mod login;
mod operations;
mod proxy;
mod rollouts;
mod sealed;
mod stores;
pub(crate) mod tasks;
mod tokens;
mod trust;

use std::sync::Arc;

use clap::CommandFactory as _;
use rustls::crypto::CryptoProvider;

use crate::{
    cli::{Cli, Command, StoreCommand},
    client::Client,
    context::{ConfigDir, Remembered},
    output::Printer,
};

/// What every command works with.
pub(crate) struct Session {
    pub config: ConfigDir,
    pub printer: Printer,
    context: Option<String>,
    provider: Arc<CryptoProvider>,
}

impl Session {
    /// The chosen context.
    fn context(&self) -> anyhow::Result<(String, Remembered)> {
        self.config.choose(self.context.as_deref())
    }

    /// A connection to the chosen control plane.
    async fn client(&self) -> anyhow::Result<Client> {
        let (_, context) = self.context()?;
        Client::connect(&context, Arc::clone(&self.provider)).await
    }
}

/// Runs one command.
pub(crate) async fn dispatch(cli: Cli, provider: Arc<CryptoProvider>) -> anyhow::Result<()> {
    let session = Session {
        config: ConfigDir::find(cli.global.config_dir)?,
        printer: Printer::new(cli.global.output),
        context: cli.global.context,
        provider,
    };
    match cli.command {
        Command::Login(login) => login::login(&session, login).await,
        Command::Context(command) => login::context(&session, command),
        Command::Store(StoreCommand::Logs { store, service }) => {
            sealed::logs(&session, &store, service).await
        }
        Command::Store(StoreCommand::Credentials { store, name }) => {
            sealed::credentials(&session, &store, &name).await
        }
        Command::Store(StoreCommand::Task(command)) => tasks::run(&session, command).await,
        Command::Store(command) => stores::run(&session, command).await,
        Command::Node(command) => fleet::node(&session, command).await,
        Command::Template(command) => fleet::template(&session, command).await,
        Command::Status => fleet::status(&session).await,
        Command::Version => fleet::version(&session).await,
        Command::Operation(command) => operations::run(&session, command).await,
        Command::Rollout(command) => rollouts::run(&session, command).await,
        Command::Token(command) => tokens::run(&session, command).await,
        Command::Audit(command) => audit::run(&session, command).await,
        Command::Trust(command) => trust::run(&session, command).await,
        Command::Proxy(proxy) => proxy::run(&session, proxy).await,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "shopctl", &mut script);
            crate::output::write_out(&String::from_utf8(script)?)
        }
    }
}

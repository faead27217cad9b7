//! What the command line can be told to do. Errors are for people, so they are `anyhow` here and typed below.

mod health;
mod init;
mod token;

use std::path::Path;

use anyhow::Context as _;

use crate::{
    app::App,
    cli::{Cli, Command, Token},
    config::Config,
    db::Db,
    identity::Authority,
    server::{NoSessions, Server},
};

/// Runs one command to its end.
///
/// # Errors
/// What a person should read.
pub async fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Init(options) => init::run(*options).await,
        Command::Serve(location) => serve(&location.path()).await,
        Command::Migrate(location) => migrate(&location.path()).await,
        Command::Token {
            command: Token::ResetAdmin { location, output },
        } => {
            let config = load(&location.path())?;
            let app = offline(&config).await?;
            token::reset(&app, &output).await
        }
        Command::Openapi => {
            println!("{}", crate::api::openapi());
            Ok(())
        }
        Command::Health(location) => health::run(&load(&location.path())?).await,
    }
}

fn load(path: &Path) -> anyhow::Result<Config> {
    Ok(Config::load(path, |name| std::env::var(name).ok())?)
}

async fn serve(path: &Path) -> anyhow::Result<()> {
    let config = load(path)?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), config = %config.redacted(), "starting");
    let server = Server::start(config).await?;
    server.run_until_signal().await
}

async fn migrate(path: &Path) -> anyhow::Result<()> {
    let config = load(path)?;
    let db = Db::open(config.database.url.reveal())
        .await
        .with_context(|| format!("opening the database {}", config.database.url))?;
    let done = db.migrate().await.context("migrating the database")?;
    if done.is_empty() {
        println!("the schema is up to date; nothing was changed");
    }
    for name in done {
        println!("migrated: {name}");
    }
    Ok(())
}

/// The use-cases without sessions, for commands on the host.
async fn offline(config: &Config) -> anyhow::Result<App> {
    let authority = Authority::load(&config.identity(), jiff::Timestamp::now())
        .context("reading the identity")?;
    let db = Db::open(config.database.url.reveal())
        .await
        .with_context(|| format!("opening the database {}", config.database.url))?;
    db.check_schema().await?;
    let settings = config.settings(authority.root_pin());
    Ok(App::new(db, std::sync::Arc::new(NoSessions), settings))
}

//! `control-plane init`. The configuration file is written last and says that all of it is there; interrupted, it goes on where it was.

use std::{fs, path::Path, sync::Arc};

use anyhow::{Context as _, bail};
use jiff::Timestamp;

use super::token;
use crate::{
    app::{App, LONGEST_BASE_DOMAIN},
    cli::Init,
    config::{Config, DatabaseUrl, FILE},
    db::Db,
    identity::Authority,
    server::NoSessions,
};

/// Makes what is missing.
pub async fn run(options: Init) -> anyhow::Result<()> {
    let path = options.data.join(FILE);
    if path.exists() {
        return already(&path);
    }
    let config = configure(&options)?;
    check_base_domain(&config.base_domain)?;
    let identity = config.identity();
    let now = Timestamp::now();
    if !identity.exists() {
        Authority::create(&identity, &options.trust_domain, now).context("making the identity")?;
    }
    let authority = Authority::load(&identity, now).context("reading the identity")?;
    // Refuses names that cannot be in a certificate, before anything depends on them.
    authority.server_leaf(&config.server_names(), now)?;
    let db = Db::open(config.database.url.reveal())
        .await
        .with_context(|| format!("opening the database {}", config.database.url))?;
    db.migrate().await.context("making the database's schema")?;
    let settings = config.settings(authority.root_pin());
    let app = App::new(db, Arc::new(NoSessions), settings);
    let quiet = options.output.token_file.as_deref() == Some(Path::new("-"));
    if !quiet {
        println!("initialised {}", config.data.display());
        println!("  configuration  {}", path.display());
        println!("  root pin       sha256:{}", authority.root_pin());
        println!("  trust domain   {}", authority.domain());
        println!(
            "  root key       {}: move it to a safe place off this machine; it is needed once a year",
            identity.path("root.key").display()
        );
    }
    token::reset(&app, &options.output).await?;
    config.save(&path)?;
    Ok(())
}

fn already(path: &Path) -> anyhow::Result<()> {
    let config = Config::load(path, |_| None)?;
    let authority =
        Authority::load(&config.identity(), Timestamp::now()).context("reading the identity")?;
    println!(
        "{} is initialised already; nothing was changed",
        config.data.display()
    );
    println!("  root pin       sha256:{}", authority.root_pin());
    println!(
        "  a new admin token: control-plane token reset-admin --data {}",
        config.data.display()
    );
    Ok(())
}

fn configure(options: &Init) -> anyhow::Result<Config> {
    let data = std::path::absolute(&options.data).context("finding the data directory")?;
    fs::create_dir_all(&data).with_context(|| format!("making {}", data.display()))?;
    let mut config = Config::new(data);
    config.base_domain.clone_from(&options.base_domain);
    config.advertise.clone_from(&options.advertise);
    if let Some(url) = database(options)? {
        config.database.url = DatabaseUrl::new(url);
    }
    let listen = &mut config.listen;
    for (given, target) in [
        (options.listen_admin, &mut listen.admin),
        (options.listen_enrolment, &mut listen.enrolment),
        (options.listen_agents, &mut listen.agents),
        (options.listen_metrics, &mut listen.metrics),
    ] {
        if let Some(address) = given {
            *target = address;
        }
    }
    Ok(config)
}

fn database(options: &Init) -> anyhow::Result<Option<String>> {
    let Some(path) = &options.database_file else {
        return Ok(options.database.clone());
    };
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    match text.lines().next().map(str::trim) {
        Some(url) if !url.is_empty() => Ok(Some(url.to_owned())),
        _ => bail!("{} has no database URL in its first line", path.display()),
    }
}

/// One label, such as `localhost`, or a domain, which leaves room for what comes before it in a store's host name.
fn check_base_domain(name: &str) -> anyhow::Result<()> {
    format!("shop.{name}")
        .parse::<shop_proto::HostName>()
        .with_context(|| format!("--base-domain {name}"))?;
    if name.len() > LONGEST_BASE_DOMAIN {
        bail!("--base-domain {name}: a base domain has at most {LONGEST_BASE_DOMAIN} characters");
    }
    Ok(())
}

//! Contexts: which control planes are known, and by which root and token.

use std::sync::Arc;

use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use shop_proto::{TokenKind, TokenText};

use super::Session;
use crate::{
    cli::{ContextCommand, Login},
    client::Client,
    connect::fetch_root,
    context::{AdminUrl, Pin, Remembered},
    failure::Failure,
    files,
    output::{Table, note},
    prompt,
};

/// Pins the root, proves that the token works, and only then remembers both.
pub(super) async fn login(session: &Session, login: Login) -> anyhow::Result<()> {
    let url: AdminUrl = login.url.parse()?;
    let pin: Pin = login.ca_pin.parse()?;
    if login.name.is_empty() {
        return Err(Failure::Usage("a context needs a name".to_owned()).into());
    }
    let token = match &login.token_file {
        Some(file) => SecretString::from(files::read_small(file)?.trim().to_owned()),
        None => prompt::secret("API token")?,
    };
    check_form(&token)?;
    let root = fetch_root(&url, pin, Arc::clone(&session.provider))
        .await
        .map_err(|error| error.failure(&url))?;
    let context = Remembered {
        url,
        pin,
        root,
        token,
    };
    let status = Client::connect(&context, Arc::clone(&session.provider))
        .await?
        .status()
        .await?;

    let mut contexts = session.config.load()?;
    let same = contexts
        .all
        .get(&login.name)
        .is_some_and(|known| same(known, &context));
    if same && contexts.current.as_deref() == Some(&login.name) {
        note(&format!(
            "already logged in to {} as context `{}`; nothing changed",
            context.url, login.name
        ));
        return Ok(());
    }
    let url = context.url.to_string();
    contexts.current = Some(login.name.clone());
    contexts.all.insert(login.name.clone(), context);
    session.config.save(&contexts)?;
    note(&format!(
        "logged in to {url} (control plane {}) as context `{}`",
        status.version, login.name
    ));
    Ok(())
}

fn check_form(token: &SecretString) -> Result<(), Failure> {
    match token.expose_secret().parse::<TokenText>() {
        Ok(text) if text.kind() == TokenKind::Api => Ok(()),
        Ok(_) => Err(Failure::Usage(
            "this is a join token, for nodes; an API token starts with sfk1_".to_owned(),
        )),
        Err(problem) => Err(Failure::Usage(problem.to_string())),
    }
}

fn same(one: &Remembered, other: &Remembered) -> bool {
    one.url == other.url
        && one.pin == other.pin
        && one.root == other.root
        && one.token.expose_secret() == other.token.expose_secret()
}

#[derive(Serialize)]
struct Shown<'a> {
    name: &'a str,
    current: bool,
    url: String,
    ca_pin: String,
}

/// `context …`.
pub(super) fn context(session: &Session, command: ContextCommand) -> anyhow::Result<()> {
    let mut contexts = session.config.load()?;
    let unknown = |name: &str| {
        Failure::Usage(format!(
            "there is no context `{name}`; `shopctl context list` shows those there are"
        ))
    };
    match command {
        ContextCommand::List => {
            let shown: Vec<Shown<'_>> = contexts
                .all
                .iter()
                .map(|(name, context)| Shown {
                    name,
                    current: contexts.current.as_ref() == Some(name),
                    url: context.url.to_string(),
                    ca_pin: context.pin.to_string(),
                })
                .collect();
            session.printer.list(
                &shown,
                "No control plane is known yet: shopctl login URL --ca-pin sha256:…",
                |shown| {
                    let mut table = Table::new(&["CURRENT", "NAME", "URL", "CA PIN"]);
                    for context in shown {
                        table.row(vec![
                            if context.current { "*" } else { "" }.to_owned(),
                            context.name.to_owned(),
                            context.url.clone(),
                            context.ca_pin.clone(),
                        ]);
                    }
                    table
                },
            )
        }
        ContextCommand::Use { name } => {
            if !contexts.all.contains_key(&name) {
                return Err(unknown(&name).into());
            }
            if contexts.current.as_ref() == Some(&name) {
                note(&format!(
                    "`{name}` is the current context already; nothing changed"
                ));
                return Ok(());
            }
            contexts.current = Some(name.clone());
            session.config.save(&contexts)?;
            note(&format!("the current context is `{name}`"));
            Ok(())
        }
        ContextCommand::Remove { name } => {
            if contexts.all.remove(&name).is_none() {
                return Err(unknown(&name).into());
            }
            if contexts.current.as_ref() == Some(&name) {
                contexts.current = None;
            }
            session.config.save(&contexts)?;
            note(&format!(
                "forgot context `{name}` and its token; the token itself is good until it expires or is revoked"
            ));
            Ok(())
        }
    }
}

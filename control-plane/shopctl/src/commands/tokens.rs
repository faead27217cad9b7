//! `token …`.

use jiff::Timestamp;
use secrecy::ExposeSecret as _;
use serde::Serialize;

use super::Session;
use crate::{
    cli::TokenCommand,
    failure::Failure,
    files,
    output::{Table, ago, note, plain},
    view::Token,
};

const SECONDS_PER_DAY: u32 = 86_400;

/// A new token; its secret is in it only when no file was asked for.
#[derive(Serialize)]
struct Created {
    #[serde(flatten)]
    token: Token,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

pub(super) async fn run(session: &Session, command: TokenCommand) -> anyhow::Result<()> {
    match command {
        TokenCommand::Create {
            name,
            role,
            days,
            token_file,
        } => {
            if let Some(path) = token_file.as_ref().filter(|path| path.exists()) {
                return Err(Failure::Usage(format!(
                    "{} is already there; name a new file",
                    path.display()
                ))
                .into());
            }
            let client = session.client().await?;
            let (token, secret) = client
                .create_token(&name, &role, days * SECONDS_PER_DAY)
                .await?;
            if let Some(path) = &token_file {
                files::create_private(path, format!("{}\n", secret.expose_secret()).as_bytes())?;
                note(&format!(
                    "the token is in {}; it is shown nowhere else",
                    path.display()
                ));
            } else {
                note("This is the only time the token is shown:");
            }
            let created = Created {
                token,
                secret: token_file
                    .is_none()
                    .then(|| secret.expose_secret().to_owned()),
            };
            session.printer.result(&created, || match &created.secret {
                Some(secret) => format!("{}\n", plain(secret)),
                None => format!(
                    "token {} ({})\n",
                    plain(&created.token.id),
                    plain(&created.token.role)
                ),
            })
        }
        TokenCommand::List => {
            let tokens = session.client().await?.list_tokens().await?;
            let now = Timestamp::now();
            session.printer.list(
                &tokens,
                "There are no API tokens: shopctl token create NAME",
                |tokens| {
                    let mut table =
                        Table::new(&["ID", "NAME", "ROLE", "STATE", "EXPIRES", "LAST USED"]);
                    for token in tokens {
                        table.row(vec![
                            token.id.clone(),
                            token.name.clone(),
                            token.role.clone(),
                            state(token, now).to_owned(),
                            token.expires_at.clone(),
                            token
                                .last_used_at
                                .as_deref()
                                .map_or_else(|| "never".to_owned(), |used| ago(used, now)),
                        ]);
                    }
                    table
                },
            )
        }
        TokenCommand::Revoke { id } => {
            session.client().await?.revoke_token(&id).await?;
            note(&format!("token `{id}` is revoked"));
            Ok(())
        }
    }
}

fn state(token: &Token, now: Timestamp) -> &'static str {
    if token.revoked_at.is_some() {
        "revoked"
    } else if token
        .expires_at
        .parse::<Timestamp>()
        .is_ok_and(|end| end <= now)
    {
        "expired"
    } else {
        "good"
    }
}

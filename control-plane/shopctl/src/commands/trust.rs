//! `trust …`.

use jiff::Timestamp;
use serde::Serialize;

use super::Session;
use crate::{
    cli::TrustCommand,
    context::Pin,
    failure::Failure,
    output::note,
    trust::{Made, OwnRoster, TrustDir},
};

/// What can be told of the operator's trust.
#[derive(Serialize)]
struct Shown {
    operator_root_pin: String,
    roster_version: u64,
    signers: Vec<ShownSigner>,
    directory: String,
}

#[derive(Serialize)]
struct ShownSigner {
    key_id: String,
    not_after: String,
}

fn dir(session: &Session) -> TrustDir {
    TrustDir::new(session.config.trust_dir())
}

/// The pin for a join command; `None` before `trust init`.
pub(super) fn known_pin(session: &Session) -> anyhow::Result<Option<String>> {
    let own = dir(session).roster()?;
    Ok(own.map(|own| Pin(own.pin()).to_string()))
}

pub(super) async fn run(session: &Session, command: TrustCommand) -> anyhow::Result<()> {
    let dir = dir(session);
    match command {
        TrustCommand::Init => {
            // Asked first: keys that no control plane will hear of help nobody.
            let client = session.client().await?;
            let (own, made) = dir.ensure(Timestamp::now())?;
            client
                .put_roster(own.signed.document.clone(), own.signed.signature.clone())
                .await?;
            note(match made {
                Made::Nothing => {
                    "the operator root and the roster are there already; the roster is published, nothing changed"
                }
                Made::Renewed => {
                    "the signer was about to expire: a new version of the roster is published"
                }
                Made::Everything => {
                    "made an operator root, a signing key, a recovery key, a log key and a roster of one; the roster is published.\n\
                     Keep a copy of the directory where nobody else has access: without it no login can be revealed and no lost vault recovered."
                }
            });
            show(session, &dir, &own)
        }
        TrustCommand::Show => match dir.roster()? {
            Some(own) => show(session, &dir, &own),
            None => Err(Failure::Failed(
                "there is no operator root here yet: shopctl trust init".to_owned(),
            )
            .into()),
        },
    }
}

fn show(session: &Session, dir: &TrustDir, own: &OwnRoster) -> anyhow::Result<()> {
    let shown = Shown {
        operator_root_pin: Pin(own.pin()).to_string(),
        roster_version: own.roster.version,
        signers: own
            .roster
            .signers
            .iter()
            .map(|signer| ShownSigner {
                key_id: signer.key_id.to_string(),
                not_after: Timestamp::from_millisecond(signer.not_after.get())
                    .map_or_else(|_| "never".to_owned(), |time| time.to_string()),
            })
            .collect(),
        directory: dir.path().display().to_string(),
    };
    session.printer.result(&shown, || {
        let mut text = format!(
            "operator root  {}\nroster         version {}\ndirectory      {}\n",
            shown.operator_root_pin, shown.roster_version, shown.directory
        );
        for signer in &shown.signers {
            text.push_str(&format!(
                "signer         {} until {}\n",
                signer.key_id, signer.not_after
            ));
        }
        text
    })
}

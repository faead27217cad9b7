//! What a store's agent tells the operator alone: logins and log text. Asked with a signed request, answered under a one-time key; the control
//! plane relays both and can read neither.

use std::{path::Path, time::Duration};

use jiff::Timestamp;
use secrecy::zeroize::Zeroizing;
use serde::{Deserialize, Serialize};
use shop_proto::StoreId;
use shop_seal::{Context, Question, Request, RequestKind, SealingKey, UnixMillis, open};

use super::Session;
use crate::{
    client::{Client, SealedQuestion},
    failure::Failure,
    output::{note, plain, plain_lines},
    trust::TrustDir,
    view::{Replica, Store},
};

/// Long enough for a slow agent, short enough that a relayed copy is soon worthless.
const VALIDITY: Duration = Duration::from_secs(120);

/// A login as the agent answers it. Has no `Debug`: it holds a secret.
#[derive(Serialize, Deserialize)]
struct Login {
    #[serde(default)]
    path: String,
    user: String,
    password: String,
}

#[derive(Serialize)]
struct ShownLogin<'a> {
    store: &'a str,
    name: &'a str,
    url: Option<String>,
    user: &'a str,
    password: &'a str,
}

#[derive(Serialize)]
struct ShownLog {
    service: String,
    text: String,
}

pub(super) async fn credentials(session: &Session, store: &str, name: &str) -> anyhow::Result<()> {
    let client = session.client().await?;
    let store = client.get_store(store).await?;
    let answer = ask(session, &client, &store, RequestKind::Reveal, name).await?;
    let login: Login = serde_json::from_slice(&answer)
        // The error would quote what it could not read.
        .map_err(|_| {
            Failure::Failed(
                "the agent's answer is no login; its version may not fit this shopctl".to_owned(),
            )
        })?;
    let url = store
        .url
        .as_ref()
        .map(|url| format!("{}{}", url.trim_end_matches('/'), login.path));
    let shown = ShownLogin {
        store: &store.name,
        name,
        url,
        user: &login.user,
        password: &login.password,
    };
    session.printer.result(&shown, || {
        format!(
            "url       {}\nuser      {}\npassword  {}\n",
            plain(shown.url.as_deref().unwrap_or("-")),
            plain(shown.user),
            plain(shown.password)
        )
    })
}

pub(super) async fn logs(
    session: &Session,
    store: &str,
    service: Option<String>,
) -> anyhow::Result<()> {
    let client = session.client().await?;
    let store = client.get_store(store).await?;
    let services = match service {
        Some(service) => vec![service],
        None => services(&store),
    };
    if services.is_empty() {
        return Err(Failure::Failed(format!(
            "store `{}` has no services yet ({}); see `shopctl store events {}`",
            store.name, store.status, store.name
        ))
        .into());
    }
    let mut shown = Vec::new();
    for service in services {
        match ask(session, &client, &store, RequestKind::Logs, &service).await {
            Ok(text) => shown.push(ShownLog {
                text: String::from_utf8_lossy(&text).into_owned(),
                service,
            }),
            Err(error) => {
                // What was kept of a failure can be read with the agent away.
                let kept = kept_logs(&session.config.trust_dir(), &store.id, &store.replicas);
                let kept: Vec<ShownLog> = kept
                    .into_iter()
                    .filter(|log| log.service == service)
                    .collect();
                if kept.is_empty() {
                    return Err(error);
                }
                note(&format!(
                    "{error}; these are the last lines of its last failure:"
                ));
                shown.extend(kept);
            }
        }
    }
    session.printer.result(&shown, || render(&shown))
}

/// What a run of a task wrote, without its first bytes.
pub(super) async fn task_output(
    session: &Session,
    client: &Client,
    store: &str,
    run: &str,
    after: u64,
) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let store = client.get_store(store).await?;
    let subject = format!("task.{run}.{after}");
    ask(session, client, &store, RequestKind::Logs, &subject).await
}

fn services(store: &Store) -> Vec<String> {
    let mut names: Vec<String> = store
        .replicas
        .iter()
        .map(|replica| replica.service.clone())
        .collect();
    names.sort();
    names.dedup();
    names
}

fn render(logs: &[ShownLog]) -> String {
    let mut text = String::new();
    for log in logs {
        if logs.len() > 1 {
            text.push_str(&format!("==> {} <==\n", plain(&log.service)));
        }
        text.push_str(&plain_lines(&log.text));
        if !log.text.ends_with('\n') {
            text.push('\n');
        }
    }
    text
}

/// The last lines that failed services of a store left behind, as far as this machine has the key.
fn kept_logs(trust: &Path, store: &str, replicas: &[Replica]) -> Vec<ShownLog> {
    let Ok(store) = store.parse::<StoreId>() else {
        return Vec::new();
    };
    let Ok(Some(key)) = TrustDir::new(trust.to_owned()).log_key() else {
        return Vec::new();
    };
    replicas
        .iter()
        .filter_map(|replica| {
            let sealed = replica.last_log.as_ref()?;
            let context = Context::LogText {
                store: &store,
                source: &replica.service,
            };
            let text = open(&key, &context, &sealed.enc, &sealed.ciphertext).ok()?;
            Some(ShownLog {
                service: replica.service.clone(),
                text: String::from_utf8_lossy(&text).into_owned(),
            })
        })
        .collect()
}

/// Shows, beside a failure, what the failed services said last.
pub(super) fn tell_kept_logs(session: &Session, store: &str, replicas: &[Replica]) {
    let logs = kept_logs(&session.config.trust_dir(), store, replicas);
    for log in logs {
        note(&format!("last lines of {}:", log.service));
        note(log.text.trim_end());
    }
}

async fn ask(
    session: &Session,
    client: &Client,
    store: &Store,
    kind: RequestKind,
    subject: &str,
) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let signer = TrustDir::new(session.config.trust_dir()).signer()?;
    let id: StoreId = store
        .id
        .parse()
        .map_err(|_| Failure::Failed("the control plane named no store id".to_owned()))?;
    let one_time = SealingKey::generate();
    let operation_id = data_encoding::HEXLOWER.encode(&rand::random::<[u8; 16]>());
    let expires = UnixMillis::new(Timestamp::now().as_millisecond()).after(VALIDITY);
    let request = Request::new(
        &id,
        &operation_id,
        Question { kind, subject },
        one_time.public_key(),
        expires,
        &signer.verifying_key(),
    )
    .map_err(|_| Failure::Usage(format!("`{subject}` is no name of a service or login")))?;
    let signature = request.sign(&signer)?;
    let answer = client
        .request_sealed(SealedQuestion {
            store: store.id.clone(),
            operation_id,
            kind: kind.as_str(),
            subject: subject.to_owned(),
            one_time_public_key: one_time.public_key().as_bytes().to_vec(),
            expires_unix_ms: expires.get(),
            signer_key_id: signer.verifying_key().id().to_string(),
            signature: signature.to_vec(),
        })
        .await?;
    if answer.code != "ok" {
        return Err(refused(store, subject, &answer.code).into());
    }
    Ok(request.open_reply(&one_time, &answer.enc, &answer.ciphertext)?)
}

fn refused(store: &Store, subject: &str, code: &str) -> Failure {
    let why = match code {
        "no_roster" => {
            "its agent knows no roster. The node must have joined with the operator root's pin (`shopctl trust init` first, then `shopctl node join`)"
        }
        "unknown_signer" => {
            "its agent's roster does not know this machine's signing key, or it has expired; `shopctl trust init` renews it"
        }
        "bad_signature" => "the request was changed on its way",
        "expired" => {
            "the request came too late, or the clocks of this machine and the node differ by minutes"
        }
        "replayed" => "the request was seen before; somebody may have repeated it",
        "role_missing" => "the roster does not let this key ask for that",
        "unknown_subject" => "it has nothing of this name; `shopctl store ps` shows its services",
        _ => "its agent refused",
    };
    Failure::Refused {
        code: code.to_owned(),
        message: format!(
            "store `{}` did not answer for `{subject}`: {why} ({code})",
            store.name
        ),
        problems: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use shop_seal::seal;

    use super::*;
    use crate::{trust::TrustDir, view::SealedLog};

    #[test]
    fn kept_log_lines_open_for_their_store_and_service_only() {
        let dir = tempfile::tempdir().unwrap();
        let trust = TrustDir::new(dir.path().to_owned());
        let (own, _) = trust
            .ensure("2026-01-01T00:00:00Z".parse().unwrap())
            .unwrap();
        let store: StoreId = "k3v9q2m8x1aa".parse().unwrap();
        let context = Context::LogText {
            store: &store,
            source: "db",
        };
        let sealed = seal(own.roster.log_key().unwrap(), &context, b"no space left").unwrap();
        let replica = |service: &str| Replica {
            service: service.to_owned(),
            last_log: Some(SealedLog {
                enc: sealed.enc.clone(),
                ciphertext: sealed.ciphertext.clone(),
            }),
            ..Replica::default()
        };
        let logs = kept_logs(dir.path(), store.as_str(), &[replica("db"), replica("web")]);
        assert_eq!(logs.len(), 1);
        assert_eq!(
            (logs[0].service.as_str(), logs[0].text.as_str()),
            ("db", "no space left")
        );
        assert!(kept_logs(dir.path(), "k3v9q2m8x1ab", &[replica("db")]).is_empty());
    }
}

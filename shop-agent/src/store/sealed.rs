//! Sealed requests and everything else that leaves the store sealed: judged by the roster, readable only by whom it is for.
//!
//! The roster is believed only under the operator root's pin, which the node hands over; without a pin nothing leaves.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use secrecy::ExposeSecret as _;
use serde::Serialize;
use shop_proto::{Digest, ReplicaKey, ServiceName, Slot, StoreId};
use shop_seal::{
    Context, KeyId, Request, RequestKind, RequestParts, Roster, RosterMark, Sealed, UnixMillis,
    seal,
};
use zeroize::Zeroizing;

use super::{
    act::{SharedVault, locked},
    order::Order,
};
use crate::{
    engine::{LogSource, StoreEngine},
    ledger::{SharedLedger, Stage},
};

/// Lines of a service's output in one answer.
const LOG_LINES: u32 = 200;
/// Lines that go with a failure.
const LAST_LINES: u32 = 20;

/// Why a request is answered with a code only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Refused {
    #[error("no roster")]
    NoRoster,
    #[error(transparent)]
    Request(#[from] shop_seal::RequestError),
    #[error("answered before")]
    Replayed,
    #[error("unknown subject")]
    UnknownSubject,
    #[error("not to be had now")]
    Unavailable,
}

impl Refused {
    const fn code(self) -> &'static str {
        match self {
            Self::NoRoster => "no_roster",
            Self::Request(error) => error.code(),
            Self::Replayed => "replayed",
            Self::UnknownSubject => "unknown_subject",
            Self::Unavailable => "unavailable",
        }
    }
}

/// A request as it came, of which nothing is believed yet.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Unique, made by the asker.
    pub operation_id: String,
    /// `reveal`, `logs` or `dump`.
    pub kind: String,
    /// Which login, or whose log.
    pub subject: String,
    /// Whom the answer is sealed to.
    pub one_time_public_key: Vec<u8>,
    /// When it ends.
    pub expires_unix_ms: i64,
    /// Who signed.
    pub signer_key_id: String,
    /// Over all of this and the store.
    pub signature: Vec<u8>,
}

/// Something that has left its plain text behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedTo {
    /// Whose key opens it.
    pub recipient: KeyId,
    /// What it is now.
    pub sealed: Sealed,
}

/// What a reveal answers. Exists only on its way into a seal.
#[derive(Serialize)]
struct Login<'a> {
    path: &'a str,
    user: &'a str,
    password: &'a str,
}

/// Judges and answers; seals what leaves.
pub struct Envelope<E> {
    /// Whose agent we are.
    pub store: StoreId,
    /// Who is believed about rosters.
    pub root_pin: Option<Digest>,
    /// What was answered, and which roster was seen.
    pub ledger: SharedLedger,
    /// Logins.
    pub vault: SharedVault,
    /// Log text.
    pub engine: Arc<E>,
    /// The roster believed now.
    pub roster: Mutex<Option<Arc<Roster>>>,
}

impl<E: StoreEngine> Envelope<E> {
    /// Takes in a roster: signed by the pinned root, and not older than the one we know.
    pub async fn believe(&self, document: &[u8], signature: &[u8]) {
        let Some(pin) = &self.root_pin else {
            tracing::warn!("a roster came, but the node has no operator root pinned");
            return;
        };
        let known = self.ledger.entries().roster;
        let roster = Roster::verify_newer(document, signature, pin, known.as_ref())
            .and_then(|roster| Ok((roster.mark()?, roster)));
        let (mark, roster) = match roster {
            Ok(read) => read,
            Err(error) => {
                tracing::warn!(%error, "roster refused");
                return;
            }
        };
        if known != Some(mark) && !self.remember(mark).await {
            return;
        }
        tracing::info!(
            version = roster.version,
            signers = roster.signers.len(),
            "roster believed"
        );
        *self.roster.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(roster));
    }

    /// The roster in force.
    pub fn roster(&self) -> Option<Arc<Roster>> {
        self.roster
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Answers a request: sealed to its one-time key, or with a refusal's code.
    ///
    /// # Errors
    /// With the code of the refusal.
    pub async fn answer(&self, asked: &Asked) -> Result<Sealed, &'static str> {
        self.judged(asked).await.map_err(|refused| {
            tracing::warn!(
                operation = asked.operation_id,
                code = refused.code(),
                "sealed request refused"
            );
            refused.code()
        })
    }

    /// The last lines of a container that failed, sealed to the roster's log key. None when there is nobody to read them.
    pub async fn last_words(&self, of: &LogSource) -> Option<SealedTo> {
        let roster = self.roster()?;
        let key = roster.log_key()?;
        let source = match of {
            LogSource::Replica(key) => &key.service,
            LogSource::Task { task, .. } => task,
        };
        let text = Zeroizing::new(self.engine.logs(of, LAST_LINES).await.ok()?);
        let context = Context::LogText {
            store: &self.store,
            source: source.as_str(),
        };
        Some(SealedTo {
            recipient: key.id(),
            sealed: seal(key, &context, &text).ok()?,
        })
    }

    /// The vault's content, sealed to the roster's recovery key. None when it has none.
    pub fn escrow(&self) -> Option<(u64, SealedTo)> {
        let roster = self.roster()?;
        let key = roster.recovery_key.as_ref()?;
        let (vault_version, content) = {
            let vault = locked(&self.vault);
            (vault.content().version, vault.escrow_content().ok()?)
        };
        let context = Context::Escrow {
            store: &self.store,
            vault_version,
        };
        let sealed = SealedTo {
            recipient: key.id(),
            sealed: seal(key, &context, &content).ok()?,
        };
        Some((vault_version, sealed))
    }

    async fn judged(&self, asked: &Asked) -> Result<Sealed, Refused> {
        let roster = self.roster().ok_or(Refused::NoRoster)?;
        let parsed = Request::parse(&RequestParts {
            store: &self.store,
            operation_id: &asked.operation_id,
            kind: &asked.kind,
            subject: &asked.subject,
            one_time_public_key: &asked.one_time_public_key,
            expires_unix_ms: asked.expires_unix_ms,
            signer_key_id: &asked.signer_key_id,
        })?;
        let now = UnixMillis::new(Timestamp::now().as_millisecond());
        parsed.verify(&asked.signature, &roster, now)?;
        let accepted = self
            .ledger
            .entries()
            .accepted
            .ok_or(Refused::UnknownSubject)?;
        let order = Order::render(&self.store, accepted).map_err(|_| Refused::Unavailable)?;
        let answer = match parsed.kind() {
            RequestKind::Reveal => self.login(&order, parsed.subject())?,
            RequestKind::Logs => self.log(&order, parsed.subject()).await?,
            RequestKind::Dump => return Err(Refused::UnknownSubject),
        };
        // Written down last, so that a request that could not be answered may come again.
        let id = parsed.operation_id().to_owned();
        let fresh = self
            .ledger
            .change(move |entries| entries.remember(&id))
            .await;
        match fresh {
            Ok(true) => parsed.seal_reply(&answer).map_err(|_| Refused::Unavailable),
            Ok(false) => Err(Refused::Replayed),
            Err(_) => Err(Refused::Unavailable),
        }
    }

    fn login(&self, order: &Order, subject: &str) -> Result<Zeroizing<Vec<u8>>, Refused> {
        let login = order
            .rendered
            .plan
            .credentials
            .get(subject)
            .ok_or(Refused::UnknownSubject)?;
        let password = locked(&self.vault)
            .content()
            .secrets
            .get(&login.password_secret)
            .cloned()
            .ok_or(Refused::Unavailable)?;
        let login = Login {
            path: &login.path,
            user: &login.user,
            password: password.expose_secret(),
        };
        serde_json::to_vec(&login)
            .map(Zeroizing::new)
            .map_err(|_| Refused::Unavailable)
    }

    async fn log(&self, order: &Order, subject: &str) -> Result<Zeroizing<Vec<u8>>, Refused> {
        if let Some(rest) = subject.strip_prefix("task.") {
            return self.output(rest).await;
        }
        let name: ServiceName = subject.parse().map_err(|_| Refused::UnknownSubject)?;
        let service = order
            .rendered
            .plan
            .service(&name)
            .ok_or(Refused::UnknownSubject)?;
        let slot = if service.kind.slotted() {
            self.ledger.entries().slot.unwrap_or(Slot::A)
        } else {
            Slot::Fixed
        };
        let source = LogSource::Replica(ReplicaKey {
            service: name,
            slot,
            replica: 0,
        });
        self.engine
            .logs(&source, LOG_LINES)
            .await
            .map(Zeroizing::new)
            .map_err(|_| Refused::Unavailable)
    }

    /// What a run wrote: `<run>` its last lines, `<run>.<bytes>` all but the first so many bytes, as much as one answer holds.
    async fn output(&self, of: &str) -> Result<Zeroizing<Vec<u8>>, Refused> {
        let (id, after) = match of.split_once('.') {
            None => (of, None),
            Some((id, after)) => {
                let after: u64 = after.parse().map_err(|_| Refused::UnknownSubject)?;
                (id, Some(after))
            }
        };
        let entries = self.ledger.entries();
        let run = entries.runs.find(id).ok_or(Refused::UnknownSubject)?;
        if matches!(run.stage, Stage::Queued) {
            return Ok(Zeroizing::new(Vec::new()));
        }
        let source = LogSource::Task {
            task: run.task.clone(),
            run: run.id.clone(),
        };
        let text = match after {
            Some(bytes) => self.engine.logs_after(&source, bytes).await,
            None => self.engine.logs(&source, LOG_LINES).await,
        };
        text.map(Zeroizing::new).map_err(|_| Refused::Unavailable)
    }

    async fn remember(&self, mark: RosterMark) -> bool {
        let written = self
            .ledger
            .change(move |entries| entries.roster = Some(mark))
            .await;
        if let Err(error) = &written {
            tracing::error!(%error, "the roster cannot be remembered, so it is not believed");
        }
        written.is_ok()
    }
}

#[cfg(test)]
mod tests;

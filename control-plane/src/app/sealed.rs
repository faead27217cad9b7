//! Relaying what is sealed: requests to agents, answers back, rosters. Nothing of it is readable or judged here.

use std::{collections::HashMap, sync::Mutex, time::Duration};

use tokio::sync::oneshot;

use super::{App, AppError, Problem, SealedAnswer, SealedInput, stores::allowed};
use crate::domain::{
    access::Caller,
    session::{AgentOrder, NodeOrder, RosterBytes, SealedRequest, SealedResult},
};

/// How long an agent has for an answer. A reveal takes milliseconds; log text may have to be read from disk.
const ANSWER: Duration = Duration::from_secs(30);
/// Requests that wait at once.
const MAX_WAITING: usize = 256;
/// A roster is a few keys.
const MAX_ROSTER: usize = 64 * 1024;

/// Who waits for which answer.
#[derive(Debug, Default)]
pub struct SealedWaiters(Mutex<HashMap<String, oneshot::Sender<SealedResult>>>);

/// Takes its waiter out when the caller goes away.
struct Waiting<'a> {
    waiters: &'a SealedWaiters,
    id: String,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Ok(mut waiting) = self.waiters.0.lock() {
            waiting.remove(&self.id);
        }
    }
}

impl SealedWaiters {
    fn wait(&self, id: &str) -> Result<oneshot::Receiver<SealedResult>, AppError> {
        let exhausted = || AppError::Exhausted {
            code: "too_many_sealed_requests",
            message: "too many sealed requests wait for their agents; try again in a moment".into(),
        };
        let mut waiting = self.0.lock().map_err(|_| exhausted())?;
        if waiting.len() >= MAX_WAITING {
            return Err(exhausted());
        }
        if waiting.contains_key(id) {
            return Err(AppError::conflict(
                "sealed_request_repeated",
                "a sealed request with this id is under way; make a new one",
            ));
        }
        let (sender, receiver) = oneshot::channel();
        waiting.insert(id.to_owned(), sender);
        Ok(receiver)
    }

    /// Hands an agent's answer to who asked. Nobody waits any more: dropped.
    pub(crate) fn answer(&self, key: &str, result: SealedResult) {
        let waiter = self
            .0
            .lock()
            .ok()
            .and_then(|mut waiting| waiting.remove(key));
        if let Some(waiter) = waiter
            && waiter.send(result).is_err()
        {
            tracing::debug!("a sealed answer came after its caller had left");
        }
    }
}

/// An answer belongs to the store that was asked: another store's agent cannot give it.
pub(crate) fn waiter_key(store: &shop_proto::StoreId, operation_id: &str) -> String {
    format!("{store}/{operation_id}")
}

impl App {
    /// Passes a signed request on to the store's agent and its answer back, sealed to the caller's one-time key.
    ///
    /// # Errors
    /// When the agent has no session or does not answer in time.
    pub async fn request_sealed(
        &self,
        caller: &Caller,
        input: SealedInput,
    ) -> Result<SealedAnswer, AppError> {
        check(&input)?;
        let context = self.context();
        let now = context.clock.now();
        let mut tx = context.db.write().await?;
        let store = self.found(&mut tx, &input.store).await?;
        let subject = format!("store:{}", store.id);
        let action = format!("sealed.{}", input.kind);
        let record = allowed(caller, &action, subject, &input.subject, now);
        tx.audit(record).await?;
        tx.commit().await?;
        let key = waiter_key(&store.id, &input.operation_id);
        let receiver = context.sealed.wait(&key)?;
        let _waiting = Waiting {
            waiters: &context.sealed,
            id: key,
        };
        let order = AgentOrder::SealedRequest(SealedRequest {
            operation_id: input.operation_id,
            kind: input.kind,
            subject: input.subject,
            one_time_public_key: input.one_time_public_key,
            expires_unix_ms: input.expires_unix_ms,
            signer_key_id: input.signer_key_id,
            signature: input.signature,
        });
        if !context.orders.to_agent(&store.id, order) {
            return Err(AppError::unavailable(
                "agent_unreachable",
                format!(
                    "the agent of store {} has no session now; only it can answer. See `shopctl store get {}`",
                    store.name, store.name
                ),
            ));
        }
        match tokio::time::timeout(ANSWER, receiver).await {
            Ok(Ok(result)) => Ok(SealedAnswer {
                code: result.code,
                enc: result.enc,
                ciphertext: result.ciphertext,
            }),
            Ok(Err(_)) | Err(_) => Err(AppError::unavailable(
                "agent_silent",
                format!(
                    "the agent of store {} did not answer within {} s; try again",
                    store.name,
                    ANSWER.as_secs()
                ),
            )),
        }
    }

    /// Takes a signed roster and passes it on to all nodes and agents, who judge it. The same again changes nothing.
    ///
    /// # Errors
    /// When it cannot be one by its size.
    pub async fn put_roster(
        &self,
        caller: &Caller,
        document: Vec<u8>,
        signature: Vec<u8>,
    ) -> Result<(), AppError> {
        if document.is_empty() || document.len() > MAX_ROSTER || signature.len() != 64 {
            return Err(AppError::Invalid {
                problems: vec![Problem::at(
                    "/document",
                    "roster_shape",
                    "a roster is a document of at most 64 KiB and an Ed25519 signature of 64 bytes; make it with `shopctl trust init`",
                )],
            });
        }
        let context = self.context();
        let now = context.clock.now();
        let roster = RosterBytes {
            document,
            signature,
        };
        let mut tx = context.db.write().await?;
        if tx.roster().await?.as_ref() == Some(&roster) {
            return Ok(());
        }
        tx.insert_roster(&roster, &caller.actor, now).await?;
        let subject = "roster".to_owned();
        tx.audit(allowed(caller, "roster.put", subject, "", now))
            .await?;
        tx.commit().await?;
        let connected = context.orders.connected();
        for node in &connected.nodes {
            context
                .orders
                .to_node(node, NodeOrder::Roster(roster.clone()));
        }
        for store in connected.stores.keys() {
            context
                .orders
                .to_agent(store, AgentOrder::Roster(roster.clone()));
        }
        Ok(())
    }
}

/// Bounds only: what it says is the agent's to judge.
fn check(input: &SealedInput) -> Result<(), AppError> {
    let short = |text: &str, most: usize| {
        !text.is_empty() && text.len() <= most && text.bytes().all(|b| b.is_ascii_graphic())
    };
    let mut problems = Vec::new();
    let mut wrong = |good: bool, pointer: &str, message: &str| {
        if !good {
            problems.push(Problem::at(pointer, "sealed_request_shape", message));
        }
    };
    wrong(
        short(&input.operation_id, 64),
        "/operation_id",
        "an id of 1 to 64 visible characters",
    );
    wrong(
        matches!(input.kind.as_str(), "reveal" | "logs" | "dump"),
        "/kind",
        "reveal, logs or dump",
    );
    wrong(
        short(&input.subject, 64),
        "/subject",
        "what is asked for: 1 to 64 visible characters",
    );
    wrong(
        input.one_time_public_key.len() == 32,
        "/one_time_public_key",
        "an X25519 public key of 32 bytes",
    );
    wrong(
        short(&input.signer_key_id, 128),
        "/signer_key_id",
        "the id of the signing key",
    );
    wrong(
        input.signature.len() == 64,
        "/signature",
        "an Ed25519 signature of 64 bytes",
    );
    if problems.is_empty() {
        Ok(())
    } else {
        Err(AppError::Invalid { problems })
    }
}

//! The session with the control plane: orders in, reports out. While there is none, everything else goes on.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use shop_proto::wire::agent::v1::{self as api, agent_client::AgentClient, control_message};
use tokio::{
    sync::{Mutex, mpsc, oneshot, watch},
    time::Instant,
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;

use super::{
    credentials::Certified,
    reconcile::{AboutRun, Command, Notice},
    report::Report,
    sealed::Envelope,
    wire,
};
use crate::{
    engine::StoreEngine,
    identity::Credential,
    ledger::{Run, SharedLedger},
    uplink::{Address, Ended, channel, keep},
};

/// Reports closer together than this are one report.
const COALESCE: Duration = Duration::from_millis(200);
/// Longest wait for room on a session, or for its first answer.
const SEND: Duration = Duration::from_secs(10);
/// Between a failed renewal and the next attempt, while the old certificate is still good.
const RENEW_AGAIN: Duration = Duration::from_secs(60);

/// What a session needs.
pub struct Session<E> {
    /// Our certificate.
    pub certified: Certified,
    /// Where agents are answered.
    pub agents: Address,
    /// What was accepted.
    pub ledger: SharedLedger,
    /// To the reconciler.
    pub commands: mpsc::Sender<Command>,
    /// From the reconciler.
    pub reports: watch::Receiver<Report>,
    /// From the reconciler: runs of tasks.
    pub runs: watch::Receiver<Vec<Run>>,
    /// From the reconciler. One session at a time.
    pub notices: Mutex<mpsc::Receiver<Notice>>,
    /// Answers sealed requests.
    pub envelope: Arc<Envelope<E>>,
    /// The host's boot id.
    pub boot_id: String,
    /// The node's signature over our keys.
    pub receipt: Vec<u8>,
    /// The session on the certificate before: heard out while the next one begins.
    pub previous: Mutex<Option<Previous>>,
}

/// A session that is being replaced. Its outbound half keeps it open until the control plane ends it.
pub struct Previous {
    inbound: Streaming<api::ControlMessage>,
    _outbound: mpsc::Sender<api::AgentMessage>,
}

impl<E: StoreEngine> Session<E> {
    /// Keeps a session going until cancelled.
    pub async fn run(self, cancel: CancellationToken) {
        keep("control-plane", cancel, || async {
            match self.attempt().await {
                Ok(ended) => ended,
                Err(error) => Ended::lost(format!("{error:#}")),
            }
        })
        .await;
    }

    async fn attempt(&self) -> anyhow::Result<Ended> {
        let credential = self.certified.credential().await?;
        let config = self.certified.trust.session_config(&credential)?;
        let channel = channel(&self.agents, config).await?;
        let (outbound, queue) = mpsc::channel(16);
        let sealing = *super::act::locked(&self.certified.vault)
            .content()
            .sealing
            .public_key()
            .as_bytes();
        outbound.try_send(wire::hello(
            &self.ledger.entries(),
            &self.boot_id,
            sealing,
            &self.receipt,
        ))?;
        let mut client = AgentClient::new(channel);
        let inbound =
            tokio::time::timeout(SEND, client.session(ReceiverStream::new(queue))).await??;
        tracing::info!("session up");
        self.converse(credential, inbound.into_inner(), outbound)
            .await
    }

    async fn converse(
        &self,
        credential: Credential,
        mut inbound: Streaming<api::ControlMessage>,
        outbound: mpsc::Sender<api::AgentMessage>,
    ) -> anyhow::Result<Ended> {
        let mut reports = self.reports.clone();
        reports.mark_changed();
        let mut runs = self.runs.clone();
        runs.mark_changed();
        let mut told_runs = BTreeMap::new();
        let mut notices = self.notices.lock().await;
        let mut previous = self.previous.lock().await.take();
        let mut sent_at = None;
        let mut escrowed = 0;
        let mut renew_at = Instant::now() + credential.renew_in(Timestamp::now(), rand::random());
        loop {
            let report_due = sent_at.map_or_else(Instant::now, |at: Instant| at + COALESCE);
            tokio::select! {
                message = inbound.message() => {
                    let Some(message) = message?.and_then(|message| message.message) else {
                        return Ok(Ended::lost("the control plane ended it"));
                    };
                    if let Some(ended) = self.heard(message, &outbound).await? {
                        return Ok(ended);
                    }
                }
                message = heard_out(&mut previous) => {
                    // Throttle and Reconnect were meant for the session that ends anyway.
                    self.heard(message, &outbound).await?;
                }
                changed = changed_after(&mut reports, report_due) => {
                    changed?;
                    let message = wire::report(&reports.borrow_and_update());
                    say(&outbound, message).await?;
                    sent_at = Some(Instant::now());
                    self.escrow(&mut escrowed, &outbound).await?;
                }
                changed = runs.changed() => {
                    changed?;
                    let news = runs::news(&runs.borrow_and_update(), &mut told_runs);
                    for message in news {
                        say(&outbound, message).await?;
                    }
                }
                Some(notice) = notices.recv() => say(&outbound, wire::notice(notice)).await?,
                () = tokio::time::sleep_until(renew_at) => match self.certified.renewed(&credential).await {
                    // The new certificate is used from the next session on. This one is heard until the control plane ends it.
                    Ok(_) => {
                        *self.previous.lock().await = Some(Previous { inbound, _outbound: outbound });
                        return Ok(Ended::come_back(Duration::ZERO));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "renewal failed");
                        renew_at = Instant::now() + RENEW_AGAIN;
                    }
                },
            }
        }
    }

    /// The vault changes when the store does, so this follows reports.
    async fn escrow(
        &self,
        escrowed: &mut u64,
        outbound: &mpsc::Sender<api::AgentMessage>,
    ) -> anyhow::Result<()> {
        let version = super::act::locked(&self.certified.vault).content().version;
        if version == *escrowed {
            return Ok(());
        }
        if let Some((version, sealed)) = self.envelope.escrow() {
            say(outbound, wire::escrow(version, sealed)).await?;
            *escrowed = version;
        }
        Ok(())
    }

    async fn heard(
        &self,
        message: control_message::Message,
        outbound: &mpsc::Sender<api::AgentMessage>,
    ) -> anyhow::Result<Option<Ended>> {
        use control_message::Message;
        match message {
            Message::Desired(desired) => self.desired(desired, outbound).await?,
            Message::SealedRequest(request) => {
                let asked = wire::asked(request);
                let answer = self.envelope.answer(&asked).await;
                say(outbound, wire::sealed_result(asked.operation_id, answer)).await?;
            }
            Message::Roster(roster) => {
                self.envelope
                    .believe(&roster.document, &roster.signature)
                    .await;
            }
            Message::Throttle(throttle) => {
                return Ok(Some(Ended::come_back(Duration::from_millis(
                    throttle.retry_after_ms,
                ))));
            }
            Message::Reconnect(reconnect) => {
                return Ok(Some(Ended::come_back(Duration::from_millis(
                    reconnect.reconnect_in_ms,
                ))));
            }
            // Roots are pinned; a bundle comes with every renewal.
            Message::TrustBundle(_) => {}
            Message::RunTask(task) => self.run_task(task, outbound).await?,
            Message::CancelTask(task) => self.cancel_task(task, outbound).await?,
            Message::TaskRecorded(task) => {
                // Not noted: the end is told again, and recorded again.
                let _ = self
                    .about_run(AboutRun::Recorded(task.operation_id))
                    .await?;
            }
        }
        Ok(None)
    }

    async fn desired(
        &self,
        desired: api::Desired,
        outbound: &mpsc::Sender<api::AgentMessage>,
    ) -> anyhow::Result<()> {
        let generation = desired.generation;
        let accepted = match wire::accepted(desired) {
            Ok(accepted) => accepted,
            Err(error) => {
                let refusal = super::order::Refusal {
                    generation,
                    code: "malformed",
                    message: error.to_string(),
                };
                return say(outbound, wire::refusal(refusal)).await;
            }
        };
        let (reply, answer) = oneshot::channel();
        self.commands
            .send(Command::Desired(Box::new(accepted), reply))
            .await?;
        match answer.await? {
            Ok(()) => Ok(()),
            Err(refusal) => say(outbound, wire::refusal(refusal)).await,
        }
    }
}

mod runs;

/// What the session before still says; never, once it has ended.
async fn heard_out(previous: &mut Option<Previous>) -> control_message::Message {
    while let Some(session) = previous {
        match session.inbound.message().await {
            Ok(Some(api::ControlMessage {
                message: Some(message),
            })) => return message,
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => *previous = None,
        }
    }
    std::future::pending().await
}

async fn changed_after(
    reports: &mut watch::Receiver<Report>,
    due: Instant,
) -> Result<(), watch::error::RecvError> {
    reports.changed().await?;
    // Cancelled here, the change would be forgotten: it is marked again.
    reports.mark_changed();
    tokio::time::sleep_until(due).await;
    Ok(())
}

async fn say(
    outbound: &mpsc::Sender<api::AgentMessage>,
    message: api::AgentMessage,
) -> anyhow::Result<()> {
    tokio::time::timeout(SEND, outbound.send(message)).await??;
    Ok(())
}

//! Gets and keeps the agent's certificate: vouched enrolment the first time, renewal ever after.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use shop_proto::StoreId;

use super::{
    act::{SharedVault, locked},
    vault::VaultError,
};
use crate::{
    blocking::off_thread,
    engine::{EngineError, Introduce},
    identity::{Authority, Credential, EnrollError, Trust, TrustError, enroll, renew},
    uplink::{Address, channel},
};

/// The voucher travels on the node's own session; it is there in a moment.
const VOUCHER_POLL: Duration = Duration::from_millis(100);
/// After this many, something is wrong: back off.
const VOUCHER_POLLS: u32 = 50;

/// No certificate, for now.
#[derive(Debug, thiserror::Error)]
pub enum NoCredential {
    /// The control plane cannot be reached or does not prove itself.
    #[error("the enrolment socket leads nowhere")]
    Connect(#[from] tonic::transport::Error),
    /// TLS.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The control plane's answer.
    #[error(transparent)]
    Enroll(#[from] EnrollError),
    /// The node's answer.
    #[error("the node did not vouch")]
    Introduce(#[from] EngineError),
    /// It cannot be stored.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// A task of ours died.
    #[error("an internal task ended unexpectedly")]
    Internal,
}

/// How this agent is certified.
pub struct Certified {
    /// Whose agent we are.
    pub store: StoreId,
    /// Whom we trust.
    pub trust: Trust,
    /// Where the certificate is kept.
    pub vault: SharedVault,
    /// Where enrolment is answered.
    pub enrolment: Address,
    /// Where the node vouches.
    pub broker: Arc<dyn Introduce>,
}

impl Certified {
    /// A certificate that is good now: the one there is, a renewed one, or a new one.
    ///
    /// # Errors
    /// When there is none to be had now; trying again later may help.
    pub async fn credential(&self) -> Result<Credential, NoCredential> {
        let held = locked(&self.vault).content().credential.clone();
        let Some(held) = held else {
            return self.enrolled().await;
        };
        if held.valid_at(Timestamp::now()) {
            return Ok(held);
        }
        self.renewed(&held).await
    }

    /// A new certificate for a new key.
    ///
    /// # Errors
    /// When the control plane cannot be asked. A refusal forgets the old certificate: the next attempt enrols again.
    pub async fn renewed(&self, held: &Credential) -> Result<Credential, NoCredential> {
        let channel = channel(&self.enrolment, self.trust.enrolment_config()?).await?;
        match renew(channel, held).await {
            Ok(renewed) => self.keep(renewed).await,
            Err(EnrollError::Refused(why)) => {
                tracing::warn!(why, "renewal refused; enrolling again");
                self.on_vault(super::vault::Vault::forget_credential)
                    .await?;
                Err(EnrollError::Refused(why).into())
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn enrolled(&self) -> Result<Credential, NoCredential> {
        let (key, sealing) = {
            let vault = locked(&self.vault);
            (
                vault.content().identity.clone(),
                *vault.content().sealing.public_key().as_bytes(),
            )
        };
        let channel = channel(&self.enrolment, self.trust.enrolment_config()?).await?;
        for _ in 0..VOUCHER_POLLS {
            let authority = Authority::Vouched(self.store.clone());
            match enroll(channel.clone(), key.clone(), Some(sealing), authority).await {
                Ok(enrolled) => return self.keep(enrolled.credential).await,
                Err(EnrollError::NotVouchedYet) => tokio::time::sleep(VOUCHER_POLL).await,
                Err(error) => return Err(error.into()),
            }
        }
        // The voucher was lost, or the control plane was restored from a backup: ask the node for another.
        self.broker.introduce(key.spki_der(), sealing).await?;
        Err(EnrollError::NotVouchedYet.into())
    }

    async fn keep(&self, credential: Credential) -> Result<Credential, NoCredential> {
        let kept = credential.clone();
        self.on_vault(move |vault| vault.set_credential(kept))
            .await?;
        tracing::info!(identity = credential.identity(), not_after = %credential.not_after(), "certified");
        Ok(credential)
    }

    async fn on_vault(
        &self,
        change: impl FnOnce(&mut super::vault::Vault) -> Result<(), VaultError> + Send + 'static,
    ) -> Result<(), NoCredential> {
        let vault = self.vault.clone();
        off_thread(move || change(&mut locked(&vault)))
            .await
            .map_err(|_| NoCredential::Internal)?
            .map_err(NoCredential::from)
    }
}

//! [`Records`] in memory, for tests.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
};

use async_trait::async_trait;
use control_plane::{
    domain::{
        audit::AuditRecord,
        identity::{Certificate, Denied, DenyList},
    },
    identity::{Activation, REPEAT, Records, RecordsError, TokenUse, Voucher},
};
use jiff::Timestamp;
use shop_proto::{Digest, Identity, NodeId, StoreId};

#[derive(Default)]
pub struct Memory(Mutex<State>);

#[derive(Default)]
pub struct State {
    pub tokens: BTreeMap<String, Token>,
    pub vouchers: BTreeMap<StoreId, Digest>,
    pub certificates: Vec<Certificate>,
    pub denied: DenyList,
    pub audit: Vec<AuditRecord>,
}

pub struct Token {
    pub secret: Digest,
    pub expires_at: Timestamp,
    pub used: Option<(Digest, NodeId, Timestamp)>,
}

impl Memory {
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Codes of the audited refusals, in order.
    pub fn refusals(&self) -> Vec<String> {
        use control_plane::domain::audit::Decision;
        self.state()
            .audit
            .iter()
            .filter(|record| record.decision == Decision::Denied)
            .map(|record| record.reason.clone())
            .collect()
    }
}

#[async_trait]
impl Records for Memory {
    async fn use_join_token(&self, token: TokenUse) -> Result<Option<NodeId>, RecordsError> {
        let mut state = self.state();
        let Some(known) = state.tokens.get_mut(&token.id) else {
            return Ok(None);
        };
        if known.secret != token.secret {
            return Ok(None);
        }
        match &known.used {
            Some((spki, node, at)) if *spki == token.spki && token.at < *at + REPEAT => {
                Ok(Some(node.clone()))
            }
            Some(_) => Ok(None),
            None if known.expires_at <= token.at => Ok(None),
            None => {
                known.used = Some((token.spki, token.fresh.clone(), token.at));
                Ok(Some(token.fresh))
            }
        }
    }

    async fn gave_out_join_token(&self, id: &str, now: Timestamp) -> Result<bool, RecordsError> {
        Ok(self
            .state()
            .tokens
            .get(id)
            .is_some_and(|token| now < token.expires_at))
    }

    async fn voucher(&self, store: &StoreId, spki: Digest) -> Result<Voucher, RecordsError> {
        Ok(match self.state().vouchers.get(store) {
            Some(known) if *known == spki => Voucher::ThisKey,
            Some(_) => Voucher::OtherKey,
            None => Voucher::None,
        })
    }

    async fn certificate(&self, serial: &str) -> Result<Option<Certificate>, RecordsError> {
        let state = self.state();
        let found = state
            .certificates
            .iter()
            .find(|known| known.serial == serial);
        Ok(found.cloned())
    }

    async fn newest(
        &self,
        identity: &Identity,
        spki: Digest,
        since: Timestamp,
    ) -> Result<Option<Certificate>, RecordsError> {
        let state = self.state();
        let found = state.certificates.iter().rev().find(|known| {
            known.identity == *identity && known.spki == spki && known.issued_at >= since
        });
        Ok(found.cloned())
    }

    async fn record(&self, certificate: Certificate) -> Result<(), RecordsError> {
        self.state().certificates.push(certificate);
        Ok(())
    }

    async fn activate(
        &self,
        identity: &Identity,
        serial: &str,
    ) -> Result<Activation, RecordsError> {
        let mut state = self.state();
        let own = |known: &Certificate| known.identity == *identity;
        let Some(at) = state
            .certificates
            .iter()
            .position(|known| own(known) && known.serial == serial)
        else {
            return Ok(Activation::Unknown);
        };
        if state.certificates[at].superseded_by.is_some() {
            return Ok(Activation::Superseded);
        }
        for older in state.certificates[..at]
            .iter_mut()
            .filter(|known| own(known))
        {
            older.superseded_by.get_or_insert_with(|| serial.to_owned());
        }
        Ok(Activation::Current)
    }

    async fn deny(&self, what: Denied, _reason: &str, _at: Timestamp) -> Result<(), RecordsError> {
        let denied = &mut self.state().denied;
        match what {
            Denied::Identity(identity) => denied.identities.insert(identity),
            Denied::Serial(serial) => denied.serials.insert(serial),
        };
        Ok(())
    }

    async fn denied(&self) -> Result<DenyList, RecordsError> {
        Ok(self.state().denied.clone())
    }

    async fn audit(&self, record: AuditRecord) -> Result<(), RecordsError> {
        self.state().audit.push(record);
        Ok(())
    }
}

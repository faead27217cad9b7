//! Requests that change a live store.

use std::collections::BTreeMap;

use shop_proto::wire::{
    admin::v1::{self as api, amend_store_request::What, amend_store_response::Answer},
    common::v1 as common,
};

use super::{CALL_DEADLINE, Client};
use crate::{
    failure::Failure,
    view::{Operation, Preview, Revision, Store, resources},
};

/// A change of a live store.
#[derive(Debug, Clone)]
pub(crate) struct Amend {
    pub store: String,
    pub reason: String,
    pub if_generation: u64,
    pub dry_run: bool,
    pub what: Amendment,
}

/// What is to change.
#[derive(Debug, Clone)]
pub(crate) enum Amendment {
    Update(Box<Update>),
    Rollback {
        revision: Option<u64>,
        allow_irreversible: bool,
    },
    Rotate {
        names: Vec<String>,
        all: bool,
    },
    Scale(BTreeMap<String, u32>),
    Maintenance(bool),
    Pause,
    Wake,
    Hold(u64),
    Release,
}

/// Another revision.
#[derive(Debug, Clone, Default)]
pub(crate) struct Update {
    pub template: String,
    pub parameters: BTreeMap<String, String>,
    pub unset: Vec<String>,
    pub profiles: BTreeMap<String, String>,
    /// By service: memory in bytes, CPU in thousandths; 0 is not named.
    pub resources: BTreeMap<String, (u64, u32)>,
    /// By service; empty goes back to the template's.
    pub images: BTreeMap<String, String>,
    pub window_seconds: u32,
    pub allow_irreversible: bool,
}

/// What became of it.
#[derive(Debug, Clone)]
pub(crate) enum Amended {
    Accepted(Box<Operation>),
    Preview(Box<Preview>),
}

impl From<Amendment> for What {
    fn from(amendment: Amendment) -> Self {
        match amendment {
            Amendment::Update(update) => Self::Update((*update).into()),
            Amendment::Rollback {
                revision,
                allow_irreversible,
            } => Self::Rollback(api::RollbackChange {
                revision: revision.unwrap_or(0),
                allow_irreversible,
            }),
            Amendment::Rotate { names, all } => Self::Rotate(api::RotateChange { names, all }),
            Amendment::Scale(replicas) => Self::Scale(api::ScaleChange { replicas }),
            Amendment::Maintenance(on) => Self::Maintenance(api::MaintenanceChange { on }),
            Amendment::Pause => Self::Pause(api::PauseChange {}),
            Amendment::Wake => Self::Wake(api::WakeChange {}),
            Amendment::Hold(for_seconds) => Self::Hold(api::HoldChange { for_seconds }),
            Amendment::Release => Self::Release(api::ReleaseChange {}),
        }
    }
}

impl From<Update> for api::UpdateChange {
    fn from(update: Update) -> Self {
        let (own, images): (BTreeMap<_, _>, BTreeMap<_, _>) = update
            .images
            .into_iter()
            .partition(|(_, image)| image.is_empty());
        Self {
            template: update.template,
            parameters: update.parameters,
            unset_parameters: update.unset,
            profiles: update.profiles,
            images,
            unset_images: own.into_keys().collect(),
            resources: resources(update.resources),
            isolation: String::new(),
            watch: Some(common::Watch {
                window_seconds: update.window_seconds,
                ..common::Watch::default()
            }),
            allow_irreversible: update.allow_irreversible,
        }
    }
}

impl Client {
    pub(crate) async fn amend(&self, amend: Amend) -> Result<Amended, Failure> {
        let mut admin = self.admin.clone();
        let request = api::AmendStoreRequest {
            store: amend.store,
            reason: amend.reason,
            idempotency_key: String::new(),
            if_generation: amend.if_generation,
            dry_run: amend.dry_run,
            what: Some(amend.what.into()),
        };
        let answer = self.call(CALL_DEADLINE, admin.amend_store(request)).await?;
        match answer.answer {
            Some(Answer::Operation(operation)) => {
                Ok(Amended::Accepted(Box::new(operation.into())))
            }
            Some(Answer::Preview(preview)) => Ok(Amended::Preview(Box::new(preview.into()))),
            None => Err(Failure::Failed(
                "the control plane answers in a way this tool does not know; use the tool of its release".to_owned(),
            )),
        }
    }

    pub(crate) async fn label(
        &self,
        store: &str,
        labels: Vec<(String, Option<String>)>,
        display_name: &str,
        reason: &str,
    ) -> Result<Store, Failure> {
        let mut admin = self.admin.clone();
        let mut request = api::LabelStoreRequest {
            store: store.to_owned(),
            reason: reason.to_owned(),
            display_name: display_name.to_owned(),
            ..api::LabelStoreRequest::default()
        };
        for (key, value) in labels {
            match value {
                Some(value) => {
                    request.labels.insert(key, value);
                }
                None => request.remove_labels.push(key),
            }
        }
        self.call(CALL_DEADLINE, admin.label_store(request))
            .await
            .map(Store::from)
    }

    pub(crate) async fn list_revisions(&self, store: &str) -> Result<Vec<Revision>, Failure> {
        let mut admin = self.admin.clone();
        let request = api::ListRevisionsRequest {
            store: store.to_owned(),
        };
        let answer = self
            .call(CALL_DEADLINE, admin.list_revisions(request))
            .await?;
        Ok(answer.revisions.into_iter().map(Revision::from).collect())
    }
}

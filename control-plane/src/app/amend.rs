//! Changes of a store that goes on serving, as they are asked for and as they are answered.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;
use shop_plan::{FieldChange, Migration, ServiceChange};

use super::{OperationView, ResourcesInput};
use crate::domain::{operation::OperationKind, revision::KeptRevision, store::Reservation};

/// A change of one store.
#[derive(Debug, Clone, Default)]
pub struct AmendStore {
    /// Name or id.
    pub store: String,
    pub reason: String,
    pub idempotency_key: Option<String>,
    /// Only when the store is still at this generation.
    pub if_generation: Option<u64>,
    /// Says what would happen, and writes nothing.
    pub dry_run: bool,
    pub what: Amendment,
}

/// What is to change.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Amendment {
    Update(UpdateStore),
    /// To a revision by its number; without one, to the newest before that served.
    Rollback {
        number: Option<u64>,
        allow_irreversible: bool,
    },
    /// New values of generated secrets.
    Rotate(RotateSecrets),
    /// Replicas by service, 1 to 6.
    Scale(BTreeMap<String, u32>),
    /// The maintenance page, on or off.
    Maintenance(bool),
    Pause,
    Wake,
    /// Drift is shown, not repaired, for so long.
    Hold(Duration),
    Release,
    /// What does not concern containers.
    Configure {
        watch: WatchInput,
    },
}

impl Default for Amendment {
    /// An update that changes nothing.
    fn default() -> Self {
        Self::Update(UpdateStore::default())
    }
}

impl Amendment {
    /// The kind of its operation.
    #[must_use]
    pub const fn kind(&self) -> OperationKind {
        match self {
            Self::Update(_) => OperationKind::Update,
            Self::Rollback { .. } => OperationKind::Rollback,
            Self::Rotate(_) => OperationKind::Rotate,
            Self::Scale(_) => OperationKind::Scale,
            Self::Maintenance(_) => OperationKind::Maintenance,
            Self::Pause => OperationKind::Pause,
            Self::Wake => OperationKind::Wake,
            Self::Hold(_) => OperationKind::Hold,
            Self::Release => OperationKind::Release,
            Self::Configure { .. } => OperationKind::Configure,
        }
    }
}

/// Which secrets get new values. Their names: the values are made, and stay, in the store.
#[derive(Debug, Clone, Default, Serialize)]
pub struct RotateSecrets {
    pub names: Vec<String>,
    /// Every one that can be rotated.
    pub all: bool,
}

/// Another revision: only what differs from the one that is wanted now.
#[derive(Debug, Clone, Default, Serialize)]
pub struct UpdateStore {
    /// `refshop@2`; empty keeps it.
    pub template: String,
    /// `None` goes back to the template's default.
    pub parameters: BTreeMap<String, Option<String>>,
    pub profiles: BTreeMap<String, String>,
    /// By service; `None` goes back to the template's.
    pub images: BTreeMap<String, Option<String>>,
    pub resources: BTreeMap<String, ResourcesInput>,
    pub isolation: String,
    pub watch: WatchInput,
    /// Goes on where there is no way back.
    pub allow_irreversible: bool,
}

/// When an update is taken back; 0 keeps what is set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct WatchInput {
    pub window_seconds: u32,
    pub failed_checks: u32,
    pub restarts: u32,
    pub error_permille: u32,
    pub error_factor: u32,
    pub min_requests: u32,
}

/// What became of a change.
#[derive(Debug, Clone)]
pub enum Amended {
    Accepted(Box<OperationView>),
    /// It was only asked what would happen.
    Preview(Box<Preview>),
}

/// A kept revision as it is shown.
#[derive(Debug, Clone)]
pub struct RevisionView {
    pub revision: KeptRevision,
    /// It is the one that is wanted.
    pub wanted: bool,
}

/// What a change would do. Nothing of it was written.
#[derive(Debug, Clone)]
pub struct Preview {
    pub kind: OperationKind,
    /// It is so already.
    pub unchanged: bool,
    /// Revision that is compared with: the one that serves.
    pub from_revision: u64,
    pub to_revision: u64,
    /// `refshop@1.0.0`.
    pub from_template: String,
    pub to_template: String,
    pub migration: Migration,
    /// Web and php-fpm start anew in the free slot, and traffic moves.
    pub slots: bool,
    pub services: Vec<ServiceChange>,
    /// What changes about the store itself, such as `parameters.shop_name` or `scale.web`.
    pub settings: Vec<FieldChange>,
    pub reserved_before: Reservation,
    pub reserved_after: Reservation,
    /// Worth knowing before saying yes.
    pub warnings: Vec<String>,
    /// Without `dry_run` it would be refused: code and sentence.
    pub refused: Option<(String, String)>,
}

/// `PATCH /stores/{store}`: what concerns no container. No new generation comes of it.
#[derive(Debug, Clone, Default)]
pub struct LabelStore {
    /// Name or id.
    pub store: String,
    pub reason: String,
    /// Only when the store is still at this generation.
    pub if_generation: Option<u64>,
    /// `None` removes a label.
    pub labels: BTreeMap<String, Option<String>>,
    /// Empty keeps it.
    pub display_name: String,
}

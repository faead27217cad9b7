//! Signatures that are being filled in, file by file.

use shop_proto::NodeId;
use tokio::sync::watch;

use super::{
    App, AppError, AuditPage, CreateJoinToken, CreateStore, CreateToken, FleetStatus, ListAudit,
    ListEvents, ListOperations, ListStores, NewApiToken, NewJoinToken, NodeView, OperationView,
    Origin, Page, RemoveNode, SealedAnswer, SealedInput, StoreAction, StoreChange, StoreView,
};
use crate::domain::{
    access::{ApiToken, Caller},
    event::StoreEvent,
    template::TemplateView,
};

type Answer<T> = Result<T, AppError>;

fn unbuilt<T>() -> Answer<T> {
    Err(AppError::unavailable("unbuilt", "not there yet"))
}

#[allow(clippy::unused_async, unused_variables, missing_docs)]
impl App {
    pub async fn authenticate(&self, token: &str, origin: &Origin) -> Answer<Caller> {
        unbuilt()
    }
    /// For the API's central check: records the denial in the audit chain (sampled).
    pub async fn audit_forbidden(&self, caller: &Caller, action: &str) {}

    pub async fn create_store(&self, caller: &Caller, input: CreateStore) -> Answer<OperationView> {
        unbuilt()
    }
    pub async fn start_store(&self, caller: &Caller, input: StoreAction) -> Answer<OperationView> {
        unbuilt()
    }
    pub async fn stop_store(&self, caller: &Caller, input: StoreAction) -> Answer<OperationView> {
        unbuilt()
    }
    pub async fn restart_store(
        &self,
        caller: &Caller,
        input: StoreAction,
    ) -> Answer<OperationView> {
        unbuilt()
    }
    pub async fn delete_store(&self, caller: &Caller, input: StoreAction) -> Answer<OperationView> {
        unbuilt()
    }
    /// By name or id.
    pub async fn get_store(&self, store: &str) -> Answer<StoreView> {
        unbuilt()
    }
    pub async fn list_stores(&self, input: ListStores) -> Answer<Page<StoreView>> {
        unbuilt()
    }
    pub async fn list_events(&self, input: ListEvents) -> Answer<Page<StoreEvent>> {
        unbuilt()
    }

    pub async fn get_operation(&self, id: &str) -> Answer<OperationView> {
        unbuilt()
    }
    pub async fn list_operations(&self, input: ListOperations) -> Answer<Page<OperationView>> {
        unbuilt()
    }

    pub async fn list_nodes(&self) -> Answer<Vec<NodeView>> {
        unbuilt()
    }
    pub async fn get_node(&self, node: &NodeId) -> Answer<NodeView> {
        unbuilt()
    }
    pub async fn remove_node(&self, caller: &Caller, input: RemoveNode) -> Answer<()> {
        unbuilt()
    }
    pub async fn create_join_token(
        &self,
        caller: &Caller,
        input: CreateJoinToken,
    ) -> Answer<NewJoinToken> {
        unbuilt()
    }

    pub fn list_templates(&self) -> Vec<TemplateView> {
        Vec::new()
    }
    /// "refshop" or "refshop@1".
    pub fn get_template(&self, template: &str) -> Answer<TemplateView> {
        unbuilt()
    }

    pub async fn create_token(&self, caller: &Caller, input: CreateToken) -> Answer<NewApiToken> {
        unbuilt()
    }
    /// On the host, as root of the machine: a new owner token; those made so before are revoked.
    pub async fn reset_admin_token(&self) -> Answer<NewApiToken> {
        unbuilt()
    }
    pub async fn list_tokens(&self) -> Answer<Vec<ApiToken>> {
        unbuilt()
    }
    pub async fn revoke_token(&self, caller: &Caller, id: &str) -> Answer<()> {
        unbuilt()
    }

    pub async fn list_audit(&self, input: ListAudit) -> Answer<AuditPage> {
        unbuilt()
    }

    /// Waits for the agent's answer, at most 30 s.
    pub async fn request_sealed(
        &self,
        caller: &Caller,
        input: SealedInput,
    ) -> Answer<SealedAnswer> {
        unbuilt()
    }
    pub async fn put_roster(
        &self,
        caller: &Caller,
        document: Vec<u8>,
        signature: Vec<u8>,
    ) -> Answer<()> {
        unbuilt()
    }

    pub async fn status(&self) -> Answer<FleetStatus> {
        unbuilt()
    }
    /// The database answers and takes writes.
    pub async fn ready(&self) -> Answer<()> {
        unbuilt()
    }

    /// Hint that something changed: the newest change_seq. `stores_changed_after` is the truth.
    pub fn changes(&self) -> watch::Receiver<u64> {
        watch::channel(0).1
    }
    /// At most 200 changes of stores after `seq`, in order; from 0, the present stores. `store`: only this one, by name or id.
    pub async fn stores_changed_after(
        &self,
        seq: u64,
        store: Option<&str>,
    ) -> Answer<Vec<StoreChange>> {
        unbuilt()
    }
}

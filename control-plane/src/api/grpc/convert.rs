//! Use-cases' inputs and answers ↔ generated messages.

use std::collections::BTreeMap;

use jiff::Timestamp;
use secrecy::ExposeSecret as _;
use shop_proto::{
    Resources, ServiceName,
    wire::{admin::v1 as api, common::v1 as common},
};

use crate::{
    app::{
        AuditPage, CreateStore, DeleteStore, FleetStatus, NewApiToken, NewJoinToken, NodeView,
        OperationView, Page, ResourcesInput, SealedAnswer, SealedInput, StoreAction, StoreChange,
        StoreChanged, StoreView,
    },
    domain::{
        access::ApiToken,
        audit::AuditEntry,
        event::StoreEvent,
        node::disk_limit_percent,
        operation::Step,
        receipt::Receipt,
        session::{ReplicaReport, SealedText},
        store::Lifecycle,
        template::{ParameterView, ProfileView, TemplateView},
    },
};

/// Absent texts are empty on this wire.
pub(super) fn text(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

fn text_of_ms(value: Option<i64>) -> String {
    text(value.and_then(|ms| Timestamp::from_millisecond(ms).ok()))
}

pub(super) fn given(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

pub(super) fn create_store(request: api::CreateStoreRequest) -> CreateStore {
    CreateStore {
        name: request.name,
        display_name: request.display_name,
        template: request.template,
        parameters: request.parameters,
        profiles: request.profiles,
        labels: request.labels,
        environment: request.environment,
        hosts: request.hosts,
        resources: resources(request.resources),
        isolation: request.isolation,
        project: request.project,
        reason: request.reason,
        idempotency_key: given(request.idempotency_key),
        node: request.node,
        scale: BTreeMap::new(),
        images: request.images,
    }
}

pub(super) fn resources(
    wanted: BTreeMap<String, common::Resources>,
) -> BTreeMap<String, ResourcesInput> {
    wanted
        .into_iter()
        .map(|(service, limits)| {
            let limits = ResourcesInput {
                memory_bytes: limits.memory_bytes,
                cpu_millis: limits.cpu_millis,
            };
            (service, limits)
        })
        .collect()
}

/// 0 keeps the template's value.
pub(super) fn limits(
    resources: BTreeMap<ServiceName, Resources>,
) -> BTreeMap<String, common::Resources> {
    resources
        .into_iter()
        .map(|(service, limits)| {
            let limits = common::Resources {
                memory_bytes: limits.memory_bytes.unwrap_or(0),
                cpu_millis: limits.cpu_millis.unwrap_or(0),
            };
            (service.to_string(), limits)
        })
        .collect()
}

pub(super) fn action(request: api::StoreActionRequest) -> StoreAction {
    StoreAction {
        store: request.store,
        reason: request.reason,
        idempotency_key: given(request.idempotency_key),
        if_generation: (request.if_generation > 0).then_some(request.if_generation),
    }
}

pub(super) fn delete(request: api::StoreActionRequest) -> DeleteStore {
    DeleteStore {
        now: request.now,
        grace: request.grace.clone(),
        action: action(request),
    }
}

pub(super) fn receipt(receipt: Receipt) -> api::Receipt {
    api::Receipt {
        store_id: receipt.store.to_string(),
        node: receipt.node.to_string(),
        document: receipt.document,
        signature: receipt.signature,
        certificate: receipt.certificate,
        at: receipt.at.to_string(),
    }
}

pub(super) fn sealed_input(request: api::RequestSealedRequest) -> SealedInput {
    SealedInput {
        store: request.store,
        operation_id: request.operation_id,
        kind: request.kind,
        subject: request.subject,
        one_time_public_key: request.one_time_public_key,
        expires_unix_ms: request.expires_unix_ms,
        signer_key_id: request.signer_key_id,
        signature: request.signature,
    }
}

pub(super) fn sealed_answer(answer: SealedAnswer) -> api::RequestSealedResponse {
    api::RequestSealedResponse {
        code: answer.code,
        enc: answer.enc,
        ciphertext: answer.ciphertext,
    }
}

fn replica(report: &ReplicaReport) -> common::ReplicaStatus {
    common::ReplicaStatus {
        key: Some((&report.key).into()),
        phase: report.phase.clone(),
        reason: report.reason.clone(),
        has_exit_code: report.exit_code.is_some(),
        exit_code: report.exit_code.unwrap_or(0),
        oom_killed: report.oom_killed,
        restarts: report.restarts,
        since_unix_ms: report.since_unix_ms,
        last_log: report.last_log.as_ref().map(sealed_text),
    }
}

fn sealed_text(sealed: &SealedText) -> common::SealedText {
    common::SealedText {
        format: sealed.format,
        recipient_key_id: sealed.recipient_key_id.clone(),
        enc: sealed.enc.clone(),
        ciphertext: sealed.ciphertext.clone(),
    }
}

pub(super) fn store(view: StoreView) -> api::Store {
    let StoreView {
        store,
        url,
        admin_url,
        observed_generation,
    } = view;
    let hold_until = super::amend::hold_until(&store);
    let scale = super::amend::scale(&store);
    let drift = super::amend::drift(store.report.as_ref());
    let revision = store.spec.revision;
    let report = store.report;
    api::Store {
        id: store.id.to_string(),
        name: store.name.to_string(),
        display_name: store.display_name,
        organisation: store.organisation,
        project: store.project,
        environment: store.environment.as_str().to_owned(),
        labels: store.labels,
        template: revision.template,
        template_version: store.template_version,
        parameters: revision.parameters,
        profiles: revision.profiles,
        hosts: store
            .spec
            .hosts
            .iter()
            .map(|host| host.name.to_string())
            .collect(),
        url: text(url),
        admin_url: text(admin_url),
        node: text(store.placement.map(|placement| placement.node)),
        generation: store.generation.get(),
        observed_generation,
        status: store.status.as_str().to_owned(),
        reason: store.reason,
        message: store.message,
        desired_state: store.lifecycle.as_str().to_owned(),
        replicas: report
            .as_ref()
            .map(|report| report.replicas.iter().map(replica).collect())
            .unwrap_or_default(),
        serving_revision: report.as_ref().map_or(0, |report| report.serving_revision),
        maintenance: store.spec.maintenance,
        hold_until,
        scale,
        resources: limits(revision.resources),
        images: crate::api::words::images(revision.images),
        drift,
        lost_volumes: report.map(|report| report.lost_volumes).unwrap_or_default(),
        created_at: store.created_at.to_string(),
        updated_at: store.updated_at.to_string(),
        change_seq: store.change_seq,
        revision: revision.number,
        isolation: revision.isolation.as_str().to_owned(),
        sealing_public_key: store.on_agent.sealing_public_key,
        reserved_memory_bytes: store.reserved.memory_bytes,
        reserved_cpu_millis: store.reserved.cpu_millis,
        delete_at: match store.lifecycle {
            Lifecycle::Grace { until, .. } => until.to_string(),
            _ => String::new(),
        },
    }
}

pub(super) fn stores(page: Page<StoreView>) -> api::ListStoresResponse {
    api::ListStoresResponse {
        stores: page.items.into_iter().map(store).collect(),
        next_page_token: text(page.next),
    }
}

pub(super) fn change(change: StoreChange) -> api::WatchStoresResponse {
    let (store, deleted) = match change.what {
        StoreChanged::Present(view) => (self::store(*view), false),
        StoreChanged::Gone { id, name } => {
            let store = api::Store {
                id: id.to_string(),
                name: name.to_string(),
                ..api::Store::default()
            };
            (store, true)
        }
    };
    api::WatchStoresResponse {
        store: Some(store),
        deleted,
        change_seq: change.change_seq,
    }
}

fn event(event: StoreEvent) -> api::StoreEvent {
    api::StoreEvent {
        seq: event.seq,
        store_id: text(event.store),
        node_id: text(event.node),
        code: event.code,
        severity: event.severity.as_str().to_owned(),
        message: event.message,
        service: event.service,
        at: event.at.to_string(),
    }
}

pub(super) fn events(page: Page<StoreEvent>) -> api::ListEventsResponse {
    api::ListEventsResponse {
        events: page.items.into_iter().map(event).collect(),
        next_page_token: text(page.next),
    }
}

fn step(step: Step) -> api::OperationStep {
    api::OperationStep {
        name: step.name,
        state: step.state.as_str().to_owned(),
        message: step.message,
        started_at: text_of_ms(step.started_ms),
        ended_at: text_of_ms(step.ended_ms),
    }
}

pub(super) fn operation(view: OperationView) -> api::Operation {
    let OperationView {
        operation,
        replicas,
    } = view;
    api::Operation {
        id: operation.id,
        kind: operation.kind.as_str().to_owned(),
        store_id: operation.store.to_string(),
        store_name: operation.store_name.to_string(),
        state: operation.state.as_str().to_owned(),
        reason: operation.reason,
        message: operation.message,
        steps: operation.steps.into_iter().map(step).collect(),
        requested_by: operation.requested_by,
        requested_reason: operation.requested_reason,
        created_at: operation.created_at.to_string(),
        started_at: text(operation.started_at),
        ended_at: text(operation.ended_at),
        generation: operation.generation.get(),
        change_seq: operation.change_seq,
        replicas: replicas.iter().map(replica).collect(),
    }
}

pub(super) fn operations(page: Page<OperationView>) -> api::ListOperationsResponse {
    api::ListOperationsResponse {
        operations: page.items.into_iter().map(operation).collect(),
        next_page_token: text(page.next),
    }
}

pub(super) fn node(view: NodeView) -> api::Node {
    let NodeView {
        node,
        status,
        reserved,
        stores,
        last_seen_at,
        edge_url,
    } = view;
    api::Node {
        id: node.id.to_string(),
        name: node.name,
        status: status.as_str().to_owned(),
        memory_bytes: node.capacity.memory_bytes,
        memory_reserved_bytes: reserved.memory_bytes,
        cpu_millis: node.capacity.cpu_millis,
        cpu_reserved_millis: reserved.cpu_millis,
        disk_total_bytes: node.capacity.disk_total_bytes,
        disk_free_bytes: node.capacity.disk_free_bytes,
        stores,
        agent_version: node.agent_version,
        engine_version: node.engine_version,
        last_seen_at: text(last_seen_at),
        joined_at: node.joined_at.to_string(),
        edge_url: text(edge_url),
        failures: node.breaker.failures,
        no_new_stores_until: text(node.breaker.until),
        disk_limit_percent: disk_limit_percent(&node.capacity),
    }
}

pub(super) fn join_token(new: NewJoinToken) -> api::CreateJoinTokenResponse {
    api::CreateJoinTokenResponse {
        id: new.id,
        token: new.token.expose_secret().to_owned(),
        expires_at: new.expires_at.to_string(),
        root_pin: new.root_pin.to_string(),
        enroll_addresses: new.enroll_addresses,
        agent_addresses: new.agent_addresses,
    }
}

pub(super) fn template(view: TemplateView) -> api::Template {
    api::Template {
        name: view.name,
        version: view.version,
        digest: view.digest.to_string(),
        title: view.title,
        summary: view.summary,
        maturity: view.maturity,
        parameters: view.parameters.into_iter().map(parameter).collect(),
        profiles: view.profiles.into_iter().map(profile).collect(),
        services: view.services,
        tasks: view.tasks,
        channel: view.channel,
        is_default: view.is_default,
    }
}

fn parameter(view: ParameterView) -> api::TemplateParameter {
    api::TemplateParameter {
        name: view.name,
        r#type: view.kind,
        description: view.description,
        default_value: text(view.default),
        required: view.required,
        min: view.min.unwrap_or(0),
        max: view.max.unwrap_or(0),
        choices: view.choices,
    }
}

fn profile(view: ProfileView) -> api::TemplateProfile {
    api::TemplateProfile {
        name: view.name,
        choices: view.choices,
        default_value: view.default,
    }
}

pub(super) fn token(token: ApiToken) -> api::Token {
    api::Token {
        prefix: token.prefix(),
        id: token.id,
        name: token.name,
        role: token.role.as_str().to_owned(),
        created_at: token.created_at.to_string(),
        expires_at: token.expires_at.to_string(),
        last_used_at: text(token.last_used_at),
        revoked_at: text(token.revoked_at),
    }
}

pub(super) fn new_token(new: NewApiToken) -> api::CreateTokenResponse {
    api::CreateTokenResponse {
        token: Some(token(new.token)),
        secret: new.secret.expose_secret().to_owned(),
    }
}

fn audit_entry(entry: AuditEntry) -> api::AuditEntry {
    let record = entry.record;
    api::AuditEntry {
        seq: entry.seq,
        at: record.at.to_string(),
        actor: record.actor,
        source: record.source,
        request_id: record.request_id,
        action: record.action,
        subject: record.subject,
        decision: record.decision.as_str().to_owned(),
        reason: record.reason,
        previous_hash: entry.previous.to_string(),
        hash: entry.hash.to_string(),
        at_unix_ms: record.at.as_millisecond(),
    }
}

pub(super) fn audit(page: AuditPage) -> api::ListAuditResponse {
    api::ListAuditResponse {
        entries: page.entries.into_iter().map(audit_entry).collect(),
        head_seq: page.head_seq,
        head_hash: page.head_hash.to_string(),
    }
}

pub(super) fn fleet_status(status: FleetStatus) -> api::FleetStatus {
    api::FleetStatus {
        version: status.version.to_owned(),
        database: status.database.to_owned(),
        stores_by_status: status
            .stores_by_status
            .into_iter()
            .map(|(status, count)| (status.to_owned(), count))
            .collect(),
        nodes_ready: status.nodes_ready,
        nodes_total: status.nodes_total,
        operations_pending: status.operations_pending,
        operations_running: status.operations_running,
        warnings: status.warnings,
        started_at: status.started_at.to_string(),
        base_domain: status.base_domain,
    }
}

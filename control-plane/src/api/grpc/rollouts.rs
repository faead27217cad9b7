//! Messages about rollouts, clones and cancels.

use shop_proto::wire::admin::v1 as api;

use super::convert::{given, text};
use crate::{
    app::{CancelOperation, CloneStore, Page, RolloutAction, RolloutView, StartRollout},
    domain::rollout::{Member, RolloutEvent, WishedWatch},
};

pub(super) fn start(request: api::StartRolloutRequest) -> StartRollout {
    let watch = request.watch.unwrap_or_default();
    let set = request
        .parameters
        .into_iter()
        .map(|(name, value)| (name, Some(value)));
    let unset = request
        .unset_parameters
        .into_iter()
        .map(|name| (name, None));
    StartRollout {
        selector: request.selector,
        template: request.template,
        parameters: set.chain(unset).collect(),
        profiles: request.profiles,
        watch: WishedWatch {
            window_seconds: watch.window_seconds,
            failed_checks: watch.failed_checks,
            restarts: watch.restarts,
            error_permille: watch.error_permille,
            error_factor: watch.error_factor,
            min_requests: watch.min_requests,
        },
        allow_irreversible: request.allow_irreversible,
        canary: request.canary,
        batch: request.batch,
        max_failures: request.max_failures,
        max_failures_percent: request.max_failures_percent,
        reason: request.reason,
        dry_run: request.dry_run,
        idempotency_key: given(request.idempotency_key),
    }
}

pub(super) fn action(request: api::RolloutActionRequest, event: RolloutEvent) -> RolloutAction {
    RolloutAction {
        rollout: request.id,
        event,
        goes_back: request.rollback,
        reason: request.reason,
    }
}

fn member(member: Member) -> api::RolloutStore {
    api::RolloutStore {
        store_id: member.store.to_string(),
        store_name: member.name.to_string(),
        wave: member.wave,
        state: member.state.as_str().to_owned(),
        operation: text(member.operation),
        reason: member.reason,
        message: member.message,
    }
}

pub(super) fn rollout(view: RolloutView) -> api::Rollout {
    let RolloutView { rollout, members } = view;
    let wish = rollout.wish;
    let unset = wish
        .parameters
        .iter()
        .filter(|(_, value)| value.is_none())
        .map(|(name, _)| name.clone())
        .collect();
    api::Rollout {
        id: rollout.id,
        state: rollout.state.as_str().to_owned(),
        reason: rollout.reason,
        message: rollout.message,
        wave: rollout.wave,
        selector: wish.selector,
        template: wish.template,
        parameters: wish
            .parameters
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect(),
        unset_parameters: unset,
        profiles: wish.profiles,
        canary: wish.canary,
        batch: wish.batch.to_string(),
        max_failures: wish.max_failures,
        max_failures_percent: wish.max_failures_percent,
        requested_by: rollout.requested_by,
        requested_reason: rollout.requested_reason,
        created_at: rollout.created_at.to_string(),
        ended_at: text(rollout.ended_at),
        stores: members.into_iter().map(member).collect(),
    }
}

pub(super) fn rollouts(page: Page<RolloutView>) -> api::ListRolloutsResponse {
    api::ListRolloutsResponse {
        rollouts: page.items.into_iter().map(rollout).collect(),
        next_page_token: text(page.next),
    }
}

pub(super) fn clone(request: api::CloneStoreRequest) -> CloneStore {
    CloneStore {
        store: request.store,
        name: request.name,
        display_name: request.display_name,
        labels: request.labels,
        environment: request.environment,
        hosts: request.hosts,
        node: request.node,
        reason: request.reason,
        idempotency_key: given(request.idempotency_key),
    }
}

pub(super) fn cancel(request: api::CancelOperationRequest) -> CancelOperation {
    CancelOperation {
        operation: request.id,
        reason: request.reason,
        idempotency_key: given(request.idempotency_key),
    }
}

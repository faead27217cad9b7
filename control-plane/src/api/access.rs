//! Who may ask what: every route and every rpc with the permission it needs. What is not in these tables is refused.

use http::Method;

use crate::domain::access::Permission;

/// What a request needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// No token: contracts and health, which say nothing about the fleet.
    Public,
    /// A token whose role includes this.
    Needs(Permission),
}

use Access::{Needs, Public};
use Permission::{ManageAccess, ManageNodes, ManageStores, Read, ReadAudit, RequestSealed};

/// A route as the router matches it.
pub(super) struct Route {
    pub method: Method,
    pub path: &'static str,
    pub access: Access,
}

const fn route(method: Method, path: &'static str, access: Access) -> Route {
    Route {
        method,
        path,
        access,
    }
}

/// REST.
pub(super) const ROUTES: &[Route] = &[
    route(Method::GET, "/api/openapi.json", Public),
    route(Method::GET, "/api/v1/stores", Needs(Read)),
    route(Method::POST, "/api/v1/stores", Needs(ManageStores)),
    route(Method::GET, "/api/v1/stores/{store}", Needs(Read)),
    route(
        Method::DELETE,
        "/api/v1/stores/{store}",
        Needs(ManageStores),
    ),
    route(
        Method::POST,
        "/api/v1/stores/{store}/start",
        Needs(ManageStores),
    ),
    route(
        Method::POST,
        "/api/v1/stores/{store}/stop",
        Needs(ManageStores),
    ),
    route(
        Method::POST,
        "/api/v1/stores/{store}/restart",
        Needs(ManageStores),
    ),
    route(
        Method::POST,
        "/api/v1/stores/{store}/undelete",
        Needs(ManageStores),
    ),
    route(
        Method::POST,
        "/api/v1/stores/{store}/forget",
        Needs(ManageNodes),
    ),
    route(Method::GET, "/api/v1/stores/{store}/receipt", Needs(Read)),
    route(
        Method::POST,
        "/api/v1/stores/{store}/clone",
        Needs(ManageStores),
    ),
    route(
        Method::POST,
        "/api/v1/operations/{id}/cancel",
        Needs(ManageStores),
    ),
    route(Method::GET, "/api/v1/rollouts", Needs(Read)),
    route(Method::POST, "/api/v1/rollouts", Needs(ManageStores)),
    route(Method::GET, "/api/v1/rollouts/{id}", Needs(Read)),
    route(
        Method::POST,
        "/api/v1/rollouts/{id}/pause",
        Needs(ManageStores),
    ),
    route(
        Method::POST,
        "/api/v1/rollouts/{id}/resume",
        Needs(ManageStores),
    ),
    route(
        Method::POST,
        "/api/v1/rollouts/{id}/abort",
        Needs(ManageStores),
    ),
    route(
        Method::POST,
        "/api/v1/stores/{store}/update",
        Needs(ManageStores),
    ),
    route(Method::POST, "/api/v1/stores/{store}/diff", Needs(Read)),
    route(
        Method::POST,
        "/api/v1/stores/{store}/rollback",
        Needs(ManageStores),
    ),
    route(
        Method::POST,
        "/api/v1/stores/{store}/rotate",
        Needs(ManageStores),
    ),
    route(
        Method::POST,
        "/api/v1/stores/{store}/scale",
        Needs(ManageStores),
    ),
    route(
        Method::POST,
        "/api/v1/stores/{store}/maintenance",
        Needs(ManageStores),
    ),
    route(
        Method::POST,
        "/api/v1/stores/{store}/pause",
        Needs(ManageStores),
    ),
    route(
        Method::POST,
        "/api/v1/stores/{store}/wake",
        Needs(ManageStores),
    ),
    route(
        Method::POST,
        "/api/v1/stores/{store}/hold",
        Needs(ManageStores),
    ),
    route(
        Method::DELETE,
        "/api/v1/stores/{store}/hold",
        Needs(ManageStores),
    ),
    route(Method::PATCH, "/api/v1/stores/{store}", Needs(ManageStores)),
    route(Method::GET, "/api/v1/stores/{store}/revisions", Needs(Read)),
    route(Method::GET, "/api/v1/stores/{store}/explain", Needs(Read)),
    route(Method::GET, "/api/v1/stores/{store}/events", Needs(Read)),
    route(Method::GET, "/api/v1/stores/{store}/tasks", Needs(Read)),
    route(
        Method::POST,
        "/api/v1/stores/{store}/tasks",
        Needs(ManageStores),
    ),
    route(
        Method::POST,
        "/api/v1/tasks/{run}/cancel",
        Needs(ManageStores),
    ),
    route(Method::GET, "/api/v1/operations", Needs(Read)),
    route(Method::GET, "/api/v1/operations/{id}", Needs(Read)),
    route(Method::GET, "/api/v1/watch", Needs(Read)),
    route(Method::GET, "/api/v1/nodes", Needs(Read)),
    route(Method::GET, "/api/v1/nodes/{id}", Needs(Read)),
    route(Method::DELETE, "/api/v1/nodes/{id}", Needs(ManageNodes)),
    route(Method::POST, "/api/v1/join-tokens", Needs(ManageNodes)),
    route(Method::GET, "/api/v1/templates", Needs(Read)),
    route(Method::GET, "/api/v1/templates/{name}", Needs(Read)),
    route(Method::GET, "/api/v1/tokens", Needs(ManageAccess)),
    route(Method::POST, "/api/v1/tokens", Needs(ManageAccess)),
    route(Method::DELETE, "/api/v1/tokens/{id}", Needs(ManageAccess)),
    route(Method::GET, "/api/v1/audit", Needs(ReadAudit)),
    route(Method::GET, "/api/v1/status", Needs(Read)),
];

/// gRPC, by `/service/method`.
pub(super) const RPCS: &[(&str, Access)] = &[
    ("/shopfleet.admin.v1.Admin/CreateStore", Needs(ManageStores)),
    ("/shopfleet.admin.v1.Admin/GetStore", Needs(Read)),
    ("/shopfleet.admin.v1.Admin/ListStores", Needs(Read)),
    ("/shopfleet.admin.v1.Admin/StartStore", Needs(ManageStores)),
    ("/shopfleet.admin.v1.Admin/StopStore", Needs(ManageStores)),
    (
        "/shopfleet.admin.v1.Admin/RestartStore",
        Needs(ManageStores),
    ),
    ("/shopfleet.admin.v1.Admin/DeleteStore", Needs(ManageStores)),
    (
        "/shopfleet.admin.v1.Admin/UndeleteStore",
        Needs(ManageStores),
    ),
    ("/shopfleet.admin.v1.Admin/ForgetStore", Needs(ManageNodes)),
    ("/shopfleet.admin.v1.Admin/GetReceipt", Needs(Read)),
    ("/shopfleet.admin.v1.Admin/CloneStore", Needs(ManageStores)),
    (
        "/shopfleet.admin.v1.Admin/CancelOperation",
        Needs(ManageStores),
    ),
    (
        "/shopfleet.admin.v1.Admin/StartRollout",
        Needs(ManageStores),
    ),
    ("/shopfleet.admin.v1.Admin/GetRollout", Needs(Read)),
    ("/shopfleet.admin.v1.Admin/ListRollouts", Needs(Read)),
    (
        "/shopfleet.admin.v1.Admin/PauseRollout",
        Needs(ManageStores),
    ),
    (
        "/shopfleet.admin.v1.Admin/ResumeRollout",
        Needs(ManageStores),
    ),
    (
        "/shopfleet.admin.v1.Admin/AbortRollout",
        Needs(ManageStores),
    ),
    ("/shopfleet.admin.v1.Admin/AmendStore", Needs(ManageStores)),
    ("/shopfleet.admin.v1.Admin/LabelStore", Needs(ManageStores)),
    ("/shopfleet.admin.v1.Admin/ListRevisions", Needs(Read)),
    ("/shopfleet.admin.v1.Admin/ExplainStore", Needs(Read)),
    ("/shopfleet.admin.v1.Admin/WatchStores", Needs(Read)),
    ("/shopfleet.admin.v1.Admin/ListEvents", Needs(Read)),
    ("/shopfleet.admin.v1.Admin/GetOperation", Needs(Read)),
    ("/shopfleet.admin.v1.Admin/ListOperations", Needs(Read)),
    ("/shopfleet.admin.v1.Admin/WatchOperation", Needs(Read)),
    ("/shopfleet.admin.v1.Admin/ListNodes", Needs(Read)),
    ("/shopfleet.admin.v1.Admin/RemoveNode", Needs(ManageNodes)),
    (
        "/shopfleet.admin.v1.Admin/CreateJoinToken",
        Needs(ManageNodes),
    ),
    ("/shopfleet.admin.v1.Admin/ListTemplates", Needs(Read)),
    ("/shopfleet.admin.v1.Admin/GetTemplate", Needs(Read)),
    ("/shopfleet.admin.v1.Admin/CreateToken", Needs(ManageAccess)),
    ("/shopfleet.admin.v1.Admin/ListTokens", Needs(ManageAccess)),
    ("/shopfleet.admin.v1.Admin/RevokeToken", Needs(ManageAccess)),
    ("/shopfleet.admin.v1.Admin/ListAudit", Needs(ReadAudit)),
    ("/shopfleet.admin.v1.Admin/RunTask", Needs(ManageStores)),
    ("/shopfleet.admin.v1.Admin/CancelTask", Needs(ManageStores)),
    ("/shopfleet.admin.v1.Admin/ListTasks", Needs(Read)),
    (
        "/shopfleet.admin.v1.Admin/RequestSealed",
        Needs(RequestSealed),
    ),
    ("/shopfleet.admin.v1.Admin/PutRoster", Needs(ManageAccess)),
    ("/shopfleet.admin.v1.Admin/GetStatus", Needs(Read)),
    (
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        Public,
    ),
    (
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        Public,
    ),
    ("/grpc.health.v1.Health/Check", Public),
    ("/grpc.health.v1.Health/Watch", Public),
];

/// What a REST route needs; `HEAD` is what `GET` is.
pub(super) fn of_route(method: &Method, matched: &str) -> Option<Access> {
    let method = if method == Method::HEAD {
        &Method::GET
    } else {
        method
    };
    ROUTES
        .iter()
        .find(|route| route.method == method && route.path == matched)
        .map(|route| route.access)
}

/// What an rpc needs.
pub(super) fn of_rpc(path: &str) -> Option<Access> {
    RPCS.iter()
        .find(|(known, _)| *known == path)
        .map(|(_, access)| *access)
}

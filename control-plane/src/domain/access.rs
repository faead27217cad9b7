//! Who asks, with which role, and what a role may do.

use std::{fmt, str::FromStr};

use jiff::Timestamp;

/// What a role lets an API user do. The API maps every route and rpc to one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Permission {
    /// See stores, operations, events, nodes, templates and the fleet's status.
    Read,
    /// Create, start, stop, restart and delete stores.
    ManageStores,
    /// Relay a signed request for something sealed. The store's agent judges the signature.
    RequestSealed,
    /// Join and remove nodes.
    ManageNodes,
    /// Read the audit chain.
    ReadAudit,
    /// Create, list and revoke API tokens; replace the roster.
    ManageAccess,
}

/// A role on the fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Sees.
    Viewer,
    /// Runs stores.
    Developer,
    /// Runs the fleet.
    Admin,
    /// Decides who else may.
    Owner,
}

/// A text that is no role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a role is owner, admin, developer or viewer")]
pub struct RoleError;

impl Role {
    /// All, least first.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Developer, Self::Admin, Self::Owner];

    /// As written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Developer => "developer",
            Self::Admin => "admin",
            Self::Owner => "owner",
        }
    }

    /// Whether this role includes a permission.
    #[must_use]
    pub fn may(self, permission: Permission) -> bool {
        let least = match permission {
            Permission::Read => Self::Viewer,
            Permission::ManageStores | Permission::RequestSealed => Self::Developer,
            Permission::ManageNodes | Permission::ReadAudit => Self::Admin,
            Permission::ManageAccess => Self::Owner,
        };
        self >= least
    }
}

impl FromStr for Role {
    type Err = RoleError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or(RoleError)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who asks. Made from a token by `App::authenticate`, never from a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// `token:<id>` or `system`.
    pub actor: String,
    /// What it may do.
    pub role: Role,
    /// Where from: an IP address, `host` for a command on the host, `internal`.
    pub source: String,
    /// One id from CLI to agent.
    pub request_id: String,
}

impl Caller {
    /// The control plane itself, for what it does on its own account.
    #[must_use]
    pub fn system(request_id: &str) -> Self {
        Self {
            actor: "system".to_owned(),
            role: Role::Owner,
            source: "internal".to_owned(),
            request_id: request_id.to_owned(),
        }
    }
}

/// An API token as it may be shown. The secret is known only as a digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiToken {
    /// Public half.
    pub id: String,
    /// What its owner calls it.
    pub name: String,
    /// What it lets in.
    pub role: Role,
    pub created_at: Timestamp,
    pub created_by: String,
    pub expires_at: Timestamp,
    /// To the minute: an authentication is not worth a write of its own.
    pub last_used_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
}

impl ApiToken {
    /// The scannable first characters of its text.
    #[must_use]
    pub fn prefix(&self) -> String {
        format!("sfk1_{}", self.id)
    }

    /// Whether it lets anybody in.
    #[must_use]
    pub fn valid_at(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && now < self.expires_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_grow() {
        for permission in [
            Permission::Read,
            Permission::ManageStores,
            Permission::RequestSealed,
            Permission::ManageNodes,
            Permission::ReadAudit,
            Permission::ManageAccess,
        ] {
            let allowed: Vec<bool> = Role::ALL.iter().map(|role| role.may(permission)).collect();
            assert!(allowed.is_sorted(), "{permission:?}");
            assert!(Role::Owner.may(permission));
        }
        assert!(!Role::Viewer.may(Permission::ManageStores));
        assert!(!Role::Admin.may(Permission::ManageAccess));
    }
}

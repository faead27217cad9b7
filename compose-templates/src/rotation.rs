//! Which generated secrets can be changed while a store serves, and where that is done. Pure.
//!
//! A secret can be rotated when whoever checks it can accept two values for a while: then what still holds the old one goes on working
//! until it is gone. Of the services there are, the database can: `db_password` is the password of the user that the image's init file
//! makes (`DB_USER`). A key that data was signed with, or a password that was stored at installation, has no such moment.

use shop_proto::ServiceName;

use crate::{Probe, ServiceKind, StorePlan};

/// The secret that the database's image takes as the password of `DB_USER`.
const DATABASE_PASSWORD: &str = "db_password";
/// As the image has it, when the template says nothing.
const DATABASE_USER: &str = "shop";

/// A login whose password can be rotated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The database that checks it.
    pub service: ServiceName,
    /// User name.
    pub user: String,
    /// Where the database listens.
    pub port: u16,
}

/// Why a secret keeps its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotRotatable {
    /// The plan has no such secret.
    #[error("the store has no such generated secret")]
    Unknown,
    /// Nobody could accept two values of it at once.
    #[error(
        "nobody accepts an old and a new value of it at once, so buyers would notice; what can be rotated while a store serves is the \
         password that the shop logs into its MariaDB with (db_password)"
    )]
    NeverTwoAtOnce,
    /// A container that an update leaves in place holds the old value.
    #[error("a container that no update replaces holds its value")]
    HeldForGood,
}

impl StorePlan {
    /// The login that a secret is the password of.
    ///
    /// # Errors
    /// When the secret cannot be rotated while the store serves.
    pub fn login(&self, secret: &str) -> Result<Login, NotRotatable> {
        if !self.secrets.iter().any(|known| known.name == secret) {
            return Err(NotRotatable::Unknown);
        }
        if secret != DATABASE_PASSWORD {
            return Err(NotRotatable::NeverTwoAtOnce);
        }
        let mut fixed = self.services.iter().filter(|service| {
            let reads = service.container.secrets.iter().any(|name| name == secret);
            reads && !service.kind.slotted()
        });
        let (Some(database), None) = (fixed.next(), fixed.next()) else {
            return Err(NotRotatable::HeldForGood);
        };
        let Probe::Mysql { port, .. } = database.ready else {
            return Err(NotRotatable::NeverTwoAtOnce);
        };
        if database.kind != ServiceKind::Database {
            return Err(NotRotatable::HeldForGood);
        }
        let user = database.container.env.get("DB_USER");
        Ok(Login {
            service: database.name.clone(),
            user: user.map_or(DATABASE_USER, String::as_str).to_owned(),
            port,
        })
    }

    /// Names of the secrets that can be rotated while the store serves.
    pub fn rotatable(&self) -> impl Iterator<Item = &str> {
        self.secrets
            .iter()
            .map(|secret| secret.name.as_str())
            .filter(|name| self.login(name).is_ok())
    }
}

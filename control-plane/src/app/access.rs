//! Who may call: API tokens and what they let in.

use std::{collections::BTreeMap, sync::Mutex};

use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use shop_proto::{Digest, TokenKind, TokenText};

use super::{App, AppError, CreateToken, NewApiToken, Origin, Problem, stores::allowed};
use crate::domain::{
    access::{ApiToken, Caller, Role},
    audit::{AuditRecord, Decision},
};

/// Default and longest life of a token.
const DEFAULT_TTL: SignedDuration = SignedDuration::from_hours(90 * 24);
const MAX_TTL: SignedDuration = SignedDuration::from_hours(366 * 24);
/// Life of a token made on the host. It is for getting in; others are made with it.
const HOST_TTL: SignedDuration = SignedDuration::from_hours(366 * 24);
/// An authentication is written down at most so often.
const TOUCH: SignedDuration = SignedDuration::from_mins(1);
/// Who tokens made on the host are made by.
const HOST_ACTOR: &str = "host";
/// Lengths of the halves of a token's text; see `shop_proto::TokenText`.
const ID_LENGTH: usize = 10;
const SECRET_LENGTH: usize = 52;

/// Lets one denial a second of each action into the audit chain: somebody who guesses must not fill the disk, nor hide another's denial.
#[derive(Debug, Default)]
pub(crate) struct DenialSampler(Mutex<BTreeMap<String, i64>>);

impl DenialSampler {
    pub(crate) fn admits(&self, record: &AuditRecord) -> bool {
        let second = record.at.as_second();
        let Ok(mut seen) = self.0.lock() else {
            return false;
        };
        seen.retain(|_, last| *last == second);
        seen.insert(record.action.clone(), second).is_none()
    }
}

impl App {
    /// Whom a token's text lets in.
    ///
    /// # Errors
    /// [`AppError::Unauthorized`], the same for every reason.
    pub async fn authenticate(&self, token: &str, origin: &Origin) -> Result<Caller, AppError> {
        let source = origin
            .address
            .map_or_else(|| "unknown".to_owned(), |address| address.to_string());
        match self.valid_token(token).await? {
            Ok(token) => Ok(Caller {
                actor: format!("token:{}", token.id),
                role: token.role,
                source,
                request_id: origin.request_id.clone(),
            }),
            Err(reason) => {
                self.record_denial(AuditRecord {
                    at: self.context().clock.now(),
                    actor: "anonymous".to_owned(),
                    source,
                    request_id: origin.request_id.clone(),
                    action: "authenticate".to_owned(),
                    subject: "api".to_owned(),
                    decision: Decision::Denied,
                    reason: reason.to_owned(),
                })
                .await;
                Err(AppError::Unauthorized)
            }
        }
    }

    async fn valid_token(&self, text: &str) -> Result<Result<ApiToken, &'static str>, AppError> {
        let context = self.context();
        let Some(text) = text
            .parse::<TokenText>()
            .ok()
            .filter(|text| text.kind() == TokenKind::Api)
        else {
            return Ok(Err("malformed"));
        };
        let Some((token, secret)) = context.db.read().await?.token(text.id()).await? else {
            return Ok(Err("unknown"));
        };
        // Digests are compared: how long that takes tells nothing about the secret itself.
        if Digest::of(text.secret().as_bytes()) != secret {
            return Ok(Err("wrong_secret"));
        }
        let now = context.clock.now();
        if token.revoked_at.is_some() {
            return Ok(Err("revoked"));
        }
        if !token.valid_at(now) {
            return Ok(Err("expired"));
        }
        let stale = |used: Timestamp| now.duration_since(used) >= TOUCH;
        if token.last_used_at.is_none_or(stale)
            && let Err(error) = self.touch(&token.id, now).await
        {
            // Reading must go on while the disk is full.
            tracing::warn!(error = %error, "the use of a token could not be recorded");
        }
        Ok(Ok(token))
    }

    async fn touch(&self, id: &str, now: Timestamp) -> Result<(), AppError> {
        let mut tx = self.context().db.write().await?;
        tx.touch_token(id, now).await?;
        Ok(tx.commit().await?)
    }

    /// For the API's central check: a caller whose role does not include what it asked for.
    pub async fn audit_forbidden(&self, caller: &Caller, action: &str) {
        self.record_denial(AuditRecord {
            at: self.context().clock.now(),
            actor: caller.actor.clone(),
            source: caller.source.clone(),
            request_id: caller.request_id.clone(),
            action: action.to_owned(),
            subject: "api".to_owned(),
            decision: Decision::Denied,
            reason: format!("role {} may not", caller.role),
        })
        .await;
    }

    async fn record_denial(&self, record: AuditRecord) {
        tracing::info!(actor = %record.actor, source = %record.source, action = %record.action, reason = %record.reason, "denied");
        if self.context().denials.admits(&record)
            && let Err(error) = self.context().db.audit(record).await
        {
            // The denial stands; it is in the log above.
            tracing::warn!(error = %error, "a denial could not be recorded");
        }
    }

    /// A new API token. Its text is in the answer and nowhere else.
    ///
    /// # Errors
    /// When name, role or life are wrong.
    pub async fn create_token(
        &self,
        caller: &Caller,
        input: CreateToken,
    ) -> Result<NewApiToken, AppError> {
        let mut problems = Vec::new();
        let name = input.name.trim();
        if name.is_empty() || name.chars().count() > 100 || name.chars().any(char::is_control) {
            problems.push(Problem::at(
                "/name",
                "text_shape",
                "a token has a name of 1 to 100 characters that says whose it is",
            ));
        }
        let role = input
            .role
            .parse::<Role>()
            .map_err(|error| {
                problems.push(Problem::at("/role", "unknown_role", error.to_string()));
            })
            .ok();
        let ttl = match input.ttl_seconds {
            0 => DEFAULT_TTL,
            seconds => SignedDuration::from_secs(i64::from(seconds)),
        };
        if ttl > MAX_TTL {
            problems.push(Problem::at(
                "/ttl_seconds",
                "out_of_range",
                "a token lives at most 366 days",
            ));
        }
        let Some(role) = role.filter(|_| problems.is_empty()) else {
            return Err(AppError::Invalid { problems });
        };
        self.new_token(caller, name, role, ttl).await
    }

    /// On the host, as who may read the database anyway: a new owner token. Those made so before are revoked.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn reset_admin_token(&self) -> Result<NewApiToken, AppError> {
        let host = Caller {
            actor: HOST_ACTOR.to_owned(),
            role: Role::Owner,
            source: HOST_ACTOR.to_owned(),
            request_id: self.context().ids.operation(),
        };
        let mut tx = self.context().db.write().await?;
        tx.revoke_tokens_by(HOST_ACTOR, self.context().clock.now())
            .await?;
        tx.commit().await?;
        self.new_token(&host, "admin (made on the host)", Role::Owner, HOST_TTL)
            .await
    }

    async fn new_token(
        &self,
        caller: &Caller,
        name: &str,
        role: Role,
        ttl: SignedDuration,
    ) -> Result<NewApiToken, AppError> {
        let context = self.context();
        let now = context.clock.now();
        let secret = context.ids.base32(SECRET_LENGTH);
        let token = ApiToken {
            id: context.ids.base32(ID_LENGTH),
            name: name.to_owned(),
            role,
            created_at: now,
            created_by: caller.actor.clone(),
            expires_at: now.saturating_add(ttl).unwrap_or(Timestamp::MAX),
            last_used_at: None,
            revoked_at: None,
        };
        let digest = Digest::of(secret.as_bytes());
        let text = TokenText::api(token.id.clone(), secret)
            .map_err(|error| self.internal("a token's text", &error))?;
        let mut tx = context.db.write().await?;
        tx.insert_token(&token, digest).await?;
        let subject = format!("token:{}", token.id);
        let reason = format!("role {role}");
        tx.audit(allowed(caller, "token.create", subject, &reason, now))
            .await?;
        tx.commit().await?;
        Ok(NewApiToken {
            token,
            secret: SecretString::from(text.reveal()),
        })
    }

    /// All API tokens, revoked and expired ones too, for as long as they are kept.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn list_tokens(&self) -> Result<Vec<ApiToken>, AppError> {
        Ok(self.context().db.read().await?.list_tokens().await?)
    }

    /// Lets a token in no more. Again: nothing changes.
    ///
    /// # Errors
    /// When there is no such token.
    pub async fn revoke_token(&self, caller: &Caller, id: &str) -> Result<(), AppError> {
        let context = self.context();
        let now = context.clock.now();
        let mut tx = context.db.write().await?;
        if tx.token(id).await?.is_none() {
            return Err(AppError::NotFound {
                what: "token",
                name: id.chars().take(80).collect(),
            });
        }
        if tx.revoke_token(id, now).await? {
            let subject = format!("token:{id}");
            tx.audit(allowed(caller, "token.revoke", subject, "", now))
                .await?;
        }
        Ok(tx.commit().await?)
    }

    /// Something that cannot be, with an id that is in the log.
    pub(super) fn internal(&self, what: &str, error: &dyn std::error::Error) -> AppError {
        let id = self.context().ids.operation();
        tracing::error!(error_id = %id, error = %error, "{what} failed");
        AppError::Internal { id }
    }
}

//! API tokens. Their secrets are kept as SHA-256 digests: 256 random bits need no slower hash.

use jiff::Timestamp;
use shop_proto::Digest;

use super::{
    DbError, Tx,
    driver::{Row, args},
};
use crate::domain::access::ApiToken;

fn token(row: &Row) -> Result<ApiToken, DbError> {
    Ok(ApiToken {
        id: row.text("id")?,
        name: row.text("name")?,
        role: row.parsed("role")?,
        created_at: row.time("created_at")?,
        created_by: row.text("created_by")?,
        expires_at: row.time("expires_at")?,
        last_used_at: row.maybe_time("last_used_at")?,
        revoked_at: row.maybe_time("revoked_at")?,
    })
}

impl Tx {
    /// A new token.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn insert_token(&mut self, token: &ApiToken, secret: Digest) -> Result<(), DbError> {
        self.execute(
            "INSERT INTO api_tokens (id, name, role, secret, created_at, created_by, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7)",
            args![
                &token.id,
                &token.name,
                token.role.as_str(),
                &secret,
                token.created_at,
                &token.created_by,
                token.expires_at,
            ],
        )
        .await?;
        Ok(())
    }

    /// A token and the digest of its secret.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn token(&mut self, id: &str) -> Result<Option<(ApiToken, Digest)>, DbError> {
        self.row("SELECT * FROM api_tokens WHERE id = $1", args![id])
            .await?
            .map(|row| Ok((token(&row)?, row.parsed("secret")?)))
            .transpose()
    }

    /// All tokens, newest first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn list_tokens(&mut self) -> Result<Vec<ApiToken>, DbError> {
        let sql = "SELECT * FROM api_tokens ORDER BY created_at DESC, id";
        self.rows(sql, vec![]).await?.iter().map(token).collect()
    }

    /// Lets a token in no more. Revoking again changes nothing.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn revoke_token(&mut self, id: &str, now: Timestamp) -> Result<bool, DbError> {
        let sql = "UPDATE api_tokens SET revoked_at = $1 WHERE id = $2 AND revoked_at IS NULL";
        Ok(self.execute(sql, args![now, id]).await? == 1)
    }

    /// Lets in no token that somebody made.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn revoke_tokens_by(&mut self, actor: &str, now: Timestamp) -> Result<u64, DbError> {
        let sql =
            "UPDATE api_tokens SET revoked_at = $1 WHERE created_by = $2 AND revoked_at IS NULL";
        self.execute(sql, args![now, actor]).await
    }

    /// Remembers that a token was used.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn touch_token(&mut self, id: &str, now: Timestamp) -> Result<(), DbError> {
        self.execute(
            "UPDATE api_tokens SET last_used_at = $1 WHERE id = $2",
            args![now, id],
        )
        .await?;
        Ok(())
    }

    /// Forgets tokens that ended before a time.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn forget_tokens(&mut self, before: Timestamp) -> Result<u64, DbError> {
        let sql = "DELETE FROM api_tokens WHERE expires_at < $1 OR revoked_at < $1";
        self.execute(sql, args![before]).await
    }
}

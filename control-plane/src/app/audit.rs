//! Reading the audit chain.

use super::{App, AppError, AuditPage, ListAudit, PageRequest};

impl App {
    /// Entries after a number, with the chain's head, so that a reader can verify what it has.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn list_audit(&self, input: ListAudit) -> Result<AuditPage, AppError> {
        let page = PageRequest {
            size: input.size,
            token: None,
        };
        let mut tx = self.context().db.read().await?;
        let entries = tx.audit_after(input.after_seq, page.limit()).await?;
        let (head_seq, head_hash) = tx.audit_head().await?;
        Ok(AuditPage {
            entries,
            head_seq,
            head_hash,
        })
    }
}

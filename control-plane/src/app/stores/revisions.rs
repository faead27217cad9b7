//! What a store rendered from, and could go back to.

use crate::{
    app::{App, AppError, RevisionView},
    domain::revision::RevisionState,
};

impl App {
    /// The kept revisions of a store, newest first.
    ///
    /// # Errors
    /// When there is no such store.
    pub async fn list_revisions(&self, store: &str) -> Result<Vec<RevisionView>, AppError> {
        let mut tx = self.context().db.read().await?;
        let store = self.found(&mut tx, store).await?;
        let kept = tx.revisions(&store.id).await?;
        // While an update is watched the agent knows more than what is settled.
        let reported = store
            .report
            .as_ref()
            .map_or(0, |report| report.serving_revision);
        Ok(kept
            .into_iter()
            .map(|mut revision| {
                let number = revision.content.number;
                if reported != 0 && reported == number {
                    revision.state = RevisionState::Serving;
                } else if reported != 0 && revision.state == RevisionState::Serving {
                    revision.state = RevisionState::Superseded;
                }
                RevisionView {
                    wanted: number == store.spec.revision.number,
                    revision,
                }
            })
            .collect())
    }
}

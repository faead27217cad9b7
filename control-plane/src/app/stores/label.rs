//! Labels and the name for people: what concerns no container makes no generation and no operation.

use super::{
    allowed,
    change::{precondition, refused},
    check::{check_labels, display_name},
    check_reason,
};
use crate::{
    app::{App, AppError, LabelStore, StoreView},
    domain::{access::Caller, change::Refusal},
};

impl App {
    /// Changes labels and the name for people.
    ///
    /// # Errors
    /// Everything that is wrong with what is asked, at once; when there is no such store or it is to go.
    pub async fn label_store(
        &self,
        caller: &Caller,
        input: LabelStore,
    ) -> Result<StoreView, AppError> {
        let mut problems = Vec::new();
        check_reason(&input.reason, &mut problems);
        let named = display_name(&input.display_name, &mut problems);
        let mut tx = self.context().db.write().await?;
        let mut store = self.found(&mut tx, &input.store).await?;
        precondition(&store, input.if_generation)?;
        store
            .lifecycle
            .live()
            .map_err(|illegal| refused(&store, Refusal::Illegal(illegal)))?;
        let before = store.clone();
        for (key, value) in input.labels {
            match value {
                Some(value) => store.labels.insert(key, value),
                None => store.labels.remove(&key),
            };
        }
        check_labels(&store.labels, &mut problems);
        if !problems.is_empty() {
            return Err(AppError::Invalid { problems });
        }
        if !named.is_empty() {
            store.display_name = named;
        }
        if store != before {
            let now = self.context().clock.now();
            tx.save_store(&mut store, now).await?;
            let subject = format!("store:{}", store.id);
            tx.audit(allowed(caller, "store.label", subject, &input.reason, now))
                .await?;
            tx.commit().await?;
        } else {
            drop(tx);
        }
        self.get_store(store.id.as_str()).await
    }
}

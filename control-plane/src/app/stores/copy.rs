//! A new store that is set up as another one is: its template, parameters, profiles, limits, images, labels and scale. No data, no secrets, no host names.

use super::allowed;
use crate::{
    app::{App, AppError, CloneStore, CreateStore, OperationView, ResourcesInput},
    domain::{access::Caller, store::Store},
};

impl App {
    /// Accepts a new store with another one's configuration.
    ///
    /// # Errors
    /// As [`App::create_store`]; and when there is no such store.
    pub async fn clone_store(
        &self,
        caller: &Caller,
        input: CloneStore,
    ) -> Result<OperationView, AppError> {
        let source = {
            let mut tx = self.context().db.read().await?;
            self.found(&mut tx, &input.store).await?
        };
        let subject = format!("store:{}", source.id);
        let reason = input.reason.clone();
        let create = configuration(source, input);
        let operation = self.create_store(caller, create).await?;
        // Beside the new store's own entry: who may read one store's set-up decided to give it to another.
        let context = self.context();
        let mut tx = context.db.write().await?;
        let now = context.clock.now();
        tx.audit(allowed(caller, "store.clone", subject, &reason, now))
            .await?;
        tx.commit().await?;
        Ok(operation)
    }
}

fn configuration(source: Store, input: CloneStore) -> CreateStore {
    let revision = source.spec.revision;
    let resources = revision.resources.into_iter().map(|(service, limits)| {
        let limits = ResourcesInput {
            memory_bytes: limits.memory_bytes.unwrap_or(0),
            cpu_millis: limits.cpu_millis.unwrap_or(0),
        };
        (service.to_string(), limits)
    });
    let mut labels = source.labels;
    labels.extend(input.labels);
    let environment = match input.environment.as_str() {
        "" => source.environment.as_str().to_owned(),
        given => given.to_owned(),
    };
    CreateStore {
        name: input.name,
        display_name: input.display_name,
        template: format!("{}@{}", revision.template, source.template_version),
        parameters: revision.parameters,
        profiles: revision.profiles,
        labels,
        environment,
        hosts: input.hosts,
        resources: resources.collect(),
        images: revision
            .images
            .into_iter()
            .map(|(service, image)| (service.to_string(), image))
            .collect(),
        isolation: revision.isolation.as_str().to_owned(),
        project: source.project,
        reason: input.reason,
        idempotency_key: input.idempotency_key,
        node: input.node,
        scale: source.spec.scale,
    }
}

//! Which secrets of a store get new values. Only their names and a counter are known here.

use shop_plan::{Catalogue, NotRotatable, StorePlan};
use shop_proto::Spec;

use crate::{
    app::{AppError, Problem, RotateSecrets},
    domain::store::Store,
};

/// Asks in `spec` for new values. The counter is the generation that this makes: after a restore from a backup, too, it is newer than all
/// that the store has seen.
pub(super) fn rotate(
    catalogue: &'static Catalogue,
    store: &Store,
    secrets: &RotateSecrets,
    spec: &mut Spec,
) -> Result<(), AppError> {
    let name = &store.name;
    let served = store.report.as_ref();
    if served.is_none_or(|report| report.serving_revision == 0) {
        return Err(AppError::conflict(
            "not_served_yet",
            format!(
                "store {name} has not served yet, and its secrets are as new as it is; see `shopctl store get {name}`"
            ),
        ));
    }
    let plan = catalogue
        .by_digest(&store.spec.revision.template_digest)
        .and_then(|template| {
            let revision = &store.spec.revision;
            shop_plan::render(&store.id, revision, template, store.render_version).ok()
        })
        .ok_or_else(|| {
            AppError::conflict(
                "template_gone",
                format!("this release cannot render the revision of store {name}; update it first: `shopctl template list`"),
            )
        })?;
    let counter = store.newest_held().next().get();
    for secret in chosen(&plan, secrets)? {
        spec.rotations.insert(secret, counter);
    }
    Ok(())
}

fn chosen(plan: &StorePlan, secrets: &RotateSecrets) -> Result<Vec<String>, AppError> {
    let mut problems = Vec::new();
    for (index, name) in secrets.names.iter().enumerate() {
        let Err(why) = plan.login(name) else { continue };
        let code = match why {
            NotRotatable::Unknown => "unknown_secret",
            NotRotatable::NeverTwoAtOnce | NotRotatable::HeldForGood => "secret_not_rotatable",
        };
        problems.push(Problem::at(
            format!("/secrets/{index}"),
            code,
            why.to_string(),
        ));
    }
    let mut names: Vec<String> = secrets.names.clone();
    if secrets.all {
        names.extend(plan.rotatable().map(str::to_owned));
    }
    if names.is_empty() && problems.is_empty() {
        problems.push(Problem::at(
            "/all",
            "secret_not_rotatable",
            "this shop has no secret that can be rotated while it serves",
        ));
    }
    if problems.is_empty() {
        Ok(names)
    } else {
        Err(AppError::Invalid { problems })
    }
}

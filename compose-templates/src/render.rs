//! From a template and a revision to a plan. One function per render version; each is frozen by goldens once it is released.

mod v1;

use shop_proto::{Digest, Revision, StoreId};

use crate::{ChoiceProblem, Choices, LintProblem, StorePlan, Template, lint};

/// Why a revision does not render.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// This release does not know the rendering.
    #[error("render version {0} is not known to this release; it knows {known:?}", known = crate::RENDER_VERSIONS)]
    UnknownVersion(u32),
    /// The revision names another template.
    #[error("the revision is of template {wanted}, not of {given}")]
    OtherTemplate {
        /// What the revision names.
        wanted: Digest,
        /// What it was to be rendered from.
        given: Digest,
    },
    /// A choice does not fit the template.
    #[error("{} of the revision's choices do not fit the template; the first: {}", .0.len(), first(.0))]
    Choices(Vec<ChoiceProblem>),
    /// The template itself does not hold together; its checks should have said so.
    #[error("the template does not hold together: {0}")]
    Template(String),
    /// The plan breaks a rule.
    #[error("{} rules are broken by the plan; the first: {}", .0.len(), first(.0))]
    Lint(Vec<LintProblem>),
}

fn first<T: std::fmt::Display>(problems: &[T]) -> String {
    problems
        .first()
        .map_or_else(String::new, ToString::to_string)
}

/// Renders a revision: the same input gives the same plan on every machine, for as long as the version is known.
///
/// Nothing about the revision is believed: its choices are checked again, and the plan is linted.
///
/// # Errors
/// When the version is unknown, the revision does not fit the template, or the plan breaks a rule.
pub fn render(
    store: &StoreId,
    revision: &Revision,
    template: &Template,
    render_version: u32,
) -> Result<StorePlan, RenderError> {
    if render_version != 1 {
        return Err(RenderError::UnknownVersion(render_version));
    }
    if revision.template_digest != template.digest {
        return Err(RenderError::OtherTemplate {
            wanted: revision.template_digest,
            given: template.digest,
        });
    }
    let choices = Choices {
        parameters: revision.parameters.clone(),
        profiles: revision.profiles.clone(),
        resources: revision
            .resources
            .iter()
            .map(|(service, resources)| (service.to_string(), *resources))
            .collect(),
        images: revision
            .images
            .iter()
            .map(|(service, image)| (service.to_string(), image.clone()))
            .collect(),
    };
    let checked = template.checked(&choices).map_err(RenderError::Choices)?;
    let plan = v1::plan(store, revision.number, template, &checked)?;
    let problems = lint(&plan);
    if problems.is_empty() {
        Ok(plan)
    } else {
        Err(RenderError::Lint(problems))
    }
}

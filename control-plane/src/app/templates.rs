//! Templates that stores can be made of.

use shop_plan::{Catalogue, Maturity, Template};

use super::{App, AppError};
use crate::domain::template::{ParameterView, ProfileView, TemplateView};

impl App {
    /// All, by name, oldest version first.
    #[must_use]
    pub fn list_templates(&self) -> Vec<TemplateView> {
        let catalogue = self.context().catalogue;
        catalogue
            .iter()
            .map(|template| view(catalogue, template))
            .collect()
    }

    /// "refshop", its newest stable version, or "refshop@1".
    ///
    /// # Errors
    /// When there is none.
    pub fn get_template(&self, template: &str) -> Result<TemplateView, AppError> {
        let catalogue = self.context().catalogue;
        catalogue
            .find(template)
            .map(|template| view(catalogue, template))
            .ok_or_else(|| AppError::NotFound {
                what: "template",
                name: template.chars().take(80).collect(),
            })
    }
}

fn view(catalogue: &Catalogue, template: &Template) -> TemplateView {
    let manifest = &template.manifest;
    TemplateView {
        name: template.name.clone(),
        version: template.version.clone(),
        digest: template.digest,
        title: manifest.title.clone(),
        summary: manifest.summary.clone(),
        maturity: match manifest.maturity {
            Maturity::RunTested => "run-tested",
            Maturity::RenderTested => "render-tested",
        }
        .to_owned(),
        channel: manifest.channel.as_str().to_owned(),
        is_default: catalogue.is_default(template),
        parameters: manifest
            .parameters
            .iter()
            .map(|(name, parameter)| {
                let bounds = parameter.kind.bounds();
                ParameterView {
                    name: name.as_str().to_owned(),
                    kind: parameter.kind.name().to_owned(),
                    description: parameter.description.clone(),
                    default: parameter.default.clone(),
                    required: parameter.required(),
                    min: bounds.map(|(min, _)| min),
                    max: bounds.map(|(_, max)| max),
                    choices: parameter.kind.choices().to_vec(),
                }
            })
            .collect(),
        profiles: manifest
            .profiles
            .iter()
            .map(|(name, profile)| ProfileView {
                name: name.clone(),
                choices: profile.choices.clone(),
                default: profile.default.clone(),
            })
            .collect(),
        services: names(&template.service_names()),
        tasks: names(&template.task_names()),
    }
}

fn names(names: &[shop_proto::ServiceName]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

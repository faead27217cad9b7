//! Arguments of a task as a template writes them: typed like parameters.

use serde::Deserialize;

use super::{Declaration, Parameter, ParameterName};
use crate::{ArgumentPlan, scalar::ScalarError};

/// An argument of a task, as written.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "ArgumentDeclaration")]
pub(crate) struct ArgumentEntry(pub ArgumentPlan);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ArgumentDeclaration {
    name: ParameterName,
    r#type: String,
    #[serde(default)]
    description: String,
    default: Option<String>,
    min: Option<String>,
    max: Option<String>,
    max_length: Option<u16>,
    choices: Option<Vec<String>>,
}

impl TryFrom<ArgumentDeclaration> for ArgumentEntry {
    type Error = ScalarError;

    fn try_from(written: ArgumentDeclaration) -> Result<Self, Self::Error> {
        let declaration = Declaration {
            r#type: written.r#type,
            required: written.default.is_none(),
            description: written.description,
            default: written.default,
            min: written.min,
            max: written.max,
            max_length: written.max_length,
            choices: written.choices,
        };
        let parameter = Parameter::try_from(declaration)?;
        let argument = ArgumentPlan {
            name: written.name.as_str().to_owned(),
            kind: parameter.kind,
            default: parameter.default,
            description: parameter.description,
        };
        let default = argument.default.as_ref();
        if let Some((_, reason)) = default.and_then(|value| argument.problem(value)) {
            return Err(ScalarError::new(format!("the default {reason}")));
        }
        Ok(Self(argument))
    }
}

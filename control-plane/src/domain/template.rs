//! A template as it is shown to API users.

use shop_proto::Digest;

/// What can be chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateView {
    pub name: String,
    pub version: String,
    pub digest: Digest,
    pub title: String,
    pub summary: String,
    pub maturity: String,
    /// `stable` or `preview`.
    pub channel: String,
    /// Whether the bare name means it.
    pub is_default: bool,
    pub parameters: Vec<ParameterView>,
    pub profiles: Vec<ProfileView>,
    pub services: Vec<String>,
    pub tasks: Vec<String>,
}

/// A typed parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterView {
    pub name: String,
    /// `text`, `email`, `int`, `size`, `enum`, `currency`, `locale`, `host`.
    pub kind: String,
    pub description: String,
    pub default: Option<String>,
    pub required: bool,
    pub min: Option<i64>,
    pub max: Option<i64>,
    pub choices: Vec<String>,
}

/// A profile and its choices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileView {
    pub name: String,
    pub choices: Vec<String>,
    pub default: String,
}

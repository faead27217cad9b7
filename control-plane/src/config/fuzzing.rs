//! What fuzz targets call: the configuration's text, read and written.

use std::path::Path;

use super::{Config, ConfigError};

/// From a file's text, with one variable over it.
///
/// # Errors
/// When either is refused.
pub fn read(text: &str, variable: Option<(&str, &str)>) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("control-plane.toml"), |name| {
        let (set, value) = variable?;
        (set == name).then(|| value.to_owned())
    })
}

/// As it is kept.
///
/// # Errors
/// When it cannot be written as TOML.
pub fn written(config: &Config) -> Result<String, ConfigError> {
    config.text()
}

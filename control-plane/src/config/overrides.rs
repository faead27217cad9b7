//! `SHOPFLEET_*` variables, each one over exactly one setting.

use std::{fmt::Display, str::FromStr};

use super::{Config, ConfigError, DatabaseUrl};

/// Applies every variable that is set.
pub fn apply(
    config: &mut Config,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<(), ConfigError> {
    let set = Variables(variable);
    set.parse("SHOPFLEET_LISTEN_ADMIN", &mut config.listen.admin)?;
    set.parse("SHOPFLEET_LISTEN_ENROLMENT", &mut config.listen.enrolment)?;
    set.parse("SHOPFLEET_LISTEN_AGENTS", &mut config.listen.agents)?;
    set.parse("SHOPFLEET_LISTEN_METRICS", &mut config.listen.metrics)?;
    set.parse("SHOPFLEET_BASE_DOMAIN", &mut config.base_domain)?;
    let provisioning = &mut config.provisioning;
    set.parse("SHOPFLEET_PROVISION_DEADLINE", &mut provisioning.deadline)?;
    set.parse("SHOPFLEET_PROVISION_PER_NODE", &mut provisioning.per_node)?;
    set.parse("SHOPFLEET_CPU_OVERCOMMIT", &mut provisioning.cpu_overcommit)?;
    set.parse(
        "SHOPFLEET_UNREACHABLE_AFTER",
        &mut provisioning.unreachable_after,
    )?;
    set.parse("SHOPFLEET_DELETE_GRACE", &mut config.deletion.grace)?;
    if let Some(url) = set.get("SHOPFLEET_DATABASE_URL") {
        config.database.url = DatabaseUrl::new(url);
    }
    if let Some(addresses) = set.get("SHOPFLEET_ADVERTISE") {
        config.advertise = addresses
            .split_whitespace()
            .map(|address| parse("SHOPFLEET_ADVERTISE", address))
            .collect::<Result<_, _>>()?;
    }
    Ok(())
}

struct Variables<F>(F);

impl<F: Fn(&str) -> Option<String>> Variables<F> {
    fn get(&self, name: &'static str) -> Option<String> {
        (self.0)(name).filter(|value| !value.is_empty())
    }

    fn parse<T>(&self, name: &'static str, target: &mut T) -> Result<(), ConfigError>
    where
        T: FromStr<Err: Display>,
    {
        if let Some(value) = self.get(name) {
            *target = parse(name, &value)?;
        }
        Ok(())
    }
}

fn parse<T>(name: &'static str, value: &str) -> Result<T, ConfigError>
where
    T: FromStr<Err: Display>,
{
    value
        .parse()
        .map_err(|error: T::Err| ConfigError::Override {
            name,
            problem: error.to_string(),
        })
}

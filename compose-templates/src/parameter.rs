//! Typed parameters: what a template may ask of an operator, and whether a value fits.
//!
//! Values are text on every wire. A value that fits is put into environment values as it was given, so each type has one spelling only.

mod argument;

use std::{collections::BTreeMap, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize};
use shop_proto::HostName;

use crate::{
    currency,
    scalar::{ScalarError, deserialize_through_text, through_text},
};

pub(crate) use argument::ArgumentEntry;

/// Parameters by name.
pub type Parameters = BTreeMap<ParameterName, Parameter>;

/// Name of a parameter: `[a-z][a-z0-9_]{0,30}`. Its variable is the same in upper case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ParameterName(String);

/// A parameter that a template declares.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Declaration")]
pub struct Parameter {
    /// What a value must be.
    pub kind: ParameterKind,
    /// Used when no value is given.
    pub default: Option<String>,
    /// One sentence for a person.
    pub description: String,
}

/// What a value must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum ParameterKind {
    /// Printable text, data only.
    Text {
        /// In characters.
        max_length: u16,
    },
    /// An e-mail address.
    Email,
    /// A whole number in decimal.
    Int {
        /// Lowest.
        min: i64,
        /// Highest.
        max: i64,
    },
    /// Bytes: a number and `K`, `M` or `G`.
    Size {
        /// Lowest, in bytes.
        min: u64,
        /// Highest, in bytes.
        max: u64,
    },
    /// One of a list.
    Enum {
        /// The list.
        choices: Vec<String>,
    },
    /// An ISO 4217 code.
    Currency,
    /// Language and country: `en-GB`.
    Locale,
    /// A host name.
    Host,
}

/// Why a value does not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Not of the type at all.
    #[error("must be {0}")]
    Type(String),
    /// Of the type, but too small, too large, too long or not in the list.
    #[error("must be {0}")]
    Range(String),
}

/// A parameter as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Declaration {
    r#type: String,
    #[serde(default)]
    description: String,
    default: Option<String>,
    #[serde(default)]
    required: bool,
    min: Option<String>,
    max: Option<String>,
    max_length: Option<u16>,
    choices: Option<Vec<String>>,
}

impl Parameter {
    /// Whether a store cannot be made without a value.
    #[must_use]
    pub const fn required(&self) -> bool {
        self.default.is_none()
    }
}

impl ParameterName {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Name of its variable in `environment` values.
    #[must_use]
    pub fn variable(&self) -> String {
        self.0.to_ascii_uppercase()
    }
}

impl FromStr for ParameterName {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let good = (1..=31).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
            && !text.starts_with("profile_");
        good.then(|| Self(text.to_owned())).ok_or_else(|| {
            ScalarError::new(
                "a parameter's name is [a-z][a-z0-9_]{0,30} and does not start with profile_",
            )
        })
    }
}

deserialize_through_text!(ParameterName);

impl ParameterKind {
    /// As written in templates and shown to people.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Text { .. } => "text",
            Self::Email => "email",
            Self::Int { .. } => "int",
            Self::Size { .. } => "size",
            Self::Enum { .. } => "enum",
            Self::Currency => "currency",
            Self::Locale => "locale",
            Self::Host => "host",
        }
    }

    /// Lowest and highest value: of an int itself, of a size in bytes, of a text its length in characters.
    #[must_use]
    pub fn bounds(&self) -> Option<(i64, i64)> {
        match self {
            Self::Text { max_length } => Some((1, i64::from(*max_length))),
            Self::Int { min, max } => Some((*min, *max)),
            Self::Size { min, max } => Some((i64::try_from(*min).ok()?, i64::try_from(*max).ok()?)),
            _ => None,
        }
    }

    /// The list of an enum; empty otherwise.
    #[must_use]
    pub fn choices(&self) -> &[String] {
        match self {
            Self::Enum { choices } => choices,
            _ => &[],
        }
    }

    /// Whether a value fits.
    ///
    /// # Errors
    /// Says what it must be. Never repeats the value.
    pub fn check(&self, value: &str) -> Result<(), ValueError> {
        match self {
            Self::Text { max_length } => text(value, *max_length),
            Self::Email => email(value),
            Self::Int { min, max } => int(value, *min, *max),
            Self::Size { min, max } => size(value, *min, *max),
            Self::Enum { choices } if choices.iter().any(|choice| choice == value) => Ok(()),
            Self::Enum { choices } => {
                Err(ValueError::Range(format!("one of {}", choices.join(", "))))
            }
            Self::Currency if currency::is_known(value) => Ok(()),
            Self::Currency => Err(ValueError::Type("an ISO 4217 code such as EUR".to_owned())),
            Self::Locale => locale(value),
            Self::Host => value
                .parse::<HostName>()
                .map(drop)
                .map_err(|_| ValueError::Type("a host name such as shop.example.com".to_owned())),
        }
    }
}

fn text(value: &str, max_length: u16) -> Result<(), ValueError> {
    /// Characters that print nothing but change how the rest is shown: zero-width, line separators and direction marks.
    const fn deceptive(c: char) -> bool {
        matches!(c, '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}')
    }
    if value.chars().any(|c| c.is_control() || deceptive(c)) {
        return Err(ValueError::Type("printable text on one line".to_owned()));
    }
    if value.trim().is_empty() || value.chars().count() > usize::from(max_length) {
        return Err(ValueError::Range(format!("1 to {max_length} characters")));
    }
    Ok(())
}

fn email(value: &str) -> Result<(), ValueError> {
    let good = value.len() <= 254
        && value.split_once('@').is_some_and(|(local, domain)| {
            (1..=64).contains(&local.len())
                && local
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"._%+-".contains(&b))
                && !local.starts_with('.')
                && !local.ends_with('.')
                && !local.contains("..")
                && domain.to_ascii_lowercase().parse::<HostName>().is_ok()
        });
    good.then_some(())
        .ok_or_else(|| ValueError::Type("an e-mail address such as admin@example.com".to_owned()))
}

fn int(value: &str, min: i64, max: i64) -> Result<(), ValueError> {
    let number = value
        .parse::<i64>()
        .ok()
        .filter(|number| number.to_string() == value)
        .ok_or_else(|| ValueError::Type("a whole number".to_owned()))?;
    (min..=max)
        .contains(&number)
        .then_some(())
        .ok_or_else(|| ValueError::Range(format!("{min} to {max}")))
}

fn size(value: &str, min: u64, max: u64) -> Result<(), ValueError> {
    let bytes = size_bytes(value)
        .ok_or_else(|| ValueError::Type("a number and K, M or G, such as 64M".to_owned()))?;
    (min..=max)
        .contains(&bytes)
        .then_some(())
        .ok_or_else(|| ValueError::Range(format!("{} to {}", size_text(min), size_text(max))))
}

/// One spelling only: no leading zero, an upper-case unit, at most 9 digits.
fn size_bytes(value: &str) -> Option<u64> {
    let digits = value.strip_suffix(['K', 'M', 'G'])?;
    let shift = match value.as_bytes().last()? {
        b'K' => 10,
        b'M' => 20,
        _ => 30,
    };
    let good = (1..=9).contains(&digits.len())
        && !digits.starts_with('0')
        && digits.bytes().all(|b| b.is_ascii_digit());
    good.then(|| digits.parse::<u64>().ok())
        .flatten()
        .map(|number| number << shift)
}

fn size_text(bytes: u64) -> String {
    [(30, 'G'), (20, 'M'), (10, 'K')]
        .into_iter()
        .find(|(shift, _)| bytes >= 1 << shift && bytes.trailing_zeros() >= *shift)
        .map_or_else(
            || bytes.to_string(),
            |(shift, unit)| format!("{}{unit}", bytes >> shift),
        )
}

fn locale(value: &str) -> Result<(), ValueError> {
    let good = value.split_once('-').is_some_and(|(language, country)| {
        (2..=3).contains(&language.len())
            && language.bytes().all(|b| b.is_ascii_lowercase())
            && country.len() == 2
            && country.bytes().all(|b| b.is_ascii_uppercase())
    });
    good.then_some(())
        .ok_or_else(|| ValueError::Type("a language and a country such as en-GB".to_owned()))
}

impl TryFrom<Declaration> for Parameter {
    type Error = ScalarError;

    fn try_from(written: Declaration) -> Result<Self, Self::Error> {
        let kind = kind(&written)?;
        if written.required && written.default.is_some() {
            return Err(ScalarError::new("a required parameter has no default"));
        }
        if !written.required && written.default.is_none() {
            return Err(ScalarError::new(
                "a parameter has a default or says `required: true`",
            ));
        }
        if let Some(default) = &written.default {
            kind.check(default)
                .map_err(|error| ScalarError::new(format!("the default {error}")))?;
        }
        Ok(Self {
            kind,
            default: written.default,
            description: written.description,
        })
    }
}

fn kind(written: &Declaration) -> Result<ParameterKind, ScalarError> {
    let wrong =
        |what: &str| ScalarError::new(format!("a parameter of type {} {what}", written.r#type));
    let bounded = matches!(written.r#type.as_str(), "int" | "size");
    if !bounded && (written.min.is_some() || written.max.is_some()) {
        return Err(wrong("has no min and max"));
    }
    if written.r#type != "text" && written.max_length.is_some() {
        return Err(wrong("has no max_length"));
    }
    if written.r#type != "enum" && written.choices.is_some() {
        return Err(wrong("has no choices"));
    }
    match written.r#type.as_str() {
        "text" => match written.max_length {
            Some(max_length @ 1..=500) => Ok(ParameterKind::Text { max_length }),
            _ => Err(wrong("needs a max_length of 1 to 500")),
        },
        "email" => Ok(ParameterKind::Email),
        "int" => {
            let bound =
                |text: &Option<String>| text.as_ref().and_then(|text| text.parse::<i64>().ok());
            match (bound(&written.min), bound(&written.max)) {
                (Some(min), Some(max)) if min <= max => Ok(ParameterKind::Int { min, max }),
                _ => Err(wrong("needs whole numbers min and max, min not above max")),
            }
        }
        "size" => {
            let bound = |text: &Option<String>| text.as_ref().and_then(|text| size_bytes(text));
            match (bound(&written.min), bound(&written.max)) {
                (Some(min), Some(max)) if min <= max => Ok(ParameterKind::Size { min, max }),
                _ => Err(wrong(
                    "needs sizes min and max such as 32M, min not above max",
                )),
            }
        }
        "enum" => match &written.choices {
            Some(choices)
                if (1..=100).contains(&choices.len())
                    && choices.iter().all(|c| text(c, 60).is_ok()) =>
            {
                Ok(ParameterKind::Enum {
                    choices: choices.clone(),
                })
            }
            _ => Err(wrong("needs 1 to 100 choices of at most 60 characters")),
        },
        "currency" => Ok(ParameterKind::Currency),
        "locale" => Ok(ParameterKind::Locale),
        "host" => Ok(ParameterKind::Host),
        _ => Err(ScalarError::new(
            "the type is text, email, int, size, enum, currency, locale or host",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_has_one_spelling() {
        let int = ParameterKind::Int { min: 2, max: 32 };
        assert!(int.check("6").is_ok());
        for bad in ["06", "+6", " 6", "6.0", "", "0x6"] {
            assert!(matches!(int.check(bad), Err(ValueError::Type(_))), "{bad}");
        }
        assert!(matches!(int.check("33"), Err(ValueError::Range(_))));

        let size = ParameterKind::Size {
            min: 32 << 20,
            max: 4 << 30,
        };
        assert!(size.check("64M").is_ok() && size.check("4G").is_ok());
        for bad in ["64m", "064M", "64", "64MB", "M", "9999999999G"] {
            assert!(matches!(size.check(bad), Err(ValueError::Type(_))), "{bad}");
        }
        assert_eq!(
            size.check("5G"),
            Err(ValueError::Range("32M to 4G".to_owned()))
        );
    }

    #[test]
    fn texts_are_data_on_one_line() {
        let text = ParameterKind::Text { max_length: 10 };
        for good in ["Shop", "Ünïcode", "$(id)", "';--"] {
            assert!(text.check(good).is_ok(), "{good}");
        }
        for bad in ["", "  ", "a\nb", "a\0", "a\u{202E}b", "12345678901"] {
            assert!(text.check(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn names_of_places_money_and_people() {
        for (kind, good, bad) in [
            (ParameterKind::Email, "a.b+c@Example.com", "a@b@example.com"),
            (ParameterKind::Email, "admin@example.com", "admin@localhost"),
            (ParameterKind::Email, "x@y.zz", "$(id)@example.com"),
            (ParameterKind::Currency, "EUR", "eur"),
            (ParameterKind::Currency, "JPY", "XQQ"),
            (ParameterKind::Locale, "en-GB", "en_GB"),
            (ParameterKind::Locale, "gsw-CH", "en-GB.UTF-8"),
            (
                ParameterKind::Host,
                "shop.example.com",
                "shop.example.com:80",
            ),
        ] {
            assert!(kind.check(good).is_ok(), "{good}");
            assert!(kind.check(bad).is_err(), "{bad}");
        }
    }
}

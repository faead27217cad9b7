//! Variables in parsed scalars: `${NAME}`, `${NAME:-default}` and `$$`. Never on raw text, and what is put in is never looked at again.

use std::{collections::BTreeMap, str::FromStr};

use serde::{Deserialize, Deserializer};

use crate::scalar::{ScalarError, deserialize_through_text, through_text};

/// Values by variable name: declared parameters in upper case, and `PROFILE_<NAME>`.
pub type Variables = BTreeMap<String, String>;

/// A scalar with variables, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interpolated(Vec<Segment>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Literal(String),
    Variable {
        name: String,
        /// Taken when the value is empty.
        default: Option<String>,
    },
}

/// A variable that nobody declared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is neither a declared parameter in upper case nor PROFILE_ and a profile's name in upper case"
)]
pub struct UnknownVariable(pub String);

deserialize_through_text!(Interpolated);

impl FromStr for Interpolated {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > 4096 || text.chars().any(char::is_control) {
            return Err(ScalarError::new(
                "must be printable and at most 4096 bytes long",
            ));
        }
        let mut segments = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            literal.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('$') {
                literal.push('$');
                rest = after;
                continue;
            }
            let (inside, after) = rest
                .strip_prefix('{')
                .and_then(|braced| braced.split_once('}'))
                .ok_or_else(|| {
                    ScalarError::new("a variable is written ${NAME} or ${NAME:-default}; a dollar sign is written $$")
                })?;
            if !literal.is_empty() {
                segments.push(Segment::Literal(std::mem::take(&mut literal)));
            }
            segments.push(variable(inside)?);
            rest = after;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            segments.push(Segment::Literal(literal));
        }
        Ok(Self(segments))
    }
}

fn variable(inside: &str) -> Result<Segment, ScalarError> {
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default.to_owned())),
        None => (inside, None),
    };
    let good = name.starts_with(|c: char| c.is_ascii_uppercase())
        && name
            .bytes()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
    if !good
        || default
            .as_ref()
            .is_some_and(|text| text.contains(['$', '{']))
    {
        return Err(ScalarError::new(
            "only ${NAME} and ${NAME:-default} are accepted, with a plain default",
        ));
    }
    Ok(Segment::Variable {
        name: name.to_owned(),
        default,
    })
}

impl Interpolated {
    /// Names of the variables in it.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|segment| match segment {
            Segment::Variable { name, .. } => Some(name.as_str()),
            Segment::Literal(_) => None,
        })
    }

    /// The text with the values put in.
    ///
    /// # Errors
    /// When a variable has no value.
    pub fn resolve(&self, variables: &Variables) -> Result<String, UnknownVariable> {
        let mut text = String::new();
        for segment in &self.0 {
            match segment {
                Segment::Literal(literal) => text.push_str(literal),
                Segment::Variable { name, default } => {
                    let value = variables
                        .get(name)
                        .ok_or_else(|| UnknownVariable(name.clone()))?;
                    match default {
                        Some(default) if value.is_empty() => text.push_str(default),
                        _ => text.push_str(value),
                    }
                }
            }
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(text: &str) -> Result<String, UnknownVariable> {
        let variables = Variables::from([
            ("SHOP".to_owned(), "${SHOP}$$".to_owned()),
            ("EMPTY".to_owned(), String::new()),
        ]);
        text.parse::<Interpolated>()
            .expect("the text is well formed")
            .resolve(&variables)
    }

    #[test]
    fn values_are_put_in_once_and_never_looked_at_again() {
        assert_eq!(resolve("a ${SHOP} b").as_deref(), Ok("a ${SHOP}$$ b"));
        assert_eq!(resolve("${EMPTY:-x}${EMPTY}$$").as_deref(), Ok("x$"));
        assert_eq!(resolve("").as_deref(), Ok(""));
        assert_eq!(
            resolve("${OTHER:-x}"),
            Err(UnknownVariable("OTHER".to_owned()))
        );
    }

    #[test]
    fn other_forms_are_refused() {
        for bad in [
            "$X",
            "${X",
            "${x}",
            "${X-y}",
            "${X:?y}",
            "${X:+y}",
            "${X:-${Y}}",
            "${}",
            "$(id)",
            "a$",
            "\u{7}",
        ] {
            assert!(bad.parse::<Interpolated>().is_err(), "{bad}");
        }
    }
}

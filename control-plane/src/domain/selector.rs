//! Labels, and selectors over them: `key=value,key!=value`.

use std::collections::BTreeMap;

/// Labels on one store.
pub const MAX_LABELS: usize = 32;

/// Whether a text can be a label's key: 1 to 63 characters a-z, 0-9, `.`, `/`, `_`, `-`, a letter or digit at both ends.
#[must_use]
pub fn valid_key(text: &str) -> bool {
    let bytes = text.as_bytes();
    let edge = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    (1..=63).contains(&bytes.len())
        && bytes.first().is_some_and(edge)
        && bytes.last().is_some_and(edge)
        && bytes.iter().all(|b| edge(b) || b"./_-".contains(b))
}

/// Whether a text can be a label's value: at most 63 characters A-Z, a-z, 0-9, `.`, `_`, `-`.
#[must_use]
pub fn valid_value(text: &str) -> bool {
    text.len() <= 63
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

/// All terms must hold. No terms select everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector(Vec<Term>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Term {
    key: String,
    value: String,
    equal: bool,
}

/// A text that is no selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a selector is key=value or key!=value, joined by commas; {term:?} is neither")]
pub struct SelectorError {
    /// The term that is wrong.
    pub term: String,
}

impl Selector {
    /// From its text; empty selects everything.
    ///
    /// # Errors
    /// Names the first wrong term.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        text.split(',')
            .map(str::trim)
            .filter(|term| !term.is_empty())
            .map(|term| {
                let (key, value) = term.split_once('=').unwrap_or((term, "\u{0}"));
                let (key, equal) = match key.strip_suffix('!') {
                    Some(key) => (key, false),
                    None => (key, true),
                };
                if valid_key(key) && valid_value(value) {
                    Ok(Term {
                        key: key.to_owned(),
                        value: value.to_owned(),
                        equal,
                    })
                } else {
                    Err(SelectorError {
                        term: term.chars().take(80).collect(),
                    })
                }
            })
            .collect::<Result<Vec<_>, _>>()
            .map(Self)
    }

    /// Whether labels are selected. A missing label is unequal to every value.
    #[must_use]
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0
            .iter()
            .all(|term| (labels.get(&term.key) == Some(&term.value)) == term.equal)
    }

    /// Selects everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selects() {
        let labels: BTreeMap<_, _> = [("tier".to_owned(), "gold".to_owned())].into();
        let matches = |text: &str| Selector::parse(text).map(|selector| selector.matches(&labels));
        assert_eq!(matches(""), Ok(true));
        assert_eq!(matches("tier=gold"), Ok(true));
        assert_eq!(matches("tier!=gold"), Ok(false));
        assert_eq!(matches("tier=gold,team!=a"), Ok(true));
        assert_eq!(matches("team="), Ok(false));
        for bad in ["tier", "=gold", "tier=go ld", "Tier=gold", "tier==gold"] {
            assert!(matches(bad).is_err(), "{bad}");
        }
    }
}

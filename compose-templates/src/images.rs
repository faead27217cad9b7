//! Which images may take the place of a template's own. The list is the node's: whoever administers a host says what code may run there,
//! and nobody else. What it does not hold is denied.

use std::{fmt, str::FromStr};

use shop_proto::Digest;

/// The rule that every node has: another tag of the repository that the template itself names for the service.
const OWN_REPOSITORY: &str = "own-repository";
/// Longest repository, and longest rule without its digest.
const MAX_REPOSITORY: usize = 200;
/// As registries have it.
const MAX_TAG: usize = 128;
/// More rules than a person looks after.
const MAX_RULES: usize = 500;

/// An image by repository and tag, digest or both: `shopfleet/refshop-php-fpm:2`. Never without either, which would mean `latest`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageName {
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// A text that names no image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write an image as REPOSITORY:TAG, REPOSITORY@sha256:DIGEST, or both")]
pub struct ImageNameError;

/// One rule of an allow-list, as `example.com/shops/*:8.*@sha256:…`: `*` stands for anything but a slash, no tag for every tag, and a digest
/// says what must be in it, whatever it is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageRule {
    /// Other tags of the repository that the template names for the service.
    OwnRepository,
    /// Whatever fits.
    Named {
        /// Pattern of the repository.
        repository: String,
        /// Pattern of the tag.
        tag: Option<String>,
        /// The content it must have.
        digest: Option<Digest>,
    },
}

/// A line that is no rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageRuleError {
    /// Its shape.
    #[error(
        "line {0} is no rule: write REPOSITORY, REPOSITORY:TAG or either with @sha256:DIGEST; * stands for anything but a slash"
    )]
    Shape(usize),
    /// Their number.
    #[error("there are more than {MAX_RULES} rules")]
    TooMany,
}

/// A node's allow-list. Empty denies everything, as a node of an older release does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowedImages(Vec<ImageRule>);

/// What an allow-list says about an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Permission {
    /// It may run.
    Granted,
    /// It may run when its content has one of these digests; only the node can tell.
    ByContent(Vec<Digest>),
    /// It may not run.
    Denied,
}

impl FromStr for ImageName {
    type Err = ImageNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, digest) = split_digest(text).ok_or(ImageNameError)?;
        let (repository, tag) = split_tag(name);
        let named = tag.is_some() || digest.is_some();
        if named && is_repository(repository, false) && tag.is_none_or(|tag| is_tag(tag, false)) {
            Ok(Self {
                repository: repository.to_owned(),
                tag: tag.map(str::to_owned),
                digest,
            })
        } else {
            Err(ImageNameError)
        }
    }
}

impl FromStr for ImageRule {
    type Err = ImageNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == OWN_REPOSITORY {
            return Ok(Self::OwnRepository);
        }
        let (name, digest) = split_digest(text).ok_or(ImageNameError)?;
        let (repository, tag) = split_tag(name);
        if is_repository(repository, true) && tag.is_none_or(|tag| is_tag(tag, true)) {
            Ok(Self::Named {
                repository: repository.to_owned(),
                tag: tag.map(str::to_owned),
                digest,
            })
        } else {
            Err(ImageNameError)
        }
    }
}

impl fmt::Display for ImageRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OwnRepository => f.write_str(OWN_REPOSITORY),
            Self::Named {
                repository,
                tag,
                digest,
            } => {
                f.write_str(repository)?;
                if let Some(tag) = tag {
                    write!(f, ":{tag}")?;
                }
                if let Some(digest) = digest {
                    write!(f, "@sha256:{digest}")?;
                }
                Ok(())
            }
        }
    }
}

impl ImageRule {
    fn permits(&self, own: &str, image: &ImageName) -> Permission {
        match self {
            Self::OwnRepository => {
                let (name, _) = own.split_once('@').unwrap_or((own, ""));
                if split_tag(name).0 == image.repository {
                    Permission::Granted
                } else {
                    Permission::Denied
                }
            }
            Self::Named {
                repository,
                tag,
                digest,
            } => {
                let tag_fits = match (tag, &image.tag) {
                    (None, _) => true,
                    (Some(pattern), Some(tag)) => fits(pattern.as_bytes(), tag.as_bytes()),
                    (Some(_), None) => false,
                };
                if !tag_fits || !fits(repository.as_bytes(), image.repository.as_bytes()) {
                    return Permission::Denied;
                }
                match digest {
                    None => Permission::Granted,
                    Some(digest) => Permission::ByContent(vec![*digest]),
                }
            }
        }
    }
}

impl AllowedImages {
    /// What every node allows.
    #[must_use]
    pub fn builtin() -> Self {
        Self(vec![ImageRule::OwnRepository])
    }

    /// What every node allows, and the rules of a file: one a line, `#` begins a comment.
    ///
    /// # Errors
    /// Names the first line that is no rule. Nothing of such a file counts.
    pub fn read(text: &str) -> Result<Self, ImageRuleError> {
        let mut rules = Self::builtin().0;
        for (index, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if !line.is_empty() {
                let rule = line.parse().map_err(|_| ImageRuleError::Shape(index + 1))?;
                rules.push(rule);
            }
        }
        if rules.len() > MAX_RULES {
            return Err(ImageRuleError::TooMany);
        }
        Ok(Self(rules))
    }

    /// As a node tells of it. A rule of a later release is left out: it cannot grant anything here.
    #[must_use]
    pub fn told<'a>(rules: impl IntoIterator<Item = &'a str>) -> Self {
        let rules = rules.into_iter().filter_map(|rule| rule.parse().ok());
        Self(rules.take(MAX_RULES).collect())
    }

    /// The rules as texts, for [`AllowedImages::told`].
    #[must_use]
    pub fn texts(&self) -> Vec<String> {
        self.0.iter().map(ToString::to_string).collect()
    }

    /// Whether `image` may take the place of `own`, the template's image of a service.
    #[must_use]
    pub fn permission(&self, own: &str, image: &str) -> Permission {
        let Ok(image) = image.parse::<ImageName>() else {
            return Permission::Denied;
        };
        let mut contents = Vec::new();
        for rule in &self.0 {
            match rule.permits(own, &image) {
                Permission::Granted => return Permission::Granted,
                Permission::ByContent(digests) => contents.extend(digests),
                Permission::Denied => {}
            }
        }
        if contents.is_empty() {
            Permission::Denied
        } else {
            Permission::ByContent(contents)
        }
    }

    /// Whether an image of this name could be allowed for some service, by a rule of the administrator.
    #[must_use]
    pub fn names(&self, image: &str) -> bool {
        self.permission("", image) != Permission::Denied
    }
}

/// For people.
impl fmt::Display for AllowedImages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("no image but the templates' own");
        }
        for (index, rule) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            match rule {
                ImageRule::OwnRepository => {
                    f.write_str("other tags of the repository that the template names")?;
                }
                named @ ImageRule::Named { .. } => write!(f, "{named}")?,
            }
        }
        Ok(())
    }
}

/// Name and digest; `None` when the digest is none.
fn split_digest(text: &str) -> Option<(&str, Option<Digest>)> {
    match text.split_once('@') {
        None => Some((text, None)),
        Some((name, digest)) => {
            let hex = digest.strip_prefix("sha256:")?;
            Some((name, Some(hex.parse().ok()?)))
        }
    }
}

/// Repository and tag: a colon before a slash belongs to a registry's port.
fn split_tag(name: &str) -> (&str, Option<&str>) {
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
        _ => (name, None),
    }
}

fn is_repository(text: &str, pattern: bool) -> bool {
    let star = |b: u8| pattern && b == b'*';
    let edge = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || star(b);
    let part = |(index, part): (usize, &str)| {
        // Only a registry's name has a port.
        let inner = |b: u8| edge(b) || b"._-".contains(&b) || (index == 0 && b == b':');
        part.bytes().next().is_some_and(edge)
            && part.bytes().next_back().is_some_and(edge)
            && part.bytes().all(inner)
    };
    let port_alone = !text.contains('/') && text.contains(':');
    text.len() <= MAX_REPOSITORY && !port_alone && text.split('/').enumerate().all(part)
}

fn is_tag(text: &str, pattern: bool) -> bool {
    let star = |b: u8| pattern && b == b'*';
    (1..=MAX_TAG).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b) || star(b))
        && !text.starts_with(['.', '-'])
}

/// Whether a text fits a pattern in which `*` stands for any run of bytes but a slash.
fn fits(pattern: &[u8], text: &[u8]) -> bool {
    // Where the last star was, and what it has taken so far.
    let mut star: Option<(usize, usize)> = None;
    let (mut at, mut from) = (0, 0);
    while at < text.len() {
        match pattern.get(from) {
            Some(b'*') => {
                star = Some((from, at));
                from += 1;
            }
            Some(byte) if *byte == text[at] => {
                at += 1;
                from += 1;
            }
            _ => match star {
                Some((before, taken)) if text[taken] != b'/' => {
                    star = Some((before, taken + 1));
                    at = taken + 1;
                    from = before + 1;
                }
                _ => return false,
            },
        }
    }
    pattern[from..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "shopfleet/refshop-php-fpm:1";

    fn listed(rules: &str) -> AllowedImages {
        AllowedImages::read(rules).unwrap()
    }

    #[test]
    fn another_tag_of_the_template_s_repository_is_to_be_had_and_nothing_else() {
        let builtin = AllowedImages::builtin();
        for good in [
            "shopfleet/refshop-php-fpm:2",
            "shopfleet/refshop-php-fpm:2025.1-rc",
        ] {
            assert_eq!(builtin.permission(OWN, good), Permission::Granted, "{good}");
        }
        for bad in [
            "shopfleet/refshop-php-fpm",
            "shopfleet/refshop-php-fpm:",
            "shopfleet/wordpress-php-fpm:1",
            "shopfleet/mariadb:1",
            "evil/shopfleet/refshop-php-fpm:2",
            "shopfleet/refshop-php-fpm/x:2",
            "shopfleet/refshop-php-fpm:2 ",
            "shopfleet/Refshop-php-fpm:2",
            "shopfleet/refshop-php-fpm:2@sha256:12",
            "docker.io/shopfleet/refshop-php-fpm:2",
            "",
        ] {
            assert_eq!(builtin.permission(OWN, bad), Permission::Denied, "{bad}");
        }
    }

    #[test]
    fn an_empty_list_denies_everything() {
        let none = AllowedImages::default();
        assert_eq!(
            none.permission(OWN, "shopfleet/refshop-php-fpm:2"),
            Permission::Denied
        );
    }

    #[test]
    fn patterns_stop_at_slashes_and_are_whole() {
        let list = listed(
            "# ours\nreg.example:5000/shops/*:8.*\nexample/php # every tag\n\nexample/*-fpm:stable\n",
        );
        for good in [
            "reg.example:5000/shops/php:8.2",
            "example/php:anything",
            "example/my-own-fpm:stable",
        ] {
            assert_eq!(list.permission(OWN, good), Permission::Granted, "{good}");
        }
        for bad in [
            "reg.example:5000/shops/php:7.4",
            "reg.example:5000/shops/deep/php:8.2",
            "reg.example/shops/php:8.2",
            "example/php-evil:1",
            "evil/example/php:1",
            "example/my/own-fpm:stable",
            "example/my-own-fpm:stable2",
        ] {
            assert_eq!(list.permission(OWN, bad), Permission::Denied, "{bad}");
        }
    }

    #[test]
    fn a_digest_is_about_content_whatever_the_image_is_called() {
        let digest = Digest::of(b"content");
        let list = listed(&format!("example/php:8.2@sha256:{digest}"));
        assert_eq!(
            list.permission(OWN, "example/php:8.2"),
            Permission::ByContent(vec![digest])
        );
        assert_eq!(list.permission(OWN, "example/php:8.3"), Permission::Denied);
    }

    #[test]
    fn a_broken_line_is_told_by_number_and_nothing_of_the_file_counts() {
        for (text, line) in [
            ("a/b\nA/b", 2),
            ("a//b", 1),
            ("a:b:c", 1),
            ("\n\na/b@sha256:12", 3),
            ("/a", 1),
            ("a b", 1),
            ("..", 1),
        ] {
            assert_eq!(
                AllowedImages::read(text),
                Err(ImageRuleError::Shape(line)),
                "{text}"
            );
        }
    }

    #[test]
    fn rules_travel_as_texts_and_those_of_a_later_release_grant_nothing() {
        let digest = Digest::of(b"content");
        let list = listed(&format!("example/php\nexample/*:1@sha256:{digest}"));
        let texts = list.texts();
        assert_eq!(AllowedImages::told(texts.iter().map(String::as_str)), list);
        let later = AllowedImages::told(["!something/new", "example/php"]);
        assert_eq!(later, AllowedImages::told(["example/php"]));
        assert!(later.names("example/php:1"));
        assert!(!AllowedImages::builtin().names("shopfleet/mariadb:2"));
    }
}

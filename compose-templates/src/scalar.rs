//! The scalars a template may contain. Each is checked while it is read, so an error has its line. None of them is interpolated.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, de};
use shop_proto::ServiceName;

use crate::StopSignal;

/// A scalar that does not have the shape its attribute demands. The text is the reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ScalarError(pub(crate) String);

impl ScalarError {
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

/// Reads a scalar through its `FromStr`.
pub(crate) fn through_text<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: FromStr<Err: fmt::Display>,
    D: Deserializer<'de>,
{
    String::deserialize(deserializer)?
        .parse()
        .map_err(de::Error::custom)
}

macro_rules! deserialize_through_text {
    ($($name:ty),+ $(,)?) => {$(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                through_text(deserializer)
            }
        }
    )+};
}
pub(crate) use deserialize_through_text;

/// Text that is taken as it stands: printable, and without `$`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Literal(pub(crate) String);

/// An image: `[registry/]name[:tag][@sha256:digest]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image(pub(crate) String);

/// An absolute path in a container: `/`-separated parts of `[A-Za-z0-9._-]`, none of them `.` or `..`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ContainerPath(pub(crate) String);

/// Name of a secret: `[a-z][a-z0-9_]{0,40}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SecretName(pub(crate) String);

/// Name of an environment variable: `[A-Z_][A-Z0-9_]{0,63}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct EnvName(pub(crate) String);

/// Bytes, written as compose does: a number and `b`, `k`, `m` or `g`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub(crate) u64);

/// Thousandths of a core, written as a decimal number of cores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CpuMillis(pub(crate) u32);

/// A time span, written as a number and `ms`, `s`, `m` or `h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub(crate) Duration);

/// `name:/path` or `name:/path:ro`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeUse {
    pub(crate) volume: ServiceName,
    pub(crate) path: ContainerPath,
    pub(crate) read_only: bool,
}

/// `/path:size=64m`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TmpfsUse {
    pub(crate) path: ContainerPath,
    pub(crate) size: ByteSize,
}

/// A stop signal from the list a plan may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signal(pub(crate) StopSignal);

deserialize_through_text!(
    Literal,
    Image,
    ContainerPath,
    SecretName,
    EnvName,
    ByteSize,
    CpuMillis,
    Span,
    VolumeUse,
    TmpfsUse,
    Signal,
);

/// Longest literal: a command argument or a path.
const MAX_LITERAL: usize = 1024;

impl FromStr for Literal {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.contains('$') {
            return Err(ScalarError::new(
                "variables are allowed in `environment` values and credential users only",
            ));
        }
        if text.len() > MAX_LITERAL || text.chars().any(char::is_control) {
            return Err(ScalarError::new(
                "must be printable and at most 1024 bytes long",
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

impl FromStr for Image {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.contains('$') {
            return Err(ScalarError::new(
                "variables are never allowed in an image: parameters must not choose what runs",
            ));
        }
        let (name, digest) = text
            .split_once('@')
            .map_or((text, None), |(name, digest)| (name, Some(digest)));
        let lower_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        let digest_ok = digest.is_none_or(|digest| {
            digest
                .strip_prefix("sha256:")
                .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(lower_hex))
        });
        let name_ok = name.len() <= 200
            && name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && name.ends_with(|c: char| c.is_ascii_alphanumeric())
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"._-/:".contains(&b))
            && !name.contains("//")
            && !name.contains("..");
        if digest_ok && name_ok {
            Ok(Self(text.to_owned()))
        } else {
            Err(ScalarError::new("is not an image name"))
        }
    }
}

impl FromStr for ContainerPath {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let part = |part: &str| {
            !part.is_empty()
                && part != "."
                && part != ".."
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        };
        let good = text.len() <= 255
            && text
                .strip_prefix('/')
                .is_some_and(|rest| rest.split('/').all(part));
        good.then(|| Self(text.to_owned())).ok_or_else(|| {
            ScalarError::new(
                "must be an absolute path without `.`, `..`, spaces or a slash at the end",
            )
        })
    }
}

impl FromStr for SecretName {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let good = (1..=41).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        good.then(|| Self(text.to_owned()))
            .ok_or_else(|| ScalarError::new("a secret's name is [a-z][a-z0-9_]{0,40}"))
    }
}

impl FromStr for EnvName {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        /// Words that say a value is secret; a `_FILE` suffix names a file instead.
        const SECRET_WORDS: [&str; 8] = [
            "PASSWORD",
            "PASSWD",
            "SECRET",
            "TOKEN",
            "CREDENTIAL",
            "API_KEY",
            "APP_KEY",
            "PRIVATE_KEY",
        ];
        let good = (1..=64).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_uppercase() || c == '_')
            && text
                .bytes()
                .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
        if !good {
            return Err(ScalarError::new(
                "a variable's name is [A-Z_][A-Z0-9_]{0,63}",
            ));
        }
        if !text.ends_with("_FILE") && SECRET_WORDS.iter().any(|word| text.contains(word)) {
            return Err(ScalarError::new(format!(
                "`{text}` looks like a secret: every `inspect` would show it; use `secrets` and read /run/secrets"
            )));
        }
        Ok(Self(text.to_owned()))
    }
}

impl FromStr for ByteSize {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let shift = match text[digits.len()..].to_ascii_lowercase().as_str() {
            "" | "b" => 0,
            "k" | "kb" => 10,
            "m" | "mb" => 20,
            "g" | "gb" => 30,
            _ => return Err(ScalarError::new("a size is a number and b, k, m or g")),
        };
        decimal(digits)
            .and_then(|number| number.checked_mul(1 << shift))
            .map(Self)
            .ok_or_else(|| ScalarError::new("a size is a number and b, k, m or g"))
    }
}

impl FromStr for CpuMillis {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let read = || {
            if fraction.len() > 3 || (text.contains('.') && fraction.is_empty()) {
                return None;
            }
            let fraction = decimal(&format!("{fraction:0<3}"))?;
            let millis = decimal(whole)?.checked_mul(1000)?.checked_add(fraction)?;
            u32::try_from(millis).ok()
        };
        read().map(Self).ok_or_else(|| {
            ScalarError::new("must be a number of cores with at most three decimals")
        })
    }
}

impl FromStr for Span {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit_millis = match &text[digits.len()..] {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => {
                return Err(ScalarError::new(
                    "a time span is a number and ms, s, m or h",
                ));
            }
        };
        decimal(digits)
            .and_then(|number| number.checked_mul(unit_millis))
            .map(|millis| Self(Duration::from_millis(millis)))
            .ok_or_else(|| ScalarError::new("a time span is a number and ms, s, m or h"))
    }
}

impl FromStr for VolumeUse {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.starts_with(['.', '/', '~', '$']) {
            return Err(ScalarError::new(format!(
                "`{text}` is a bind mount, which reaches into the host; use a named volume"
            )));
        }
        let parts: Vec<&str> = text.split(':').collect();
        let (volume, path, read_only) = match parts.as_slice() {
            [volume, path] => (volume, path, false),
            [volume, path, "ro"] => (volume, path, true),
            _ => {
                return Err(ScalarError::new(format!(
                    "`{text}` must be `name:/path` or `name:/path:ro`"
                )));
            }
        };
        Ok(Self {
            volume: volume
                .parse()
                .map_err(|error| ScalarError::new(format!("volume `{volume}`: {error}")))?,
            path: path.parse()?,
            read_only,
        })
    }
}

impl FromStr for TmpfsUse {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (path, size) = text.split_once(":size=").ok_or_else(|| {
            ScalarError::new(format!(
                "`{text}` must be `/path:size=64m`: unbounded memory is not for a store"
            ))
        })?;
        Ok(Self {
            path: path.parse()?,
            size: size.parse()?,
        })
    }
}

impl FromStr for Signal {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [
            StopSignal::Term,
            StopSignal::Quit,
            StopSignal::Winch,
            StopSignal::Int,
        ]
        .into_iter()
        .find(|signal| signal.as_str() == text)
        .map(Self)
        .ok_or_else(|| ScalarError::new("must be SIGTERM, SIGQUIT, SIGWINCH or SIGINT"))
    }
}

/// Digits only; no sign, no spaces, at most 18 of them.
fn decimal(text: &str) -> Option<u64> {
    ((1..=18).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit()))
        .then(|| text.parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_spans() {
        assert_eq!("64m".parse(), Ok(ByteSize(64 << 20)));
        assert_eq!("1G".parse(), Ok(ByteSize(1 << 30)));
        assert_eq!("12".parse(), Ok(ByteSize(12)));
        for bad in ["", "m", "-1m", "1.5g", "99999999999999999g", "1t", "1m m"] {
            assert!(bad.parse::<ByteSize>().is_err(), "{bad}");
        }
        assert_eq!("0.5".parse(), Ok(CpuMillis(500)));
        assert_eq!("2".parse(), Ok(CpuMillis(2000)));
        assert_eq!("1.25".parse(), Ok(CpuMillis(1250)));
        for bad in ["", ".5", "1.", "1.0005", "-1", "1e3", "99999999999"] {
            assert!(bad.parse::<CpuMillis>().is_err(), "{bad}");
        }
        assert_eq!("300s".parse(), Ok(Span(Duration::from_secs(300))));
        for bad in ["", "s", "5", "5d", "1m30s"] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
    }

    #[test]
    fn nothing_reaches_into_the_host() {
        assert!(
            "media:/srv/media:ro"
                .parse::<VolumeUse>()
                .is_ok_and(|v| v.read_only)
        );
        for bad in [
            "/:/host",
            "./x:/x",
            "~/x:/x",
            "media:/a/../b",
            "media:/x:rw,z",
            "media",
            "media:x",
            "$HOME:/x",
        ] {
            assert!(bad.parse::<VolumeUse>().is_err(), "{bad}");
        }
        for bad in ["/tmp", "/tmp:size=1m,exec", "tmp:size=1m", "/tmp:mode=777"] {
            assert!(bad.parse::<TmpfsUse>().is_err(), "{bad}");
        }
    }

    #[test]
    fn images_and_variables() {
        let digest = "a".repeat(64);
        for good in [
            "shopfleet/mariadb:1",
            "reg.example:5000/a/b:1.2",
            &format!("a/b@sha256:{digest}"),
        ] {
            assert!(good.parse::<Image>().is_ok(), "{good}");
        }
        for bad in ["", "a b", "${X}", "../x", "a//b", "a@sha256:12", "a:"] {
            assert!(bad.parse::<Image>().is_err(), "{bad}");
        }
        assert!("DB_PASSWORD".parse::<EnvName>().is_err());
        assert!("DB_PASSWORD_FILE".parse::<EnvName>().is_ok());
        assert!("echo $X".parse::<Literal>().is_err());
    }
}

//! Remembered control planes: `contexts.toml` in the configuration directory.

use std::{
    collections::BTreeMap,
    env, fmt,
    net::Ipv6Addr,
    path::{Path, PathBuf},
    str::FromStr,
};

use anyhow::Context as _;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use shop_proto::Digest;

use crate::{failure::Failure, files};

/// Version of the file's form. A newer one is refused, never overwritten.
const FORMAT: u32 = 1;

/// The SHA-256 of a root certificate's SubjectPublicKeyInfo, written `sha256:<hex>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pin(pub Digest);

/// Where the admin API is: `https://host:port`, nothing after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AdminUrl {
    authority: String,
}

/// One control plane.
#[derive(Clone)]
pub(crate) struct Remembered {
    pub url: AdminUrl,
    pub pin: Pin,
    /// The pinned root, DER.
    pub root: Vec<u8>,
    pub token: SecretString,
}

/// All contexts and which one is current.
#[derive(Default)]
pub(crate) struct Contexts {
    pub current: Option<String>,
    pub all: BTreeMap<String, Remembered>,
}

/// The configuration directory.
#[derive(Debug, Clone)]
pub(crate) struct ConfigDir(PathBuf);

impl ConfigDir {
    /// What was named, else `~/.config/shopfleet`.
    pub(crate) fn find(named: Option<PathBuf>) -> anyhow::Result<Self> {
        if let Some(dir) = named {
            return Ok(Self(dir));
        }
        let home = env::var_os("HOME")
            .filter(|home| !home.is_empty())
            .context("HOME is not set; name the directory with --config-dir")?;
        Ok(Self(PathBuf::from(home).join(".config/shopfleet")))
    }

    fn contexts_file(&self) -> PathBuf {
        self.0.join("contexts.toml")
    }

    /// Where the operator's keys are.
    pub(crate) fn trust_dir(&self) -> PathBuf {
        self.0.join("trust")
    }

    /// Reads all contexts; none when there is no file.
    pub(crate) fn load(&self) -> anyhow::Result<Contexts> {
        let path = self.contexts_file();
        let Some(text) = files::read_private(&path)? else {
            return Ok(Contexts::default());
        };
        parse(&text, &path)
    }

    /// Replaces all contexts.
    pub(crate) fn save(&self, contexts: &Contexts) -> anyhow::Result<()> {
        files::write_private(&self.contexts_file(), written(contexts)?.as_bytes())
    }

    /// The context to use: the one named, else the current one.
    pub(crate) fn choose(&self, named: Option<&str>) -> anyhow::Result<(String, Remembered)> {
        let mut contexts = self.load()?;
        let Some(name) = named
            .map(str::to_owned)
            .or_else(|| contexts.current.clone())
        else {
            return Err(Failure::Usage(
                "no control plane is known yet: run `shopctl login URL --ca-pin sha256:…` (control-plane init printed both)".to_owned(),
            )
            .into());
        };
        match contexts.all.remove(&name) {
            Some(context) => Ok((name, context)),
            None => Err(Failure::Usage(format!(
                "there is no context `{name}`; `shopctl context list` shows those there are"
            ))
            .into()),
        }
    }
}

/// Only to learn the version of a file before anything else in it is judged.
#[derive(Deserialize)]
struct Versioned {
    format: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredFile {
    format: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    current: Option<String>,
    #[serde(default)]
    contexts: BTreeMap<String, Stored>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    url: String,
    ca_pin: String,
    root_certificate: String,
    token: String,
}

impl From<&Remembered> for Stored {
    fn from(context: &Remembered) -> Self {
        Self {
            url: context.url.to_string(),
            ca_pin: context.pin.to_string(),
            root_certificate: data_encoding::BASE64.encode(&context.root),
            token: context.token.expose_secret().to_owned(),
        }
    }
}

impl TryFrom<Stored> for Remembered {
    type Error = anyhow::Error;

    fn try_from(stored: Stored) -> anyhow::Result<Self> {
        Ok(Self {
            url: stored.url.parse()?,
            pin: stored.ca_pin.parse()?,
            root: data_encoding::BASE64
                .decode(stored.root_certificate.as_bytes())
                .context("root_certificate is not base64")?,
            token: SecretString::from(stored.token),
        })
    }
}

pub(crate) fn written(contexts: &Contexts) -> anyhow::Result<String> {
    let stored = StoredFile {
        format: FORMAT,
        current: contexts.current.clone(),
        contexts: contexts
            .all
            .iter()
            .map(|(name, context)| (name.clone(), Stored::from(context)))
            .collect(),
    };
    toml::to_string(&stored).context("cannot write contexts as TOML")
}

pub(crate) fn parse(text: &str, path: &Path) -> anyhow::Result<Contexts> {
    let place = || format!("cannot understand {}", path.display());
    // TOML's own error would quote the line, and with it perhaps the token.
    let Versioned { format } = toml::from_str(text)
        .map_err(|_| anyhow::anyhow!("it has no `format`, or is no TOML"))
        .with_context(place)?;
    if format > FORMAT {
        return Err(Failure::Failed(format!(
            "{} has format {format}; this shopctl knows {FORMAT}. Use a newer shopctl",
            path.display()
        ))
        .into());
    }
    let stored: StoredFile = toml::from_str(text)
        .map_err(|error: toml::de::Error| anyhow::anyhow!("{}", error.message()))
        .with_context(place)?;
    let mut all = BTreeMap::new();
    for (name, context) in stored.contexts {
        let context = Remembered::try_from(context).with_context(place)?;
        all.insert(name, context);
    }
    Ok(Contexts {
        current: stored.current,
        all,
    })
}

impl FromStr for Pin {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        text.trim()
            .strip_prefix("sha256:")
            .and_then(|hex| hex.parse().ok())
            .map(Self)
            .ok_or_else(|| {
                Failure::Usage(
                    "a pin is written sha256: and 64 lower-case hexadecimal characters".to_owned(),
                )
            })
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.0)
    }
}

impl AdminUrl {
    /// `host:port`, as one dials it.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }
}

impl FromStr for AdminUrl {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        let problem = || {
            Failure::Usage(format!(
                "`{text}` is no address of an admin API; write it as https://HOST:PORT"
            ))
        };
        let uri: http::Uri = text.parse().map_err(|_| problem())?;
        let plain = uri.scheme_str() == Some("https")
            && matches!(uri.path(), "" | "/")
            && uri.query().is_none();
        let authority = uri
            .authority()
            .filter(|a| plain && !a.as_str().contains('@'))
            .ok_or_else(problem)?;
        let host = authority.host();
        let bare = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
        let named = match bare {
            Some(address) => address.parse::<Ipv6Addr>().is_ok(),
            None => !host.is_empty() && !host.contains(['[', ']']),
        };
        // A port that is none is not taken for another one.
        let port = match authority.as_str().strip_prefix(host) {
            Some("") => Some(7440),
            Some(rest) => rest.strip_prefix(':').and_then(|it| it.parse().ok()),
            None => None,
        };
        let port: u16 = port.filter(|it| named && *it > 0).ok_or_else(problem)?;
        Ok(Self {
            authority: format!("{host}:{port}"),
        })
    }
}

impl fmt::Display for AdminUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}", self.authority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remembered() -> Remembered {
        Remembered {
            url: "https://127.0.0.1:7440".parse().unwrap(),
            pin: Pin(Digest::of(b"root")),
            root: vec![1, 2, 3],
            token: SecretString::from("sfk1_x".to_owned()),
        }
    }

    #[test]
    fn contexts_round_trip() {
        let dir = tempfile::tempdir().unwrap();
        let config = ConfigDir(dir.path().join("c"));
        assert!(config.choose(None).is_err());
        let contexts = Contexts {
            current: Some("default".to_owned()),
            all: BTreeMap::from([("default".to_owned(), remembered())]),
        };
        config.save(&contexts).unwrap();
        let (name, context) = config.choose(None).unwrap();
        assert_eq!(name, "default");
        assert_eq!(context.token.expose_secret(), "sfk1_x");
        assert_eq!(context.root, [1, 2, 3]);
        assert!(config.choose(Some("other")).is_err());
    }

    #[test]
    fn a_newer_file_is_refused_and_errors_do_not_quote_the_token() {
        let path = Path::new("contexts.toml");
        let error = parse("format = 2\nwhat = 1\n", path).err().unwrap();
        assert!(error.to_string().contains("format 2"), "{error:#}");
        let broken = "format = 1\n[contexts.a]\ntoken = \"sfk1_hidden\" oops\n";
        let error = parse(broken, path).err().unwrap();
        assert!(!format!("{error:#}").contains("hidden"), "{error:#}");
    }

    #[test]
    fn urls() {
        assert_eq!(
            "https://a.example".parse::<AdminUrl>().unwrap().authority(),
            "a.example:7440"
        );
        assert_eq!(
            "https://[::1]:1/".parse::<AdminUrl>().unwrap().authority(),
            "[::1]:1"
        );
        for bad in [
            "http://a:1",
            "a:1",
            "https://a:1/x",
            "https://u@a:1",
            "https://a:1/?x",
            "https://a:99999",
            "https://a:0",
            "https://:1",
            "https://a[::1]b:1",
            "https://[::1]b:1",
            "https://[a]:1",
            "https://a:",
        ] {
            assert!(bad.parse::<AdminUrl>().is_err(), "{bad}");
        }
    }

    #[test]
    fn pins() {
        let pin = Pin(Digest::of(b"x"));
        assert_eq!(pin.to_string().parse::<Pin>().unwrap(), pin);
        assert!(Digest::of(b"x").to_string().parse::<Pin>().is_err());
    }
}

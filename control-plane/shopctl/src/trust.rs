//! The operator's own trust: root, signing key, recovery key, log key and the roster that names them, in `trust/` of the configuration
//! directory. Nothing of it but the signed roster ever leaves this machine.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shop_proto::Digest;
use shop_seal::{
    KeyFile, KeyFileError, KeyPurpose, ROSTER_FORMAT, Role, Roster, SealingKey, SignedRoster,
    Signer, SigningKey, UnixMillis,
};

use crate::{failure::Failure, files};

/// Version of the roster file's form.
const FORMAT: u32 = 1;
/// How long a signer is good for.
const SIGNER_LIFE: Duration = Duration::from_secs(366 * 86_400);
/// `trust init` makes a new roster when less than this is left.
const RENEW_WITHIN: Duration = Duration::from_secs(30 * 86_400);

/// Where the operator's keys are.
#[derive(Debug, Clone)]
pub(crate) struct TrustDir(PathBuf);

/// A roster of ours, verified, and the bytes that are published.
#[derive(Debug, Clone)]
pub(crate) struct OwnRoster {
    pub roster: Roster,
    pub signed: SignedRoster,
}

/// What `trust init` found or did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Made {
    Nothing,
    Renewed,
    Everything,
}

#[derive(Deserialize)]
struct Head {
    format: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredRoster {
    format: u32,
    document: String,
    signature: String,
}

impl OwnRoster {
    /// What nodes pin.
    pub(crate) fn pin(&self) -> Digest {
        self.roster.operator_root.pin()
    }
}

impl TrustDir {
    pub(crate) const fn new(dir: PathBuf) -> Self {
        Self(dir)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    fn roster_file(&self) -> PathBuf {
        self.0.join("roster.json")
    }

    fn key_file(&self, purpose: KeyPurpose) -> PathBuf {
        self.0.join(match purpose {
            KeyPurpose::OperatorRoot => "operator-root.json",
            KeyPurpose::Signer => "signer.json",
            KeyPurpose::Recovery => "recovery.json",
            KeyPurpose::Logs => "log.json",
        })
    }

    /// The roster made here; `None` before `trust init`.
    pub(crate) fn roster(&self) -> anyhow::Result<Option<OwnRoster>> {
        let path = self.roster_file();
        let Some(text) = files::read_private(&path)? else {
            return Ok(None);
        };
        stored(&text, &path).map(Some)
    }

    /// The key that signs requests.
    pub(crate) fn signer(&self) -> anyhow::Result<SigningKey> {
        let path = self.key_file(KeyPurpose::Signer);
        if !path.exists() {
            return Err(Failure::Failed(format!(
                "there is no signing key in {}; make one with `shopctl trust init`, or copy the directory from the machine that has it",
                self.0.display()
            ))
            .into());
        }
        read(&path)?
            .into_signing(KeyPurpose::Signer)
            .map_err(Into::into)
    }

    /// The key that opens log text; `None` where it was not kept.
    pub(crate) fn log_key(&self) -> anyhow::Result<Option<SealingKey>> {
        let path = self.key_file(KeyPurpose::Logs);
        if !path.exists() {
            return Ok(None);
        }
        Ok(Some(read(&path)?.into_sealing(KeyPurpose::Logs)?))
    }

    /// Makes what is missing. A run that was cut off is taken up again; nothing is ever overwritten but an expiring roster.
    pub(crate) fn ensure(&self, now: Timestamp) -> anyhow::Result<(OwnRoster, Made)> {
        let now = UnixMillis::new(now.as_millisecond());
        let known = self.roster()?;
        if let Some(own) = &known {
            let fresh = own
                .roster
                .signers
                .iter()
                .all(|signer| signer.not_after > now.after(RENEW_WITHIN));
            if fresh {
                return Ok((own.clone(), Made::Nothing));
            }
        }
        files::private_dir(&self.0)?;
        let root = self
            .key(KeyPurpose::OperatorRoot)?
            .into_signing(KeyPurpose::OperatorRoot)?;
        let signer = self
            .key(KeyPurpose::Signer)?
            .into_signing(KeyPurpose::Signer)?;
        let recovery = self
            .key(KeyPurpose::Recovery)?
            .into_sealing(KeyPurpose::Recovery)?;
        let log = self.key(KeyPurpose::Logs)?.into_sealing(KeyPurpose::Logs)?;
        let roles = [Role::Reveal, Role::Logs, Role::Dump, Role::Secrets];
        let roster = Roster {
            format: ROSTER_FORMAT,
            version: known
                .as_ref()
                .map_or(1, |own| own.roster.version.saturating_add(1)),
            operator_root: root.verifying_key(),
            issued_at: now,
            signers: vec![Signer::new(
                signer.verifying_key(),
                roles,
                now.after(SIGNER_LIFE),
            )],
            recovery_key: Some(recovery.public_key()),
            log_keys: vec![log.public_key()],
        };
        let signed = roster.sign(&root)?;
        files::write_private(&self.roster_file(), &written(&signed)?)?;
        let made = if known.is_some() {
            Made::Renewed
        } else {
            Made::Everything
        };
        Ok((OwnRoster { roster, signed }, made))
    }

    /// The key there is, or a new one.
    fn key(&self, purpose: KeyPurpose) -> anyhow::Result<KeyFile> {
        let path = self.key_file(purpose);
        let key = KeyFile::generate(purpose)?;
        match key.write_new(&path) {
            Ok(()) => Ok(key),
            Err(KeyFileError::Exists) => read(&path),
            Err(error) => Err(error).with_context(|| format!("cannot make {}", path.display())),
        }
    }
}

/// The roster that a file's text holds, verified.
pub(crate) fn stored(text: &str, path: &Path) -> anyhow::Result<OwnRoster> {
    let place = || format!("cannot use {}", path.display());
    // A later form may say more than this release can read.
    let Head { format } = serde_json::from_str(text).with_context(place)?;
    if format > FORMAT {
        return Err(Failure::Failed(format!(
            "{} has format {format}; this shopctl knows {FORMAT}. Use a newer shopctl",
            path.display(),
        ))
        .into());
    }
    let stored: StoredRoster = serde_json::from_str(text).with_context(place)?;
    let decode = |text: &str| data_encoding::BASE64.decode(text.as_bytes());
    let signed = SignedRoster {
        document: decode(&stored.document).with_context(place)?,
        signature: decode(&stored.signature).with_context(place)?,
    };
    let root: Roster = serde_json::from_slice(&signed.document).with_context(place)?;
    let pin = root.operator_root.pin();
    let roster = Roster::verify(&signed.document, &signed.signature, &pin).with_context(place)?;
    Ok(OwnRoster { roster, signed })
}

/// The form in which a signed roster is written.
pub(crate) fn written(signed: &SignedRoster) -> anyhow::Result<Vec<u8>> {
    let stored = StoredRoster {
        format: FORMAT,
        document: data_encoding::BASE64.encode(&signed.document),
        signature: data_encoding::BASE64.encode(&signed.signature),
    };
    Ok(serde_json::to_vec_pretty(&stored)?)
}

fn read(path: &Path) -> anyhow::Result<KeyFile> {
    KeyFile::read(path).with_context(|| format!("cannot use the key {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_second_run_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let trust = TrustDir::new(dir.path().join("trust"));
        assert!(trust.roster().unwrap().is_none());
        assert!(trust.signer().is_err());
        let (first, made) = trust.ensure(at("2026-01-01T00:00:00Z")).unwrap();
        assert_eq!(made, Made::Everything);
        let (second, made) = trust.ensure(at("2026-02-01T00:00:00Z")).unwrap();
        assert_eq!(made, Made::Nothing);
        assert_eq!(first.signed, second.signed);
        assert_eq!(
            trust.signer().unwrap().verifying_key(),
            first.roster.signers[0].public_key
        );
    }

    #[test]
    fn an_expiring_roster_is_followed_by_one_of_the_same_root() {
        let dir = tempfile::tempdir().unwrap();
        let trust = TrustDir::new(dir.path().to_owned());
        let (first, _) = trust.ensure(at("2026-01-01T00:00:00Z")).unwrap();
        let (second, made) = trust.ensure(at("2026-12-20T00:00:00Z")).unwrap();
        assert_eq!(made, Made::Renewed);
        assert_eq!(second.roster.version, 2);
        assert_eq!(second.pin(), first.pin());
        second
            .roster
            .succeeds(Some(&first.roster.mark().unwrap()))
            .unwrap();
    }

    #[test]
    fn a_roster_of_a_later_form_asks_for_a_newer_shopctl() {
        let later = r#"{"format":2,"documents":[]}"#;
        let refused = stored(later, Path::new("roster.json")).unwrap_err();
        assert!(refused.to_string().contains("newer shopctl"), "{refused:#}");
    }

    #[test]
    fn a_run_that_was_cut_off_keeps_its_keys() {
        let dir = tempfile::tempdir().unwrap();
        let trust = TrustDir::new(dir.path().to_owned());
        let root = trust.key(KeyPurpose::OperatorRoot).unwrap().key_id();
        let (own, _) = trust.ensure(at("2026-01-01T00:00:00Z")).unwrap();
        assert_eq!(own.roster.operator_root.id(), root);
    }
}

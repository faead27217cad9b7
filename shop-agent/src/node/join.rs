//! Becoming a node: once with a join token, afterwards from what is on disk. The key is on disk before it is certified, so a lost answer
//! can be asked for again.

use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::fs::{FlockOperation, flock};
use secrecy::{ExposeSecret as _, SecretString};
use shop_proto::{NodeId, TokenText};
use zeroize::Zeroizing;

use super::{
    context::host_routes,
    ipam::{self, CidrError, Exhausted, UIDS_PER_NODE},
    paths::Paths,
    settings::NodeArgs,
    state::{
        NodeRecord,
        files::{self, FileError, directory, keep, kept},
    },
};
use crate::{
    identity::{
        Authority, Credential, CredentialError, EnrollError, KeyError, KeyPair, Trust, TrustError,
        enroll,
    },
    uplink::{Backoff, channel},
};

/// The longest token file that is read.
const TOKEN_BYTES: u64 = 4096;

/// A node that has joined.
pub struct Joined {
    /// Who we are.
    pub record: NodeRecord,
    /// Where things are kept.
    pub paths: Paths,
    /// Key and certificate.
    pub credential: Credential,
    /// Whom we trust.
    pub trust: Trust,
    /// Released when dropped.
    pub lock: File,
}

/// Why this host is no node.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// Not joined, and nothing to join with.
    #[error(
        "this host has not joined yet: pass --join-token-file FILE or --join-token-stdin with what `shopctl node join` printed"
    )]
    NoToken,
    /// More than one node is kept here.
    #[error("several nodes are kept in {}: say which one with --name", .0.display())]
    Several(PathBuf),
    /// The token cannot be read.
    #[error("the join token cannot be read")]
    TokenFile(#[source] std::io::Error),
    /// The token is none.
    #[error(transparent)]
    Token(#[from] shop_proto::TokenError),
    /// The control plane said no.
    #[error(transparent)]
    Enroll(#[from] EnrollError),
    /// The control plane's answer lacks our id.
    #[error("the control plane gave this node no id")]
    NoId,
    /// Another node agent runs on this state.
    #[error("another node agent runs on {}", .0.display())]
    Locked(PathBuf),
    /// Joined, but key and certificate are gone.
    #[error("the node's certificate is missing from {}: restore it, or remove the directory and join again", .0.display())]
    NoCredential(PathBuf),
    /// Disk.
    #[error(transparent)]
    File(#[from] FileError),
    /// The lock.
    #[error("the state directory cannot be locked")]
    Lock(#[source] std::io::Error),
    /// Key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Certificate.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// Trust.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The pool.
    #[error(transparent)]
    Pool(#[from] CidrError),
    /// The pool overlaps what the host routes.
    #[error("every address of --pool {0} is routed elsewhere on this host; choose another pool")]
    Overlap(String),
    /// The uids are another node's of this host: the firewall knows edges by theirs.
    #[error(
        "first_uid_taken: node {node} on this host has the user ids from {first} on; join with --first-uid {free}"
    )]
    FirstUid {
        /// Whose they are.
        node: NodeId,
        /// Its first.
        first: u32,
        /// One that is free.
        free: u32,
    },
}

/// The node this host is, joining first when it is none yet.
///
/// # Errors
/// See [`JoinError`].
pub async fn open(args: &NodeArgs) -> Result<Joined, JoinError> {
    let record = match find(args)? {
        Some(record) => {
            if let Some(error) = sharing(&nodes(args)?, Some(&record.id), record.first_uid) {
                tracing::warn!(%error, "two nodes of this host share user ids: one's edge reaches the other's shops. Let one leave and join anew");
            }
            record
        }
        None => join(args).await?,
    };
    let paths = Paths::new(&args.state_dir, &args.run_dir, &record.id);
    let lock = lock(&paths)?;
    let bytes = files::read(&paths.credential_file())?
        .map(Zeroizing::new)
        .ok_or_else(|| JoinError::NoCredential(paths.credential_file()))?;
    let credential = Credential::decode(&bytes)?;
    let trust = Trust::new(
        record.root_pins.iter().copied(),
        credential.roots().iter().cloned(),
    )?;
    layout(&paths)?;
    Ok(Joined {
        record,
        paths,
        credential,
        trust,
        lock,
    })
}

/// The node kept under the state directory, by name when one is given.
///
/// # Errors
/// When there are several and none was named.
pub fn find(args: &NodeArgs) -> Result<Option<NodeRecord>, JoinError> {
    let mut found = nodes(args)?;
    found.retain(|record| args.name.as_ref().is_none_or(|name| *name == record.name));
    if found.len() > 1 {
        return Err(JoinError::Several(args.state_dir.clone()));
    }
    Ok(found.pop())
}

/// All nodes kept under the state directory.
fn nodes(args: &NodeArgs) -> Result<Vec<NodeRecord>, FileError> {
    let names = files::names(&args.state_dir)?;
    let ids = names.iter().filter_map(|name| name.parse::<NodeId>().ok());
    let read = |id| kept(&Paths::new(&args.state_dir, &args.run_dir, &id).node_file());
    ids.filter_map(|id| read(id).transpose()).collect()
}

/// Why these uids may not be a node's: another of this host has them.
fn sharing(nodes: &[NodeRecord], own: Option<&NodeId>, first_uid: u32) -> Option<JoinError> {
    let other = nodes
        .iter()
        .filter(|node| Some(&node.id) != own)
        .find(|node| node.first_uid.abs_diff(first_uid) < UIDS_PER_NODE)?;
    let last = nodes.iter().map(|node| node.first_uid).max();
    Some(JoinError::FirstUid {
        node: other.id.clone(),
        first: other.first_uid,
        free: last.unwrap_or_default().saturating_add(UIDS_PER_NODE),
    })
}

/// Holds the state for this process alone.
///
/// # Errors
/// When another process holds it.
pub fn lock(paths: &Paths) -> Result<File, JoinError> {
    let file = File::create(paths.lock_file()).map_err(JoinError::Lock)?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)
        .map_err(|_| JoinError::Locked(paths.state().to_owned()))?;
    Ok(file)
}

async fn join(args: &NodeArgs) -> Result<NodeRecord, JoinError> {
    if let Some(error) = sharing(&nodes(args)?, None, args.first_uid) {
        return Err(error);
    }
    let token = token(args)?;
    let parsed: TokenText = token.expose_secret().parse()?;
    let pin = parsed.root_pin().ok_or(shop_proto::TokenError::Form)?;
    let name = args.name.clone().unwrap_or_else(|| "node".to_owned());
    directory(&args.state_dir, 0o711, None)?;
    let key_file = args.state_dir.join(format!("joining-{name}.key"));
    let key = Arc::new(joining_key(&key_file)?);
    let config = Trust::new([pin], [])?.enrolment_config()?;
    let mut backoff = Backoff::default();
    loop {
        for address in &args.enroll {
            let channel = match channel(address, config.clone()).await {
                Ok(channel) => channel,
                Err(error) => {
                    tracing::warn!(%error, %address, "the control plane cannot be reached; trying again");
                    continue;
                }
            };
            let authority = Authority::JoinToken {
                token: token.clone(),
                node_name: name.clone(),
            };
            match enroll(channel, key.clone(), None, authority).await {
                Err(error @ EnrollError::Unavailable(_)) => {
                    tracing::warn!(%error, %address, "joining did not work; trying again");
                }
                outcome => {
                    let enrolled = outcome?;
                    return settle(args, name, pin, enrolled, &key_file);
                }
            }
        }
        tokio::time::sleep(backoff.next(rand::random())).await;
    }
}

fn settle(
    args: &NodeArgs,
    name: String,
    pin: shop_proto::Digest,
    enrolled: crate::identity::Enrolled,
    key_file: &Path,
) -> Result<NodeRecord, JoinError> {
    let id = enrolled.node.ok_or(JoinError::NoId)?;
    let paths = Paths::new(&args.state_dir, &args.run_dir, &id);
    layout(&paths)?;
    let names_subnet = ipam::next_subnet(
        args.pool,
        &std::collections::BTreeSet::new(),
        &host_routes(&id),
    )
    .map_err(|_: Exhausted| JoinError::Overlap(args.pool.to_string()))?;
    let record = NodeRecord {
        id,
        name,
        root_pins: vec![pin],
        pool: args.pool.into(),
        first_uid: args.first_uid,
        names_subnet,
        operator_root_pin: args.operator_root,
    };
    files::replace(
        &paths.credential_file(),
        &enrolled.credential.encode(),
        0o600,
    )?;
    // From here on this host is a node.
    keep(&paths.node_file(), &record)?;
    files::remove(key_file)?;
    tracing::info!(node = %record.id, "joined");
    Ok(record)
}

fn layout(paths: &Paths) -> Result<(), FileError> {
    directory(paths.state(), 0o711, None)?;
    for private in [
        paths.stores(),
        paths.tombstones(),
        paths.intents(),
        paths.state().join("keys"),
    ] {
        directory(&private, 0o700, None)?;
    }
    directory(&paths.state().join("volumes"), 0o711, None)?;
    directory(paths.run(), 0o711, None)?;
    directory(&paths.run().join("stores"), 0o711, None)
}

fn joining_key(path: &Path) -> Result<KeyPair, JoinError> {
    if let Some(bytes) = files::read(path)?.map(Zeroizing::new) {
        return Ok(KeyPair::from_pkcs8(&bytes)?);
    }
    let key = KeyPair::generate()?;
    files::replace(path, &key.to_pkcs8(), 0o600)?;
    Ok(key)
}

fn token(args: &NodeArgs) -> Result<SecretString, JoinError> {
    let mut text = Zeroizing::new(String::new());
    let read = match &args.join_token_file {
        Some(path) => {
            File::open(path).and_then(|file| file.take(TOKEN_BYTES).read_to_string(&mut text))
        }
        None if args.join_token_stdin => {
            std::io::stdin().take(TOKEN_BYTES).read_to_string(&mut text)
        }
        None => return Err(JoinError::NoToken),
    };
    read.map_err(JoinError::TokenFile)?;
    Ok(SecretString::from(text.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::{ipam::Cidr, settings};

    fn args(place: &Path, more: &[&str]) -> NodeArgs {
        let place = place.to_str().unwrap();
        let line = ["node", "--state-dir", place, "--run-dir", place];
        settings::parsed(line.iter().chain(more))
    }

    /// A node beside which others want to join.
    fn beside(place: &Path, first_uid: u32) {
        let id: NodeId = "node01".parse().unwrap();
        let paths = Paths::new(place, place, &id);
        layout(&paths).unwrap();
        let record = NodeRecord {
            id,
            name: "first".to_owned(),
            root_pins: Vec::new(),
            pool: "10.200.0.0/14".parse::<Cidr>().unwrap().into(),
            first_uid,
            names_subnet: serde_json::from_str("0").unwrap(),
            operator_root_pin: None,
        };
        keep(&paths.node_file(), &record).unwrap();
    }

    #[tokio::test]
    async fn a_second_node_of_a_host_has_users_of_its_own() {
        let place = tempfile::tempdir().unwrap();
        beside(place.path(), 200_000);
        for taken in ["200000", "200064", "1199999"] {
            let args = args(
                place.path(),
                &[
                    "--name",
                    "second",
                    "--first-uid",
                    taken,
                    "--join-token-stdin",
                ],
            );
            let error = open(&args).await.err().unwrap();
            assert!(
                matches!(
                    &error,
                    JoinError::FirstUid {
                        free: 1_200_000,
                        ..
                    }
                ),
                "{error}"
            );
            assert!(error.to_string().starts_with("first_uid_taken: "));
        }
        // What was said helps: only the token is missing now.
        let args = args(
            place.path(),
            &["--name", "second", "--first-uid", "1200000"],
        );
        assert!(matches!(open(&args).await, Err(JoinError::NoToken)));
    }

    #[test]
    fn a_node_does_not_stand_in_its_own_way() {
        let place = tempfile::tempdir().unwrap();
        beside(place.path(), 200_000);
        let args = args(place.path(), &[]);
        let (own, all) = (find(&args).unwrap().unwrap(), nodes(&args).unwrap());
        assert!(sharing(&all, Some(&own.id), own.first_uid).is_none());
    }
}

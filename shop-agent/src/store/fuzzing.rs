//! What fuzz targets call: parsers of this role that nobody outside it has to reach.

use std::net::Ipv4Addr;

use futures::FutureExt as _;
use secrecy::SecretString;
use shop_plan::Probe;
use shop_proto::StoreId;
use tokio::io;

use super::{
    database::{self, DatabaseError},
    probe::{self, NotReady, Question},
    vault::{Content, VaultError, file},
};

pub use super::wire::accepted;

/// A vault's key that opens nothing of value.
const KEY: [u8; 32] = [7; 32];

/// How a probe judges an answer, and how many bytes of it were read. An answer that ends is a connection that was closed.
pub fn probed(
    probe: Probe,
    password: Option<&str>,
    answer: &[u8],
) -> (Result<(), NotReady>, usize) {
    let question = Question {
        address: Ipv4Addr::LOCALHOST,
        probe,
        host: "shop.example.com".to_owned(),
        password: password.map(SecretString::from),
        deadline: probe::DEADLINE,
    };
    let mut left = answer;
    let mut stream = io::join(&mut left, io::sink());
    let judged = probe::speak(&mut stream, &question)
        .now_or_never()
        .unwrap_or(Err(NotReady::TimedOut));
    (judged, answer.len() - left.len())
}

/// How a login at a database and one statement end that answers this, and what was sent to it.
pub fn logged_in(password: &str, answers: &[u8]) -> (Result<(), DatabaseError>, Vec<u8>) {
    let mut sent = Vec::new();
    let ended = database::spoken(io::join(answers, &mut sent), "shop", password)
        .now_or_never()
        .unwrap_or(Err(DatabaseError::TimedOut));
    (ended, sent)
}

/// A vault's file, opened.
///
/// # Errors
/// When it is refused.
pub fn vault_file(bytes: &[u8], store: &StoreId) -> Result<(), VaultError> {
    let public = file::public_keys(bytes);
    let content = file::open(bytes, store, &KEY)?;
    // What is shown before a vault is opened is what is found in it.
    assert_eq!(public?, content.public_keys());
    Ok(())
}

/// What a vault holds, as it is written before it was sealed and after it was opened again.
///
/// # Errors
/// When it is refused.
pub fn vault_content(plain: &[u8], store: &StoreId) -> Result<[Vec<u8>; 2], VaultError> {
    let content = file::opened(plain)?;
    let again = file::open(&file::seal(&content, store, &KEY)?, store, &KEY)?;
    let written = |content| file::plain_text(content).map(|text| text.to_vec());
    Ok([written(&content)?, written(&again)?])
}

/// A vault with new keys: its file, and what is inside in clear.
///
/// # Errors
/// When there is no randomness.
pub fn new_vault(store: &StoreId) -> Result<[Vec<u8>; 2], VaultError> {
    let mut content = Content::generate()?;
    let secret = (
        "db_password".to_owned(),
        SecretString::from("correct horse"),
    );
    content.secrets.extend([secret.clone()]);
    content.coming.extend([secret]);
    let sealed = file::seal(&content, store, &KEY)?;
    Ok([sealed, file::plain_text(&content)?.to_vec()])
}

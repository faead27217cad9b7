//! Looks into an image archive, as `docker save` writes it, before the engine gets it: which images would it bring?
//! Guards against the wrong file, not against an enemy: whoever can put archives on this host is root already.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek},
    path::Path,
};

use serde::Deserialize;
use shop_plan::AllowedImages;

/// A tar archive's unit.
const BLOCK: usize = 512;
/// The list of images is a few kilobytes; layers are never read.
const MANIFEST_BYTES: u64 = 1 << 20;
/// More entries than any archive of ours has.
const ENTRIES: usize = 20_000;

/// Why an archive is not loaded.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The operating system.
    #[error("it cannot be read")]
    Io(#[from] io::Error),
    /// No tar archive, or one that was cut off.
    #[error("it is no complete image archive")]
    Malformed,
    /// Its list of images is none.
    #[error("its list of images cannot be understood")]
    List(#[from] serde_json::Error),
    /// An image of somebody else.
    #[error(
        "it holds {0}, which is no image of Shopfleet and not on the node's allow-list; nothing of it was loaded"
    )]
    Foreign(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
}

/// The images in the archive, by tag.
///
/// # Errors
/// When it is no archive, or holds an image that is neither ours nor one that the host's administrator allows.
pub fn images(path: &Path, allowed: &AllowedImages) -> Result<Vec<String>, ArchiveError> {
    tags(&manifest(BufReader::new(File::open(path)?))?, allowed)
}

pub(super) fn tags(manifest: &[u8], allowed: &AllowedImages) -> Result<Vec<String>, ArchiveError> {
    let entries: Vec<Entry> = serde_json::from_slice(manifest)?;
    let mut all = Vec::new();
    for entry in entries {
        let tags = entry.repo_tags.unwrap_or_default();
        if tags.is_empty() {
            return Err(ArchiveError::Foreign("an image without a name".to_owned()));
        }
        all.extend(tags);
    }
    match all.iter().find(|tag| !ours(tag) && !allowed.names(tag)) {
        Some(foreign) => Err(ArchiveError::Foreign(foreign.clone())),
        None if all.is_empty() => Err(ArchiveError::Malformed),
        None => Ok(all),
    }
}

/// `shopfleet/<name>:<number>`.
fn ours(tag: &str) -> bool {
    tag.strip_prefix("shopfleet/")
        .and_then(|rest| rest.split_once(':'))
        .is_some_and(|(name, number)| {
            !name.is_empty()
                && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')
                && !number.is_empty()
                && number.bytes().all(|b| b.is_ascii_digit())
        })
}

/// The bytes of `manifest.json`, skipping over everything else.
pub(super) fn manifest(mut archive: impl Read + Seek) -> Result<Vec<u8>, ArchiveError> {
    let end = archive.seek(io::SeekFrom::End(0))?;
    archive.rewind()?;
    let mut at = 0;
    for _ in 0..ENTRIES {
        let mut header = [0; BLOCK];
        archive.read_exact(&mut header).map_err(cut_off)?;
        at += BLOCK as u64;
        let size = octal(&header[124..136]).ok_or(ArchiveError::Malformed)?;
        if name(&header) == b"manifest.json" {
            if size > MANIFEST_BYTES {
                return Err(ArchiveError::Malformed);
            }
            let mut bytes = Vec::new();
            archive.take(size).read_to_end(&mut bytes)?;
            return Ok(bytes);
        }
        at += size.next_multiple_of(BLOCK as u64);
        if at > end {
            return Err(ArchiveError::Malformed);
        }
        archive.seek(io::SeekFrom::Start(at))?;
    }
    Err(ArchiveError::Malformed)
}

fn cut_off(error: io::Error) -> ArchiveError {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        ArchiveError::Malformed
    } else {
        error.into()
    }
}

fn name(header: &[u8; BLOCK]) -> &[u8] {
    let field = &header[..100];
    let end = field.iter().position(|b| *b == 0).unwrap_or(field.len());
    &field[..end]
}

/// A size of at most eleven octal digits; larger ones are written otherwise, and no image archive of ours has them.
fn octal(field: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(field).ok()?;
    let digits = text.trim_matches(|c| c == '\0' || c == ' ');
    if digits.is_empty() {
        return Some(0);
    }
    u64::from_str_radix(digits, 8).ok()
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn tar(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let mut all = Vec::new();
        for (name, content) in entries {
            let mut header = [0; BLOCK];
            header[..name.len()].copy_from_slice(name.as_bytes());
            header[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
            all.extend(header);
            all.extend(*content);
            all.resize(all.len().next_multiple_of(BLOCK), 0);
        }
        all.resize(all.len() + 2 * BLOCK, 0);
        all
    }

    #[test]
    fn the_list_is_found_behind_layers() {
        let list = br#"[{"Config":"c","RepoTags":["shopfleet/mariadb:1"],"Layers":[]}]"#;
        let archive = tar(&[("abc/layer.tar", &[7; 1300]), ("manifest.json", list)]);
        let found = manifest(Cursor::new(archive)).unwrap();
        let allowed = AllowedImages::builtin();
        assert_eq!(tags(&found, &allowed).unwrap(), ["shopfleet/mariadb:1"]);
    }

    #[test]
    fn what_is_not_ours_is_refused_by_name_unless_the_administrator_allows_it() {
        let allowed = AllowedImages::builtin();
        for foreign in [
            "mariadb:1",
            "shopfleet/x:latest",
            "evil/shopfleet/x:1",
            "shopfleet/:1",
        ] {
            let list = format!(r#"[{{"RepoTags":["shopfleet/base:1","{foreign}"]}}]"#);
            let error = tags(list.as_bytes(), &allowed).unwrap_err();
            assert!(error.to_string().contains(foreign), "{error}");
        }
        assert!(matches!(
            tags(br#"[{"RepoTags":null}]"#, &allowed),
            Err(ArchiveError::Foreign(_))
        ));
        assert!(matches!(
            tags(b"[]", &allowed),
            Err(ArchiveError::Malformed)
        ));
        let list = br#"[{"RepoTags":["example/php:8.2"]}]"#;
        assert!(tags(list, &allowed).is_err());
        let allowed = AllowedImages::read("example/php:8.*").unwrap();
        assert_eq!(tags(list, &allowed).unwrap(), ["example/php:8.2"]);
    }

    #[test]
    fn a_cut_off_archive_and_other_files_are_refused() {
        let whole = tar(&[("abc/layer.tar", &[7; 5000]), ("manifest.json", b"[]")]);
        for length in [0, 100, 512, 3000, 5632] {
            let error = manifest(Cursor::new(whole[..length].to_vec())).unwrap_err();
            assert!(
                matches!(error, ArchiveError::Malformed),
                "{length}: {error}"
            );
        }
        let error = manifest(Cursor::new(vec![b'x'; 4096])).unwrap_err();
        assert!(matches!(error, ArchiveError::Malformed), "{error}");
    }
}

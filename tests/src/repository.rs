//! This checkout: its files, and where a module of a crate may look.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;

use crate::process;

/// The checkout this crate was built from.
pub fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests).to_path_buf()
}

/// Every file of ours: known to git or about to be, never what is ignored.
pub fn files() -> anyhow::Result<Vec<PathBuf>> {
    let root = root();
    let path = root.to_str().context("the checkout's path is not UTF-8")?;
    let args = [
        "-C",
        path,
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
        "-z",
    ];
    let listed = process::run("git", &args, Duration::from_secs(30))?.ok()?;
    Ok(listed
        .split('\0')
        .filter(|name| !name.is_empty())
        .map(PathBuf::from)
        .filter(|f| root.join(f).is_file())
        .collect())
}

/// The text of one of [`files`]; `None` for what is not text.
pub fn text(file: &Path) -> anyhow::Result<Option<String>> {
    Ok(String::from_utf8(std::fs::read(root().join(file))?).ok())
}

/// Source without comments and without what follows `#[cfg(test)]` at the left margin.
pub fn code_only(source: &str) -> String {
    source
        .lines()
        .take_while(|line| !line.starts_with("#[cfg(test)]"))
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// The first path segments after `crate::` in `code`: `crate::a::B`, and `crate::{a::B, c}`.
pub fn modules_used(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':') {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            found.extend(group_heads(group));
        } else {
            found.push(ident(rest));
        }
    }
    found.retain(|name| !name.is_empty());
    found
}

fn ident(text: &str) -> String {
    text.chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect()
}

/// The first identifier of each member of a `{…}` group at depth one.
fn group_heads(group: &str) -> Vec<String> {
    let (mut depth, mut heads, mut fresh) = (1_u32, Vec::new(), true);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => break,
            '}' => depth -= 1,
            ',' if depth == 1 => fresh = true,
            c if fresh && !c.is_whitespace() => {
                heads.push(ident(&group[at..]));
                fresh = false;
            }
            _ => {}
        }
    }
    heads
}

#[cfg(test)]
mod tests {
    use super::{code_only, modules_used};

    #[test]
    fn finds_plain_grouped_and_nested_paths() {
        let code = "use crate::db::Db;\nuse crate::{app::{App, x}, domain, fleet::types};\nlet a = crate::policy::f();";
        assert_eq!(
            modules_used(code),
            ["db", "app", "domain", "fleet", "policy"]
        );
    }

    #[test]
    fn leaves_out_other_crates_comments_and_tests() {
        assert!(modules_used("pub(crate) fn f() {} my_crate::x()").is_empty());
        assert_eq!(code_only("a\n// crate::b\n#[cfg(test)]\nmod tests {}"), "a");
    }
}

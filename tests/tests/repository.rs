//! Rules about the repository itself: sizes, arrows between modules, the only places that may name something, licences.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use shop_tests::process;
use shop_tests::repository::{code_only, files, modules_used, root, text};

const MAX_LINES: usize = 600;

/// Fails with every problem at once.
fn none(problems: Vec<String>) {
    assert!(
        problems.is_empty(),
        "{} problems:\n{}",
        problems.len(),
        problems.join("\n")
    );
}

fn sources(under: &str, ending: &str) -> anyhow::Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for file in files()? {
        let name = file.to_string_lossy().into_owned();
        if name.starts_with(under) && name.ends_with(ending) {
            found.push((name, text(&file)?.unwrap_or_default()));
        }
    }
    Ok(found)
}

fn is_test_code(name: &str) -> bool {
    name.ends_with("/tests.rs") || name.contains("/tests/") || name.ends_with("_tests.rs")
}

#[test]
fn files_are_small_enough_to_read() -> anyhow::Result<()> {
    let written = ["rs", "sh", "php", "proto", "js", "py", "css", "md", "sql"];
    let mut problems = Vec::new();
    for file in files()? {
        let ending = file
            .extension()
            .and_then(|e| e.to_str())
            .unwrap_or_default();
        if !written.contains(&ending) {
            continue;
        }
        let lines = text(&file)?.unwrap_or_default().lines().count();
        if lines > MAX_LINES {
            problems.push(format!("{}: {lines} lines", file.display()));
        }
    }
    none(problems);
    Ok(())
}

#[test]
fn every_source_file_says_what_it_is_for() -> anyhow::Result<()> {
    let silent = sources("", ".rs")?
        .into_iter()
        .filter(|(_, source)| !source.starts_with("//!"));
    none(
        silent
            .map(|(name, _)| format!("{name}: no module comment"))
            .collect(),
    );
    Ok(())
}

#[test]
fn no_path_of_a_builder_s_machine() -> anyhow::Result<()> {
    let here = root().to_string_lossy().into_owned();
    let mut problems = Vec::new();
    for file in files()? {
        let Some(content) = text(&file)? else {
            continue;
        };
        for (number, line) in content.lines().enumerate() {
            if line.contains(&here)
                || line.contains(&["/home", "/"].concat())
                || line.contains(&["/Users", "/"].concat())
            {
                problems.push(format!(
                    "{}:{}: {}",
                    file.display(),
                    number + 1,
                    line.trim()
                ));
            }
        }
    }
    none(problems);
    Ok(())
}

#[test]
fn shell_programs_are_strict() -> anyhow::Result<()> {
    let mut problems = Vec::new();
    for file in files()? {
        let Some(content) = text(&file)? else {
            continue;
        };
        let first = content.lines().next().unwrap_or_default();
        let strict = content.contains("set -euo pipefail")
            || content.lines().any(|l| l.starts_with("set -eu"));
        if first.starts_with("#!") && first.contains("sh") && !strict {
            problems.push(format!("{}: no `set -euo pipefail`", file.display()));
        }
    }
    none(problems);
    Ok(())
}

#[test]
fn tests_wait_for_conditions_and_never_sleep() -> anyhow::Result<()> {
    let mut problems = Vec::new();
    for (name, source) in sources("", ".rs")? {
        // Poll loops of the harnesses, scripted parties that pause before they come back, buyers who think, and stop watches.
        let harness = [
            "tests/src/engine_proxy.rs",
            "tests/src/bin/shop-load.rs",
            "tests/src/load/journey.rs",
            "tests/src/wait.rs",
            "tests/src/process.rs",
            "control-plane/tests/support/wait.rs",
            "control-plane/tests/stories/node.rs",
            "control-plane/tests/stories/shop.rs",
        ]
        .contains(&name.as_str())
            || name.starts_with("tests/src/bench/");
        // There a sleep takes no time: the clock is the runtime's own.
        let simulated = name.starts_with("tests/simulation/") || source.contains("start_paused");
        if harness || simulated || !(is_test_code(&name) || name.starts_with("tests/")) {
            continue;
        }
        let sleeping = [
            ["thread::", "sleep("].concat(),
            ["time::", "sleep("].concat(),
        ];
        if code_only(&source)
            .lines()
            .any(|line| sleeping.iter().any(|s| line.contains(s)))
        {
            problems.push(format!("{name}: sleeps"));
        }
    }
    none(problems);
    Ok(())
}

/// `module` → what it may use of its own crate (DESIGN: "Layout", arrows).
const CONTROL_PLANE: &[(&str, &[&str])] = &[
    ("api", &["app", "domain"]),
    (
        "app",
        &["domain", "policy", "operations", "identity", "fleet", "db"],
    ),
    (
        "operations",
        &["domain", "policy", "identity", "fleet", "db"],
    ),
    (
        "background",
        &[
            "app",
            "policy",
            "operations",
            "identity",
            "fleet",
            "db",
            "domain",
        ],
    ),
    ("fleet", &["identity", "domain", "db"]),
    ("identity", &["domain", "db"]),
    ("policy", &["domain"]),
    ("db", &["domain"]),
    ("domain", &[]),
];

const SHOP_AGENT: &[(&str, &[&str])] = &[
    ("store", &["engine", "identity", "ledger", "uplink"]),
    ("node", &["identity", "uplink", "ledger"]),
    ("engine", &["uplink"]),
    ("identity", &[]),
    ("uplink", &["identity"]),
];

fn check_arrows(src: &str, arrows: &[(&str, &[&str])]) -> anyhow::Result<Vec<String>> {
    let mut problems = BTreeSet::new();
    for (name, source) in sources(src, ".rs")? {
        let inside = name.trim_start_matches(src).trim_end_matches(".rs");
        let module = inside.split('/').next().unwrap_or_default();
        let Some((_, allowed)) = arrows.iter().find(|(from, _)| *from == module) else {
            continue;
        };
        if is_test_code(&name) {
            continue;
        }
        for used in modules_used(&code_only(&source)) {
            let known = arrows.iter().any(|(to, _)| *to == used);
            if known && used != module && !allowed.contains(&used.as_str()) {
                problems.insert(format!("{name}: {module} uses {used}"));
            }
        }
    }
    Ok(problems.into_iter().collect())
}

#[test]
fn modules_use_only_what_their_layer_may() -> anyhow::Result<()> {
    let mut problems = check_arrows("control-plane/src/", CONTROL_PLANE)?;
    problems.extend(check_arrows("shop-agent/src/", SHOP_AGENT)?);
    none(problems);
    Ok(())
}

/// Names that may be written in one place only.
const ONLY_PLACES: &[(&str, &str)] = &[
    ("sqlx::", "control-plane/src/db"),
    ("bollard::", "shop-agent/src/node/docker"),
    ("hpke::", "proto/seal/src"),
    ("serde_saphyr::from", "compose-templates/src"),
];

#[test]
fn what_has_one_place_is_named_only_there() -> anyhow::Result<()> {
    let mut problems = Vec::new();
    for (name, source) in sources("", ".rs")? {
        if is_test_code(&name) || name.starts_with("tests/") {
            continue;
        }
        let code = code_only(&source);
        for (word, place) in ONLY_PLACES {
            if code.contains(word) && !name.starts_with(place) {
                problems.push(format!("{name} names {word}, which only {place} may"));
            }
        }
    }
    none(problems);
    Ok(())
}

#[test]
fn pure_parts_do_no_io() -> anyhow::Result<()> {
    let pure = [
        "control-plane/src/domain",
        "control-plane/src/policy",
        "compose-templates/src",
    ];
    let io = [
        "std::fs",
        "std::net",
        "std::process",
        "std::env",
        "tokio::",
        "SystemTime::now",
        "Instant::now",
        "Timestamp::now",
        "rand::",
    ];
    let mut problems = Vec::new();
    for place in pure {
        for (name, source) in sources(place, ".rs")? {
            let code = code_only(&source);
            problems.extend(
                io.iter()
                    .filter(|word| !is_test_code(&name) && code.contains(*word))
                    .map(|word| format!("{name} names {word}")),
            );
        }
    }
    none(problems);
    Ok(())
}

fn cargo(args: &[&str]) -> anyhow::Result<String> {
    let manifest = root().join("Cargo.toml");
    let manifest = manifest
        .to_str()
        .context("the checkout's path is not UTF-8")?;
    let mut all = args.to_vec();
    all.extend(["--offline", "--locked", "--manifest-path", manifest]);
    process::run(
        option_env!("CARGO").unwrap_or("cargo"),
        &all,
        Duration::from_secs(120),
    )?
    .ok()
}

#[test]
fn the_control_plane_cannot_open_what_is_sealed() -> anyhow::Result<()> {
    let tree = cargo(&[
        "tree",
        "-p",
        "control-plane",
        "-e",
        "normal,build",
        "--prefix",
        "none",
    ])?;
    assert!(
        tree.contains("shop-proto"),
        "cargo tree shows nothing:\n{tree}"
    );
    for banned in ["shop-seal", "hpke", "bollard"] {
        assert!(
            !tree
                .lines()
                .any(|line| line.split(' ').next() == Some(banned)),
            "control-plane depends on {banned}"
        );
    }
    Ok(())
}

#[test]
fn the_cli_carries_no_database_and_no_authority() -> anyhow::Result<()> {
    let tree = cargo(&[
        "tree",
        "-p",
        "shopctl",
        "-e",
        "normal,build",
        "--prefix",
        "none",
    ])?;
    for banned in ["sqlx", "rcgen", "control-plane", "bollard"] {
        assert!(
            !tree
                .lines()
                .any(|line| line.split(' ').next() == Some(banned)),
            "shopctl depends on {banned}"
        );
    }
    Ok(())
}

/// One alternative of an SPDX expression whose every part is allowed is enough.
fn licence_is_allowed(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let flat = expression.replace(['(', ')'], "").replace('/', " OR ");
    // `A OR B AND C` from "(A OR B) AND C" reads as "A, or B and C": for the licences here that is never more
    // than what the expression grants, since each AND part is checked.
    flat.split(" OR ").any(|choice| {
        choice
            .split(" AND ")
            .all(|part| allowed.contains(part.trim()))
    }) && expression.split(" AND ").all(|part| {
        part.replace(['(', ')'], "")
            .replace('/', " OR ")
            .split(" OR ")
            .any(|one| allowed.contains(one.trim()))
    })
}

#[test]
fn licences_are_those_we_chose() -> anyhow::Result<()> {
    let deny: toml::Table = std::fs::read_to_string(root().join("deny.toml"))?.parse()?;
    let allowed: BTreeSet<String> = deny["licenses"]["allow"]
        .as_array()
        .context("deny.toml: licenses.allow is no list")?
        .iter()
        .filter_map(|licence| licence.as_str().map(str::to_owned))
        .collect();
    let metadata: serde_json::Value =
        serde_json::from_str(&cargo(&["metadata", "--format-version", "1"])?)?;
    let packages = metadata["packages"]
        .as_array()
        .context("cargo metadata: no packages")?;
    assert!(
        packages.len() > 50,
        "cargo metadata shows {} packages",
        packages.len()
    );
    let mut problems = Vec::new();
    for package in packages {
        let licence = package["license"].as_str().unwrap_or("none");
        if !licence_is_allowed(licence, &allowed) {
            problems.push(format!("{}: {licence}", package["name"]));
        }
    }
    none(problems);
    Ok(())
}

#[test]
fn one_crypto_provider() -> anyhow::Result<()> {
    let lock = std::fs::read_to_string(root().join("Cargo.lock"))?;
    for banned in [
        "aws-lc-rs",
        "aws-lc-sys",
        "openssl",
        "openssl-sys",
        "native-tls",
    ] {
        assert!(
            !lock.contains(&format!("name = \"{banned}\"")),
            "{banned} is in Cargo.lock"
        );
    }
    assert!(Path::new(&root()).join("deny.toml").exists());
    Ok(())
}

//! `tests/run` where nobody watches: it says little, and names what failed so often that no build server loses it.

use std::ffi::OsStr;
use std::time::Duration;

use shop_tests::process;
use shop_tests::repository::root;

/// A run of a phase, a test runner and two stories that do as told. Arguments: the checkout, an empty directory, how it goes.
const RUN: &str = r#"
set -euo pipefail
export REPO=$2 HOW=$3
for part in failures report stories; do . "$1/tests/lib/$part.sh"; done
machine_down() { :; }

checks() {
    for n in {1..500}; do echo "chatter $n"; done
    case $HOW in
        red) printf 'why: %01000d\n' 0; echo 'a check went wrong'; return 1 ;;
        cut) echo 'half of it'; kill -TERM $$ ;;
    esac
}

runner() {
    if [[ $HOW != red ]]; then echo '     Summary [   1.000s] 2 tests run: 2 passed, 0 skipped'; return; fi
    cat <<'SAID'
        FAIL [   0.036s] (1/2) shop-plan names::tests::are_short
  stderr ───

    thread 'names::tests::are_short' (7) panicked at names.rs:1:2:
    a name is too long
    stack backtrace:
       0: __rustc::rust_begin_unwind
────────────
     Summary [   1.000s] 2 tests run: 1 passed, 1 failed, 0 skipped
        FAIL [   0.036s] (1/2) shop-plan names::tests::are_short
SAID
    return 100
}

mkdir "$REPO/tests"
cat >"$REPO/program" <<'PROGRAM'
#!/bin/sh
set -eu
if [ "$1" = --list ]; then printf '%s: test\n' update::one update::two; exit; fi
echo "chatter of $2"
case $HOW$2 in
    redupdate::two) echo 'no order was placed'; exit 101 ;;
    accidentupdate::two) mkdir "$REPO/told" 2>/dev/null && { echo 'a bad moment'; exit 101; } ;;
esac
echo 'test result: ok. 1 passed; 0 failed'
PROGRAM
chmod +x "$REPO/program"
story_program() { printf '%s\n' "$REPO/program"; }

cd "$REPO"
trap 'finish $?' EXIT
trap 'exit 130' INT TERM
logs_begin
phase 'checks' checks
aloud 'Rust tests' counted runner
aloud 'stories' stories
"#;

/// What such a run says, and whether it ends well.
fn run(how: &str) -> anyhow::Result<(String, Option<i32>)> {
    let (checkout, empty) = (root(), tempfile::tempdir()?);
    let places = [checkout.as_os_str(), empty.path().as_os_str()];
    let args = [
        &["-c", RUN, "run"].map(OsStr::new)[..],
        &places,
        &[how.as_ref()],
    ]
    .concat();
    let ended = process::run("bash", &args, Duration::from_secs(60))?;
    Ok((ended.stdout, ended.code))
}

fn says(said: &str, words: &[&str]) {
    for word in words {
        assert!(said.contains(word), "no {word:?} in: {said}");
    }
}

#[test]
fn a_green_run_says_what_it_did_and_nothing_more() -> anyhow::Result<()> {
    let (said, code) = run("green")?;
    says(&said, &["ok      update::two\n", "\n5 passed, 0 failed ("]);
    for unwanted in ["chatter", "failed:", "what failed"] {
        assert!(!said.contains(unwanted), "{said}");
    }
    assert_eq!(code, Some(0), "{said}");
    Ok(())
}

#[test]
fn a_red_run_names_each_failure_again_at_its_end() -> anyhow::Result<()> {
    let (said, code) = run("red")?;
    let (before, end) = said.split_once("\nwhat failed\n").unwrap_or_default();
    let reasons = [
        "a check went wrong",
        "a name is too long",
        "no order was placed",
    ];
    says(before, &reasons);
    says(end, &reasons);
    let test = "test shop-plan names::tests::are_short";
    for failure in ["checks", test, "story update::two"] {
        says(end, &[&format!("\nfailed: {failure}\n")]);
    }
    says(end, &["\n2 passed, 3 failed ("]);
    assert!(!said.contains("rust_begin_unwind"), "{said}");
    assert!(said.lines().all(|line| line.len() < 330), "{said}");
    assert!(said.len() < 6_000, "{} bytes: {said}", said.len());
    assert_eq!(code, Some(1), "{said}");
    Ok(())
}

#[test]
fn a_story_that_passes_at_the_second_try_only_is_named() -> anyhow::Result<()> {
    let (said, code) = run("accident")?;
    let (_, end) = said
        .split_once("\npassed at the second try only\n")
        .unwrap_or_default();
    says(
        end,
        &[
            "  update::two\n",
            "a bad moment\n",
            "\n5 passed, 0 failed (",
        ],
    );
    assert_eq!(code, Some(0), "{said}");
    Ok(())
}

#[test]
fn a_run_that_is_cut_off_says_where() -> anyhow::Result<()> {
    let (said, code) = run("cut")?;
    says(
        &said,
        &[
            "      half of it\n",
            "\nfailed: checks (cut off, status 130)\n",
        ],
    );
    says(&said, &["\n0 passed, 1 failed ("]);
    assert_eq!(code, Some(1), "{said}");
    Ok(())
}

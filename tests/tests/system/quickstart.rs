//! What a person sees who ran quickstart, and runs it again.

use std::time::Duration;

use shop_tests::docker;
use shop_tests::fleet::Fleet;
use shop_tests::process;
use shop_tests::repository::root;

const AGAIN: Duration = Duration::from_secs(300);

fn quickstart(args: &[&str]) -> anyhow::Result<process::Output> {
    let program = root().join("deploy/quickstart");
    process::run(&program.to_string_lossy(), args, AGAIN)
}

/// Name, id and start of every container: any replacement or restart shows.
fn everything() -> anyhow::Result<Vec<String>> {
    let stores = format!("sf-{}-", Fleet::installed()?.setting("node_id")?);
    let mut seen: Vec<String> = docker::containers(&[])?
        .into_iter()
        .map(|c| format!("{} {} {}", c.name, c.id, c.started_at))
        .collect();
    seen.retain(|line| line.starts_with(&stores) || line.starts_with("shopfleet"));
    seen.retain(|line| !line.contains("-task-"));
    seen.sort();
    Ok(seen)
}

#[test]
fn the_demo_store_serves() -> anyhow::Result<()> {
    let fleet = Fleet::installed()?;
    let demo = fleet.existing("demo")?;
    demo.wait_serving(Duration::from_secs(10))?;
    let home = demo.request("/", &[])?;
    assert_eq!(home.status, 200);
    assert!(
        home.body.contains("data-test=\"search-input\""),
        "no search field on the home page"
    );
    Ok(())
}

#[test]
fn a_second_run_changes_nothing_and_says_so() -> anyhow::Result<()> {
    let before = everything()?;
    let said = quickstart(&["--yes"])?.ok()?;
    assert_eq!(
        before,
        everything()?,
        "a second run replaced or restarted something"
    );
    assert!(
        said.contains("same  container shopfleet-control-plane"),
        "{said}"
    );
    assert!(said.contains("same  container shopfleet-node"), "{said}");
    Ok(())
}

#[test]
fn bad_usage_is_refused_before_anything_happens() -> anyhow::Result<()> {
    let out = quickstart(&["--no-such-option"])?;
    assert_eq!(out.code, Some(2));
    assert!(out.stderr.contains("usage:"), "{}", out.stderr);
    Ok(())
}

#[test]
fn down_without_a_yes_removes_nothing() -> anyhow::Result<()> {
    let before = everything()?;
    let out = quickstart(&["--down"])?;
    assert_eq!(out.code, Some(1), "{}", out.stdout);
    assert!(
        out.stdout.contains("demo"),
        "does not name the store: {}",
        out.stdout
    );
    assert_eq!(before, everything()?);
    Ok(())
}

#[test]
fn no_secret_in_any_inspect() -> anyhow::Result<()> {
    let fleet = Fleet::installed()?;
    let demo = fleet.existing("demo")?;
    let password = demo.credentials()?.password;
    assert!(password.len() >= 12);
    for container in docker::containers(&[])? {
        let text = docker::docker(&["inspect", &container.id])?.stdout;
        assert!(
            !text.contains(&password),
            "{} shows the admin password",
            container.name
        );
    }
    let logs = docker::docker(&["logs", "shopfleet-control-plane"])?;
    assert!(!logs.stdout.contains(&password) && !logs.stderr.contains(&password));
    Ok(())
}

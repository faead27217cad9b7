//! What is refused, how, and that nothing was written.

use serde_json::{Value, json};
use shop_tests::door::Door;
use shop_tests::fleet::Fleet;
use shop_tests::process;
use std::time::Duration;

fn pointers(problem: &Value) -> Vec<String> {
    let errors = problem["errors"].as_array().cloned().unwrap_or_default();
    errors
        .iter()
        .filter_map(|e| e["pointer"].as_str())
        .map(str::to_owned)
        .collect()
}

#[test]
fn each_mistake_has_a_pointer_and_all_come_at_once() -> anyhow::Result<()> {
    let fleet = Fleet::installed()?;
    let before = fleet.stores()?.len();
    let door = Door::open()?;
    let table = [
        (
            json!({"name": "Bad Name", "template": "refshop"}),
            vec!["/name"],
        ),
        (
            json!({"name": "fine", "template": "nothing"}),
            vec!["/template"],
        ),
        (
            json!({"name": "fine", "template": "refshop", "profiles": {"web": "iis"}}),
            vec!["/profiles/web"],
        ),
        (
            json!({"name": "fine", "template": "refshop", "parameters": {"php_children": "1000"}}),
            vec!["/parameters/php_children"],
        ),
        (
            json!({"name": "fine", "template": "refshop", "parameters": {"currency": "gold", "no_such": "x"}}),
            vec!["/parameters/currency", "/parameters/no_such"],
        ),
        (
            json!({"name": "fine", "template": "refshop", "hosts": ["not a host"]}),
            vec!["/hosts/0"],
        ),
        (
            json!({"name": "fine", "template": "refshop", "colour": "red"}),
            vec!["/colour"],
        ),
        (json!({"name": 7, "template": "refshop"}), vec!["/name"]),
        (
            json!({"name": "Bad Name", "template": "refshop", "hosts": ["-"]}),
            vec!["/name", "/hosts/0"],
        ),
    ];
    let mut wrong = Vec::new();
    for (body, expected) in table {
        let (status, problem) = door.call("POST", "/api/v1/stores", Some(&body), &[])?;
        let found = pointers(&problem);
        let complete = expected.iter().all(|p| found.iter().any(|f| f == p));
        if !(400..500).contains(&status)
            || problem["code"].as_str().is_none_or(str::is_empty)
            || !complete
        {
            wrong.push(format!(
                "{body}\n  wanted {expected:?}, got {status} {problem}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(fleet.stores()?.len(), before, "something was written");
    Ok(())
}

#[test]
fn a_taken_name_is_a_conflict() -> anyhow::Result<()> {
    let door = Door::open()?;
    let body = json!({"name": "demo", "template": "refshop"});
    let (status, problem) = door.call("POST", "/api/v1/stores", Some(&body), &[])?;
    assert_eq!(status, 409, "{problem}");
    assert_eq!(pointers(&problem), ["/name"]);
    Ok(())
}

#[test]
fn without_a_token_nothing_is_said() -> anyhow::Result<()> {
    let args = ["--insecure", "https://127.0.0.1:7440/api/v1/stores"];
    let answer = shop_tests::http::curl(&args)?;
    assert_eq!(answer.status, 401, "{}", answer.body);
    Ok(())
}

#[test]
fn the_cli_says_what_to_do() -> anyhow::Result<()> {
    let fleet = Fleet::installed()?;
    let unknown = fleet.ctl(&["store", "get", "no-such-store"])?;
    assert_eq!(unknown.code, Some(1));
    assert!(
        unknown.stderr.contains("no-such-store"),
        "{}",
        unknown.stderr
    );
    let usage = process::run("shopctl", &["store", "frobnicate"], Duration::from_secs(10))?;
    assert_eq!(usage.code, Some(2));
    let unconfirmed = fleet.ctl(&["store", "delete", "demo"])?;
    assert_ne!(unconfirmed.code, Some(0));
    assert_eq!(fleet.existing("demo")?.get()?.status, "running");
    Ok(())
}

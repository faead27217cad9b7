//! Clients that know only what the API says about itself: gRPC reflection, and the OpenAPI document.

use std::time::Duration;

use anyhow::Context;
use shop_tests::chain;
use shop_tests::door::Door;
use shop_tests::fleet::Fleet;
use shop_tests::http;
use shop_tests::process;
use shop_tests::repository::root;

const LIMIT: Duration = Duration::from_secs(300);

fn python() -> String {
    std::env::var("SHOPFLEET_PYTHON").unwrap_or_else(|_| "python3".to_owned())
}

fn client(name: &str) -> String {
    root()
        .join("tests/clients")
        .join(name)
        .to_string_lossy()
        .into_owned()
}

/// A token of its own for a foreign program, revoked at the end.
struct Token {
    fleet: Fleet,
    id: String,
    secret: String,
}

impl Token {
    fn new(fleet: &Fleet) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let file = dir.path().join("token");
        let file = file.to_str().context("path is not UTF-8")?;
        let made: serde_json::Value = fleet.json(&[
            "token",
            "create",
            "story",
            "--role",
            "admin",
            "--days",
            "1",
            "--token-file",
            file,
        ])?;
        let id = made["id"]
            .as_str()
            .or_else(|| made["token"]["id"].as_str())
            .context("no token id")?
            .to_owned();
        Ok(Self {
            fleet: fleet.clone(),
            id,
            secret: std::fs::read_to_string(file)?.trim().to_owned(),
        })
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        // It ends by itself within a day.
        let _ = self.fleet.ctl(&["token", "revoke", &self.id]);
    }
}

#[test]
fn grpc_by_reflection_alone() -> anyhow::Result<()> {
    let fleet = Fleet::installed()?;
    let token = Token::new(&fleet)?;
    let mut roots = tempfile::NamedTempFile::new()?;
    chain::shown(&mut roots)?;
    let pem = roots
        .path()
        .to_str()
        .context("path is not UTF-8")?
        .to_owned();
    let script = client("by_reflection.py");
    let args = [script.as_str(), "127.0.0.1:7440", &pem, "by-reflection"];
    let said = process::run_with_input(&python(), &args, Some(&token.secret), LIMIT)?.ok()?;
    assert!(said.contains("created, watched and deleted"), "{said}");
    Ok(())
}

#[test]
fn rest_by_a_generated_client() -> anyhow::Result<()> {
    let door = Door::open()?;
    let work = tempfile::tempdir()?;
    let document = work.path().join("openapi.json");
    let answer = http::curl(&[&format!("{}/api/openapi.json", door.base)])?;
    assert_eq!(answer.status, 200);
    std::fs::write(&document, answer.body)?;
    let script = client("by_openapi.py");
    let paths = [
        document.to_string_lossy().into_owned(),
        work.path().to_string_lossy().into_owned(),
    ];
    let args = [
        script.as_str(),
        &door.base,
        &paths[0],
        &paths[1],
        "by-openapi",
    ];
    let said = process::run(&python(), &args, LIMIT)?.ok()?;
    assert!(
        said.contains("created and deleted by a generated client"),
        "{said}"
    );
    Ok(())
}

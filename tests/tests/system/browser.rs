//! The walk of a buyer and of the shop's owner in headless Chromium, for every profile. Screenshots go to docs/screenshots.

use std::time::Duration;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use shop_tests::fleet::{Fleet, Login, Store};
use shop_tests::process;
use shop_tests::repository::root;

const WALK: Duration = Duration::from_secs(120);

#[derive(Serialize)]
struct Task<'a> {
    kind: &'a str,
    name: &'a str,
    url: &'a str,
    search: &'a str,
    shots: String,
    buyer: Buyer<'a>,
    admin: Admin<'a>,
}

#[derive(Serialize)]
struct Buyer<'a> {
    name: &'a str,
    email: &'a str,
    street: &'a str,
    postcode: &'a str,
    city: &'a str,
    country: &'a str,
}

#[derive(Serialize)]
struct Admin<'a> {
    url: String,
    user: &'a str,
    password: &'a str,
}

#[derive(Deserialize)]
struct Walked {
    result: String,
    faults: Vec<String>,
}

/// Port and all: the address as a browser on this machine reaches it.
fn walk(store: &Store, kind: &str, name: &str) -> anyhow::Result<Walked> {
    let url = store.url()?;
    let Login {
        url: admin,
        user,
        password,
    } = store.credentials()?;
    let base = url.trim_end_matches('/');
    let admin = if admin.starts_with("http") {
        admin
    } else {
        format!("{base}{admin}")
    };
    let task = Task {
        kind,
        name,
        url: &url,
        search: "lamp",
        shots: root()
            .join("docs/screenshots")
            .to_string_lossy()
            .into_owned(),
        buyer: Buyer {
            name: "Ada Buyer",
            email: "ada@example.com",
            street: "Long Lane 1",
            postcode: "12345",
            city: "Sampletown",
            country: "DE",
        },
        admin: Admin {
            url: admin,
            user: &user,
            password: &password,
        },
    };
    let script = root().join("tests/browser/walk.mjs");
    let script = script
        .to_str()
        .context("the checkout's path is not UTF-8")?;
    let said = process::run_with_input(
        "node",
        &[script],
        Some(&serde_json::to_string(&task)?),
        WALK,
    )?
    .ok()?;
    serde_json::from_str(said.trim()).with_context(|| format!("the walk said {said}"))
}

fn shop_walk(store: &Store, name: &str) -> anyhow::Result<()> {
    store.wait_serving(Duration::from_secs(20))?;
    let walked = walk(store, "refshop", name)?;
    assert_eq!(
        walked.faults,
        [] as [String; 0],
        "pages of {name} have faults"
    );
    assert!(!walked.result.is_empty(), "no order number");
    Ok(())
}

#[test]
fn refshop_nginx_sphinx() -> anyhow::Result<()> {
    let fleet = Fleet::installed()?;
    shop_walk(&fleet.existing("demo")?, "refshop-nginx-sphinx")
}

#[test]
fn refshop_nginx_none() -> anyhow::Result<()> {
    let fleet = Fleet::installed()?;
    let store = fleet.create_running("walk-plain", &["--profile", "search=none"])?;
    shop_walk(&store, "refshop-nginx-none")?;
    store.delete()
}

#[test]
fn refshop_apache_sphinx() -> anyhow::Result<()> {
    let fleet = Fleet::installed()?;
    let store = fleet.create_running("walk-apache", &["--profile", "web=apache"])?;
    shop_walk(&store, "refshop-apache-sphinx")?;
    store.delete()
}

#[test]
fn refshop_apache_none() -> anyhow::Result<()> {
    let fleet = Fleet::installed()?;
    let store = fleet.create_running(
        "walk-simple",
        &["--profile", "web=apache", "--profile", "search=none"],
    )?;
    shop_walk(&store, "refshop-apache-none")?;
    store.delete()
}

fn wordpress(profile: &str, code: &str) -> anyhow::Result<()> {
    let fleet = Fleet::installed()?;
    let name = format!("walk-wp-{profile}-{code}");
    let (web, code) = (format!("web={profile}"), format!("code={code}"));
    let store = fleet.create_running(
        &name,
        &[
            "--template",
            "wordpress",
            "--profile",
            &web,
            "--profile",
            &code,
        ],
    )?;
    let walked = walk(
        &store,
        "wordpress",
        &format!("wordpress-{}", name.trim_start_matches("walk-wp-")),
    )?;
    assert_eq!(walked.result, "logged in");
    store.delete()
}

#[test]
fn wordpress_nginx_image() -> anyhow::Result<()> {
    wordpress("nginx", "image")
}

#[test]
fn wordpress_nginx_volume() -> anyhow::Result<()> {
    wordpress("nginx", "volume")
}

#[test]
fn wordpress_apache_image() -> anyhow::Result<()> {
    wordpress("apache", "image")
}

#[test]
fn wordpress_apache_volume() -> anyhow::Result<()> {
    wordpress("apache", "volume")
}

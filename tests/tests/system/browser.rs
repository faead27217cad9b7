//! The walk of a buyer and of the shop's owner in headless Chromium, for every profile. Screenshots go to docs/screenshots.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use shop_tests::docker;
use shop_tests::fleet::{Fleet, Login, PATIENCE, Store};
use shop_tests::process;
use shop_tests::repository::root;
use shop_tests::wait::wait_for;

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
    plugin: Option<&'a Plugin>,
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

/// A WordPress plugin as somebody would upload it.
#[derive(Serialize)]
struct Plugin {
    zip: String,
    /// As WordPress calls it: directory and file.
    file: &'static str,
    /// What it adds to every page, as `data-test`.
    mark: &'static str,
}

#[derive(Deserialize)]
struct Walked {
    result: String,
    faults: Vec<String>,
}

/// Port and all: the address as a browser on this machine reaches it.
fn walk(store: &Store, kind: &str, name: &str, plugin: Option<&Plugin>) -> anyhow::Result<Walked> {
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
        plugin,
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
    let walked = walk(store, "refshop", name, None)?;
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
    let (web, code_profile) = (format!("web={profile}"), format!("code={code}"));
    let store = fleet.create_running(
        &name,
        &[
            "--template",
            "wordpress",
            "--profile",
            &web,
            "--profile",
            &code_profile,
        ],
    )?;
    let shots = format!("wordpress-{profile}-{code}");
    let walked = walk(&store, "wordpress", &shots, None)?;
    assert_eq!(walked.result, "logged in");
    if code == "volume" {
        plugin_stays(&store)?;
    }
    store.delete()
}

const SHELF_NOTE: &str = r#"<?php
/*
Plugin Name: Shelf Note
Description: A line at the foot of every page.
Version: 1.0.0
*/
add_action('wp_footer', static function (): void {
    echo '<p data-test="shelf-note">Everything on this shelf was made by hand.</p>';
});
"#;

/// Packs a plugin into `dir`, as a shop's owner gets it.
fn plugin(dir: &Path) -> anyhow::Result<Plugin> {
    let (folder, zip) = (dir.join("shelf-note"), dir.join("shelf-note.zip"));
    fs::create_dir(&folder)?;
    fs::write(folder.join("shelf-note.php"), SHELF_NOTE)?;
    let (folder, zip) = (folder.to_string_lossy(), zip.to_string_lossy());
    let args = ["-m", "zipfile", "--create", &zip, &folder];
    process::run("python3", &args, Duration::from_secs(30))?.ok()?;
    Ok(Plugin {
        zip: zip.into_owned(),
        file: "shelf-note/shelf-note.php",
        mark: "shelf-note",
    })
}

/// Put in through wp-admin, a plugin is there and active after a restart, and after every container of the shop's code was made anew.
fn plugin_stays(store: &Store) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let plugin = plugin(dir.path())?;
    let active = |kind: &str| -> anyhow::Result<()> {
        store.wait_serving(Duration::from_secs(30))?;
        let walked = walk(store, kind, "", Some(&plugin))?;
        assert_eq!(walked.result, "active");
        let page = store.request("/", &[])?;
        assert!(page.body.contains(plugin.mark), "visitors do not see it");
        Ok(())
    };
    active("wordpress-add-plugin")?;
    let id = store.id()?;
    let first = docker::service(&id, "php-fpm")?;

    store.act("restart")?;
    let restarted = docker::service(&id, "php-fpm")?;
    assert_ne!(first.started_at, restarted.started_at, "nothing restarted");
    active("wordpress-find-plugin")?;

    let more = ["--set", "php_children=6", "--window", "2", "--wait"];
    store
        .fleet
        .ctl(&[&["store", "update", &store.name], &more[..]].concat())?
        .ok()?;
    let renewed = wait_for(
        "PHP runs in a container of the new revision alone",
        PATIENCE,
        || docker::service(&id, "php-fpm"),
        |now| now.id != restarted.id,
    )?;
    active("wordpress-find-plugin")?;
    let file = format!("content/plugins/{}", plugin.file);
    docker::docker(&["exec", &renewed.id, "test", "-s", &file])?.ok()?;
    println!("{}: the plugin stayed", store.name);
    Ok(())
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

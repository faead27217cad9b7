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
    code: Option<&'a Code>,
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

/// What the owner of a WordPress puts in.
#[derive(Serialize)]
struct Code {
    plugin: Package,
    theme: Package,
}

/// A plugin or theme as somebody would upload it.
#[derive(Serialize)]
struct Package {
    /// Its directory, its main file, and what it adds to every page as `data-test`.
    name: &'static str,
    zip: String,
}

#[derive(Deserialize)]
struct Walked {
    result: String,
    faults: Vec<String>,
}

/// Port and all: the address as a browser on this machine reaches it.
fn walk(store: &Store, kind: &str, name: &str, code: Option<&Code>) -> anyhow::Result<Walked> {
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
        code,
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
        code_stays(&store)?;
    }
    store.delete()
}

const PLUGIN: &str = r#"<?php
/*
Plugin Name: Shelf Note
Description: A line at the foot of every page.
Version: 1.0.0
*/
add_action('wp_footer', static function (): void {
    echo '<p data-test="shelf-note">Everything on this shelf was made by hand.</p>';
});
"#;

const STYLE: &str = "/*\nTheme Name: Plain Shelf\nVersion: 1.0.0\n*/\n";

const THEME: &str = r#"<!doctype html>
<html lang="en"><head><?php wp_head(); ?></head>
<body><main data-test="plain-shelf"><?php bloginfo('name'); ?></main><?php wp_footer(); ?></body></html>
"#;

/// Packs files of a plugin or theme into `dir`, as a shop's owner gets it.
fn package(dir: &Path, name: &'static str, files: &[(&str, &str)]) -> anyhow::Result<Package> {
    let (folder, zip) = (dir.join(name), dir.join(format!("{name}.zip")));
    fs::create_dir(&folder)?;
    for (file, text) in files {
        fs::write(folder.join(file), text)?;
    }
    let (folder, zip) = (folder.to_string_lossy(), zip.to_string_lossy());
    let args = ["-m", "zipfile", "--create", &zip, &folder];
    process::run("python3", &args, Duration::from_secs(30))?.ok()?;
    let zip = zip.into_owned();
    Ok(Package { name, zip })
}

/// Put in through wp-admin, a plugin and a theme are there and active after a restart, and after every container of the shop's code was
/// made anew.
fn code_stays(store: &Store) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let code = Code {
        plugin: package(dir.path(), "shelf-note", &[("shelf-note.php", PLUGIN)])?,
        theme: package(
            dir.path(),
            "plain-shelf",
            &[("style.css", STYLE), ("index.php", THEME)],
        )?,
    };
    let active = |kind: &str| -> anyhow::Result<()> {
        store.wait_serving(Duration::from_secs(30))?;
        let walked = walk(store, kind, "", Some(&code))?;
        assert_eq!(walked.result, "active");
        Ok(())
    };
    active("wordpress-add-code")?;
    let id = store.id()?;
    let first = docker::service(&id, "php-fpm")?;

    store.act("restart")?;
    let restarted = docker::service(&id, "php-fpm")?;
    assert_ne!(first.started_at, restarted.started_at, "nothing restarted");
    active("wordpress-find-code")?;

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
    active("wordpress-find-code")?;
    for file in [
        "plugins/shelf-note/shelf-note.php",
        "themes/plain-shelf/index.php",
    ] {
        let file = format!("content/{file}");
        docker::docker(&["exec", &renewed.id, "test", "-s", &file])?.ok()?;
    }
    println!("{}: plugin and theme stayed", store.name);
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

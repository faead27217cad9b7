//! A live store is changed while buyers browse, fill carts and order. Nothing they ask for may fail.

use std::time::Duration;

use serde_json::{Value, json};
use shop_tests::change::{Ended, change, site, window};
use shop_tests::docker;
use shop_tests::door::Door;
use shop_tests::fleet::{Fleet, Store};
use shop_tests::load::{Books, Load, Rates};
use shop_tests::orders;

/// Short enough for a story; the shipped default is a minute.
const WINDOW: u32 = 15;
const CROWD: Rates = Rates {
    pages: 40,
    buyers: 2,
};
/// For three minutes of waiting for what never gets ready, beside other stories: a page every tenth of a second shows a gap as well.
const FEW: Rates = Rates {
    pages: 10,
    buyers: 1,
};

struct Scene {
    door: Door,
    store: Store,
    load: Load,
}

/// A shop with buyers in it, and time for some of them to have a page open and a cart filled.
fn open(name: &str, template: &str, crowd: Rates) -> anyhow::Result<Scene> {
    open_with(name, &["--template", template], crowd)
}

fn open_with(name: &str, arguments: &[&str], crowd: Rates) -> anyhow::Result<Scene> {
    let fleet = Fleet::installed()?;
    let store = fleet.create_running(name, arguments)?;
    store.wait_serving(Duration::from_secs(15))?;
    let load = Load::start(&site(&store)?, crowd)?;
    let scene = Scene {
        door: Door::open()?,
        store,
        load,
    };
    scene.orders(3)?;
    Ok(scene)
}

impl Scene {
    fn update(&self, mut body: Value) -> anyhow::Result<Ended> {
        body["watch"] = window(WINDOW);
        change(&self.door, &self.store.name, "update", &body)
    }

    /// Waits until so many more orders were confirmed.
    fn orders(&self, more: usize) -> anyhow::Result<()> {
        let confirmed = || Ok(self.load.recorder.books().confirmed.len());
        let target = confirmed()? + more;
        shop_tests::wait::wait_for("buyers order", Duration::from_secs(60), confirmed, |seen| {
            *seen >= target
        })
        .map(drop)
    }

    fn release(&self) -> anyhow::Result<Value> {
        let health = self.store.wait_serving(Duration::from_secs(10))?;
        let health: Value = serde_json::from_str(&health.body)?;
        Ok(health["release"].clone())
    }

    /// Ends the load and holds the shop's own books against what buyers were told.
    fn close(self) -> anyhow::Result<Books> {
        let Self { store, load, .. } = self;
        let books = load.finish()?.books();
        let (there, count) = orders::all(&store)?;
        assert_eq!(there.len() as u64, count, "the desk lists what it counts");
        let lost: Vec<_> = books.confirmed.difference(&there).collect();
        assert!(lost.is_empty(), "orders were lost: {lost:?}");
        let more = there.difference(&books.confirmed).count() as u64;
        assert!(more <= books.unsure, "{more} orders nobody made");
        assert_eq!(books.lost_carts, 0, "carts were lost");
        assert_eq!(
            books.missing_assets.len(),
            0,
            "assets were missing: {:?}",
            books.missing_assets
        );
        store.delete()?;
        Ok(books)
    }

    fn close_without_a_failure(self) -> anyhow::Result<()> {
        let books = self.close()?;
        println!(
            "{} requests, {} orders",
            books.requests,
            books.confirmed.len()
        );
        assert_eq!(books.failures, [], "of {} requests", books.requests);
        Ok(())
    }
}

#[test]
fn an_update_with_a_migration_and_its_rollback_lose_no_request() -> anyhow::Result<()> {
    let scene = open("grow", "refshop@1", CROWD)?;
    let preview = json!({"template": "refshop@2", "dry_run": true});
    let path = format!("/api/v1/stores/{}/update", scene.store.name);
    let (status, diff) = scene.door.call("POST", &path, Some(&preview), &[])?;
    assert_eq!(status, 200, "{diff}");
    scene
        .update(json!({"template": "refshop@2"}))?
        .succeeded()?;
    assert_eq!(scene.release()?, "2.0.0");
    scene.orders(3)?;
    change(&scene.door, &scene.store.name, "rollback", &json!({}))?.succeeded()?;
    let view = scene.store.get()?;
    assert_eq!(view.status, "running");
    scene.orders(3)?;
    scene.close_without_a_failure()
}

#[test]
fn a_release_that_fails_after_the_switch_is_taken_back() -> anyhow::Result<()> {
    let scene = open("sick", "refshop@2", CROWD)?;
    let ended = scene.update(json!({"parameters": {"drill": "sick"}}))?;
    assert_eq!(
        (&*ended.state, &*ended.reason),
        ("failed", "update_bad_minute")
    );
    scene.store.wait_status("running")?;
    // It stays away by itself, and the next good one is not held up.
    scene
        .update(json!({"parameters": {"drill": "none", "shop_name": "Healthy"}}))?
        .succeeded()?;
    scene.close_without_a_failure()
}

#[test]
fn a_release_that_never_gets_ready_is_not_switched_to() -> anyhow::Result<()> {
    let scene = open("crash", "refshop@2", FEW)?;
    let ended = scene.update(json!({"parameters": {"drill": "never-ready"}}))?;
    assert_eq!(
        (&*ended.state, &*ended.reason),
        ("failed", "update_not_ready")
    );
    assert!(
        ended.message.contains("php-fpm"),
        "does not name the service: {}",
        ended.message
    );
    scene.store.wait_status("running")?;
    scene.close_without_a_failure()
}

#[test]
fn an_irreversible_update_asks_first_and_announces_its_maintenance() -> anyhow::Result<()> {
    let scene = open("contract", "refshop@2", CROWD)?;
    let body = json!({"template": "refshop@3"});
    let path = format!("/api/v1/stores/{}/update", scene.store.name);
    let (status, problem) = scene.door.call("POST", &path, Some(&body), &[])?;
    assert_eq!((status, &problem["code"]), (409, &json!("irreversible")));
    scene
        .update(json!({"template": "refshop@3", "allow_irreversible": true}))?
        .succeeded()?;
    assert_eq!(scene.release()?, "3.0.0");
    let (status, problem) = scene.door.call(
        "POST",
        &format!("/api/v1/stores/{}/rollback", scene.store.name),
        Some(&json!({})),
        &[],
    )?;
    assert_eq!((status, &problem["code"]), (409, &json!("schema_too_new")));
    let books = scene.close()?;
    let other: Vec<_> = books
        .failures
        .iter()
        .filter(|failure| !(failure.status == 503 && failure.announced))
        .collect();
    assert!(
        other.is_empty(),
        "failed without being announced: {other:?}"
    );
    println!(
        "{} of {} requests were answered 503 with Retry-After",
        books.failures.len(),
        books.requests
    );
    Ok(())
}

#[test]
fn scaling_out_and_in_loses_no_request() -> anyhow::Result<()> {
    scaled(open("wide", "refshop@2", CROWD)?)
}

/// Apache asks no second PHP container for a form that it has sent.
#[test]
fn scaling_out_and_in_behind_apache_loses_no_request() -> anyhow::Result<()> {
    let arguments = ["--template", "refshop@2", "--profile", "web=apache"];
    scaled(open_with("broad", &arguments, CROWD)?)
}

fn scaled(scene: Scene) -> anyhow::Result<()> {
    let three = json!({"replicas": {"web": 3, "php-fpm": 3}});
    change(&scene.door, &scene.store.name, "scale", &three)?.succeeded()?;
    let ready = scene
        .store
        .get()?
        .replicas
        .iter()
        .filter(|r| r.phase == "ready")
        .count();
    assert_eq!(ready, 9, "3 web, 3 php-fpm, db, cache, search");
    scene.orders(2)?;
    let one = json!({"replicas": {"web": 1, "php-fpm": 1}});
    change(&scene.door, &scene.store.name, "scale", &one)?.succeeded()?;
    scene.orders(2)?;
    scene.close_without_a_failure()
}

/// The image that the store's one running PHP container was made from.
fn php_image(store: &Store) -> anyhow::Result<String> {
    let container = docker::service(&store.id()?, "php-fpm")?;
    let format = ["inspect", "--format", "{{.Config.Image}}", &container.id];
    Ok(docker::docker(&format)?.ok()?.trim().to_owned())
}

#[test]
fn another_image_comes_through_the_slots_and_only_from_the_hosts_list() -> anyhow::Result<()> {
    const OWN: &str = "shopfleet/refshop-php-fpm:2";
    const OTHER: &str = "shopfleet/refshop-php-fpm:777";
    const ABSENT: &str = "shopfleet/refshop-php-fpm:778";
    const FOREIGN: &str = "example/php:8.2";
    let scene = open("image", "refshop@2", CROWD)?;
    docker::docker(&["tag", OWN, OTHER])?.ok()?;
    let php = |image: &str| json!({"images": {"php-fpm": image}});
    let path = format!("/api/v1/stores/{}/update", scene.store.name);
    let (status, problem) = scene.door.call("POST", &path, Some(&php(FOREIGN)), &[])?;
    assert_eq!(
        (status, &problem["code"]),
        (409, &json!("image_not_allowed")),
        "{problem}"
    );
    let database = json!({"images": {"db": "shopfleet/mariadb:2"}});
    let (status, problem) = scene.door.call("POST", &path, Some(&database), &[])?;
    assert_eq!(
        (status, &problem["errors"][0]["code"]),
        (400, &json!("image_fixed")),
        "{problem}"
    );
    let ended = scene.update(php(ABSENT))?;
    assert_eq!((&*ended.state, &*ended.reason), ("failed", "image_missing"));
    scene.store.wait_status("running")?;
    assert_eq!(php_image(&scene.store)?, OWN);
    scene.update(php(OTHER))?.succeeded()?;
    assert_eq!(php_image(&scene.store)?, OTHER);
    scene.orders(2)?;
    change(&scene.door, &scene.store.name, "rollback", &json!({}))?.succeeded()?;
    assert_eq!(php_image(&scene.store)?, OWN);
    scene.orders(2)?;
    let closed = scene.close_without_a_failure();
    docker::docker(&["rmi", OTHER])?.ok()?;
    closed
}

/// Logs into a store's database from inside one of its containers: with a password, or with the one the container was handed.
fn logs_in(store: &Store, password: Option<&str>) -> anyhow::Result<bool> {
    const LOGIN: &str = "try { new PDO('mysql:host=db;dbname=shop', 'shop', \
                         $argv[1] ?? file_get_contents('/run/secrets/db_password')); echo 'in'; } \
                         catch (PDOException $e) { echo $e->getCode(); }";
    let php = docker::service(&store.id()?, "php-fpm")?;
    let mut args = vec!["exec", &php.id, "php", "-r", LOGIN, "--"];
    args.extend(password);
    match docker::docker(&args)?.ok()?.trim() {
        "in" => Ok(true),
        "1045" => Ok(false),
        other => anyhow::bail!("the login ended with {other}"),
    }
}

fn database_password(store: &Store) -> anyhow::Result<String> {
    let php = docker::service(&store.id()?, "php-fpm")?;
    let args = ["exec", &php.id, "cat", "/run/secrets/db_password"];
    Ok(docker::docker(&args)?.ok()?.trim().to_owned())
}

#[test]
fn a_database_password_is_rotated_while_buyers_order() -> anyhow::Result<()> {
    let scene = open("rotate", "refshop@2", CROWD)?;
    let name = scene.store.name.clone();
    scene.update(json!({}))?.succeeded()?;
    let path = format!("/api/v1/stores/{name}/rotate");
    let refused = json!({"secrets": ["app_key"]});
    let (status, problem) = scene.door.call("POST", &path, Some(&refused), &[])?;
    assert_eq!(status, 400, "{problem}");
    assert_eq!(problem["errors"][0]["code"], "secret_not_rotatable");
    let asked = json!({"secrets": ["db_password"], "dry_run": true});
    let (status, preview) = scene.door.call("POST", &path, Some(&asked), &[])?;
    assert_eq!((status, &preview["slots"]), (200, &json!(true)));

    let old = database_password(&scene.store)?;
    let database = docker::service(&scene.store.id()?, "db")?;
    let asked = json!({"secrets": ["db_password"]});
    change(&scene.door, &name, "rotate", &asked)?.succeeded()?;
    let new = database_password(&scene.store)?;
    assert_ne!(old, new);
    assert!(logs_in(&scene.store, None)?, "the new password is let in");
    assert!(!logs_in(&scene.store, Some(&old))?, "the old one is not");
    let same = docker::service(&scene.store.id()?, "db")?;
    assert_eq!(
        (same.id, same.started_at),
        (database.id, database.started_at)
    );
    scene.orders(3)?;
    // A revision from before is not the password from before.
    change(&scene.door, &name, "rollback", &json!({}))?.succeeded()?;
    assert_eq!(database_password(&scene.store)?, new);
    scene.orders(3)?;
    scene.close_without_a_failure()
}

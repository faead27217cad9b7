//! Create, get, list, stop, start, restart, delete, watch; and what is left of a deleted store: nothing.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use serde_json::json;
use shop_tests::docker;
use shop_tests::door::Door;
use shop_tests::fleet::{Fleet, PATIENCE};
use shop_tests::process;
use shop_tests::shop::{self, Buyer, Outcome};
use shop_tests::wait::wait_for;

#[test]
fn a_store_from_its_making_to_its_end() -> anyhow::Result<()> {
    let fleet = Fleet::installed()?;
    let store = fleet.create("cycle", &["--wait", "--label", "story=cycle"])?;
    let view = store.get()?;
    assert_eq!(view.status, "running");
    assert!(fleet.stores()?.iter().any(|s| s.name == "cycle"));
    let labelled: Vec<shop_tests::fleet::StoreView> =
        fleet.json(&["store", "list", "-l", "story=cycle"])?;
    assert_eq!(labelled.len(), 1);
    store.wait_serving(Duration::from_secs(15))?;

    let Outcome::Ordered(number) = Buyer::new(&store)?.buy("teapot-linde")? else {
        anyhow::bail!("sold out")
    };

    store.act("stop")?;
    assert_eq!(store.get()?.status, "stopped");
    let up: Vec<String> = docker::of_store(&view.id)?
        .into_iter()
        .filter(|c| c.running && !c.label("service").is_empty() && c.label("service") != "agent")
        .map(|c| c.name)
        .collect();
    assert!(up.is_empty(), "still running after stop: {up:?}");
    assert_eq!(store.request("/", &[])?.status, 503);

    store.act("start")?;
    store.wait_serving(Duration::from_secs(15))?;
    assert_eq!(shop::orders(&store)?, 1, "order {number} is gone");

    store.act("restart")?;
    store.wait_serving(Duration::from_secs(15))?;
    assert_eq!(shop::orders(&store)?, 1);

    store.delete()?;
    assert_ne!(fleet.ctl(&["store", "get", "cycle"])?.code, Some(0));
    assert!(
        docker::of_store(&view.id)?.is_empty(),
        "containers are left"
    );
    for kind in ["network", "volume"] {
        let left = docker::docker(&[
            kind,
            "ls",
            "--quiet",
            "--filter",
            &format!("name={}", view.id),
        ])?
        .ok()?;
        assert!(left.trim().is_empty(), "{kind}s are left: {left}");
    }
    let node = view.node.unwrap_or_default();
    for place in [
        format!("/var/lib/shopfleet/{node}/volumes/{}", view.id),
        format!("/run/shopfleet/{node}/stores/{}", view.id),
    ] {
        assert!(!Path::new(&place).exists(), "{place} is left");
    }
    assert_eq!(fleet.ctl(&["audit", "verify"])?.code, Some(0));
    Ok(())
}

/// While its time of grace lasts, a store is stopped and all of it is there: a database that is started on the copy has the order.
#[test]
fn a_deleted_store_is_exported_while_it_can_be_taken_back() -> anyhow::Result<()> {
    let fleet = Fleet::installed()?;
    let store = fleet.create("keepsake", &["--profile", "search=none", "--wait"])?;
    store.wait_serving(Duration::from_secs(15))?;
    let Outcome::Ordered(_) = Buyer::new(&store)?.buy("teapot-linde")? else {
        anyhow::bail!("sold out")
    };
    let id = store.id()?;
    let place = tempfile::tempdir()?;
    let archive = place.path().join("keepsake.tar");

    let (exported, said) = export(&id, &archive)?;
    assert!(
        !exported && said.contains("runs (") && said.contains("db"),
        "{said}"
    );
    assert_eq!(archive.metadata()?.len(), 0);

    let asked = ["store", "delete", "keepsake", "--yes"];
    fleet.ctl(&asked)?.ok()?;
    wait_for(
        "nothing of it runs",
        PATIENCE,
        || docker::of_store(&id),
        |all| {
            !all.iter()
                .any(|it| it.running && it.label("kind") == "service")
        },
    )?;
    let (exported, said) = export(&id, &archive)?;
    assert!(exported, "{said}");
    let words = |program, args: &[&str]| {
        process::run(program, args, PATIENCE).and_then(process::Output::ok)
    };
    let file = archive.to_string_lossy().into_owned();
    let sum = words("sha256sum", &[&file])?;
    let sum = sum.split(' ').next().unwrap_or_default();
    assert!(said.contains(&format!("sha256 {sum}")), "{said}");
    let there = place.path().to_string_lossy().into_owned();
    words("tar", &["-C", &there, "--numeric-owner", "-xpf", &file])?;
    assert!(place.path().join("volumes/media").is_dir());
    assert_eq!(orders_of_copy(&place.path().join("volumes/db-data"))?, "1");

    fleet
        .ctl(&["store", "undelete", "keepsake", "--wait"])?
        .ok()?;
    store.wait_serving(Duration::from_secs(15))?;
    assert_eq!(shop::orders(&store)?, 1);
    store.delete()
}

/// Whether it was exported, and what was said.
fn export(id: &str, to: &Path) -> anyhow::Result<(bool, String)> {
    let done = Command::new("docker")
        .args(["exec", "shopfleet-node", "shop-agent", "export", id])
        .stdout(File::create(to)?)
        .output()?;
    Ok((done.status.success(), String::from_utf8(done.stderr)?))
}

/// How many orders MariaDB finds in a volume of one.
fn orders_of_copy(volume: &Path) -> anyhow::Result<String> {
    let owner = volume.metadata()?;
    let user = format!("{}:{}", owner.uid(), owner.gid());
    let mount = format!("{}:/var/lib/mysql", volume.display());
    let mut args = vec!["run", "--rm", "--interactive", "--network=none"];
    args.extend(["--user", &user, "--volume", &mount]);
    args.extend(["--entrypoint", "mariadbd", "shopfleet/mariadb:1"]);
    args.extend([
        "--no-defaults",
        "--bootstrap",
        "--datadir=/var/lib/mysql/data",
    ]);
    let question = "SELECT COUNT(*) FROM shop.orders INTO OUTFILE '/var/lib/mysql/orders';\n";
    process::run_with_input("docker", &args, Some(question), PATIENCE)?.ok()?;
    let answer = std::fs::read_to_string(volume.join("orders"));
    Ok(answer.context("no answer")?.trim().to_owned())
}

#[test]
fn the_same_idempotency_key_makes_one_store() -> anyhow::Result<()> {
    let fleet = Fleet::installed()?;
    let door = Door::open()?;
    let key = ["--header", "idempotency-key: story-once"];
    let body = json!({"name": "once", "template": "refshop", "profiles": {"search": "none"}});
    let (status, first) = door.call("POST", "/api/v1/stores", Some(&body), &key)?;
    assert_eq!(status, 202, "{first}");
    let store = fleet.existing("once")?;
    let (status, again) = door.call("POST", "/api/v1/stores", Some(&body), &key)?;
    assert_eq!((status, &again["id"]), (202, &first["id"]));
    let other = json!({"name": "once-more", "template": "refshop"});
    let (status, refused) = door.call("POST", "/api/v1/stores", Some(&other), &key)?;
    assert_eq!(status, 409, "{refused}");
    assert_eq!(refused["code"], "idempotency_mismatch");
    assert!(!fleet.stores()?.iter().any(|s| s.name == "once-more"));
    store.delete()
}

#[test]
fn delete_during_provisioning_wins_cleanly() -> anyhow::Result<()> {
    let fleet = Fleet::installed()?;
    let store = fleet.create("hasty", &[])?;
    let id = store.id()?;
    store.delete()?;
    wait_for(
        "nothing of it is left",
        PATIENCE,
        || docker::of_store(&id),
        Vec::is_empty,
    )?;
    Ok(())
}

#[test]
fn stop_during_provisioning_wins_cleanly() -> anyhow::Result<()> {
    let fleet = Fleet::installed()?;
    let store = fleet.create("halted", &[])?;
    store.act("stop")?;
    assert_eq!(store.get()?.status, "stopped");
    store.act("start")?;
    store.wait_serving(Duration::from_secs(30))?;
    store.delete()
}

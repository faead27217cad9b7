//! A database that cannot write: said as what it is, and nothing that was acknowledged is lost.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::json;
use sqlx::{AssertSqlSafe, Connection as _, SqliteConnection};
use tonic::Code;

use crate::{
    api::{new_store, told},
    world::{World, until},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_database_answers_503_and_recovers() {
    let world = World::start().await;
    let api = &world.api;
    let node = world.node("one").await;
    let create = api.create("before").await;
    api.until_operation(&create.id, "succeeded").await;

    let url = format!("sqlite://{}", world.plane.database().display());
    let mut other = SqliteConnection::connect(&url).await.unwrap();
    let lock = async |connection: &mut SqliteConnection, sql: &str| {
        sqlx::query(AssertSqlSafe(sql.to_owned()))
            .execute(connection)
            .await
    };
    // The control plane may be writing just now.
    until("the lock is ours", async || {
        lock(&mut other, "BEGIN EXCLUSIVE")
            .await
            .map_err(|error| error.to_string())
    })
    .await;
    // The fleet goes on talking meanwhile.
    node.change(|script| script.capacity.cpu_millis += 1);
    let key = [("idempotency-key", "k")];
    let body = || json!({"name": "during", "template": "refshop"});
    let mut second = new_store("grpc");
    second.idempotency_key = "g".to_owned();
    let (refused, refused_there) = tokio::join!(
        api.rest("POST", "/api/v1/stores", &key, Some(body())),
        api.try_create(second.clone())
    );
    assert_eq!((refused.status, refused.code()), (503, "database_busy"));
    assert_eq!(refused.kind, "application/problem+json");
    let refused_there = refused_there.unwrap_err();
    assert_eq!(refused_there.code(), Code::Unavailable, "{refused_there:?}");
    assert_eq!(told(&refused_there).0, "database_busy");
    let names: Vec<String> = api
        .stores()
        .await
        .into_iter()
        .map(|store| store.name)
        .collect();
    assert_eq!(
        names,
        ["before"],
        "reading goes on, and nothing was written"
    );

    lock(&mut other, "ROLLBACK").await.unwrap();
    other.close().await.unwrap();
    let done = api.rest("POST", "/api/v1/stores", &key, Some(body())).await;
    assert_eq!(done.status, 202, "{done:?}");
    api.until_status("during", "running").await;
    let second = api.try_create(second).await.unwrap();
    api.until_operation(&second.id, "succeeded").await;
    world.verify_audit().await;
}

/// A file system of its own, small enough to fill. Needs root, as everything that runs Docker does.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path) -> Self {
        fs::create_dir(at).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=3m", "tmpfs"])
            .arg(at)
            .status()
            .unwrap();
        assert!(mounted.success(), "a tmpfs can be mounted");
        Self(at.to_owned())
    }

    /// Leaves no block free.
    fn fill(&self) {
        use std::io::Write as _;
        let mut file = fs::File::create(self.0.join("filler")).unwrap();
        for size in [1 << 16, 1 << 12] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
    }

    fn free(&self) {
        fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Left mounted, it would only cost the test's directory.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_answers_503_and_nothing_acknowledged_is_lost() {
    let mut disk = None;
    let mut world = World::process(|config| {
        let database = config.data.join("control-plane.db");
        let at = config.data.join("disk");
        disk = Some(SmallDisk::mount(&at));
        for suffix in ["", "-wal"] {
            let name = format!("control-plane.db{suffix}");
            let from = format!("{}{suffix}", database.display());
            if fs::exists(&from).unwrap() {
                fs::copy(&from, at.join(name)).unwrap();
            }
        }
        config.database.url =
            control_plane::config::DatabaseUrl::sqlite(&at.join("control-plane.db"));
    })
    .await;
    let disk = disk.unwrap();
    let api = world.api.clone();
    let node = world.node("one").await;
    let create = api.create("before").await;
    api.until_operation(&create.id, "succeeded").await;

    let said = world.plane.readiness().await;
    assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
    disk.fill();
    // At once, although the log has room for some changes.
    let said = world.plane.readiness().await;
    assert!(
        said.starts_with("HTTP/1.1 503 ") && said.contains("disk is full"),
        "{said}"
    );
    // What the log has room for already still goes; then it is said.
    let mut acknowledged = vec!["before".to_owned()];
    let mut refused = None;
    for index in 0..300 {
        let name = format!("store-{index}");
        let body = json!({"name": name, "template": "refshop", "node": node.id()});
        let answer = api.rest("POST", "/api/v1/stores", &[], Some(body)).await;
        if answer.status == 202 {
            acknowledged.push(name);
        } else {
            refused = Some((name, answer));
            break;
        }
    }
    let (name, refused) = refused.expect("no room in the end");
    assert_eq!(
        (refused.status, refused.code()),
        (503, "database_full"),
        "{refused:?}"
    );
    let mut names: Vec<String> = api
        .stores()
        .await
        .into_iter()
        .map(|store| store.name)
        .collect();
    names.sort();
    acknowledged.sort();
    assert_eq!(names, acknowledged, "reading goes on");

    // Even when it is killed now.
    world.plane.kill();
    disk.free();
    world.plane.spawn().await;
    acknowledged.push(name.clone());
    api.create(&name).await;
    for name in &acknowledged {
        let pending = api.store(name).await.unwrap();
        assert_ne!(pending.status, "failed", "{pending:?}");
    }
    api.until_status("before", "running").await;
    world.verify_audit().await;
    world.plane.kill();
}

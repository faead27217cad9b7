//! The same on PostgreSQL, when `SHOPFLEET_TEST_POSTGRES` names one: killed, cut off from its database, and back.

use std::net::SocketAddr;

use control_plane::app::{Ids as _, RandomIds};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use crate::{
    wishes::{Dice, Wishes, one_copy_of_each},
    world::{World, until},
};

/// A wire to the database that can be cut.
struct Wire {
    listens: SocketAddr,
    database: SocketAddr,
    carrying: JoinSet<()>,
}

impl Wire {
    async fn to(database: SocketAddr) -> Self {
        let mut wire = Self {
            listens: SocketAddr::from(([127, 0, 0, 1], 0)),
            database,
            carrying: JoinSet::new(),
        };
        wire.mend().await;
        wire
    }

    async fn mend(&mut self) {
        let listener = TcpListener::bind(self.listens).await.unwrap();
        self.listens = listener.local_addr().unwrap();
        let database = self.database;
        self.carrying.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                connections.spawn(async move {
                    let mut far = TcpStream::connect(database).await?;
                    tokio::io::copy_bidirectional(&mut near, &mut far).await
                });
            }
        });
    }

    async fn cut(&mut self) {
        self.carrying.shutdown().await;
    }
}

/// A schema of its own, reached over a wire; none when no PostgreSQL is named.
async fn database() -> Option<(Wire, String)> {
    let url = std::env::var("SHOPFLEET_TEST_POSTGRES").ok()?;
    let schema = format!("story_{}", RandomIds.base32(12));
    let mut connection = PgConnection::connect(&url).await.unwrap();
    sqlx::query(AssertSqlSafe(format!("CREATE SCHEMA {schema}")))
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    // postgres://user@host:port/name, as tests/run makes it.
    let (before, rest) = url.rsplit_once('@').unwrap();
    let (address, name) = rest.split_once('/').unwrap();
    let address = tokio::net::lookup_host(address)
        .await
        .unwrap()
        .next()
        .unwrap();
    let wire = Wire::to(address).await;
    let url = format!(
        "{before}@{}/{name}?options[search_path]={schema}",
        wire.listens
    );
    Some((wire, url))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_random_nothing_acknowledged_is_lost() {
    let Some((_wire, url)) = database().await else {
        return;
    };
    let mut dice = Dice::seeded(0x9057_9235);
    let mut world = World::process_on(&url).await;
    let api = world.api.clone();
    let nodes = [world.node("one").await, world.node("two").await];
    let mut wishes = Wishes::default();
    for round in 0..12 {
        let wish = wishes.next(&mut dice);
        let (wish, operation) = if round % 2 == 0 {
            let (answer, ()) = tokio::join!(wish.until_acknowledged(api.clone()), async {
                world.plane.kill();
                world.plane.spawn().await;
            });
            answer
        } else {
            wish.until_acknowledged(api.clone()).await
        };
        wishes.acknowledged(wish, operation);
    }
    wishes.until_true(&api).await;
    one_copy_of_each(&api, &nodes).await;
    world.verify_audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_off_from_its_database_it_says_so_and_comes_back() {
    let Some((mut wire, url)) = database().await else {
        return;
    };
    let world = World::process_on(&url).await;
    let api = &world.api;
    let node = world.node("one").await;
    let create = api.create("before").await;
    api.until_operation(&create.id, "succeeded").await;
    wire.cut().await;
    // The fleet goes on talking meanwhile.
    node.change(|script| script.capacity.cpu_millis += 1);
    let key = [("idempotency-key", "k")];
    let body = || json!({"name": "during", "template": "refshop"});
    let refused = api.rest("POST", "/api/v1/stores", &key, Some(body())).await;
    assert_eq!(
        (refused.status, refused.code()),
        (503, "database_unreachable")
    );
    wire.mend().await;
    until("writing works again", async || {
        let answer = api.rest("POST", "/api/v1/stores", &key, Some(body())).await;
        match answer.status {
            202 => Ok(()),
            _ => Err(format!("{answer:?}")),
        }
    })
    .await;
    api.until_status("during", "running").await;
    assert_eq!(api.stores().await.len(), 2);
    world.verify_audit().await;
}

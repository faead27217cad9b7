//! The edge is replaced by one of another image, and back, while buyers come in by every way there is: on kept connections and on new ones,
//! with TLS and without. Nobody is told of it, and no store is touched.

use std::time::{Duration, Instant};

use anyhow::Context;
use shop_tests::change::site;
use shop_tests::docker::{self, Container};
use shop_tests::fleet::{Fleet, PATIENCE};
use shop_tests::load::{Load, Rates};
use shop_tests::process;
use shop_tests::visitors::{Visitors, Way};
use shop_tests::wait::{wait_every, wait_for};

const IMAGE: &str = "shopfleet/caddy:1";
const OTHER: &str = "FROM shopfleet/caddy:1\nLABEL shopfleet.story=another\n";
/// With the visitors more than 100 requests a second.
const CROWD: Rates = Rates {
    pages: 50,
    buyers: 1,
};
/// Requests a second of each of the three others.
const VISITS: u32 = 20;
/// A look at the image every half minute, and idle connections that are kept for two.
const LIMIT: Duration = Duration::from_secs(240);
const LOOK: Duration = Duration::from_millis(100);

/// The edge's image; put back when dropped, and the other one removed.
struct Image {
    before: String,
    other: String,
}

impl Image {
    fn other() -> anyhow::Result<Self> {
        let id = || -> anyhow::Result<String> {
            let inspect = ["image", "inspect", "--format", "{{.Id}}", IMAGE];
            Ok(docker::docker(&inspect)?.ok()?.trim().to_owned())
        };
        let before = id()?;
        let build = ["build", "--tag", IMAGE, "-"];
        process::run_with_input("docker", &build, Some(OTHER), PATIENCE)?.ok()?;
        let other = id()?;
        Ok(Self { before, other })
    }

    fn put_back(&self) -> anyhow::Result<()> {
        docker::docker(&["tag", &self.before, IMAGE])?
            .ok()
            .map(drop)
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        // Put back by the story already, or it has failed and says why: then the other may still be in use.
        let _ = self.put_back();
        let _ = docker::docker(&["rmi", &self.other]);
    }
}

fn edges(fleet: &Fleet) -> anyhow::Result<Vec<Container>> {
    let node = format!("label=shopfleet.node={}", fleet.setting("node_id")?);
    docker::containers(&["label=shopfleet.kind=edge", &node])
}

/// Waits until another edge than this one stands alone.
fn alone(fleet: &Fleet, before: &Container) -> anyhow::Result<Container> {
    let found = wait_every(
        LOOK * 5,
        "a new edge stands alone",
        LIMIT,
        || edges(fleet),
        |found| matches!(&found[..], [one] if one.running && one.id != before.id),
    )?;
    found.into_iter().next().context("no edge")
}

#[test]
fn a_new_edge_takes_over_and_no_request_fails() -> anyhow::Result<()> {
    let fleet = Fleet::installed()?;
    let store = fleet.create_running("edge", &["--profile", "search=none"])?;
    store.wait_serving(PATIENCE)?;
    let id = store.id()?;
    let services = crate::kills::services(&id)?;
    let first = edges(&fleet)?.into_iter().find(|it| it.running);
    let first = first.context("no edge")?;

    let site = site(&store)?;
    let (http, https) = (fleet.setting("edge_http")?, fleet.setting("edge_https")?);
    let page = |scheme: &str| format!("{scheme}://{}/health", site.host);
    let visitors = [
        ("https, kept", page("https"), https, Way::Kept),
        ("https, new", page("https"), https, Way::Anew),
        ("http, new", page("http"), http, Way::Anew),
    ]
    .map(|(name, page, port, way)| (name, Visitors::start(&page, port, way, VISITS)));
    let load = Load::start(&site, CROWD)?;

    let began = Instant::now();
    let image = Image::other()?;
    let second = alone(&fleet, &first)?;
    println!("another image took over alone in {:?}", began.elapsed());

    // Back again, and the node agent is killed while both edges stand.
    let began = Instant::now();
    image.put_back()?;
    wait_every(
        LOOK,
        "two edges",
        LIMIT,
        || edges(&fleet),
        |it| it.len() == 2,
    )?;
    docker::kill(crate::kills::NODE_AGENT)?;
    alone(&fleet, &second)?;
    println!("the first image took over alone in {:?}", began.elapsed());

    let books = load.finish()?.books();
    println!("http, kept: {} requests", books.requests);
    assert_eq!(books.failures, []);
    for (name, visitors) in visitors {
        let visits = visitors?.finish()?;
        println!("{name}: {} requests", visits.requests);
        assert!(visits.requests > 100, "{name}: {visits:?}");
        assert_eq!(visits.failures, Vec::<String>::new(), "{name}");
    }
    assert_eq!(
        crate::kills::services(&id)?,
        services,
        "services were touched"
    );
    wait_for(
        "the node reports again",
        PATIENCE,
        || fleet.nodes(),
        |nodes| nodes.iter().any(|node| node.status == "ready"),
    )?;
    store.delete()
}

//! Host names come and go with their shops, and no visitor of another shop is cut off by it, however long he keeps his connection.

use shop_tests::change::site;
use shop_tests::fleet::{Fleet, PATIENCE, Store};
use shop_tests::http;
use shop_tests::load::{Load, Rates};
use shop_tests::visitors::{Visitors, Way};

/// Connections that are kept, and mostly idle: those are what a proxy closes first.
const CROWD: Rates = Rates {
    pages: 50,
    buyers: 1,
};
const VISITS: u32 = 20;

/// The status of its health page over TLS, asked for under its name in capitals.
fn in_capitals(store: &Store, port: &str) -> anyhow::Result<u16> {
    let host = site(store)?.host;
    let to = format!("::127.0.0.1:{port}");
    let header = format!("Host: {}", host.to_ascii_uppercase());
    let url = format!("https://{host}/health");
    let args = ["--insecure", "--connect-to", &to, "--header", &header, &url];
    Ok(http::curl(&args)?.status)
}

#[test]
fn shops_come_and_go_and_no_visitor_of_another_is_cut_off() -> anyhow::Result<()> {
    let fleet = Fleet::installed()?;
    let stays = fleet.create_running("stays", &["--profile", "search=none"])?;
    stays.wait_serving(PATIENCE)?;
    let site = site(&stays)?;
    let https = fleet.setting("edge_https")?;
    let page = format!("https://{}/health", site.host);
    let visitors = Visitors::start(&page, https, Way::Kept, VISITS)?;
    let load = Load::start(&site, CROWD)?;

    for name in ["comes-first", "comes-then"] {
        let comes = fleet.create_running(name, &["--profile", "search=none"])?;
        comes.wait_serving(PATIENCE)?;
        assert_eq!(in_capitals(&comes, https)?, 200);
        comes.delete()?;
        assert_eq!(in_capitals(&stays, https)?, 200);
    }

    let books = load.finish()?.books();
    let visits = visitors.finish()?;
    println!(
        "kept connections: {} requests over HTTP, {} over HTTPS",
        books.requests, visits.requests
    );
    assert_eq!(books.failures, []);
    assert!(visits.requests > 100, "{visits:?}");
    assert_eq!(visits.failures, Vec::<String>::new());
    stays.delete()
}

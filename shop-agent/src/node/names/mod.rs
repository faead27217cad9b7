//! The name responder: a small process of its own that tells the edge which containers serve a host name, from a file that the node agent
//! replaces, and goes on while the node agent is away. Also the page that says "back soon", and for which host names the edge may get a
//! certificate.

mod ask;
mod dns;
mod file;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod page;

use std::{net::SocketAddr, path::PathBuf};

use clap::Args;

pub use file::{Answer, FILE, MAX_BYTES, NamesFile};

/// Suffix of the names that the edge asks for: `<host>.names.shopfleet`.
pub const SUFFIX: &str = "names.shopfleet";
/// And of those it asks for on behalf of a store: `<host>.<address of the store>.inside.shopfleet`.
pub const INSIDE: &str = "inside.shopfleet";
/// Port for questions, in the responder's own network.
pub const DNS_PORT: u16 = 5353;
/// Port of the page: the edge dials every upstream there.
pub const PAGE_PORT: u16 = 8080;
/// Port where the edge asks whether a host name may have a certificate.
pub const ASK_PORT: u16 = 8081;

/// Says of an answer that it is the page: the edge does not count it as the shop's.
pub const PAGE_HEADER: &str = "x-shopfleet-page";

/// Arguments of `shop-agent names`.
#[derive(Debug, Args)]
pub struct NamesArgs {
    /// Directory with the names file.
    #[arg(long, default_value = "/run/shopfleet")]
    pub directory: PathBuf,
    /// Where questions are answered, UDP and TCP.
    #[arg(long, default_value_t = SocketAddr::from(([0, 0, 0, 0], DNS_PORT)))]
    pub dns: SocketAddr,
    /// Where the page is served.
    #[arg(long, default_value_t = SocketAddr::from(([0, 0, 0, 0], PAGE_PORT)))]
    pub page: SocketAddr,
    /// Where it is answered which host names may have a certificate.
    #[arg(long, default_value_t = SocketAddr::from(([0, 0, 0, 0], ASK_PORT)))]
    pub ask: SocketAddr,
    /// How often in an hour a host name may ask for a certificate; without it, as often as it likes.
    #[arg(long)]
    pub certificates_per_hour: Option<u32>,
    /// The address that leads to the page, given for hosts that nobody serves.
    #[arg(long)]
    pub page_address: std::net::Ipv4Addr,
}

/// Runs until SIGTERM.
///
/// # Errors
/// When a socket cannot be bound.
pub async fn run(args: NamesArgs) -> anyhow::Result<()> {
    let table = file::Table::new(args.directory.join(FILE));
    let responder = dns::Responder::bind(args.dns, table.clone(), args.page_address).await?;
    let page = page::Page::bind(args.page, table.clone()).await?;
    let ask = ask::Ask::bind(args.ask, table, args.certificates_per_hour).await?;
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        () = responder.serve() => {}
        () = page.serve() => {}
        () = ask.serve() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests;

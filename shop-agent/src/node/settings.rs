//! The command line of the node role.

use std::path::PathBuf;

use clap::Args;
use shop_proto::Digest;

use super::ipam::Cidr;
use crate::uplink::Address;

/// Arguments of `shop-agent node`. Options that name places are read at every start; pool and uids are fixed when the node joins.
#[derive(Debug, Clone, Args)]
pub struct NodeArgs {
    /// What people call this node.
    #[arg(long, value_parser = node_name)]
    pub name: Option<String>,
    /// File with the join token; used once.
    #[arg(long, conflicts_with = "join_token_stdin")]
    pub join_token_file: Option<PathBuf>,
    /// Read the join token from standard input.
    #[arg(long)]
    pub join_token_stdin: bool,
    /// The control plane's listener for agents without a certificate; repeat it to name others to try.
    #[arg(long, default_value = "127.0.0.1:7442")]
    pub enroll: Vec<Address>,
    /// The control plane's listener for agents with one; repeat it to name others to try.
    #[arg(long, default_value = "127.0.0.1:7443")]
    pub agents: Vec<Address>,
    /// Where state is kept.
    #[arg(long, default_value = "/var/lib/shopfleet")]
    pub state_dir: PathBuf,
    /// Where sockets are made.
    #[arg(long, default_value = "/run/shopfleet")]
    pub run_dir: PathBuf,
    /// The container engine's socket.
    #[arg(long, default_value = "/var/run/docker.sock")]
    pub docker: PathBuf,
    /// Directory with image archives to load: what `deploy/quickstart --save-images` wrote on the first host.
    #[arg(long, value_name = "DIR")]
    pub images: Option<PathBuf>,
    /// IPv4 network that the stores' addresses come from; fixed when the node joins.
    #[arg(long, default_value = "10.200.0.0/14")]
    pub pool: Cidr,
    /// First user id of the first store; fixed when the node joins. The two below it are the edge's and the name responder's. Of two nodes on
    /// one host, a million apart.
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u32).range(10_000..1_000_000_000))]
    pub first_uid: u32,
    /// Public-key hash of the operator root whose roster is trusted; fixed when the node joins.
    #[arg(long, value_parser = pin, alias = "operator-root-pin")]
    pub operator_root: Option<Digest>,
    /// Port of the edge for HTTP.
    #[arg(long, default_value_t = 80)]
    pub edge_http: u16,
    /// Port of the edge for HTTPS.
    #[arg(long, default_value_t = 443)]
    pub edge_https: u16,
    /// Local certificates for every host name instead of ACME ones.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    pub edge_internal_tls: bool,
    /// Take no new stores from this share of the disk in use on, in percent.
    #[arg(long, value_name = "PERCENT", default_value_t = 85, value_parser = clap::value_parser!(u32).range(10..=99))]
    pub disk_limit: u32,
    /// Run no edge and no name responder: something else routes.
    #[arg(long)]
    pub no_edge: bool,
    /// Remove everything of this node from this host (containers, networks, volumes with their data, firewall table, directories), then end.
    #[arg(long)]
    pub leave: bool,
}

fn node_name(text: &str) -> Result<String, String> {
    let good = (1..=63).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.' || b == b'_');
    good.then(|| text.to_owned()).ok_or_else(|| {
        "a node name is 1 to 63 letters, digits, dots, hyphens and underscores".to_owned()
    })
}

fn pin(text: &str) -> Result<Digest, String> {
    text.strip_prefix("sha256:")
        .unwrap_or(text)
        .parse()
        .map_err(|error: shop_proto::DigestError| error.to_string())
}

/// A command line, as tests write it.
#[cfg(test)]
pub fn parsed(words: impl IntoIterator<Item = impl Into<std::ffi::OsString> + Clone>) -> NodeArgs {
    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: NodeArgs,
    }
    <Line as clap::Parser>::parse_from(words).args
}

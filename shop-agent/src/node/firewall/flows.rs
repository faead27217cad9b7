//! How many connections each network of a store may have at once: to the edge, and to the world. The edge's memory and the kernel's table of
//! connections belong to all stores. What the edge itself opens, buyers' requests, leaves from the host and is not counted.
//!
//! In a table of its own: what it counts changes all the time, and where the kernel cannot count, this limit is missing and no other rule.
//! The kernel forgets a connection when it is over, and a network when it has none; a table that is loaded anew starts at nothing.

use shop_plan::address::MASK;
use shop_proto::{Digest, NodeId};

use super::{FirewallError, nft};

/// To the edge. It takes some tens of kilobytes for each; a shop that calls itself has one for each of its PHP processes that does.
const TO_THE_EDGE: u32 = 512;
/// To the world: a question to a resolver counts for half a minute, so this is some seventy lookups (of both kinds of address) a second, and
/// sixty-four such networks fill the usual table of connections. For each new one the kernel walks through all that its network has: a fifth of
/// a millisecond at this many, of the time of whoever opens it.
const TO_THE_WORLD: u32 = 4096;

/// The table as it was loaded.
#[derive(Default)]
pub struct Flows {
    loaded: Option<Digest>,
    told: bool,
}

/// What a look came to.
#[derive(Debug)]
pub enum Look {
    /// Nothing that anybody has to hear of.
    Quiet,
    /// Somebody had changed or removed it; it is loaded again.
    Again,
    /// It cannot be loaded; said once, until it can be.
    Missing(FirewallError),
}

impl Flows {
    /// Loads the table unless it is there.
    pub async fn look(&mut self, node: &NodeId) -> Look {
        if let (Some(loaded), Ok(listing)) = (self.loaded, list(node).await)
            && loaded == listing
        {
            return Look::Quiet;
        }
        let loaded = load(node).await;
        self.now(loaded)
    }

    fn now(&mut self, loaded: Result<Digest, FirewallError>) -> Look {
        match loaded {
            Ok(listing) => {
                self.told = false;
                match self.loaded.replace(listing) {
                    Some(_) => Look::Again,
                    None => Look::Quiet,
                }
            }
            Err(error) => {
                self.loaded = None;
                if std::mem::replace(&mut self.told, true) {
                    return Look::Quiet;
                }
                Look::Missing(error)
            }
        }
    }
}

/// Takes the table away.
///
/// # Errors
/// When nft fails for another reason than that there is none.
pub async fn remove(node: &NodeId) -> Result<(), FirewallError> {
    nft(&["-f", "-"], &none(node)).await.map(drop)
}

async fn load(node: &NodeId) -> Result<Digest, FirewallError> {
    nft(&["-f", "-"], &render(node)).await?;
    list(node).await
}

/// What is counted right now is left out.
async fn list(node: &NodeId) -> Result<Digest, FirewallError> {
    let listing = nft(&["-s", "-t", "list", "table", "inet", &table(node)], "").await?;
    Ok(Digest::of(&listing))
}

fn table(node: &NodeId) -> String {
    format!("shopfleet_{node}_flows")
}

/// Adding first makes the removal succeed when there is none.
fn none(node: &NodeId) -> String {
    let table = table(node);
    format!("add table inet {table}\ndelete table inet {table}\n")
}

/// The whole table, as one transaction. After the other one, which comes first: what that drops is not counted, IPv6 for one.
fn render(node: &NodeId) -> String {
    format!(
        "{none}table inet {table} {{
  set edge {{ type ipv4_addr; size 65535; flags dynamic; }}
  set world {{ type ipv4_addr; size 65535; flags dynamic; }}
  chain input {{
    type filter hook input priority filter - 9; policy accept;
    iifname \"sf{node}-*\" ct state new add @edge {{ ip saddr & {MASK} ct count over {TO_THE_EDGE} }} counter drop
  }}
  chain forward {{
    type filter hook forward priority filter - 9; policy accept;
    iifname \"sf{node}-*\" oifname != \"sf{node}-*\" ct state new add @world {{ ip saddr & {MASK} ct count over {TO_THE_WORLD} }} counter drop
  }}
}}
",
        none = none(node),
        table = table(node),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A change of a rule must be seen in review.
    #[test]
    fn each_network_of_a_store_is_counted_by_itself() {
        let text = render(&"node01".parse().unwrap());
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        assert_eq!(
            lines[..2],
            none(&"node01".parse().unwrap()).lines().collect::<Vec<_>>()
        );
        for line in [
            r#"iifname "sfnode01-*" ct state new add @edge { ip saddr & 255.255.255.224 ct count over 512 } counter drop"#,
            r#"iifname "sfnode01-*" oifname != "sfnode01-*" ct state new add @world { ip saddr & 255.255.255.224 ct count over 4096 } counter drop"#,
        ] {
            assert!(lines.contains(&line), "{text}");
        }
    }

    #[test]
    fn a_kernel_that_cannot_count_is_told_of_once_and_a_table_that_went_each_time() {
        let mut flows = Flows::default();
        let no = || Err(FirewallError::Refused("no such expression".to_owned()));
        let yes = |listing: &str| Ok(Digest::of(listing.as_bytes()));
        assert!(matches!(flows.now(no()), Look::Missing(_)));
        assert!(matches!(flows.now(no()), Look::Quiet));
        assert!(matches!(flows.now(yes("a")), Look::Quiet));
        assert!(matches!(flows.now(yes("a")), Look::Again));
        assert!(matches!(flows.now(yes("a")), Look::Again));
        assert!(matches!(flows.now(no()), Look::Missing(_)));
        assert!(matches!(flows.now(no()), Look::Quiet));
    }
}

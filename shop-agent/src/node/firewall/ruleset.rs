//! The firewall table as text. Pure. Own bridges only: Docker's rules and everybody else's stay as they are.

use std::{fmt::Write as _, net::Ipv4Addr};

use shop_plan::address::{self, MASK};
use shop_proto::NodeId;

/// Addresses that no shop has business with: this host, its neighbours, link-local and metadata services, multicast.
const CLOSED: &str = "0.0.0.0/8, 10.0.0.0/8, 100.64.0.0/10, 127.0.0.0/8, 169.254.0.0/16, 172.16.0.0/12, \
    192.0.0.0/24, 192.168.0.0/16, 198.18.0.0/15, 224.0.0.0/4, 240.0.0.0/4";

/// What the rules depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules<'a> {
    /// Whose table.
    pub node: &'a NodeId,
    /// Every bridge of the node with its gateway.
    pub bridges: Vec<Bridge>,
    /// Resolvers of the host that egress may ask, wherever they are.
    pub resolvers: Vec<Ipv4Addr>,
    /// The edge, unless this node runs none.
    pub edge: Option<Edge>,
}

/// One of our bridges.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bridge {
    /// Interface name.
    pub name: String,
    /// The host's address on it.
    pub gateway: Ipv4Addr,
    /// What it is for.
    pub role: Role,
}

/// What a bridge is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Of a store, without a way out.
    Internal,
    /// Of a store, with one.
    Egress,
    /// Of the name responder.
    Names,
}

/// How the edge is reached and what it may reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edge {
    /// Its user.
    pub uid: u32,
    /// Ports for buyers, with the ports it listens on.
    pub ports: [Port; 2],
    /// Where it asks for names.
    pub dns_port: u16,
    /// Where it asks whether a host name may have a certificate.
    pub ask_port: u16,
    /// The one port of stores it may dial.
    pub web_port: u16,
}

/// A port for buyers and the one behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Port {
    /// What buyers dial.
    pub public: u16,
    /// What the edge listens on: another one when a user without rights could not listen on the public one.
    pub inner: u16,
}

/// Name of the table.
#[must_use]
pub fn table(node: &NodeId) -> String {
    format!("shopfleet_{node}")
}

/// The whole table, as one transaction that replaces the one before.
#[must_use]
pub fn render(rules: &Rules<'_>) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write(&mut text, rules);
    text
}

fn write(out: &mut String, rules: &Rules<'_>) -> std::fmt::Result {
    let table = table(rules.node);
    let ours = format!("\"sf{}-*\"", rules.node);
    writeln!(
        out,
        "add table inet {table}\ndelete table inet {table}\ntable inet {table} {{"
    )?;
    sets(out, rules)?;
    // A page takes half a dozen connections between a store's own containers, which nothing here needs to remember. Remembered for two minutes
    // each, they made Docker read tens of thousands of entries whenever a container left a network. What is for the gateway is translated.
    writeln!(
        out,
        "  chain within {{
    type filter hook prerouting priority raw; policy accept;
    iifname . ip daddr @gateways accept
    iifname . (ip daddr & {MASK}) @subnets notrack
  }}"
    )?;
    writeln!(
        out,
        "  chain input {{
    type filter hook input priority filter - 10; policy accept;
    iifname {ours} jump from_stores
  }}
  chain from_stores {{
    ct state established,related accept"
    )?;
    if let Some(edge) = &rules.edge {
        let [http, https] = edge.ports.map(|port| port.inner);
        writeln!(
            out,
            "    iifname . ip daddr @gateways tcp dport {{ {http}, {https} }} accept"
        )?;
    }
    writeln!(
        out,
        "    counter drop
  }}
  chain forward {{
    type filter hook forward priority filter - 10; policy accept;
    iifname {ours} oifname {ours} jump between
    iifname {ours} jump leaving
    oifname {ours} ct state established,related accept
    oifname {ours} counter drop
  }}
  chain between {{
    iifname . oifname @same accept
    counter drop
  }}
  chain leaving {{
    ct state established,related accept
    iifname != @egress counter drop
    meta nfproto != ipv4 counter drop
    ip daddr @resolvers meta l4proto {{ tcp, udp }} th dport 53 accept
    ip daddr @closed counter drop
    tcp dport 25 counter drop
    accept
  }}
  chain output {{
    type filter hook output priority filter - 10; policy accept;"
    )?;
    if let Some(edge) = &rules.edge {
        writeln!(out, "    meta skuid {} jump edge", edge.uid)?;
    }
    writeln!(
        out,
        "    oifname {ours} ct state established,related accept
    oifname {ours} counter drop
  }}"
    )?;
    if let Some(edge) = &rules.edge {
        edge_chains(out, edge, &ours)?;
    }
    writeln!(out, "}}")
}

fn sets(out: &mut String, rules: &Rules<'_>) -> std::fmt::Result {
    let list = |pick: &dyn Fn(&Bridge) -> Option<String>| -> String {
        let found: Vec<String> = rules.bridges.iter().filter_map(pick).collect();
        elements(&found)
    };
    let gateways = list(&|it| {
        matches!(it.role, Role::Internal | Role::Egress)
            .then(|| format!("\"{}\" . {}", it.name, it.gateway))
    });
    let subnets = list(&|it| {
        let first = address::network(it.gateway);
        matches!(it.role, Role::Internal | Role::Egress)
            .then(|| format!("\"{}\" . {first}", it.name))
    });
    let same = list(&|it| Some(format!("\"{0}\" . \"{0}\"", it.name)));
    let egress = list(&|it| (it.role == Role::Egress).then(|| format!("\"{}\"", it.name)));
    let names = list(&|it| (it.role == Role::Names).then(|| format!("\"{}\"", it.name)));
    let resolvers: Vec<String> = rules.resolvers.iter().map(ToString::to_string).collect();
    writeln!(
        out,
        "  set gateways {{ type ifname . ipv4_addr; {gateways}}}"
    )?;
    writeln!(out, "  set subnets {{ type ifname . ipv4_addr; {subnets}}}")?;
    writeln!(out, "  set same {{ type ifname . ifname; {same}}}")?;
    writeln!(out, "  set egress {{ type ifname; {egress}}}")?;
    writeln!(out, "  set names {{ type ifname; {names}}}")?;
    writeln!(
        out,
        "  set resolvers {{ type ipv4_addr; {}}}",
        elements(&resolvers)
    )?;
    writeln!(
        out,
        "  set closed {{ type ipv4_addr; flags interval; elements = {{ {CLOSED} }} }}"
    )
}

fn elements(found: &[String]) -> String {
    if found.is_empty() {
        String::new()
    } else {
        format!("elements = {{ {} }} ", found.join(", "))
    }
}

fn edge_chains(out: &mut String, edge: &Edge, ours: &str) -> std::fmt::Result {
    let Edge {
        dns_port,
        ask_port,
        web_port,
        ..
    } = edge;
    writeln!(
        out,
        "  chain edge {{
    ct state established,related accept
    oifname @names meta l4proto {{ tcp, udp }} th dport {dns_port} accept
    oifname @names tcp dport {ask_port} accept
    oifname {ours} tcp dport {web_port} accept
    oifname {ours} counter drop
    meta l4proto {{ tcp, udp }} th dport 53 accept
    oifname \"lo\" counter drop
    ip daddr 169.254.0.0/16 counter drop
    ip6 daddr {{ fe80::/10, fd00:ec2::254 }} counter drop
    tcp dport {{ 80, 443 }} accept
    counter drop
  }}"
    )?;
    let moved: Vec<String> = edge
        .ports
        .iter()
        .filter(|port| port.public != port.inner)
        .map(|port| {
            format!(
                "    fib daddr type local tcp dport {} redirect to :{}\n",
                port.public, port.inner
            )
        })
        .collect();
    if moved.is_empty() {
        return Ok(());
    }
    let moved = moved.concat();
    // A redirect sends to the gateway whatever of the host a store dialled: only what was meant for the gateway may be moved.
    writeln!(
        out,
        "  chain arriving {{
    type nat hook prerouting priority dstnat;
    iifname {ours} iifname . ip daddr != @gateways return
{moved}  }}
  chain local {{
    type nat hook output priority -100;
{moved}  }}"
    )
}

/// IPv4 resolvers of a `resolv.conf`; loopback ones are the host's own and not reachable from a store.
#[must_use]
pub fn resolvers(resolv_conf: &str) -> Vec<Ipv4Addr> {
    resolv_conf
        .lines()
        // As the C library reads it: what follows the address does not matter.
        .filter_map(|line| {
            let mut words = line.split(['#', ';']).next()?.split_whitespace();
            (words.next()? == "nameserver").then(|| words.next())?
        })
        .filter_map(|address| address.parse::<Ipv4Addr>().ok())
        .filter(|address| !address.is_loopback())
        .take(4)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(node: &NodeId) -> Rules<'_> {
        let bridge = |name: &str, gateway: &str, role| Bridge {
            name: name.to_owned(),
            gateway: gateway.parse().unwrap(),
            role,
        };
        Rules {
            node,
            bridges: vec![
                bridge("sfnode01-0", "10.200.0.1", Role::Names),
                bridge("sfnode01-1", "10.200.0.33", Role::Internal),
                bridge("sfnode01-2", "10.200.0.65", Role::Egress),
            ],
            resolvers: resolvers(
                "# x\nnameserver\t192.0.2.53 # the office\nnameserver 127.0.0.53\nnameserver ::1\nnameserver9.9.9.9\n",
            ),
            edge: Some(Edge {
                uid: 199_999,
                ports: [
                    Port {
                        public: 80,
                        inner: 7480,
                    },
                    Port {
                        public: 8443,
                        inner: 8443,
                    },
                ],
                dns_port: 5353,
                ask_port: 8081,
                web_port: 8080,
            }),
        }
    }

    /// The frozen text: a change of a rule must be seen in review.
    #[test]
    fn the_table_reads_as_agreed() {
        let node = "node01".parse().unwrap();
        let text = render(&rules(&node));
        assert_eq!(text, include_str!("golden.nft"), "{text}");
    }

    /// New connections of buyers, of this host and of stores go to the edge that is meant, and to no other: the one before keeps what it has.
    #[test]
    fn another_edge_gets_all_new_connections() {
        let node = "node01".parse().unwrap();
        let port = |public, inner| Port { public, inner };
        let mut next = rules(&node);
        if let Some(edge) = &mut next.edge {
            edge.ports = [port(80, 7482), port(8443, 18443)];
        }
        let text = render(&next);
        for moved in [
            "tcp dport 80 redirect to :7482",
            "tcp dport 8443 redirect to :18443",
        ] {
            assert_eq!(text.matches(moved).count(), 2, "{moved}: {text}");
        }
        assert!(text.contains("@gateways tcp dport { 7482, 18443 } accept"));
        assert!(!text.contains("7480"), "{text}");
        assert_eq!(
            text.matches("ct state established,related accept").count(),
            5
        );
    }

    #[test]
    fn without_bridges_and_edge_it_is_still_a_table() {
        let node = "node01".parse().unwrap();
        let empty = Rules {
            bridges: Vec::new(),
            resolvers: Vec::new(),
            edge: None,
            ..rules(&node)
        };
        let text = render(&empty);
        assert!(!text.contains("elements = {  }"), "{text}");
        assert!(!text.contains("redirect"), "{text}");
        assert!(
            text.contains("oifname \"sfnode01-*\" counter drop"),
            "{text}"
        );
    }
}

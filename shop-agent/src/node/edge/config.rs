//! The edge's configuration: which host names there are, and where to ask who serves them. Pure. It changes only when a host name comes or
//! goes; which containers serve is the name responder's answer.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddrV4},
};

use serde_json::{Value, json};
use shop_proto::Digest;

use crate::node::{
    firewall::Port,
    ipam::Cidr,
    names::{DNS_PORT, PAGE_HEADER, PAGE_PORT, SUFFIX},
};

/// Where the admin socket is inside the edge's container.
pub const ADMIN_SOCKET: &str = "/run/edge/admin.sock";
/// Its directory.
const RUN: &str = "/run/edge";
/// The Host that requests to it name.
pub const ADMIN_HOST: &str = "127.0.0.1";
/// While a file of this name lies beside the admin socket, every visitor is told to come back on another connection.
pub const LEAVING: &str = "leaving";
/// The access log, beside the admin socket.
pub const ACCESS_LOG: &str = "access.log";
/// Megabytes of it before it is rotated; one rotated file is kept. Both lie in memory where `/run` does.
const LOG_MEGABYTES: u32 = 8;
/// What an access log holds of a buyer: none of it is written.
const NOT_LOGGED: [&str; 11] = [
    "request>remote_ip",
    "request>remote_port",
    "request>proto",
    "request>method",
    "request>uri",
    "request>headers",
    "request>tls",
    "user_id",
    "duration",
    "size",
    "resp_headers",
];
/// How often the edge asks who serves: a switch is seen this soon.
const REFRESH: &str = "250ms";
/// How long a request waits for somebody who serves: longer than a restart of the name responder.
const PATIENCE: &str = "5s";
/// Between two tries for one request.
const AGAIN: &str = "50ms";
/// A container that does not accept within this is not there.
const DIAL: &str = "1s";

/// A routed host name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// The host name.
    pub host: String,
    /// The store's own networks: from there only its own names are answered.
    pub own: Vec<Cidr>,
}

/// What the configuration depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// By host name.
    pub routes: Vec<Route>,
    /// Everything else.
    pub frame: Frame,
}

/// What it depends on beside the routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// HTTP and HTTPS.
    pub ports: [Port; 2],
    /// All stores' addresses.
    pub pool: Cidr,
    /// Where the name responder is.
    pub responder: Ipv4Addr,
    /// Certificates of a local authority instead of ACME ones.
    pub internal_tls: bool,
}

/// A configuration with a name for its content.
pub struct Config {
    /// As the edge takes it.
    pub text: String,
    /// The edge answers `/id/<this>` when it runs this configuration.
    pub id: String,
}

/// The whole configuration.
#[must_use]
pub fn render(input: &Input) -> Config {
    let unnamed = document(input, "").to_string();
    let id = format!("shopfleet-{}", Digest::of(unnamed.as_bytes()).short());
    let text = document(input, &id).to_string();
    Config { text, id }
}

/// Of everything that does not come and go with host names: an edge of another shape is replaced, not told.
#[must_use]
pub fn shape(frame: &Frame) -> Digest {
    // One that stands for all.
    let route = Route {
        host: "shop.invalid".to_owned(),
        own: vec![frame.pool],
    };
    let bare = Input {
        routes: vec![route],
        frame: *frame,
    };
    Digest::of(document(&bare, "").to_string().as_bytes())
}

fn document(input: &Input, id: &str) -> Value {
    let frame = &input.frame;
    let [http, https] = frame.ports;
    let hosts: Vec<&str> = input.routes.iter().map(|it| it.host.as_str()).collect();
    let mut routes = vec![leaving()];
    routes.extend(input.routes.iter().map(|it| route(it, frame)));
    let mut last = unavailable();
    last["@id"] = json!(id);
    let mut plain = routes.clone();
    plain.push(last);
    routes.push(unavailable());
    let issuer = if frame.internal_tls {
        json!({ "module": "internal" })
    } else {
        json!({ "module": "acme" })
    };
    json!({
        "admin": {
            "listen": format!("unix/{ADMIN_SOCKET}"),
            // Which Host a request over the socket must name differs between versions of Caddy unless it is said.
            "origins": [ADMIN_HOST],
            "config": { "persist": false },
        },
        "logging": { "logs": {
            "default": { "level": "WARN", "exclude": ["http.log.access"] },
            "traffic": access_log(),
        } },
        "storage": { "module": "file_system", "root": "/data" },
        "apps": {
            "http": {
                "http_port": http.inner,
                "https_port": https.inner,
                "servers": {
                    "http": server(http, plain, json!({ "disable": true })),
                    "https": with_tls(server(https, routes, json!({ "disable_redirects": true }))),
                },
            },
            "tls": {
                "certificates": { "automate": hosts },
                "automation": { "policies": [{ "issuers": [issuer] }] },
            },
            // Nothing of this host may be made to trust the local authority.
            "pki": { "certificate_authorities": { "local": { "install_trust": false } } },
        },
    })
}

/// A line per answer of a shop: when, for which host name, with which status.
fn access_log() -> Value {
    let fields: BTreeMap<&str, Value> = NOT_LOGGED
        .into_iter()
        .map(|field| (field, json!({ "filter": "delete" })))
        .collect();
    json!({
        "include": ["http.log.access"],
        "level": "INFO",
        "writer": {
            "output": "file",
            "filename": format!("{RUN}/{ACCESS_LOG}"),
            "roll_size_mb": LOG_MEGABYTES,
            "roll_keep": 1,
            "roll_gzip": false,
        },
        "encoder": {
            "format": "filter",
            "wrap": { "format": "json", "message_key": "", "level_key": "", "name_key": "" },
            "fields": fields,
        },
    })
}

fn server(port: Port, routes: Vec<Value>, automatic_https: Value) -> Value {
    json!({
        "listen": [format!(":{}", port.inner)],
        "read_header_timeout": "10s",
        "idle_timeout": "2m",
        "max_header_bytes": 65536,
        // No HTTP/3: its port would not be the public one.
        "protocols": ["h1", "h2"],
        "automatic_https": automatic_https,
        "logs": {},
        "routes": routes,
        // No upstream, or it hangs up: buyers are told when to come back, not what went wrong.
        "errors": { "routes": [unavailable()] },
    })
}

fn with_tls(mut server: Value) -> Value {
    server["tls_connection_policies"] = json!([{}]);
    server
}

fn route(route: &Route, frame: &Frame) -> Value {
    let Route { host, own } = route;
    let own: Vec<String> = own.iter().map(Cidr::to_string).collect();
    let outside =
        json!({ "host": [host], "not": [{ "remote_ip": { "ranges": [frame.pool.to_string()] } }] });
    let own = json!({ "host": [host], "remote_ip": { "ranges": own } });
    json!({
        "match": [outside, own],
        "handle": [{
            "handler": "reverse_proxy",
            "dynamic_upstreams": {
                "source": "a",
                "name": format!("{host}.{SUFFIX}"),
                "port": PAGE_PORT.to_string(),
                "refresh": REFRESH,
                "resolver": { "addresses": [SocketAddrV4::new(frame.responder, DNS_PORT).to_string()] },
                "dial_timeout": DIAL,
            },
            "load_balancing": {
                "selection_policy": { "policy": "random" },
                "try_duration": PATIENCE,
                "try_interval": AGAIN,
            },
            "transport": { "protocol": "http", "dial_timeout": DIAL },
            // The page of the name responder is no answer of the shop.
            "handle_response": [{
                "match": { "headers": { PAGE_HEADER: ["*"] } },
                "routes": [{ "handle": [unlogged(), { "handler": "copy_response" }] }],
            }],
        }],
        "terminal": true,
    })
}

/// A visitor whose connection ends with an answer asks for the next one elsewhere, and is never hung up on. HTTP/2 knows no such header: there
/// the edge says the same in its own way. What becomes another protocol is left alone.
fn leaving() -> Value {
    json!({
        "match": [{
            "file": { "root": RUN, "try_files": [LEAVING] },
            "not": [{ "header": { "Upgrade": ["*"] } }],
        }],
        "handle": [{ "handler": "headers", "response": { "set": { "Connection": ["close"] } } }],
    })
}

fn unlogged() -> Value {
    json!({ "handler": "vars", "skip_log": true })
}

fn unavailable() -> Value {
    json!({
        "handle": [unlogged(), {
            "handler": "static_response",
            "status_code": 503,
            "headers": {
                "Retry-After": ["10"],
                "Content-Type": ["text/html; charset=utf-8"],
                "Cache-Control": ["no-store"],
            },
            "body": include_str!("../names/unavailable.html"),
        }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(hosts: &[&str]) -> Input {
        let subnet = Cidr::containing("10.200.0.32".parse().unwrap(), 27);
        Input {
            routes: hosts
                .iter()
                .map(|host| Route {
                    host: (*host).to_owned(),
                    own: vec![subnet],
                })
                .collect(),
            frame: frame(),
        }
    }

    fn frame() -> Frame {
        Frame {
            ports: [
                Port {
                    public: 80,
                    inner: 7480,
                },
                Port {
                    public: 443,
                    inner: 7443,
                },
            ],
            pool: "10.200.0.0/14".parse().unwrap(),
            responder: "10.200.0.2".parse().unwrap(),
            internal_tls: true,
        }
    }

    #[test]
    fn its_name_follows_its_content() {
        let one = render(&input(&["a.localhost"]));
        assert_eq!(one.id, render(&input(&["a.localhost"])).id);
        assert_ne!(one.id, render(&input(&["b.localhost"])).id);
        let document: Value = serde_json::from_str(&one.text).unwrap();
        let routes = &document["apps"]["http"]["servers"]["http"]["routes"];
        assert_eq!(routes[2]["@id"], one.id.as_str());
    }

    #[test]
    fn its_shape_is_all_but_the_host_names() {
        let acme = Frame {
            internal_tls: false,
            ..frame()
        };
        assert_ne!(shape(&frame()), shape(&acme));
        let mut elsewhere = frame();
        elsewhere.ports[0].inner = 7482;
        assert_ne!(shape(&frame()), shape(&elsewhere));
        assert_eq!(shape(&frame()), shape(&input(&["a.localhost"]).frame));
    }

    #[test]
    fn each_host_asks_for_its_own_name_and_stores_get_only_theirs() {
        let text = render(&input(&["a.localhost", "b.localhost"])).text;
        let document: Value = serde_json::from_str(&text).unwrap();
        for server in ["http", "https"] {
            let routes = &document["apps"]["http"]["servers"][server]["routes"];
            assert_eq!(routes.as_array().unwrap().len(), 4);
            assert_eq!(routes[0]["match"][0]["file"]["try_files"][0], LEAVING);
            let proxy = &routes[2]["handle"][0];
            assert_eq!(
                proxy["dynamic_upstreams"]["name"],
                "b.localhost.names.shopfleet"
            );
            assert_eq!(
                routes[2]["match"][0]["not"][0]["remote_ip"]["ranges"][0],
                "10.200.0.0/14"
            );
            assert_eq!(
                routes[2]["match"][1]["remote_ip"]["ranges"][0],
                "10.200.0.32/27"
            );
            assert_eq!(routes[3]["handle"][1]["status_code"], 503);
        }
        assert!(!text.contains("tcp/"), "the admin API is a socket only");
    }
}

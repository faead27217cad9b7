//! The edge's configuration. Pure, and the same whatever stores there are: which host names are routed is answered by the files of a directory,
//! which containers serve one by the name responder, and which may have a certificate by it, too. So nothing is ever reloaded while buyers
//! are connected.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddrV4},
};

use serde_json::{Value, json};
use shop_proto::Digest;

use super::told;
use crate::node::{
    firewall::Port,
    ipam::Cidr,
    names::{ASK_PORT, DNS_PORT, INSIDE, PAGE_HEADER, PAGE_PORT, SUFFIX},
};

/// Where the admin socket is inside the edge's container.
pub const ADMIN_SOCKET: &str = "/run/edge/admin.sock";
/// Its directory.
const RUN: &str = "/run/edge";
/// The Host that requests to it name.
pub const ADMIN_HOST: &str = "127.0.0.1";
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
/// For how long a connection to a shop is kept for the next request. Much shorter than the 65 s after which a shop's web server closes it, so that
/// no request is sent into a connection that is being closed; and a web server that is to end waits no longer for one that was opened and never
/// used.
const UNUSED: &str = "5s";
/// What a host name that is looked up consists of. Anything else would be a name of its own to everything behind.
const HOST: &str = r"^[a-z0-9.-]{1,253}(:[0-9]{1,5})?$";

/// What the configuration depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// HTTP and HTTPS.
    pub ports: [Port; 2],
    /// The file that sends every visitor over to the other edge while it is there.
    pub leaving: &'static str,
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
pub fn render(frame: &Frame) -> Config {
    let id = format!("shopfleet-{}", shape(frame).short());
    let text = document(frame, &id).to_string();
    Config { text, id }
}

/// Of all of it: an edge of another shape is replaced.
#[must_use]
pub fn shape(frame: &Frame) -> Digest {
    Digest::of(document(frame, "").to_string().as_bytes())
}

fn document(frame: &Frame, id: &str) -> Value {
    let [http, https] = frame.ports;
    let mut routes = vec![
        leaving(frame),
        lower_case(),
        route(outside(frame), SUFFIX, frame),
        route(
            inside(frame),
            &format!("{{http.request.remote.host}}.{INSIDE}"),
            frame,
        ),
    ];
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
                "automation": {
                    "policies": [{ "issuers": [issuer], "on_demand": true }],
                    "on_demand": { "ask": format!("http://{}/", SocketAddrV4::new(frame.responder, ASK_PORT)) },
                },
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

/// Buyers come from anywhere but a store.
fn outside(frame: &Frame) -> Value {
    let mut known = known();
    known["not"] = json!([{ "remote_ip": { "ranges": [frame.pool.to_string()] } }]);
    known
}

/// A store asks for its own host names only: the name that is looked up says who asks.
fn inside(frame: &Frame) -> Value {
    let mut known = known();
    known["remote_ip"] = json!({ "ranges": [frame.pool.to_string()] });
    known
}

/// A host name of this node. What is not one is looked up nowhere: names that anybody can think of would fill Caddy's memory.
fn known() -> Value {
    json!({
        "header_regexp": { "Host": { "pattern": HOST } },
        "file": { "root": format!("{}/{}", told::INSIDE, told::HOSTS), "try_files": ["{http.request.host}"] },
    })
}

/// Host names are the same in capitals.
fn lower_case() -> Value {
    let letters: Vec<Value> = ('A'..='Z')
        .map(|letter| json!({ "search": letter, "replace": letter.to_ascii_lowercase() }))
        .collect();
    json!({
        "match": [{ "header_regexp": { "Host": { "pattern": "[A-Z]" } } }],
        "handle": [{ "handler": "headers", "request": { "replace": { "Host": letters } } }],
    })
}

/// Who serves the host name is asked of the responder, by a name below `zone`.
fn route(matching: Value, zone: &str, frame: &Frame) -> Value {
    // Over TCP, as Caddy does unless told otherwise: every request waits while it asks, and a responder that is being replaced refuses a connection
    // at once, while an answer to a datagram would be waited for.
    let resolver = SocketAddrV4::new(frame.responder, DNS_PORT).to_string();
    json!({
        "match": [matching],
        "handle": [{
            "handler": "reverse_proxy",
            "dynamic_upstreams": {
                "source": "a",
                "name": format!("{{http.request.host}}.{zone}"),
                "port": PAGE_PORT.to_string(),
                "refresh": REFRESH,
                "resolver": { "addresses": [resolver] },
                "dial_timeout": DIAL,
            },
            "load_balancing": {
                "selection_policy": { "policy": "random" },
                "try_duration": PATIENCE,
                "try_interval": AGAIN,
            },
            "transport": {
                "protocol": "http",
                "dial_timeout": DIAL,
                // What Caddy leaves out when one of them is said is not its usual value: all three are said.
                "keep_alive": { "idle_timeout": UNUSED, "max_idle_conns_per_host": 32, "probe_interval": "30s" },
            },
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
fn leaving(frame: &Frame) -> Value {
    json!({
        "match": [{
            "file": { "root": told::INSIDE, "try_files": [frame.leaving] },
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

    fn frame() -> Frame {
        let port = |public, inner| Port { public, inner };
        Frame {
            ports: [port(80, 7480), port(443, 7443)],
            leaving: "a.leaving",
            pool: "10.200.0.0/14".parse().unwrap(),
            responder: "10.200.0.2".parse().unwrap(),
            internal_tls: true,
        }
    }

    #[test]
    fn its_name_and_its_shape_follow_its_content() {
        let one = render(&frame());
        assert_eq!(one.id, render(&frame()).id);
        let document: Value = serde_json::from_str(&one.text).unwrap();
        let routes = &document["apps"]["http"]["servers"]["http"]["routes"];
        assert_eq!(routes[4]["@id"], one.id.as_str());
        let acme = Frame {
            internal_tls: false,
            ..frame()
        };
        let mut elsewhere = frame();
        elsewhere.ports[0].inner = 7482;
        for other in [acme, elsewhere] {
            assert_ne!(shape(&frame()), shape(&other));
            assert_ne!(one.id, render(&other).id);
        }
    }

    #[test]
    fn who_serves_and_who_may_have_a_certificate_is_asked_for() {
        let text = render(&frame()).text;
        let document: Value = serde_json::from_str(&text).unwrap();
        for server in ["http", "https"] {
            let routes = &document["apps"]["http"]["servers"][server]["routes"];
            assert_eq!(routes.as_array().unwrap().len(), 5);
            assert_eq!(routes[0]["match"][0]["file"]["try_files"][0], "a.leaving");
            let name = |at: usize| &routes[at]["handle"][0]["dynamic_upstreams"]["name"];
            assert_eq!(*name(2), "{http.request.host}.names.shopfleet");
            assert_eq!(
                *name(3),
                "{http.request.host}.{http.request.remote.host}.inside.shopfleet"
            );
            let pool = "10.200.0.0/14";
            let [outside, inside] = [2, 3].map(|at: usize| &routes[at]["match"][0]);
            assert_eq!(outside["not"][0]["remote_ip"]["ranges"][0], pool);
            assert_eq!(inside["remote_ip"]["ranges"][0], pool);
            for at in [2, 3] {
                let upstreams = &routes[at]["handle"][0]["dynamic_upstreams"];
                assert_eq!(upstreams["resolver"]["addresses"][0], "10.200.0.2:5353");
            }
            for known in [outside, inside] {
                assert_eq!(known["file"]["root"], "/run/told/hosts");
                assert_eq!(known["file"]["try_files"][0], "{http.request.host}");
                assert_eq!(known["header_regexp"]["Host"]["pattern"], HOST);
            }
            assert_eq!(routes[4]["handle"][1]["status_code"], 503);
        }
        let automation = &document["apps"]["tls"]["automation"];
        assert_eq!(automation["on_demand"]["ask"], "http://10.200.0.2:8081/");
        assert_eq!(automation["policies"][0]["on_demand"], true);
        assert!(!text.contains("tcp/"), "the admin API is a socket only");
    }
}

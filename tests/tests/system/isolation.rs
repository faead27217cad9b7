//! From inside one store, every address and port of another refuses, and so do the host and the control plane.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context;
use shop_tests::change::site;
use shop_tests::docker;
use shop_tests::fleet::{Fleet, PATIENCE};
use shop_tests::process;

const SERVICE_PORTS: &[u16] = &[22, 80, 443, 2019, 2375, 3306, 6379, 8080, 9000, 9001, 9306];
const HOST_PORTS: &[u16] = &[22, 53, 80, 443, 2019, 2375, 7440, 7442, 7443, 7449, 8080];

/// Dials every `address:port` given on standard input at once and prints those that answered, within two seconds.
const DIALLER: &str = r#"<?php
$open = [];
foreach (array_chunk(TARGETS, 200) as $chunk) {
    $waiting = [];
    foreach ($chunk as $target) {
        $s = @stream_socket_client("tcp://$target", $no, $why, 2, STREAM_CLIENT_ASYNC_CONNECT | STREAM_CLIENT_CONNECT);
        if ($s !== false) { $waiting[$target] = $s; }
    }
    $end = microtime(true) + 2;
    while ($waiting !== [] && ($left = $end - microtime(true)) > 0) {
        $r = $e = null; $w = $waiting;
        if (@stream_select($r, $w, $e, 0, (int) ($left * 1e6)) === false) { break; }
        foreach ($w as $target => $s) {
            if (stream_socket_get_name($s, true) !== false) { $open[] = $target; }
            unset($waiting[$target]);
        }
        if ($w === []) { break; }
    }
}
echo implode("\n", $open);
"#;

/// Which of `targets` answer to a process inside `container`.
fn reachable(container: &str, targets: &BTreeSet<String>) -> anyhow::Result<BTreeSet<String>> {
    let list = serde_json::to_string(targets)?;
    let program = DIALLER.replace("TARGETS", &format!("json_decode('{list}')"));
    let args = ["exec", "--interactive", container, "php"];
    let said =
        process::run_with_input("docker", &args, Some(&program), Duration::from_secs(120))?.ok()?;
    Ok(said
        .lines()
        .filter(|l| !l.is_empty())
        .map(str::to_owned)
        .collect())
}

fn addresses(store: &str) -> anyhow::Result<BTreeSet<String>> {
    Ok(docker::of_store(store)?
        .into_iter()
        .flat_map(|c| c.addresses.into_values())
        .collect())
}

fn gateways(store: &str) -> anyhow::Result<BTreeSet<String>> {
    let names = docker::docker(&[
        "network",
        "ls",
        "--quiet",
        "--filter",
        &format!("name={store}"),
    ])?
    .ok()?;
    let mut found = BTreeSet::new();
    for id in names.split_whitespace() {
        let format = "{{range .IPAM.Config}}{{.Gateway}}{{end}}";
        found.insert(
            docker::docker(&["network", "inspect", "--format", format, id])?
                .ok()?
                .trim()
                .to_owned(),
        );
    }
    found.retain(|gateway| !gateway.is_empty());
    Ok(found)
}

/// Asks for a page at a gateway, under a host name, and prints the status.
const CALLER: &str = r#"<?php
$said = stream_context_create(["http" => ["header" => "Host: HOST", "ignore_errors" => true, "timeout" => 5]]);
@file_get_contents("http://GATEWAY/health", false, $said);
echo explode(" ", $http_response_header[0] ?? "- none")[1];
"#;

/// The status that a process inside `container` gets for a host name from its own gateway's edge.
fn called(container: &str, gateway: &str, host: &str) -> anyhow::Result<String> {
    let program = CALLER.replace("GATEWAY", gateway).replace("HOST", host);
    let args = ["exec", "--interactive", container, "php"];
    process::run_with_input("docker", &args, Some(&program), Duration::from_secs(60))?.ok()
}

/// Every IPv4 address of the host itself.
fn host_addresses() -> anyhow::Result<BTreeSet<String>> {
    let said = process::run("hostname", &["-I"], Duration::from_secs(5))?.ok()?;
    Ok(said
        .split_whitespace()
        .filter(|a| a.contains('.'))
        .map(str::to_owned)
        .collect())
}

fn cross(addresses: &BTreeSet<String>, ports: &[u16]) -> BTreeSet<String> {
    addresses
        .iter()
        .flat_map(|a| ports.iter().map(move |p| format!("{a}:{p}")))
        .collect()
}

#[test]
fn one_store_reaches_nothing_of_another_or_of_the_host() -> anyhow::Result<()> {
    let fleet = Fleet::installed()?;
    let a = fleet.create_running("island-a", &["--profile", "search=none"])?;
    let b = fleet.create_running("island-b", &["--profile", "search=none"])?;
    let (a_id, b_id) = (a.id()?, b.id()?);
    let php = docker::service(&a_id, "php-fpm")?.id;

    // What must work does; otherwise the rest proves nothing.
    let own = |name: &str, port: u16| -> anyhow::Result<String> {
        let found = docker::service(&a_id, name)?;
        let address = found
            .addresses
            .values()
            .next()
            .with_context(|| format!("{name} has no address"))?
            .clone();
        Ok(format!("{address}:{port}"))
    };
    let wanted = BTreeSet::from([own("db", 3306)?, own("cache", 6379)?]);
    assert_eq!(reachable(&php, &wanted)?, wanted);

    let theirs = cross(&addresses(&b_id)?, SERVICE_PORTS);
    assert!(theirs.len() > 40, "too few targets: {theirs:?}");
    assert_eq!(
        reachable(&php, &theirs)?,
        BTreeSet::new(),
        "store b answers store a"
    );

    let edge: BTreeSet<String> = ["edge_http", "edge_https"]
        .iter()
        .filter_map(|k| fleet.setting(k).ok())
        .map(str::to_owned)
        .collect();
    let own_gateways = gateways(&a_id)?;
    let (own_host, other_host) = (site(&a)?.host, site(&b)?.host);
    a.wait_serving(PATIENCE)?;
    b.wait_serving(PATIENCE)?;
    let mut calls = Vec::new();
    for gateway in &own_gateways {
        let door = format!("{gateway}:{}", fleet.setting("edge_http")?);
        // Not every network of a store has PHP in it.
        let answer = called(&php, &door, &own_host)?;
        if answer != "none" {
            calls.push((answer, called(&php, &door, &other_host)?));
        }
    }
    assert!(!calls.is_empty(), "a shop cannot call itself");
    for (own, other) in calls {
        assert_eq!((&*own, &*other), ("200", "503"), "a store's own names only");
    }
    let mut host = host_addresses()?;
    host.extend(gateways(&b_id)?);
    host.extend(own_gateways.iter().cloned());
    // A shop calls itself through the edge at its own gateway; nothing else of the host answers.
    let allowed = |target: &String| {
        target
            .split_once(':')
            .is_some_and(|(address, port)| own_gateways.contains(address) && edge.contains(port))
    };
    let mut open = reachable(&php, &cross(&host, HOST_PORTS))?;
    open.retain(|target| !allowed(target));
    assert_eq!(open, BTreeSet::new(), "the host answers a store");

    let elsewhere = BTreeSet::from([
        "169.254.169.254:80".to_owned(),
        "10.0.0.1:80".to_owned(),
        "192.168.0.1:22".to_owned(),
    ]);
    assert_eq!(reachable(&php, &elsewhere)?, BTreeSet::new());
    a.delete()?;
    b.delete()
}

#[test]
fn services_hold_no_rights() -> anyhow::Result<()> {
    let fleet = Fleet::installed()?;
    let demo = fleet.existing("demo")?.id()?;
    for container in docker::of_store(&demo)? {
        let text = docker::docker(&["container", "inspect", &container.id])?.ok()?;
        let seen: serde_json::Value = serde_json::from_str(&text)?;
        let host = &seen[0]["HostConfig"];
        let name = &container.name;
        assert_eq!(host["ReadonlyRootfs"], true, "{name}");
        assert_eq!(host["Privileged"], false, "{name}");
        assert_eq!(host["CapDrop"][0], "ALL", "{name}");
        assert!(
            host["CapAdd"].as_array().is_none_or(Vec::is_empty),
            "{name}"
        );
        assert!(host["Binds"].as_array().is_none_or(Vec::is_empty), "{name}");
        assert!(
            host["PortBindings"]
                .as_object()
                .is_none_or(serde_json::Map::is_empty),
            "{name}"
        );
        assert_eq!(
            host["RestartPolicy"]["Name"]
                .as_str()
                .unwrap_or("no")
                .replace("no", ""),
            "",
            "{name}"
        );
        assert!(
            host["SecurityOpt"]
                .to_string()
                .contains("no-new-privileges"),
            "{name}"
        );
        let user = seen[0]["Config"]["User"].as_str().unwrap_or_default();
        assert!(
            user.split(':')
                .next()
                .and_then(|u| u.parse::<u32>().ok())
                .is_some_and(|uid| uid >= 200_000),
            "{name} runs as {user:?}"
        );
        assert!(
            !text.contains("docker.sock"),
            "{name} has the engine's socket"
        );
    }
    Ok(())
}

//! What a template may not say, and what the author reads: file, line, attribute, reason.

use shop_plan::{Template, TemplateError};

const COMPOSE: &str = include_str!("../refshop/compose.yaml");

fn parse(text: &str) -> Result<Template, TemplateError> {
    Template::parse("refshop", &[("compose.yaml", text)])
}

/// Puts lines into the `cache` service, which starts with its image.
fn cache_with(lines: &str) -> (String, u64) {
    let image = "    image: shopfleet/redis:1\n";
    let text = COMPOSE.replacen(image, &format!("{image}{lines}"), 1);
    let at = text.find(lines).expect("the service is there");
    let line = text[..at].matches('\n').count() + 1;
    (text, line as u64)
}

fn replaced(from: &str, to: &str) -> String {
    assert!(COMPOSE.contains(from), "{from}");
    COMPOSE.replacen(from, to, 1)
}

fn only_problem(text: &str) -> (Option<u64>, String, String) {
    let error = parse(text).expect_err("it must be refused");
    let problem = error.problems.first().expect("a refusal has a problem");
    assert_eq!(problem.file, "refshop/compose.yaml");
    assert!(!problem.reason.is_empty());
    (
        problem.line,
        problem.attribute.clone(),
        problem.reason.clone(),
    )
}

#[test]
fn the_template_itself_is_accepted() {
    let template = parse(COMPOSE).expect("a built-in template");
    assert_eq!(template.profile_combinations().len(), 4);
}

#[test]
fn attributes_that_reach_the_host_are_refused_with_their_line() {
    for (lines, attribute, word) in [
        ("    privileged: true\n", "privileged", "owns the host"),
        ("    pid: host\n", "pid", "namespace"),
        ("    ipc: host\n", "ipc", "namespace"),
        ("    network_mode: host\n", "network_mode", "namespace"),
        ("    userns_mode: host\n", "userns_mode", "namespace"),
        ("    cgroup_parent: x\n", "cgroup_parent", "control group"),
        (
            "    devices: [\"/dev/sda:/dev/sda\"]\n",
            "devices",
            "devices",
        ),
        ("    ports: [\"80:80\"]\n", "ports", "publishes no port"),
        (
            "    container_name: x\n",
            "container_name",
            "names are made",
        ),
        ("    hostname: x\n", "hostname", "names are made"),
        ("    cap_add: [NET_ADMIN]\n", "cap_add", "nothing is added"),
        (
            "    sysctls: {net.core.somaxconn: 1}\n",
            "sysctls",
            "nothing is added",
        ),
        ("    user: root\n", "user", "user ids"),
        ("    restart: always\n", "restart", "only supervisor"),
        ("    entrypoint: [sh]\n", "entrypoint", "entrypoint"),
        ("    env_file: .env\n", "env_file", "environment"),
        ("    build: .\n", "build", "beforehand"),
        ("    labels: {a: b}\n", "labels", "node writes them"),
        ("    extra_hosts: [\"a:1.2.3.4\"]\n", "extra_hosts", "names"),
        ("    volumes_from: [db]\n", "volumes_from", "each volume"),
        ("    unheard_of: 1\n", "unheard_of", "accepted subset"),
        (
            "    environment: {API_TOKEN: x}\n",
            "environment",
            "looks like a secret",
        ),
        (
            "    command: [\"echo\", \"${SHOP_NAME}\"]\n",
            "command",
            "variables",
        ),
        (
            "    environment: {NAME: \"$(id)\"}\n",
            "environment",
            "${NAME}",
        ),
        ("    environment: {NAME: }\n", "environment", "null"),
    ] {
        let (text, line) = cache_with(lines);
        let (found_line, found, reason) = only_problem(&text);
        let place = format!("{lines}→ {found_line:?} {found}: {reason}");
        assert_eq!(found_line, Some(line), "{place}");
        if lines.contains("environment") {
            assert!(found == attribute || lines.contains(&found), "{place}");
        } else {
            assert_eq!(found, attribute, "{place}");
        }
        assert!(reason.contains(word), "{place}");
    }
}

#[test]
fn values_are_refused_where_they_stand() {
    for (from, to, attribute, word) in [
        (
            "[\"cache-data:/data\"]",
            "[\"/:/host\"]",
            "volumes",
            "bind mount",
        ),
        (
            "[\"cache-data:/data\"]",
            "[\"./x:/data\"]",
            "volumes",
            "bind mount",
        ),
        (
            "[\"cache-data:/data\"]",
            "[{type: bind, source: /, target: /x}]",
            "volumes",
            "",
        ),
        (
            "image: shopfleet/redis:1",
            "image: \"shopfleet/${SHOP_NAME}:1\"",
            "image",
            "what runs",
        ),
        (
            "  cache-data: {}",
            "  cache-data: {driver_opts: {o: bind}}",
            "driver_opts",
            "disguise",
        ),
        (
            "  cache-data: {}",
            "  cache-data: {external: true}",
            "external",
            "another one",
        ),
        (
            "  egress: {}",
            "  egress: {driver: host}",
            "driver",
            "disguise",
        ),
        (
            "tmpfs: [\"/tmp:size=8m\"]",
            "tmpfs: [\"/tmp\"]",
            "tmpfs",
            "unbounded",
        ),
        (
            "networks: {app: {aliases: [web]}}",
            "networks: {host: {}}",
            "networks",
            "",
        ),
        (
            "stop_signal: SIGWINCH",
            "stop_signal: SIGKILL",
            "stop_signal",
            "SIGTERM",
        ),
        (
            "mem_limit: 96m",
            "mem_limit: lots",
            "mem_limit",
            "a size is",
        ),
        (
            "default: \"EUR\"",
            "default: \"euro\"",
            "currency",
            "ISO 4217",
        ),
        (
            "condition: service_healthy",
            "condition: service_started",
            "condition",
            "",
        ),
        (
            "security_opt: [\"no-new-privileges:true\"]",
            "security_opt: [\"apparmor:unconfined\"]",
            "security_opt",
            "no-new-privileges",
        ),
        ("cap_drop: [ALL]", "cap_drop: [CHOWN]", "cap_drop", "[ALL]"),
        (
            "{file: ./secrets/app_key}",
            "{file: /etc/shadow}",
            "file",
            "./secrets/app_key",
        ),
        (
            "${LOCALE:-en-GB}",
            "${HOME:-x}",
            "environment",
            "declared parameter",
        ),
        (
            "when: {search: sphinx}",
            "when: {search: elastic}",
            "when",
            "no choice",
        ),
        (
            "  app:    {internal: true}",
            "  app:    {internal: false}",
            "internal",
            "internal: true",
        ),
        ("aliases: [web]", "aliases: [db]", "aliases", "own name"),
        ("schema: 1", "schema: 2", "schema", "schema 1 only"),
        ("template: refshop", "template: other", "template", "folder"),
        (
            "from: install,",
            "from: db,",
            "from",
            "no service of the store",
        ),
        (
            "task: cron, every: 60s",
            "task: nothing, every: 60s",
            "cron",
            "no task",
        ),
    ] {
        let (line, found, reason) = only_problem(&replaced(from, to));
        let place = format!("{to} → {line:?} {found}: {reason}");
        assert!(line.is_some(), "{place}");
        assert!(found == attribute || to.contains(&found), "{place}");
        assert!(reason.contains(word), "{place}");
    }
}

#[test]
fn rules_that_only_a_rendering_shows_are_kept_too() {
    for (from, to, word) in [
        (
            "edge: {service: web, port: 8080}",
            "edge: {service: db, port: 8080}",
            "edge service",
        ),
        (
            "edge: {service: web, port: 8080}",
            "edge: {service: web, port: 80}",
            "no privilege",
        ),
        (
            "\"/run/mysqld:size=1m\"",
            "\"/run/secrets:size=1m\"",
            "reserved path",
        ),
        ("mem_limit: 96m", "mem_limit: 1k", "memory limit"),
        ("pids_limit: 32", "pids_limit: 0", "processes"),
        (
            "{generate: hex, length: 64}",
            "{generate: hex, length: 4}",
            "16 to 256",
        ),
        (
            "when: {web: apache}",
            "when: {web: nginx}",
            "under the same profiles",
        ),
        (
            "    depends_on: {php-fpm: {condition: service_healthy}}\n    healthcheck",
            "    depends_on: {web-nginx: {condition: service_healthy}}\n    healthcheck",
            "circle",
        ),
    ] {
        let (_, _, reason) = only_problem(&replaced(from, to));
        assert!(reason.contains(word), "{to} → {reason}");
    }
}

#[test]
fn bombs_and_strange_forms_are_refused() {
    let mut bomb = String::from("a: &a [x,x,x,x,x,x,x,x,x,x]\n");
    for (name, of) in [
        ("b", "a"),
        ("c", "b"),
        ("d", "c"),
        ("e", "d"),
        ("f", "e"),
        ("g", "f"),
    ] {
        let items = vec![format!("*{of}"); 10].join(",");
        bomb.push_str(&format!("{name}: &{name} [{items}]\n"));
    }
    let deep = format!("services: {}{}", "[".repeat(500), "]".repeat(500));
    let huge = format!("{COMPOSE}#{}\n", "x".repeat(300 << 10));
    let merged = replaced("environment: *shop-env", "environment: {<<: *shop-env}");
    let duplicate = replaced("  egress: {}", "  egress: {}\n  egress: {}");
    let tagged = replaced("mem_limit: 96m", "mem_limit: !reset 96m");
    let two = format!("{COMPOSE}\n---\na: 1\n");
    for text in [
        bomb,
        deep,
        huge,
        merged,
        duplicate,
        tagged,
        two,
        String::new(),
        "- a".to_owned(),
        "\0".to_owned(),
    ] {
        assert!(
            parse(&text).is_err(),
            "{}",
            text.get(..60.min(text.len())).unwrap_or_default()
        );
    }
}

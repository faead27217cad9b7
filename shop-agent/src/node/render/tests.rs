//! What a container looks like: a frozen example, and the list of what no container may have, over every template and profile.

use std::collections::BTreeMap;

use serde_json::Value;
use shop_plan::{Catalogue, ParameterKind};
use shop_proto::{Generation, Isolation, Revision, RunState, SPEC_FORMAT, Spec};

use super::*;
use crate::node::{
    context::plan_of,
    docker::{ContainerState, Observed, body_for_tests},
    state::{Accepted, Serve},
};

const CORES: u32 = 8;

struct Example {
    node: NodeId,
    paths: Paths,
    record: StoreRecord,
    plan: StorePlan,
}

/// Every built-in template under every choice of profiles.
fn examples() -> Vec<Example> {
    let mut examples = Vec::new();
    for template in Catalogue::builtin().iter() {
        let mut choices: Vec<BTreeMap<String, String>> = vec![BTreeMap::new()];
        for (name, profile) in &template.manifest.profiles {
            choices = choices
                .iter()
                .flat_map(|before| {
                    profile.choices.iter().map(|choice| {
                        let mut chosen = before.clone();
                        chosen.insert(name.to_string(), choice.to_string());
                        chosen
                    })
                })
                .collect();
        }
        for profiles in choices {
            examples.push(example(&template.name, template.digest, profiles));
        }
    }
    examples
}

fn example(template: &str, digest: Digest, profiles: BTreeMap<String, String>) -> Example {
    let node: NodeId = "node01".parse().unwrap();
    let store: StoreId = "aaaaaaaaaaa1".parse().unwrap();
    let spec = Spec {
        format: SPEC_FORMAT,
        store_name: "demo".parse().unwrap(),
        revision: Revision {
            number: 1,
            template: template.to_owned(),
            template_digest: digest,
            parameters: [].into(),
            profiles,
            images: [].into(),
            resources: [].into(),
            isolation: Isolation::Standard,
        },
        hosts: vec![shop_proto::Host {
            name: "demo.localhost".parse().unwrap(),
            verified: true,
        }],
        scale: [].into(),
        run_state: RunState::Running,
        restart_seq: 0,
        maintenance: false,
        hold_until_unix_ms: None,
        watch: None,
        rotations: BTreeMap::new(),
    };
    let plan = plan_of(&store, &spec, 1).unwrap();
    let index = |number: u32| serde_json::from_value(number.into()).unwrap();
    let record = StoreRecord {
        store,
        uid_base: 200_064,
        newest: Accepted {
            generation: Generation::FIRST,
            render_version: 1,
            spec_digest: spec.digest(),
            plan_digest: plan.digest(),
            spec,
        },
        serving: None,
        previous: None,
        passed: Vec::new(),
        volumes: std::collections::BTreeSet::new(),
        subnets: NetworkName::ALL.into_iter().zip((1..).map(index)).collect(),
        serve: Serve::Nothing,
        agent: None,
        second_slot: true,
    };
    Example {
        paths: Paths::new(
            "/var/lib/shopfleet".as_ref(),
            "/run/shopfleet".as_ref(),
            &node,
        ),
        node,
        record,
        plan,
    }
}

impl Example {
    fn place(&self) -> Place<'_> {
        Place {
            node: &self.node,
            paths: &self.paths,
            pool: "10.200.0.0/14".parse().unwrap(),
            record: &self.record,
        }
    }

    /// Each replica that can be, each task, the agent.
    fn specs(&self) -> Vec<ContainerSpec> {
        let place = self.place();
        let replicas = self.plan.services.iter().flat_map(|service| {
            [Slot::A, Slot::B, Slot::Fixed]
                .into_iter()
                .flat_map(|slot| (0..ReplicaKey::MAX_REPLICAS).map(move |replica| (slot, replica)))
                .filter_map(|(slot, replica)| {
                    let service = service.name.clone();
                    place
                        .replica(
                            &self.plan,
                            &ReplicaKey {
                                service,
                                slot,
                                replica,
                            },
                        )
                        .ok()
                })
        });
        let tasks = self.plan.tasks.iter().map(|task| {
            let arguments: Vec<String> = task
                .arguments
                .iter()
                .take_while(|it| it.default.is_none())
                .map(|it| match it.kind {
                    ParameterKind::Int { min, .. } => min.to_string(),
                    _ => "any".to_owned(),
                })
                .collect();
            place
                .task(&self.plan, &task.name, "run-1", &arguments)
                .unwrap()
        });
        let agent = place.agent(&[&self.plan], "sha256:image").unwrap();
        replicas.chain(tasks).chain([agent]).collect()
    }
}

fn body(spec: &ContainerSpec) -> Value {
    body_for_tests(spec, CORES)
}

#[test]
fn a_web_server_may_read_what_php_keeps_and_nobody_else_s_data() {
    for example in examples() {
        let volumes = example.place().volumes(&[&example.plan]);
        let open: Vec<String> = volumes
            .into_iter()
            .filter_map(|(_, directory)| directory)
            .filter(|directory| directory.mode != 0o750)
            .map(|directory| format!("{} {:o}", directory.path.display(), directory.mode))
            .collect();
        let shared = if example.plan.template == "refshop" {
            "media 751"
        } else {
            "content 751"
        };
        assert!(
            matches!(open.as_slice(), [only] if only.ends_with(shared)),
            "{open:?}"
        );
    }
}

#[test]
fn a_database_s_container_reads_as_agreed() {
    let template = Catalogue::builtin().find("refshop").unwrap();
    let profiles = [("web", "nginx"), ("search", "sphinx")]
        .map(|(name, choice)| (name.to_owned(), choice.to_owned()));
    let example = example("refshop", template.digest, profiles.into());
    let key = ReplicaKey::parse("db", "fixed", 0).unwrap();
    let spec = example.place().replica(&example.plan, &key).unwrap();
    let mut rendered = body(&spec);
    // The template's own business.
    let labels = rendered["Labels"].as_object_mut().unwrap();
    for hash in [label::SPEC_HASH, label::SHAPE] {
        assert!(labels.remove(hash).is_some());
    }
    let rendered = serde_json::to_string_pretty(&rendered).unwrap();
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/node/render/db.json");
        std::fs::write(path, format!("{rendered}\n")).unwrap();
    }
    assert_eq!(rendered, include_str!("db.json").trim_end());
}

/// The deny list of the threat model, over everything this release can render.
#[test]
fn no_container_can_reach_out_of_its_store() {
    let examples = examples();
    assert!(examples.len() >= 4);
    for spec in examples.iter().flat_map(Example::specs) {
        let body = body(&spec);
        let host = &body["HostConfig"];
        let name = &spec.name;
        for absent in [
            "Binds",
            "VolumesFrom",
            "VolumeDriver",
            "PortBindings",
            "Links",
            "CapAdd",
            "Devices",
            "DeviceRequests",
            "DeviceCgroupRules",
            "Sysctls",
            "Runtime",
            "CgroupParent",
            "Annotations",
            "GroupAdd",
            "MaskedPaths",
            "ReadonlyPaths",
            "PidMode",
            "UTSMode",
            "UsernsMode",
            "Dns",
            "Tmpfs",
            "Ulimits",
            "StorageOpt",
            "Isolation",
            "OomScoreAdj",
            "CpusetCpus",
            "BlkioWeight",
            "ContainerIDFile",
            "Cgroup",
        ] {
            assert!(
                host[absent].is_null(),
                "{name}: {absent} is {}",
                host[absent]
            );
        }
        for absent in [
            "Volumes",
            "ExposedPorts",
            "Shell",
            "OnBuild",
            "Domainname",
            "NetworkDisabled",
        ] {
            assert!(
                body[absent].is_null(),
                "{name}: {absent} is {}",
                body[absent]
            );
        }
        for no in [
            "Privileged",
            "PublishAllPorts",
            "AutoRemove",
            "OomKillDisable",
        ] {
            assert_eq!(host[no], false, "{name}: {no}");
        }
        assert_eq!(host["CapDrop"][0], "ALL", "{name}");
        assert_eq!(
            host["SecurityOpt"].as_array().unwrap().as_slice(),
            ["no-new-privileges:true"],
            "{name}"
        );
        assert_eq!(host["IpcMode"], "private", "{name}");
        assert_eq!(host["CgroupnsMode"], "private", "{name}");
        assert_eq!(host["RestartPolicy"]["Name"], "no", "{name}");
        assert_eq!(host["LogConfig"]["Type"], "json-file", "{name}");
        assert_eq!(host["ReadonlyRootfs"], true, "{name}");
        assert_eq!(body["Healthcheck"]["Test"][0], "NONE", "{name}");
        let memory = host["Memory"].as_i64().unwrap();
        assert!((6 << 20..=64 << 30).contains(&memory), "{name}: {memory}");
        assert_eq!(host["MemorySwap"], host["Memory"], "{name}");
        assert!(
            (1..=8_000_000_000).contains(&host["NanoCpus"].as_i64().unwrap()),
            "{name}"
        );
        assert!(
            (1..=4096).contains(&host["PidsLimit"].as_i64().unwrap()),
            "{name}"
        );
        assert!(host["ShmSize"].as_i64().unwrap() <= 64 << 20, "{name}");
        assert!(
            (1..=600).contains(&body["StopTimeout"].as_i64().unwrap()),
            "{name}"
        );
        users(&spec, &body);
        mounts(&spec, host);
        networks(&spec, &body);
    }
}

fn users(spec: &ContainerSpec, body: &Value) {
    let user = body["User"].as_str().unwrap();
    let (uid, gid) = user.split_once(':').unwrap();
    let (uid, gid): (u32, u32) = (uid.parse().unwrap(), gid.parse().unwrap());
    assert!((200_064..200_128).contains(&uid), "{}: {user}", spec.name);
    assert_eq!(uid, gid, "{}", spec.name);
}

fn mounts(spec: &ContainerSpec, host: &Value) {
    let agent = spec.label(label::KIND) == Some("agent");
    for mount in host["Mounts"].as_array().unwrap() {
        let (kind, source) = (mount["Type"].as_str().unwrap(), mount["Source"].as_str());
        match kind {
            "volume" => {
                assert!(
                    source.unwrap().starts_with("sf-node01-aaaaaaaaaaa1-"),
                    "{mount}"
                );
                assert_eq!(mount["VolumeOptions"]["NoCopy"], true, "{mount}");
                assert!(mount["VolumeOptions"]["DriverConfig"].is_null(), "{mount}");
                assert!(mount["VolumeOptions"]["Subpath"].is_null(), "{mount}");
            }
            "tmpfs" => {
                assert!(
                    mount["TmpfsOptions"]["SizeBytes"].as_i64().unwrap() > 0,
                    "{mount}"
                );
                assert!(mount["TmpfsOptions"]["Options"].is_null(), "{mount}");
            }
            "bind" => {
                assert!(agent, "only the agent has its sockets: {mount}");
                assert_eq!(source, Some("/run/shopfleet/node01/stores/aaaaaaaaaaa1"));
                assert_eq!(mount["ReadOnly"], true);
            }
            other => panic!("{other} mount on {}", spec.name),
        }
        let secrets = source.is_some_and(|source| source.contains("-secrets-"));
        if secrets && !agent {
            assert_eq!(mount["ReadOnly"], true, "{mount}");
            assert_eq!(mount["Target"], "/run/secrets", "{mount}");
        }
    }
}

fn networks(spec: &ContainerSpec, body: &Value) {
    let mode = body["HostConfig"]["NetworkMode"].as_str().unwrap();
    assert!(
        mode.starts_with("sf-node01-aaaaaaaaaaa1-"),
        "{}: {mode}",
        spec.name
    );
    let Networking::Bridges(attachments) = &spec.networking else {
        panic!("{} is on the host's network", spec.name);
    };
    assert!(!attachments.is_empty());
    for attachment in attachments {
        assert!(attachment.network.starts_with("sf-node01-aaaaaaaaaaa1-"));
        let [a, b, c, _] = attachment.address.octets();
        assert_eq!((a, b, c), (10, 200, 0), "{}", spec.name);
    }
    let endpoints = body["NetworkingConfig"]["EndpointsConfig"]
        .as_object()
        .unwrap();
    for endpoint in endpoints.values() {
        for absent in ["MacAddress", "Links", "DriverOpts", "GwPriority"] {
            assert!(endpoint[absent].is_null(), "{}: {absent}", spec.name);
        }
    }
}

#[test]
fn nobody_shares_an_address() {
    for example in examples() {
        let mut seen = std::collections::BTreeSet::new();
        for spec in example.specs() {
            let Networking::Bridges(attachments) = &spec.networking else {
                panic!("{} is on the host's network", spec.name);
            };
            for attachment in attachments {
                let place = (attachment.network.clone(), attachment.address);
                assert!(seen.insert(place), "{}: {attachment:?}", spec.name);
            }
        }
    }
}

#[test]
fn what_the_plan_does_not_name_is_refused() {
    let example = &examples()[0];
    for (service, slot, replica) in [
        ("db", "a", 0),
        ("db", "fixed", 1),
        ("web", "fixed", 0),
        ("agent", "fixed", 0),
        ("install", "fixed", 0),
    ] {
        let key = ReplicaKey::parse(service, slot, replica).unwrap();
        assert!(
            matches!(
                example.place().replica(&example.plan, &key),
                Err(RenderError::NotInPlan(_))
            ),
            "{key}"
        );
    }
    let task = "db".parse().unwrap();
    assert!(
        example
            .place()
            .task(&example.plan, &task, "run-1", &[])
            .is_err()
    );
}

#[test]
fn a_new_image_or_secrets_volume_makes_a_new_agent_and_a_network_does_not() {
    let mut example = examples().remove(0);
    let hash = |example: &Example, image: &str| {
        let agent = example.place().agent(&[&example.plan], image).unwrap();
        agent.label(label::SPEC_HASH).unwrap().to_owned()
    };
    let before = hash(&example, "sha256:one");
    assert_ne!(before, hash(&example, "sha256:two"));
    example.record.second_slot = false;
    assert_eq!(before, hash(&example, "sha256:one"));
    for service in &mut example.plan.services {
        service.container.secrets.clear();
    }
    assert_ne!(before, hash(&example, "sha256:one"));
}

/// Limits alone make no new container; a restart under the newer plan takes the one there is.
#[test]
fn a_container_of_another_revision_is_taken_when_only_its_limits_differ() {
    let example = examples().remove(0);
    let key = ReplicaKey::parse("db", "fixed", 0).unwrap();
    let made = example.place().replica(&example.plan, &key).unwrap();
    let observed = Observed {
        id: String::new(),
        name: made.name.clone(),
        labels: made.labels.clone(),
        state: ContainerState::Created,
        networks: Vec::new(),
        limits: made.limits(),
        stop_signal: String::new(),
        stop_grace: None,
    };
    let under = |change: &dyn Fn(&mut shop_plan::ServicePlan)| {
        let mut plan = example.plan.clone();
        plan.revision += 1;
        let db = plan
            .services
            .iter_mut()
            .find(|it| it.name.as_str() == "db")
            .unwrap();
        change(db);
        db.spec_hash = Digest::of(b"another");
        example.place().replica(&plan, &key).unwrap()
    };
    let roomier = under(&|db| db.container.memory_bytes *= 2);
    assert!(roomier.made(&observed));
    assert_ne!(roomier.limits(), observed.limits);
    let other = under(&|db| db.container.image = "shopfleet/mariadb:2".to_owned());
    assert!(!other.made(&observed));

    // An older release left no shape: then it must be the very same.
    let mut unshaped = observed.clone();
    unshaped.labels.remove(label::SHAPE);
    assert!(made.made(&unshaped));
    assert!(!roomier.made(&unshaped));
}

#[test]
fn a_page_asks_docker_for_no_service_that_stays() {
    for example in examples() {
        let place = example.place();
        let stay: Vec<ReplicaKey> = example
            .plan
            .services
            .iter()
            .filter(|service| !service.kind.slotted())
            .map(|service| ReplicaKey {
                service: service.name.clone(),
                slot: Slot::Fixed,
                replica: 0,
            })
            .collect();
        let php = ReplicaKey::parse("php-fpm", "a", 0).unwrap();
        let known = place.replica(&example.plan, &php).unwrap().extra_hosts;
        for key in stay {
            let there = place.replica(&example.plan, &key).unwrap();
            let Networking::Bridges(attachments) = there.networking else {
                panic!("{key} has no network of its store")
            };
            let said = known.get(key.service.as_str());
            assert!(
                attachments.iter().any(|it| Some(&it.address) == said),
                "{key} is at {attachments:?}, PHP was told {said:?}"
            );
        }
    }
}

//! The name responder: which container it is, and how one of another release takes its place. Every request of a buyer waits while nobody
//! answers at its address, so the next one is made before the one before is asked to stop.

use std::{collections::BTreeMap, time::Duration};

use shop_plan::{address, names::label};

use super::{
    EdgeError,
    containers::{directory, labels, seen, sign, up},
    plan::{Make, Seen},
};
use crate::node::{
    context::Node,
    docker::{Attachment, ContainerSpec, NetworkSpec, Networking, Restart, Urgency},
    render::AGENT_IMAGE,
};

/// A public authority stops listening for an hour after five failures of a host name, of which the edge makes up to two of one permission.
const CERTIFICATES_PER_HOUR: u32 = 2;
/// It has nothing to finish but answers that take no time.
const GRACE: Duration = Duration::from_secs(2);
/// Steps from anything to what should be are fewer.
const STEPS: usize = 8;

/// What to do. The one that serves has the name; the one that is to follow it has another until then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// All is as it should be.
    Rest,
    /// Make it, or start it.
    Up,
    /// Make the one that is to follow.
    Prepare,
    /// Stop the one before and start the one that follows.
    TakeOver,
    /// Remove the one before, and give the one that followed its name.
    Name,
    /// Remove one that is to follow nobody.
    Discard,
}

/// The next step. Pure: a node agent that was cut off at any step goes on where it was.
const fn next(named: Seen, follower: Seen) -> Step {
    match (named, follower) {
        // Both have one address: whoever follows and runs has taken over.
        (_, Seen::Running(_)) | (Seen::Absent, Seen::Ended(_)) => Step::Name,
        (Seen::Running(Make::Current), Seen::Absent) => Step::Rest,
        (Seen::Absent | Seen::Ended(Make::Current), Seen::Absent) => Step::Up,
        (Seen::Running(Make::Other) | Seen::Ended(Make::Other), Seen::Absent) => Step::Prepare,
        (Seen::Running(Make::Other) | Seen::Ended(Make::Other), Seen::Ended(Make::Current)) => {
            Step::TakeOver
        }
        (_, Seen::Ended(_)) => Step::Discard,
    }
}

/// It runs, from the image that is here.
///
/// # Errors
/// When the engine fails or the image is missing.
pub async fn keep(node: &Node) -> Result<(), EdgeError> {
    let network = network(node);
    let mut spec = spec(node, &network);
    if let Some(image) = node.images.known(AGENT_IMAGE) {
        sign(&mut spec, &image);
        let found = node.engine.inspect(&spec.name).await?;
        if seen(found.as_ref(), &spec) == Seen::Running(Make::Current) {
            return Ok(());
        }
        spec.labels.remove(label::SPEC_HASH);
    }
    node.engine.ensure_network(&network).await?;
    let image = node.engine.image_id(AGENT_IMAGE).await?;
    let image = image.ok_or(EdgeError::Image(AGENT_IMAGE))?;
    sign(&mut spec, &image);
    let follower = ContainerSpec {
        name: format!("{}-next", spec.name),
        ..spec.clone()
    };
    for _ in 0..STEPS {
        let found = node.engine.inspect(&spec.name).await?;
        let found_next = node.engine.inspect(&follower.name).await?;
        match next(
            seen(found.as_ref(), &spec),
            seen(found_next.as_ref(), &follower),
        ) {
            Step::Rest => {
                // Only now is the short way right.
                node.images.learn(AGENT_IMAGE, image);
                return Ok(());
            }
            Step::Up => return up(node, &spec).await,
            Step::Prepare => {
                tracing::info!(container = %spec.name, "replacing a container that was made from another release");
                node.engine.create(&follower).await?;
            }
            Step::TakeOver => {
                node.engine.stop(&spec.name, GRACE).await?;
                node.engine.start(&follower, Urgency::First).await?;
            }
            Step::Name => {
                node.engine.remove(&spec.name, true).await?;
                node.engine.rename(&follower.name, &spec.name).await?;
            }
            Step::Discard => {
                node.engine.remove(&follower.name, true).await?;
            }
        }
    }
    Ok(())
}

/// Where it answers the edge and nobody else.
fn network(node: &Node) -> NetworkSpec {
    let subnet = node.pool.subnet(node.record.names_subnet);
    NetworkSpec {
        name: format!("sf-{}-names", node.id),
        bridge: shop_plan::names::bridge(&node.id, node.record.names_subnet.get()),
        subnet: subnet.to_string(),
        gateway: subnet.gateway(),
        internal: true,
        labels: labels(node, "network"),
    }
}

/// Its container, before it says what it was made from.
fn spec(node: &Node, network: &NetworkSpec) -> ContainerSpec {
    let address = node
        .pool
        .subnet(node.record.names_subnet)
        .host(address::AGENT);
    let uid = node.record.first_uid - 2;
    let mut command = vec![
        "names".to_owned(),
        "--page-address".to_owned(),
        address.to_string(),
    ];
    if !node.args.edge_internal_tls {
        command.push("--certificates-per-hour".to_owned());
        command.push(CERTIFICATES_PER_HOUR.to_string());
    }
    ContainerSpec {
        name: format!("sf-{}-names", node.id),
        image: AGENT_IMAGE.to_owned(),
        own_image: None,
        entrypoint: None,
        command: Some(command),
        env: BTreeMap::new(),
        user: (uid, uid),
        labels: labels(node, "names"),
        hostname: "names".to_owned(),
        memory_bytes: 64 << 20,
        cpu_millis: 1000,
        pids: 32,
        read_only: true,
        mounts: vec![directory(&node.paths.names(), "/run/shopfleet", true)],
        networking: Networking::Bridges(vec![Attachment {
            network: network.name.clone(),
            address,
            alias: "names".to_owned(),
        }]),
        extra_hosts: BTreeMap::new(),
        stop_signal: "SIGTERM".to_owned(),
        stop_grace: GRACE,
        restart: Restart::UnlessStopped,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Seen; 5] = [
        Seen::Absent,
        Seen::Ended(Make::Current),
        Seen::Ended(Make::Other),
        Seen::Running(Make::Current),
        Seen::Running(Make::Other),
    ];

    /// What a step leaves behind; a stop that was not followed by a start is what a node agent leaves that was killed between them.
    fn after(step: Step, named: Seen, follower: Seen) -> (Seen, Seen) {
        match step {
            Step::Rest => (named, follower),
            Step::Up => (Seen::Running(Make::Current), follower),
            Step::Prepare => (named, Seen::Ended(Make::Current)),
            Step::TakeOver => (Seen::Ended(Make::Other), Seen::Running(Make::Current)),
            Step::Name => (follower, Seen::Absent),
            Step::Discard => (named, Seen::Absent),
        }
    }

    #[test]
    fn from_whatever_is_there_one_current_responder_remains() {
        for named in ALL {
            for follower in ALL {
                let mut there = (named, follower);
                let steps = (0..STEPS).find(|_| {
                    let step = next(there.0, there.1);
                    there = after(step, there.0, there.1);
                    step == Step::Rest
                });
                assert!(steps.is_some(), "{named:?} {follower:?}");
                assert_eq!(there, (Seen::Running(Make::Current), Seen::Absent));
            }
        }
    }

    #[test]
    fn who_serves_is_stopped_only_when_the_next_one_is_made() {
        for make in [Make::Current, Make::Other] {
            for follower in ALL {
                let step = next(Seen::Running(make), follower);
                let ends_it = matches!(step, Step::TakeOver | Step::Name);
                let made = follower == Seen::Ended(Make::Current);
                let took_over = matches!(follower, Seen::Running(_));
                assert!(!ends_it || made || took_over, "{make:?} {follower:?}");
            }
        }
        let old = Seen::Running(Make::Other);
        assert_eq!(next(old, Seen::Absent), Step::Prepare);
        assert_eq!(next(old, Seen::Ended(Make::Other)), Step::Discard);
        assert_eq!(next(old, Seen::Ended(Make::Current)), Step::TakeOver);
    }
}

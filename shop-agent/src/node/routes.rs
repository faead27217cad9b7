//! Which host names are routed here and who answers for them: what the edge is told and what the name responder reads, written whenever that
//! changes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::Arc,
};

use super::{
    context::{Node, now_unix_ms, plan_of},
    edge::told,
    names::{Answer, FILE, MAX_BYTES, NamesFile},
    outbox::{Note, Severity},
    replicas::ReplicaError,
    state::{Serve, StoreRecord, files},
    tasks::blocking,
};

/// Writes the file from what is remembered now. When this returns, every question is answered from it.
///
/// # Errors
/// When the disk says no.
pub async fn publish(node: &Node) -> Result<(), ReplicaError> {
    // One at a time: an older table must not replace a newer one.
    let turn = node.publishing.acquire().await;
    let _turn = turn.map_err(|_| ReplicaError::Closed)?;
    let (file, hosts) = table(node);
    let file = file.encode();
    if file.len() as u64 > MAX_BYTES {
        too_many(node, hosts.len());
    }
    let paths = Arc::new(node.paths.clone());
    blocking(&paths, move |paths| {
        files::directory(&paths.names(), 0o755, None)?;
        // A host name is routed only while there is an answer for it.
        told::keep_only(paths, &hosts)?;
        files::replace(&paths.names().join(FILE), &file, 0o644)?;
        told::add(paths, &hosts)
    })
    .await??;
    Ok(())
}

/// As [`publish`], unless the files say all this already.
///
/// # Errors
/// When the disk says no.
pub async fn refresh(node: &Node) -> Result<(), ReplicaError> {
    let (file, hosts) = table(node);
    let wanted = file.encode();
    let paths = Arc::new(node.paths.clone());
    let same = blocking(&paths, move |paths| {
        told::says(paths, &hosts) && holds(&paths.names().join(FILE), &wanted)
    })
    .await?;
    if same { Ok(()) } else { publish(node).await }
}

/// However large it is: what is not the same is written anew.
fn holds(path: &Path, wanted: &[u8]) -> bool {
    let length = fs::metadata(path).map(|found| found.len());
    length.is_ok_and(|length| length == wanted.len() as u64)
        && fs::read(path).is_ok_and(|found| found == wanted)
}

/// The responder stays with what it knew: said at every change that it does not hear of.
fn too_many(node: &Node, hosts: usize) {
    tracing::error!(
        hosts,
        "the table of host names is too large to be read: changes of what is routed here have no effect"
    );
    node.outbox.note(Note {
        store: None,
        code: "too_many_host_names",
        severity: Severity::Error,
        message: format!(
            "{hosts} host names are more than this node can route: buyers of stores that change from now on are not sent to them. \
             Delete stores of this node, or make new ones on another"
        ),
        at_unix_ms: now_unix_ms(),
    });
}

/// The names file, and the host names in it.
fn table(node: &Node) -> (NamesFile, BTreeSet<String>) {
    let (mut hosts, mut own) = (BTreeMap::new(), BTreeMap::new());
    for record in node.state.stores() {
        let answer = answer(node, &record);
        let subnets = record.subnets.values();
        let networks: Vec<_> = subnets.map(|it| node.pool.subnet(*it).host(0)).collect();
        for host in record.routed_hosts() {
            hosts.insert(host.to_string(), answer.clone());
            own.insert(host.to_string(), networks.clone());
        }
    }
    let known = hosts.keys().cloned().collect();
    (NamesFile::new(hosts, own), known)
}

fn answer(node: &Node, record: &StoreRecord) -> Answer {
    let (slot, replicas) = match record.serving_now() {
        Serve::Nothing => return Answer::Nothing,
        Serve::Maintenance => return Answer::Maintenance,
        Serve::Paused => return Answer::Paused,
        Serve::Slot { slot, replicas } => (*slot, replicas),
    };
    let serving = record.serving.as_ref().unwrap_or(&record.newest);
    let Ok(plan) = plan_of(&record.store, &serving.spec, serving.render_version) else {
        return Answer::Nothing;
    };
    let place = node.place(record);
    let addresses = replicas
        .iter()
        .filter_map(|replica| place.web_address(&plan, slot, *replica))
        .collect();
    Answer::Addresses(addresses)
}

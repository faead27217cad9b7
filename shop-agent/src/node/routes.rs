//! Who answers for which host name: the file the name responder reads, written whenever that changes.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    context::{Node, plan_of},
    names::{Answer, NamesFile},
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
    let file = table(node);
    let paths = Arc::new(node.paths.clone());
    blocking(&paths, move |paths| {
        files::directory(&paths.names(), 0o755, None)?;
        let bytes = file.encode();
        files::replace(&paths.names().join(super::names::FILE), &bytes, 0o644)
    })
    .await??;
    Ok(())
}

/// As [`publish`], unless the file says all this already.
///
/// # Errors
/// When the disk says no.
pub async fn refresh(node: &Node) -> Result<(), ReplicaError> {
    let wanted = table(node).encode();
    let paths = Arc::new(node.paths.clone());
    let same = blocking(&paths, move |paths| {
        files::read(&paths.names().join(super::names::FILE))
            .is_ok_and(|found| found.as_deref() == Some(wanted.as_slice()))
    })
    .await?;
    if same { Ok(()) } else { publish(node).await }
}

fn table(node: &Node) -> NamesFile {
    let mut hosts = BTreeMap::new();
    for record in node.state.stores() {
        let answer = answer(node, &record);
        for host in record.routed_hosts() {
            hosts.insert(host.to_string(), answer.clone());
        }
    }
    NamesFile::new(hosts)
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

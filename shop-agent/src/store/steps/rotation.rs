//! When a secret's new value is admitted beside the old one, and when one of the two is dismissed.
//!
//! Every container that may hold a value works while both are accepted: so both are accepted before the first container gets the new
//! one, and until the last one is gone that may hold the one that is dismissed.

use std::collections::BTreeMap;

use shop_plan::StorePlan;
use shop_proto::ServiceName;

use super::{Input, Step, Target, Wanted, tasks, update};

/// Secrets that get new values on the way from one plan to the newest, and which rotation of each it is.
pub fn on_the_way(input: &Input<'_>, from: &StorePlan) -> BTreeMap<String, u64> {
    let mut rotates = input.entries.to_rotate(input.spec);
    // The same user at the same database, before and after: another one is not let in by a second password.
    rotates.retain(|name, _| {
        let (old, new) = (from.login(name), input.asked.plan.login(name));
        old.is_ok() && old == new
    });
    rotates
}

/// Whether an update must wait that rotates these: new values are in force, and the old ones are not dismissed yet.
pub fn follows(input: &Input<'_>, rotates: &BTreeMap<String, u64>) -> bool {
    let rotating = input.entries.rotating.as_ref();
    !rotates.is_empty() && rotating.is_some_and(|rotating| rotating.kept)
}

/// Whether an update that rotates these may take over no container that started earlier: it may hold a value that goes away before it does.
pub fn apart(input: &Input<'_>, rotates: &BTreeMap<String, u64>) -> bool {
    !rotates.is_empty() || input.entries.rotating.is_some()
}

/// The step to take now. `moving`: the update is about to make a move, which may change what is right.
pub fn due(input: &Input<'_>, moving: bool) -> Option<Step> {
    let rotating = input.entries.rotating.as_ref()?;
    let handed_over = input
        .consumers()
        .into_keys()
        .all(|consumer| has(input, &consumer));
    let logins = rotating
        .secrets
        .keys()
        .filter_map(|name| input.plan.login(name).ok());
    let mut services = logins.map(|login| login.service);
    if moving || !handed_over || !services.all(|name| input.service_ready(&name)) {
        return None;
    }
    match input.entries.open_update() {
        Some(_) => (input.entries.update_rotates() && !rotating.admitted).then_some(Step::Admit),
        // A task may have read its secrets when it began.
        None => (update::alone(input) && !tasks::any_busy(input)).then_some(Step::Dismiss),
    }
}

/// Whether a consumer has what it should have, and nothing else is on its way to it.
fn has(input: &Input<'_>, consumer: &ServiceName) -> bool {
    input.delivered.contains(consumer) && !input.busy.contains(&Target::Secrets(consumer.clone()))
}

/// Whether a container of the plan on its way in must wait: what it is to log in with is not accepted yet.
pub fn waits(input: &Input<'_>, wanted: &Wanted<'_>) -> bool {
    wanted.next && wanted.service.kind.slotted() && !admitted(input)
}

/// Whether those that come in are let in with what they are handed.
pub fn admitted(input: &Input<'_>) -> bool {
    !input.entries.update_rotates() || input.entries.hands_out_new() != Some(false)
}

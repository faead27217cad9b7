//! When a secret's new value is admitted beside the old one, and when one of the two is dismissed.
//!
//! Every container that may hold a value works while both are accepted: so both are accepted before the first container gets the new
//! one, and until the last one is gone that may hold the one that is dismissed.

use shop_proto::ServiceName;

use super::{Input, Step, Target, Wanted, tasks, update};

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
    wanted.next
        && wanted.service.kind.slotted()
        && input.entries.update_rotates()
        && input.entries.hands_out_new() == Some(false)
}

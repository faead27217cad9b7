//! What an agent's report says of changes to a store that goes on serving: how far an update is, whether it was taken back, whether a scale
//! or a maintenance page is in place. Pure.

use shop_proto::{Generation, RunState};

use super::{
    operation::{Operation, OperationKind, Step, StepState},
    progress::{Condition, Milestone, current_report},
    refusal::Refusal,
    session::{StoreReport, UpdateReport},
    store::{Store, StoreStatus},
};

/// Phases of an update, in order, each with the step that is done when the next one begins.
const PHASES: [(&str, &str); 5] = [
    ("preparing", "prepare"),
    ("migrating", "migrate"),
    ("checking", "check"),
    ("switched", "watch"),
    ("draining", "drain"),
];
/// The moment between `check` and `watch`: traffic moves.
const SWITCH: &str = "switch";
/// Step of a change that waited for room on its node.
const ROOM: &str = "room";
/// Phases in which the agent is at work on it.
const UNDER_WAY: [&str; 5] = ["preparing", "migrating", "checking", "switched", "draining"];

/// How an update ended that did not get where it should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Setback {
    /// Tried and taken back: what served before serves.
    TakenBack { reason: String, message: String },
    /// Neither forward nor back: the database was changed for good, and the new revision does not serve well.
    Halted { message: String },
    /// Node or agent would not take it.
    Refused { code: String, message: String },
}

impl Setback {
    /// Stable.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self {
            Self::TakenBack { reason, .. } => reason,
            Self::Halted { .. } => "halted",
            Self::Refused { code, .. } => code,
        }
    }

    /// What the revision's record says.
    #[must_use]
    pub fn message(&self) -> &str {
        match self {
            Self::TakenBack { message, .. }
            | Self::Halted { message }
            | Self::Refused { message, .. } => message,
        }
    }

    /// What an operator reads, with what to do next.
    #[must_use]
    pub fn sentence(&self, store: &Store) -> String {
        let (name, tried) = (&store.name, store.spec.revision.number);
        let why = match self.message() {
            "" => self.reason().to_owned(),
            message => message.to_owned(),
        };
        match self {
            Self::TakenBack { .. } => format!(
                "revision r{tried} was tried and taken back: {why}. What served before goes on serving. Look at `shopctl store explain {name}`; \
                 mend it and update again"
            ),
            Self::Halted { .. } => format!(
                "revision r{tried} changed the database for good and does not serve well: {why}. Buyers see the maintenance page, and nothing goes \
                 back by itself. Update to a revision that works with this database: `shopctl store update {name} …`"
            ),
            Self::Refused { .. } => format!(
                "revision r{tried} was refused on the store's node: {why}. What served before goes on serving"
            ),
        }
    }
}

/// The update that the agent is at work on, towards the revision that is wanted.
#[must_use]
pub fn under_way<'a>(store: &Store, report: &'a StoreReport) -> Option<&'a UpdateReport> {
    report.update.as_ref().filter(|update| {
        update.to_revision == store.spec.revision.number
            && UNDER_WAY.contains(&update.phase.as_str())
    })
}

/// Number of the revision that serves and is no longer on trial; `None` while that is open or nothing serves.
#[must_use]
pub fn serving(store: &Store) -> Option<u64> {
    let report = current_report(store)?;
    let settled = under_way(store, report).is_none();
    match report.serving_revision {
        // An agent of the release before says nothing of revisions.
        0 if report.state == "running" && report.update.is_none() => {
            Some(store.spec.revision.number)
        }
        0 => None,
        number => settled.then_some(number),
    }
}

/// Whether the wanted revision was a dead end. `asked` is the generation that asked for it last: an older try says nothing.
#[must_use]
pub fn setback(store: &Store, asked: Generation) -> Option<Setback> {
    let wanted = store.spec.revision.number;
    let (agent, node) = (&store.on_agent, &store.on_node);
    if agent.refusal(store.generation) == Some(Refusal::Lasting) {
        // Where the node says the same, it says why.
        let message = if node.refusal().is_some() && node.code == agent.refused_code {
            node.message.clone()
        } else {
            format!(
                "the shop agent refuses generation {} ({})",
                store.generation, agent.refused_code
            )
        };
        let code = agent.refused_code.clone();
        return Some(Setback::Refused { code, message });
    }
    if node.refusal() == Some(Refusal::Lasting) {
        return Some(Setback::Refused {
            code: node.code.clone(),
            message: node.message.clone(),
        });
    }
    let report = current_report(store)?;
    let fits = |revision: u64, generation: u64| {
        revision == wanted && generation >= asked.get() && report.serving_revision != wanted
    };
    let halted = report.update.as_ref().filter(|update| {
        update.phase == "halted" && update.to_revision == wanted && update.generation >= asked.get()
    });
    // Whatever serves then is the maintenance page. It is told as held back as well, and there is nothing to go back to.
    if let Some(update) = halted {
        return Some(Setback::Halted {
            message: update.message.clone(),
        });
    }
    if let Some(held) = &report.held_back
        && fits(held.revision, held.generation)
    {
        return Some(Setback::TakenBack {
            reason: held.reason.clone(),
            message: held.message.clone(),
        });
    }
    let update = report.update.as_ref()?;
    match update.phase.as_str() {
        "rolled_back" if fits(update.to_revision, update.generation) => Some(Setback::TakenBack {
            reason: update.reason.clone(),
            message: update.message.clone(),
        }),
        _ => None,
    }
}

/// Whether a change that leaves the store serving is in place.
#[must_use]
pub fn in_place(store: &Store, kind: OperationKind, status: StoreStatus) -> bool {
    let Some(report) = current_report(store) else {
        // Nowhere, and not to be anywhere: it will come up as it should be then.
        return store.placement.is_none() && store.spec.run_state != RunState::Running;
    };
    match kind {
        OperationKind::Hold | OperationKind::Release | OperationKind::Configure => return true,
        OperationKind::Maintenance => return report.maintenance == store.spec.maintenance,
        _ => {}
    }
    match store.spec.run_state {
        RunState::Stopped => status == StoreStatus::Stopped,
        RunState::Paused => status == StoreStatus::Paused,
        RunState::Running => {
            status == StoreStatus::Running
                && under_way(store, report).is_none()
                && serves_wanted(store, report)
                && (kind != OperationKind::Scale || scaled(store, report))
        }
    }
}

/// An agent of the release before says nothing of revisions.
fn serves_wanted(store: &Store, report: &StoreReport) -> bool {
    report.serving_revision == 0 || report.serving_revision == store.spec.revision.number
}

/// As many replicas of each service are ready as were asked for. Of a service nothing is said, nothing is known.
fn scaled(store: &Store, report: &StoreReport) -> bool {
    let here = |slot: &str| report.serving_slot.is_empty() || report.serving_slot == slot;
    store.spec.scale.iter().all(|(service, wanted)| {
        let of_service = report
            .replicas
            .iter()
            .filter(|replica| replica.key.service == *service)
            .filter(|replica| here(&replica.key.slot.to_string()));
        let (all, ready) = of_service.fold((0_usize, 0_usize), |(all, ready), replica| {
            (all + 1, ready + usize::from(replica.phase == "ready"))
        });
        all == 0 || (ready == usize::from(*wanted) && all == ready)
    })
}

/// What a store that serves while it changes is: as it was, with what goes on as the reason.
#[must_use]
pub fn overlay(store: &Store, seen: Condition) -> Condition {
    let Some(report) = current_report(store) else {
        return seen;
    };
    let halted = report.update.as_ref().is_some_and(|update| {
        update.phase == "halted" && update.to_revision == store.spec.revision.number
    });
    if halted {
        let message = report
            .update
            .as_ref()
            .map(|update| update.message.clone())
            .unwrap_or_default();
        let message = Setback::Halted { message }.sentence(store);
        return Condition::new(StoreStatus::Degraded, "halted", message);
    }
    if !seen.reason.is_empty() || seen.status != StoreStatus::Running {
        return seen;
    }
    if let Some(update) = under_way(store, report) {
        let message = format!(
            "revision r{} takes the place of r{}: {}",
            update.to_revision, update.from_revision, update.phase
        );
        return Condition::new(seen.status, "updating", message);
    }
    if report.maintenance {
        let message = format!(
            "the edge answers with the maintenance page; `shopctl store maintenance off {}` ends it",
            store.name
        );
        return Condition::new(seen.status, "maintenance", message);
    }
    seen
}

/// Steps of a change that leaves the store serving.
pub(super) fn milestones(store: &Store, operation: &Operation, ended_well: bool) -> Vec<Milestone> {
    let delivered = store.on_agent.generation >= store.generation.get();
    let mut milestones = vec![("accepted", true)];
    let waits = store.room_awaited().is_some();
    if waits || operation.steps.iter().any(|step| step.name == ROOM) {
        milestones.push((ROOM, !waits));
    }
    match operation.kind {
        OperationKind::Hold | OperationKind::Release | OperationKind::Configure => {
            milestones.push(("delivered", ended_well));
        }
        OperationKind::Maintenance => {
            milestones.extend([("delivered", delivered), ("shown", ended_well)]);
        }
        OperationKind::Update | OperationKind::Rollback | OperationKind::Rotate => {
            milestones.push(("delivered", delivered));
            milestones.extend(phases(store, operation));
            milestones.push(("serving", ended_well));
        }
        _ => milestones.extend([("delivered", delivered), ("serving", ended_well)]),
    }
    milestones
}

/// The steps of an update, as far as the agent has spoken of any: one that needs no slot has none, one without a migration does not migrate.
fn phases(store: &Store, operation: &Operation) -> Vec<Milestone> {
    let known = |name: &str| operation.steps.iter().find(|step| step.name == name);
    let was_done =
        |name: &str| known(name).is_some_and(|step: &Step| step.state == StepState::Done);
    let report = current_report(store);
    let update = report
        .and_then(|report| report.update.as_ref())
        .filter(|update| update.to_revision == store.spec.revision.number)
        .filter(|update| update.generation >= operation.generation.get());
    if update.is_none() && known(PHASES[0].1).is_none() {
        return Vec::new();
    }
    let at = update.and_then(|update| {
        PHASES
            .iter()
            .position(|(phase, _)| *phase == update.phase)
            .or((update.phase == "done").then_some(PHASES.len()))
    });
    let migrates = update.is_some_and(|update| update.phase == "migrating");
    let switched = update.is_some_and(|update| update.switched_unix_ms > 0);
    let mut steps = Vec::new();
    for (index, (phase, step)) in PHASES.into_iter().enumerate() {
        if phase == "migrating" && !migrates && known(step).is_none() {
            continue;
        }
        if phase == "switched" {
            let done = was_done(SWITCH) || switched || at.is_some_and(|at| at >= index);
            steps.push((SWITCH, done));
        }
        steps.push((step, was_done(step) || at.is_some_and(|at| at > index)));
    }
    steps
}

#[cfg(test)]
mod tests;

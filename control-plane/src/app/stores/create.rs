//! A new store: checked, rendered once, and written with its revision, its operation and its audit entry in one transaction.

use shop_plan::{RENDER_VERSIONS, StorePlan};
use shop_proto::{Digest, Generation, Host, HostName, RunState, SPEC_FORMAT, Spec, StoreId};

use super::{
    allowed,
    amend::admin_path,
    check::{Checked, Partial, check},
    remember, replay,
    room::reservation,
};
use crate::{
    app::{App, AppError, CreateStore, OperationView, Problem},
    db::Tx,
    domain::{
        access::Caller,
        operation::{Deadline, Operation, OperationKind, OperationState},
        revision::{KeptRevision, RevisionState},
        store::{AgentProgress, Lifecycle, NodeProgress, Reservation, Store, StoreStatus},
    },
    operations::settle,
};

/// Characters that keep host names of one store name apart when it is given again later.
const HOST_SUFFIX: usize = 4;
/// Characters of the longest store name.
const STORE_NAME: usize = 40;
/// Characters of the longest base domain that every store's own host name fits under, with its hyphen and its dot.
pub(crate) const LONGEST_BASE_DOMAIN: usize = HostName::LONGEST - STORE_NAME - HOST_SUFFIX - 2;

impl App {
    /// Accepts a new store. It is on its way when this answers; the operation says how far.
    ///
    /// # Errors
    /// Everything that is wrong with the input, at once; then nothing was written.
    pub async fn create_store(
        &self,
        caller: &Caller,
        input: CreateStore,
    ) -> Result<OperationView, AppError> {
        let context = self.context();
        let request = Digest::of_value(&("create", &input));
        let (checked, partial) = check(self, &input);
        let rendered = match checked {
            Ok(checked) => render(self, checked),
            Err(problems) => Err(problems),
        };
        let mut tx = context.db.write().await?;
        let key = input.idempotency_key.as_deref();
        if let Some(before) = replay(self, &mut tx, caller, key, request).await? {
            return Ok(before);
        }
        let mut taken = taken(&mut tx, &input, &partial).await?;
        if let Ok((checked, _, plan)) = &rendered {
            taken.extend(self.images_nowhere(&mut tx, checked, plan).await?);
        }
        let (checked, id, plan) = match rendered {
            Ok(rendered) if taken.is_empty() => rendered,
            Ok(_) => return Err(AppError::Invalid { problems: taken }),
            Err(mut problems) => {
                problems.extend(taken);
                return Err(AppError::Invalid { problems });
            }
        };
        let now = context.clock.now();
        let organisation =
            tx.organisation_of(&checked.project)
                .await?
                .ok_or_else(|| AppError::Invalid {
                    problems: vec![unknown_project()],
                })?;
        let mut store = self.new_store(id, organisation, &checked, &plan);
        let mut operation = Operation {
            id: context.ids.operation(),
            kind: OperationKind::Create,
            organisation: store.organisation.clone(),
            store: store.id.clone(),
            store_name: store.name.clone(),
            generation: store.generation,
            state: OperationState::Pending,
            reason: "queued".to_owned(),
            message: "waits for a node".to_owned(),
            steps: Vec::new(),
            requested_by: caller.actor.clone(),
            requested_reason: input.reason.clone(),
            request_id: caller.request_id.clone(),
            created_at: now,
            started_at: None,
            ended_at: None,
            deadline: Deadline::None,
            change_seq: 0,
        };
        tx.insert_store(&mut store).await?;
        let kept = KeptRevision {
            content: store.spec.revision.clone(),
            template_version: store.template_version.clone(),
            plan_digest: plan.digest(),
            created_by: caller.actor.clone(),
            created_at: now,
            reason: input.reason.clone(),
            state: RevisionState::Pending,
            asked: store.generation,
        };
        tx.insert_revision(&store.id, &kept).await?;
        tx.insert_operation(&mut operation).await?;
        let before = store.clone();
        let settled = settle(&mut tx, &mut store, &before, self.limits(), now).await?;
        remember(&mut tx, caller, key, request, &operation.id, now).await?;
        let subject = format!("store:{}", store.id);
        tx.audit(allowed(caller, "store.create", subject, &input.reason, now))
            .await?;
        tx.commit().await?;
        Ok(OperationView {
            operation: settled.operation.unwrap_or(operation),
            replicas: Vec::new(),
        })
    }

    /// Everything that is wrong with a new store; writes nothing. For the border, which has found faults of its own and tells all at once.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub async fn check_store(&self, input: &CreateStore) -> Result<Vec<Problem>, AppError> {
        let (checked, partial) = check(self, input);
        let rendered = checked.and_then(|checked| render(self, checked));
        let mut tx = self.context().db.read().await?;
        let mut problems = match rendered {
            Ok((checked, _, plan)) => self.images_nowhere(&mut tx, &checked, &plan).await?,
            Err(problems) => problems,
        };
        problems.extend(taken(&mut tx, input, &partial).await?);
        Ok(problems)
    }

    fn new_store(
        &self,
        id: StoreId,
        organisation: String,
        checked: &Checked,
        plan: &StorePlan,
    ) -> Store {
        let context = self.context();
        let now = context.clock.now();
        let own = self.own_host(checked).map(|name| Host {
            name,
            verified: true,
        });
        let custom = checked.hosts.iter().map(|name| Host {
            name: name.clone(),
            verified: false,
        });
        let mut store = Store {
            organisation,
            project: checked.project.clone(),
            name: checked.name.clone(),
            display_name: checked.display_name.clone(),
            environment: checked.environment,
            labels: checked.labels.clone(),
            generation: Generation::FIRST,
            spec: Spec {
                format: SPEC_FORMAT,
                store_name: checked.name.clone(),
                revision: checked.revision.clone(),
                hosts: own.into_iter().chain(custom).collect(),
                scale: checked.scale.clone(),
                run_state: RunState::Running,
                restart_seq: 0,
                maintenance: false,
                hold_until_unix_ms: None,
                watch: None,
                rotations: std::collections::BTreeMap::new(),
            },
            template_version: checked.template.version.clone(),
            admin_path: admin_path(plan),
            render_version: plan.render_version,
            lifecycle: Lifecycle::Live(RunState::Running),
            pinned_node: checked.node.clone(),
            placement: None,
            reserved: Reservation::default(),
            room: None,
            on_node: NodeProgress::default(),
            on_agent: AgentProgress::default(),
            report: None,
            status: StoreStatus::Pending,
            reason: "queued".to_owned(),
            message: "waits for a node".to_owned(),
            created_at: now,
            updated_at: now,
            change_seq: 0,
            id,
        };
        store.reserved = reservation(plan, &store.spec);
        store
    }

    /// `<name>-<suffix>.<base domain>`. `None` only for a base domain that no name fits under, which the configuration refuses.
    fn own_host(&self, checked: &Checked) -> Option<HostName> {
        let context = self.context();
        let suffix = context.ids.base32(HOST_SUFFIX);
        format!("{}-{suffix}.{}", checked.name, context.settings.base_domain)
            .parse()
            .ok()
    }
}

fn render(app: &App, checked: Checked) -> Result<(Checked, StoreId, StorePlan), Vec<Problem>> {
    let id = app.context().ids.store();
    let newest = RENDER_VERSIONS.last().copied().unwrap_or_default();
    match shop_plan::render(&id, &checked.revision, checked.template, newest) {
        Ok(plan) => Ok((checked, id, plan)),
        Err(error) => Err(vec![Problem::at(
            "/template",
            "render_failed",
            error.to_string(),
        )]),
    }
}

fn unknown_project() -> Problem {
    Problem::at(
        "/project",
        "unknown_project",
        "there is no such project; leave it out for the default one",
    )
}

/// What only the database can find wrong.
async fn taken(
    tx: &mut Tx,
    input: &CreateStore,
    partial: &Partial,
) -> Result<Vec<Problem>, AppError> {
    let mut problems = Vec::new();
    let project = match input.project.as_str() {
        "" => "default",
        project => project,
    };
    if tx.organisation_of(project).await?.is_none() {
        problems.push(unknown_project());
    }
    if let Some(name) = &partial.name
        && tx.name_taken(project, name.as_str()).await?
    {
        problems.push(Problem::at(
            "/name",
            "name_taken",
            format!("a store called {name} exists in this project; choose another name"),
        ));
    }
    for (index, host) in &partial.hosts {
        if tx.host_taken(host).await? {
            problems.push(Problem::at(
                format!("/hosts/{index}"),
                "host_taken",
                format!("{host} is another store's"),
            ));
        }
    }
    if let Some(node) = &partial.node
        && tx.node(node).await?.is_none()
    {
        problems.push(Problem::at(
            "/node",
            "unknown_node",
            "there is no such node; see `shopctl node list`",
        ));
    }
    Ok(problems)
}

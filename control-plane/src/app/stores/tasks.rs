//! Running a store's tasks: asked for here, carried out by the store's agent, one after the other where the template says so.

use shop_plan::{StorePlan, TaskPlan};
use shop_proto::{Digest, RunState};

use super::{allowed, check_key, check_reason, remember, replay};
use crate::{
    app::{App, AppError, CancelTask, OperationView, Problem, RunTask, TaskOffer, TasksView},
    db::Tx,
    domain::{
        access::Caller,
        operation::{Deadline, Operation, OperationKind, OperationState},
        store::{Lifecycle, Store},
        task::{TaskRun, TaskState},
    },
};

/// Ended runs of a store that are remembered.
pub(crate) const KEPT: u32 = 100;
/// Runs of a store that may wait or run at once; the agent takes no more either.
const OPEN: usize = 16;
/// Runs in one answer.
const LISTED: u32 = 50;
/// Bytes of all arguments of a run.
const MAX_ARGUMENTS: usize = 8 * 1024;

impl App {
    /// Wants a task of a store run once.
    ///
    /// # Errors
    /// When there is no such store or task, the arguments do not fit, or the store does not run.
    pub async fn run_task(
        &self,
        caller: &Caller,
        input: RunTask,
    ) -> Result<OperationView, AppError> {
        let mut problems = Vec::new();
        check_reason(&input.reason, &mut problems);
        check_key(input.idempotency_key.as_deref(), &mut problems);
        if input.arguments.iter().map(String::len).sum::<usize>() > MAX_ARGUMENTS {
            problems.push(Problem::at(
                "/arguments",
                "too_long",
                format!("arguments have at most {MAX_ARGUMENTS} bytes together"),
            ));
        }
        if !problems.is_empty() {
            return Err(AppError::Invalid { problems });
        }
        let key = input.idempotency_key.as_deref();
        let asked = (
            "task",
            &input.store,
            &input.task,
            &input.arguments,
            &input.reason,
        );
        let request = Digest::of_value(&asked);
        let context = self.context();
        let mut tx = context.db.write().await?;
        if let Some(before) = replay(self, &mut tx, caller, key, request).await? {
            return Ok(before);
        }
        let store = self.found(&mut tx, &input.store).await?;
        runs(&store)?;
        let plan = self.plan_of(&store)?;
        let task = runnable(&store, &plan, &input)?;
        task.check(&input.arguments)
            .map_err(|problems| AppError::Invalid {
                problems: problems
                    .into_iter()
                    .map(|problem| {
                        let pointer = format!("/arguments/{}", problem.index);
                        Problem::at(pointer, problem.code.as_str(), problem.message)
                    })
                    .collect(),
            })?;
        room(&mut tx, &store).await?;
        let operation = self.begin_task(&mut tx, caller, &input, &store).await?;
        remember(
            &mut tx,
            caller,
            key,
            request,
            &operation.id,
            context.clock.now(),
        )
        .await?;
        let view = self.operation_view(&mut tx, operation).await?;
        tx.commit().await?;
        Ok(view)
    }

    async fn begin_task(
        &self,
        tx: &mut Tx,
        caller: &Caller,
        input: &RunTask,
        store: &Store,
    ) -> Result<Operation, AppError> {
        let context = self.context();
        let now = context.clock.now();
        let run = TaskRun {
            store: store.id.clone(),
            id: context.ids.operation(),
            task: input.task.clone(),
            arguments: input.arguments.clone(),
            scheduled: false,
            requested_by: caller.actor.clone(),
            state: TaskState::Pending,
            cancel: false,
            exit_code: None,
            message: String::new(),
            created_at: now,
            started_at: None,
            ended_at: None,
        };
        let mut operation = run.operation(&Operation {
            id: run.id.clone(),
            kind: OperationKind::Task,
            organisation: store.organisation.clone(),
            store: store.id.clone(),
            store_name: store.name.clone(),
            generation: store.generation,
            state: OperationState::Pending,
            reason: String::new(),
            message: String::new(),
            steps: Vec::new(),
            requested_by: caller.actor.clone(),
            requested_reason: input.reason.clone(),
            request_id: caller.request_id.clone(),
            created_at: now,
            started_at: None,
            ended_at: None,
            deadline: Deadline::None,
            change_seq: 0,
        });
        tx.insert_operation(&mut operation).await?;
        tx.insert_task_run(&run, KEPT).await?;
        let (action, subject) = (
            format!("task.run {}", run.task),
            format!("store:{}", store.id),
        );
        tx.audit(allowed(caller, &action, subject, &input.reason, now))
            .await?;
        Ok(operation)
    }

    /// Wants a run ended before its time. One that has ended stays as it ended.
    ///
    /// # Errors
    /// When there is no such run of an operator.
    pub async fn cancel_task(
        &self,
        caller: &Caller,
        input: CancelTask,
    ) -> Result<OperationView, AppError> {
        let mut problems = Vec::new();
        check_reason(&input.reason, &mut problems);
        if !problems.is_empty() {
            return Err(AppError::Invalid { problems });
        }
        let context = self.context();
        let now = context.clock.now();
        let mut tx = context.db.write().await?;
        let missing = || AppError::NotFound {
            what: "run of a task",
            name: input.operation.chars().take(80).collect(),
        };
        let before = tx
            .operation(&input.operation)
            .await?
            .filter(|operation| operation.kind == OperationKind::Task)
            .ok_or_else(missing)?;
        let mut run = tx
            .task_run(&before.store, &before.id)
            .await?
            .ok_or_else(missing)?;
        if run.state.ended() || run.cancel {
            return self.operation_view(&mut tx, before).await;
        }
        run.cancel = true;
        tx.save_task_run(&run).await?;
        let mut operation = run.operation(&before);
        tx.save_operation(&mut operation).await?;
        let subject = format!("store:{}", run.store);
        tx.audit(allowed(caller, "task.cancel", subject, &input.reason, now))
            .await?;
        let view = self.operation_view(&mut tx, operation).await?;
        tx.commit().await?;
        Ok(view)
    }

    /// The tasks that a store offers, and its runs, newest first.
    ///
    /// # Errors
    /// When there is no such store.
    pub async fn list_tasks(&self, store: &str) -> Result<TasksView, AppError> {
        let mut tx = self.context().db.read().await?;
        let store = self.found(&mut tx, store).await?;
        let runs = tx.task_runs(&store.id, LISTED).await?;
        // A template that is no more offers nothing, but its runs are history all the same.
        let tasks = self
            .plan_of(&store)
            .map_or_else(|_| Vec::new(), |plan| offers(&plan));
        Ok(TasksView { tasks, runs })
    }

    /// What the store's revision renders to.
    fn plan_of(&self, store: &Store) -> Result<StorePlan, AppError> {
        let revision = &store.spec.revision;
        self.context()
            .catalogue
            .by_digest(&revision.template_digest)
            .and_then(|template| {
                shop_plan::render(&store.id, revision, template, store.render_version).ok()
            })
            .ok_or_else(|| {
                let name = &store.name;
                AppError::conflict(
                    "template_unknown",
                    format!("this release does not know the template of store {name}; update the store first"),
                )
            })
    }
}

fn runs(store: &Store) -> Result<(), AppError> {
    let name = &store.name;
    match store.lifecycle {
        Lifecycle::Live(RunState::Running) => Ok(()),
        Lifecycle::Live(RunState::Stopped) => Err(AppError::conflict(
            "store_stopped",
            format!("store {name} is stopped; start it with `shopctl store start {name}`"),
        )),
        Lifecycle::Live(RunState::Paused) => Err(AppError::conflict(
            "store_paused",
            format!("store {name} is paused; wake it with `shopctl store wake {name}`"),
        )),
        Lifecycle::Grace { .. } | Lifecycle::Deleting | Lifecycle::Deleted => Err(
            AppError::conflict("store_deleting", format!("store {name} is being deleted")),
        ),
    }
}

fn runnable<'p>(
    store: &Store,
    plan: &'p StorePlan,
    input: &RunTask,
) -> Result<&'p TaskPlan, AppError> {
    let wrong = |code, message: String| AppError::Invalid {
        problems: vec![Problem::at("/task", code, message)],
    };
    let offered = || {
        let names: Vec<String> = offers(plan).into_iter().map(|offer| offer.name).collect();
        format!("{} offers: {}", store.name, names.join(", "))
    };
    let found = plan
        .tasks
        .iter()
        .find(|task| task.name.as_str() == input.task);
    let task =
        found.ok_or_else(|| wrong("task_unknown", format!("no such task; {}", offered())))?;
    if by_itself(plan, task) {
        let message = format!(
            "{} runs by itself when it is needed; {}",
            task.name,
            offered()
        );
        return Err(wrong("task_internal", message));
    }
    Ok(task)
}

/// Not for operators: it belongs to setting up or to an update.
fn by_itself(plan: &StorePlan, task: &TaskPlan) -> bool {
    task.once
        || plan
            .update
            .as_ref()
            .is_some_and(|update| update.task == task.name)
}

async fn room(tx: &mut Tx, store: &Store) -> Result<(), AppError> {
    let open = tx.task_runs(&store.id, LISTED).await?;
    let open = open.iter().filter(|run| !run.state.ended()).count();
    if open < OPEN {
        return Ok(());
    }
    let name = &store.name;
    Err(AppError::Exhausted {
        code: "too_many_tasks",
        message: format!(
            "{open} tasks of store {name} wait or run already; see `shopctl store task list {name}`"
        )
        .into(),
    })
}

fn offers(plan: &StorePlan) -> Vec<TaskOffer> {
    plan.tasks
        .iter()
        .filter(|task| !by_itself(plan, task))
        .map(|task| TaskOffer {
            name: task.name.to_string(),
            arguments: task.arguments.clone(),
            schedules: plan
                .cron
                .iter()
                .filter(|cron| cron.task == task.name)
                .map(|cron| cron.when.to_string())
                .collect(),
            timeout: task.timeout,
        })
        .collect()
}

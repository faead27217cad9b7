//! Tasks of a store: asked for once, told until their end is recorded, beside whatever else is asked of the store.

use shop_proto::wire::{
    admin::v1 as api,
    agent::v1::{self as wire, agent_message::Message as Up, control_message::Message as Down},
};
use tonic::Code;

use crate::{
    node::{Node, Script},
    world::{World, until},
};

struct Told {
    world: World,
    node: Node,
    store: String,
}

fn wish(task: &str, arguments: &[&str]) -> api::RunTaskRequest {
    api::RunTaskRequest {
        store: "demo".to_owned(),
        task: task.to_owned(),
        arguments: arguments.iter().map(|it| (*it).to_owned()).collect(),
        reason: "a story".to_owned(),
        idempotency_key: String::new(),
    }
}

impl Told {
    async fn new() -> Self {
        let world = World::start().await;
        let node = world.node_with("one", Script::default()).await;
        let store = world.api.create("demo").await.store_id;
        world.api.until_status("demo", "running").await;
        Self { world, node, store }
    }

    async fn run(&self, task: &str) -> api::Operation {
        let request = wish(task, &[]);
        self.world
            .api
            .grpc()
            .run_task(request)
            .await
            .unwrap()
            .into_inner()
    }

    async fn tasks(&self) -> api::ListTasksResponse {
        let request = api::ListTasksRequest {
            store: "demo".to_owned(),
        };
        self.world
            .api
            .grpc()
            .list_tasks(request)
            .await
            .unwrap()
            .into_inner()
    }

    fn heard(&self) -> Vec<Down> {
        self.node.shop(&self.store, |shop| shop.tasks()).unwrap()
    }

    /// Waits until the agent was told so.
    async fn until_heard(&self, what: &str, like: impl Fn(&Down) -> bool) {
        until(what, async || {
            let heard = self.heard();
            if heard.iter().any(&like) {
                Ok(())
            } else {
                Err(format!("{heard:?}"))
            }
        })
        .await;
    }

    async fn until_asked(&self, id: &str) {
        let asked = |order: &Down| matches!(order, Down::RunTask(run) if run.operation_id == id);
        self.until_heard("the agent is asked", asked).await;
    }

    fn say(&self, message: Up) {
        self.node
            .shop(&self.store, |shop| shop.speak(message))
            .unwrap();
    }

    fn status(&self, id: &str, state: &str) {
        self.say(Up::TaskStatus(wire::TaskStatus {
            operation_id: id.to_owned(),
            task: "cron".to_owned(),
            state: state.to_owned(),
            at_unix_ms: 1_700_000_000_000,
            scheduled: false,
        }));
    }

    fn result(&self, id: &str, outcome: &str, exit_code: i32) {
        self.say(Up::TaskResult(wire::TaskResult {
            operation_id: id.to_owned(),
            task: "cron".to_owned(),
            outcome: outcome.to_owned(),
            exit_code,
            has_exit_code: true,
            started_unix_ms: 1_700_000_000_000,
            ended_unix_ms: 1_700_000_001_000,
            scheduled: id.starts_with("cron-"),
            ..wire::TaskResult::default()
        }));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_from_its_wish_to_its_recorded_end() {
    let told = Told::new().await;
    let offered: Vec<String> = told
        .tasks()
        .await
        .tasks
        .into_iter()
        .map(|it| it.name)
        .collect();
    assert!(offered.contains(&"cron".to_owned()), "{offered:?}");
    assert!(!offered.contains(&"install".to_owned()), "{offered:?}");

    let operation = told.run("cron").await;
    assert_eq!(
        (operation.kind.as_str(), operation.state.as_str()),
        ("task", "pending")
    );
    told.until_asked(&operation.id).await;
    told.status(&operation.id, "running");
    told.world
        .api
        .until_operation(&operation.id, "running")
        .await;
    // Beside it, something else is done to the store.
    let stop = told.world.api.stop("demo").await;
    told.world.api.until_operation(&stop.id, "succeeded").await;
    told.result(&operation.id, "failed", 3);
    let ended = told
        .world
        .api
        .until_operation(&operation.id, "failed")
        .await;
    assert_eq!(ended.reason, "task_failed");
    assert!(ended.message.contains("exit code 3"), "{}", ended.message);
    let recorded =
        |order: &Down| matches!(order, Down::TaskRecorded(it) if it.operation_id == operation.id);
    told.until_heard("it is recorded", recorded).await;
    // Said late or otherwise, it stays as it ended.
    told.status(&operation.id, "running");
    told.result(&operation.id, "done", 0);
    let runs = told.tasks().await.runs;
    assert_eq!(
        (runs.len(), runs[0].state.as_str(), runs[0].exit_code),
        (1, "failed", 3)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_schedule_ran_is_history_and_no_operation() {
    let told = Told::new().await;
    told.result("cron-1700000000-cron", "done", 0);
    let runs = until("the run is shown", async || {
        let runs = told.tasks().await.runs;
        if runs.is_empty() {
            Err("none".to_owned())
        } else {
            Ok(runs)
        }
    })
    .await;
    assert!(runs[0].scheduled && runs[0].requested_by.is_empty());
    let missing = told
        .world
        .api
        .operation("cron-1700000000-cron")
        .await
        .unwrap_err();
    assert_eq!(missing.code(), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_fit_is_refused_before_anybody_is_asked() {
    let told = Told::new().await;
    for (request, place) in [
        (wish("nothing", &[]), "/task"),
        (wish("install", &[]), "/task"),
        (wish("cron", &["--all"]), "/arguments/0"),
    ] {
        let refused = told.world.api.grpc().run_task(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        let (_, problems) = crate::api::told(&refused);
        assert_eq!(problems[0].0, place, "{problems:?}");
    }
    told.world.api.stop("demo").await;
    let refused = told.world.api.grpc().run_task(wish("cron", &[])).await;
    assert_eq!(refused.unwrap_err().code(), Code::Aborted);
    assert!(told.heard().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_is_cancelled_by_its_agent_and_ends_with_its_store() {
    let told = Told::new().await;
    let (first, second) = (told.run("cron").await, told.run("cron").await);
    told.until_asked(&second.id).await;
    let request = api::CancelTaskRequest {
        run: first.id.clone(),
        reason: String::new(),
    };
    told.world.api.grpc().cancel_task(request).await.unwrap();
    let asked = |order: &Down| matches!(order, Down::CancelTask(it) if it.operation_id == first.id);
    told.until_heard("the agent is asked to end it", asked)
        .await;
    told.result(&first.id, "cancelled", 143);
    told.world.api.until_operation(&first.id, "cancelled").await;
    told.world.api.delete("demo").await;
    let ended = told
        .world
        .api
        .until_operation(&second.id, "cancelled")
        .await;
    assert!(ended.message.contains("deleted"), "{}", ended.message);
}

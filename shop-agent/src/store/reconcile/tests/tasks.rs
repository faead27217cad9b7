//! Runs that operators ask for: once, whatever is repeated, lost or killed.

use super::*;
use crate::ledger::{Ending, RunOutcome, Stage};

const ID: &str = "0199a000-0000-7000-8000-000000000001";

impl Agent {
    async fn about_run(&self, about: AboutRun) -> Result<(), &'static str> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Run(about, reply);
        self.commands.send(command).await.unwrap();
        answer.await.unwrap()
    }

    async fn ask(&self, task: &str) -> Result<(), &'static str> {
        self.about_run(AboutRun::Ask(AskedRun {
            id: ID.to_owned(),
            task: task.to_owned(),
            arguments: Vec::new(),
        }))
        .await
    }

    /// Waits until the run is like this.
    async fn until_run(&mut self, like: impl Fn(&Stage) -> bool) -> Stage {
        let deadline = Instant::now() + Duration::from_secs(600);
        loop {
            let found = self
                .runs
                .borrow_and_update()
                .iter()
                .find(|run| run.id == ID)
                .map(|run| run.stage.clone());
            match found {
                Some(stage) if like(&stage) => return stage,
                last => tokio::time::timeout_at(deadline, self.runs.changed())
                    .await
                    .unwrap_or_else(|_| panic!("last: {last:?}"))
                    .unwrap(),
            }
        }
    }

    async fn until_ended(&mut self) -> Ending {
        match self
            .until_run(|stage| matches!(stage, Stage::Ended(_)))
            .await
        {
            Stage::Ended(ending) => ending,
            other => panic!("{other:?}"),
        }
    }
}

impl Machine {
    fn runs_of(&self, task: &str) -> usize {
        let begun = format!("task {task} {ID}");
        let calls = self.engine.calls();
        calls.iter().filter(|call| **call == begun).count()
    }

    /// A task that operators may run.
    fn task(&self) -> String {
        let mut tasks = self.plan.tasks.iter();
        let task = tasks.find(|task| !task.once && task.arguments.is_empty());
        task.expect("refshop has one").name.to_string()
    }
}

#[tokio::test(start_paused = true)]
async fn a_wish_said_three_times_is_one_run_and_its_end_is_told_until_it_is_recorded() {
    let (machine, mut agent) = provisioned().await;
    let task = machine.task();
    machine.engine.task_ends(&task, 3);
    for _ in 0..3 {
        agent.ask(&task).await.unwrap();
    }
    let ending = agent.until_ended().await;
    assert_eq!(
        (ending.outcome, ending.exit_code),
        (RunOutcome::Failed, Some(3))
    );
    agent.ask(&task).await.unwrap();
    assert_eq!(machine.runs_of(&task), 1);
    agent.dies().await;
    let mut next = machine.agent();
    assert_eq!(next.until_ended().await, ending);
    next.about_run(AboutRun::Recorded(ID.to_owned()))
        .await
        .unwrap();
    next.runs.changed().await.unwrap();
    assert!(next.runs.borrow().is_empty());
    next.ask(&task).await.unwrap();
    assert_eq!(machine.runs_of(&task), 1, "recorded is not forgotten");
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_dies_in_a_run_attaches_to_it() {
    let (machine, mut agent) = provisioned().await;
    let task = machine.task();
    machine.engine.task_lasts(&task);
    agent.ask(&task).await.unwrap();
    agent
        .until_run(|stage| matches!(stage, Stage::Running { .. }))
        .await;
    while machine.runs_of(&task) == 0 {
        tokio::task::yield_now().await;
    }
    agent.dies().await;
    let mut next = machine.agent();
    while machine.runs_of(&task) < 2 {
        tokio::task::yield_now().await;
    }
    let of_task = |call: &&String| call.starts_with(&format!("task {task} "));
    let ids: BTreeSet<String> = machine
        .engine
        .calls()
        .iter()
        .filter(of_task)
        .cloned()
        .collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    let cancel = AboutRun::Cancel(ID.to_owned(), task.clone());
    next.about_run(cancel).await.unwrap();
    let ending = next.until_ended().await;
    assert_eq!(
        (ending.outcome, ending.exit_code),
        (RunOutcome::Cancelled, Some(143))
    );
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_of_the_node_is_asked_for_again_and_runs_nothing_twice() {
    for fault in [Fault::Fails, Fault::AnswerLost] {
        let (machine, mut agent) = provisioned().await;
        let task = machine.task();
        machine.engine.fault(&format!("task {task} {ID}"), fault);
        agent.ask(&task).await.unwrap();
        assert_eq!(agent.until_ended().await.outcome, RunOutcome::Done);
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_plan_does_not_allow_is_refused_and_stays_refused() {
    let (machine, mut agent) = provisioned().await;
    agent.ask("install").await.unwrap();
    let ending = agent.until_ended().await;
    assert_eq!(ending.outcome, RunOutcome::Refused);
    assert!(ending.message.contains("by itself"), "{ending:?}");
    assert_eq!(machine.runs_of("install"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_cancel_that_overtakes_its_wish_wins() {
    let (machine, mut agent) = provisioned().await;
    let task = machine.task();
    let cancel = AboutRun::Cancel(ID.to_owned(), task.clone());
    agent.about_run(cancel).await.unwrap();
    agent.ask(&task).await.unwrap();
    assert_eq!(agent.until_ended().await.outcome, RunOutcome::Cancelled);
    assert_eq!(machine.runs_of(&task), 0);
}

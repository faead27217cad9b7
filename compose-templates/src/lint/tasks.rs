//! Rules of tasks: what may be said to them, and which run with nobody there.

use std::collections::BTreeSet;

use shop_proto::ServiceName;

use super::Lint;
use crate::{TaskPlan, When};

/// Arguments of a task.
const MAX_ARGUMENTS: usize = 16;

impl Lint<'_> {
    /// Scheduled tasks, and the one that migrates.
    pub(super) fn by_themselves(&mut self) {
        let plan = self.plan;
        let mut scheduled = BTreeSet::new();
        for cron in &plan.cron {
            self.require(
                scheduled.insert(&cron.task),
                &cron.task,
                "has one schedule only",
            );
            let fits = plan.task(&cron.task).is_some_and(|task| !task.once);
            self.require(
                fits,
                &cron.task,
                "is scheduled, so it is a task that runs more than once",
            );
            let rare = match &cron.when {
                When::Every(every) => every.as_secs() >= 10,
                When::Cron { .. } => true,
            };
            self.require(rare, &cron.task, "runs every 10 seconds at most");
            self.runs_alone(&cron.task);
        }
        if let Some(update) = &plan.update {
            let task = plan.task(&update.task);
            self.require(
                task.is_some_and(|task| !task.once && task.idempotent && task.exclusive),
                &update.task,
                "migrates, so it is an idempotent, exclusive task that runs more than once",
            );
            self.runs_alone(&update.task);
            self.require(
                (1..=update.schema).contains(&update.works_from),
                &update.task,
                "migrates to a schema that its own code works on",
            );
        }
    }

    /// A task that nobody types needs no argument.
    fn runs_alone(&mut self, name: &ServiceName) {
        let fits = self
            .plan
            .task(name)
            .is_none_or(|task| task.check(&[]).is_ok());
        self.require(fits, name, "runs by itself, so it needs no arguments");
    }

    pub(super) fn arguments(&mut self, task: &TaskPlan) {
        self.require(
            task.arguments.len() <= MAX_ARGUMENTS && task.arguments_are_distinct(),
            &task.name,
            "takes 16 arguments at most, each with its own name",
        );
        let defaults = task.arguments.iter().map(|a| a.default.is_some());
        self.require(
            defaults.is_sorted(),
            &task.name,
            "has arguments with a default after those without",
        );
        self.require(
            !task.once || task.check(&[]).is_ok(),
            &task.name,
            "runs once by itself, so it needs no arguments",
        );
        self.require(
            task.arguments.is_empty() || task.container.command.is_some(),
            &task.name,
            "has a command that its arguments follow",
        );
    }
}

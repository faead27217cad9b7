//! Tasks: what may be said to them, when they run by themselves, and which one migrates.

use std::{collections::BTreeSet, time::Duration};

use shop_proto::ServiceName;

use super::{References, line_of};
use crate::{
    When,
    manifest::{CronEntry, Manifest, TaskEntry, UpdateEntry, plan_name},
};

/// Arguments of a task.
const MAX_ARGUMENTS: usize = 16;
/// Shortest interval.
const SHORTEST: Duration = Duration::from_secs(10);

impl References<'_> {
    pub(super) fn tasks(&mut self, manifest: &Manifest) {
        for (key, entry) in &manifest.tasks {
            self.arguments(&key.0, entry);
        }
        let mut scheduled = BTreeSet::new();
        for entry in &manifest.cron {
            let first = scheduled.insert(&entry.value.task);
            self.cron(manifest, line_of(entry), &entry.value, first);
        }
        if let Some(update) = &manifest.update {
            self.update(manifest, line_of(update), &update.value);
        }
    }

    fn arguments(&mut self, key: &str, entry: &TaskEntry) {
        let mut names = BTreeSet::new();
        let mut optional = false;
        for (index, argument) in entry.arguments.iter().enumerate() {
            let (line, argument) = (line_of(argument), &argument.value.0);
            self.require(index < MAX_ARGUMENTS, line, "arguments", || {
                format!("task {key} has more than {MAX_ARGUMENTS}")
            });
            self.require(names.insert(&argument.name), line, "name", || {
                format!("task {key} has two arguments called {}", argument.name)
            });
            let required = argument.default.is_none();
            self.require(!required || !optional, line, "default", || {
                format!(
                    "{} needs a default: an argument before it has one",
                    argument.name
                )
            });
            self.require(!required || !entry.once, line, "default", || {
                format!(
                    "{} needs a default: task {key} runs once by itself",
                    argument.name
                )
            });
            optional |= !required;
        }
    }

    fn cron(&mut self, manifest: &Manifest, line: u64, entry: &CronEntry, first: bool) {
        let name = &entry.task;
        self.require(first, line, "cron", || {
            format!("task {name} has a schedule already")
        });
        let tasks = named(manifest, name);
        self.require(!tasks.is_empty(), line, "cron", || {
            format!("there is no task {name}")
        });
        for task in tasks {
            self.require(!task.once, line, "cron", || {
                format!("task {name} runs once in a store's life")
            });
            self.needs_no_arguments(line, "cron", name, task);
        }
        if let When::Every(every) = &entry.when {
            self.require(*every >= SHORTEST, line, "every", || {
                format!("a task runs every {} s at most", SHORTEST.as_secs())
            });
        }
    }

    fn update(&mut self, manifest: &Manifest, line: u64, update: &UpdateEntry) {
        let UpdateEntry {
            task: name,
            schema,
            works_from,
        } = update;
        let tasks = named(manifest, name);
        self.require(!tasks.is_empty(), line, "update", || {
            format!("there is no task {name}")
        });
        for task in tasks {
            self.require(task.idempotent, line, "idempotent", || {
                format!("task {name} migrates, so it must say `idempotent: true`, and be it: it is run again after a crash")
            });
            self.require(!task.once, line, "once", || {
                format!("task {name} migrates, so it runs more than once in a store's life")
            });
            self.require(task.exclusive, line, "exclusive", || {
                format!("task {name} migrates, so no two of it may run at a time")
            });
            self.require(task.when.is_empty(), line, "when", || {
                format!("task {name} migrates, so it exists under every choice of profiles")
            });
            self.needs_no_arguments(line, "update", name, task);
        }
        self.require(*schema >= 2, line, "schema", || {
            "a template without `update` has schema 1; one with it has 2 or more".to_owned()
        });
        let good = (1..=*schema).contains(works_from);
        self.require(good, line, "works_from", || {
            format!("is the oldest schema whose code still works: 1 to {schema}")
        });
    }

    fn needs_no_arguments(&mut self, line: u64, what: &str, name: &ServiceName, task: &TaskEntry) {
        let alone = task
            .arguments
            .iter()
            .all(|argument| argument.value.0.default.is_some());
        self.require(alone, line, what, || {
            format!("task {name} has arguments without a default, and nobody is there to give them")
        });
    }
}

/// The tasks of a name; there are several where profiles decide.
fn named<'m>(manifest: &'m Manifest, name: &ServiceName) -> Vec<&'m TaskEntry> {
    manifest
        .tasks
        .iter()
        .filter(|(key, entry)| plan_name(entry.name.as_ref(), key).as_ref() == Some(name))
        .map(|(_, entry)| entry)
        .collect()
}

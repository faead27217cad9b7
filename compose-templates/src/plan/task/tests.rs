//! Arguments as they are said, and forms that must not change.

use super::*;
use crate::Catalogue;

fn task(arguments: Vec<ArgumentPlan>) -> TaskPlan {
    let refshop = Catalogue::builtin().find("refshop@1").expect("a template");
    let choices = crate::Choices::default();
    let revision = refshop
        .revision(1, &choices, shop_proto::Isolation::Standard)
        .expect("defaults fit");
    let store = "k3v9q2m8x1aa".parse().expect("a store id");
    let plan = crate::render(&store, &revision, refshop, 1).expect("a plan");
    let reindex = plan.task(&"reindex".parse().expect("a name"));
    TaskPlan {
        arguments,
        ..reindex.expect("a task").clone()
    }
}

fn argument(name: &str, kind: ParameterKind, default: Option<&str>) -> ArgumentPlan {
    ArgumentPlan {
        name: name.to_owned(),
        kind,
        default: default.map(str::to_owned),
        description: String::new(),
    }
}

fn words(said: &[&str]) -> Vec<String> {
    said.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn arguments_become_single_words_and_defaults_fill_in() {
    let task = task(vec![
        argument("product", ParameterKind::Text { max_length: 20 }, None),
        argument("days", ParameterKind::Int { min: -1, max: 9 }, Some("7")),
    ]);
    assert_eq!(
        task.command_line(&words(&["a; rm -rf /"])),
        Ok(words(&["bin/shop", "reindex", "a; rm -rf /", "7"]))
    );
    assert_eq!(
        task.command_line(&words(&["$(id)", "-1"])),
        Ok(words(&["bin/shop", "reindex", "$(id)", "-1"]))
    );
}

#[test]
fn every_problem_is_told_at_once() {
    let task = task(vec![
        argument("product", ParameterKind::Text { max_length: 3 }, None),
        argument("days", ParameterKind::Int { min: 1, max: 9 }, None),
        argument("how", ParameterKind::Text { max_length: 9 }, Some("x")),
    ]);
    let codes = |said: &[&str]| -> Vec<(usize, &str)> {
        let problems = task.check(&words(said)).expect_err("it does not fit");
        problems
            .iter()
            .map(|problem| (problem.index, problem.code.as_str()))
            .collect()
    };
    assert_eq!(
        codes(&["long", "x", "--force", "more"]),
        [
            (0, "argument_range"),
            (1, "argument_type"),
            (2, "argument_type"),
            (3, "argument_unknown")
        ]
    );
    assert_eq!(
        codes(&[]),
        [(0, "argument_missing"), (1, "argument_missing")]
    );
    assert_eq!(codes(&["a", "10"]), [(1, "argument_range")]);
    // What a person reads never repeats what was said.
    let problems = task.check(&words(&["hunter2", "5"])).expect_err("too long");
    assert_eq!(
        problems[0].to_string(),
        "argument 1: product must be 1 to 3 characters"
    );
}

#[test]
fn a_task_without_arguments_takes_none_and_is_written_as_ever() {
    let plain = task(Vec::new());
    assert!(plain.check(&[]).is_ok() && plain.check(&words(&["x"])).is_err());
    let text = serde_json::to_string(&plain).expect("it serialises");
    assert!(!text.contains("arguments") && !text.contains("exclusive"));
    let shared = TaskPlan {
        exclusive: false,
        ..plain
    };
    let text = serde_json::to_string(&shared).expect("it serialises");
    assert_eq!(serde_json::from_str::<TaskPlan>(&text).ok(), Some(shared));
}

#[test]
fn schedules_keep_the_form_they_had() {
    let read = |text: &str| serde_json::from_str::<CronPlan>(text);
    let every = r#"{"task":"cron","every":{"secs":60,"nanos":0}}"#;
    let timed = r#"{"task":"cron","schedule":"*/5 * * * *","time_zone":"Europe/Berlin"}"#;
    for text in [every, timed] {
        let cron = read(text).expect("a schedule");
        assert_eq!(serde_json::to_string(&cron).ok().as_deref(), Some(text));
    }
    for bad in [
        r#"{"task":"cron"}"#,
        r#"{"task":"cron","schedule":"* * * * *"}"#,
        r#"{"task":"cron","every":{"secs":1,"nanos":0},"schedule":"* * * * *","time_zone":"UTC"}"#,
        r#"{"task":"cron","schedule":"* * * *","time_zone":"UTC"}"#,
    ] {
        assert!(read(bad).is_err(), "{bad}");
    }
}

//! Schemas, schedules and arguments in a template: what is accepted, and what the author of a wrong one reads.

use shop_plan::{
    ArgumentCode, Catalogue, Choices, Migration, StorePlan, Template, TemplateProblem, When,
    render, transition,
};
use shop_proto::Isolation;

const COMPOSE: &str = include_str!("../refshop/2/compose.yaml");

fn plan(reference: &str) -> StorePlan {
    let template = Catalogue::builtin().find(reference).expect("a template");
    let revision = template
        .revision(1, &Choices::default(), Isolation::Standard)
        .expect("defaults fit");
    let store = "k3v9q2m8x1aa".parse().expect("a store id");
    render(&store, &revision, template, 1).expect("it renders")
}

/// The refusal of release 2 with one change, and the line the change is in.
fn refused(from: &str, to: &str) -> (TemplateProblem, u64) {
    assert!(COMPOSE.contains(from), "{from}");
    let text = COMPOSE.replacen(from, to, 1);
    let line = 1 + text[..text.find(to).expect("it is there")]
        .matches('\n')
        .count() as u64;
    let error =
        Template::parse("refshop/2", &[("compose.yaml", &text)]).expect_err("it must be refused");
    let problem = error.problems.into_iter().next();
    (problem.expect("a refusal has a problem"), line)
}

#[test]
fn the_releases_of_refshop_are_two_kinds_of_update() {
    let (one, two, three) = (plan("refshop@1"), plan("refshop@2"), plan("refshop@3"));
    assert_eq!(transition(&one, &two).migration, Migration::Reversible);
    assert_eq!(transition(&two, &three).migration, Migration::Irreversible);
    assert!(!transition(&two, &one).back_refused && transition(&three, &two).back_refused);
    // What keeps the shop's data is not touched by any of them.
    for change in transition(&one, &three).services {
        assert!(
            change.kind.slotted() || change.fields.is_empty(),
            "{change:?}"
        );
    }
}

#[test]
fn tasks_say_what_may_be_said_to_them() {
    let two = plan("refshop");
    let stock = two.task(&"stock".parse().expect("a name")).expect("a task");
    let words = |said: &[&str]| {
        said.iter()
            .map(|word| (*word).to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        stock.command_line(&words(&["morning-mug", "12"])),
        Ok(words(&["bin/shop", "stock", "morning-mug", "12"]))
    );
    let problems = stock
        .check(&words(&["morning-mug", "-1"]))
        .expect_err("too few");
    assert_eq!(
        (problems[0].index, problems[0].code),
        (1, ArgumentCode::Range)
    );
    let report = two
        .task(&"report".parse().expect("a name"))
        .expect("a task");
    assert_eq!(
        report.command_line(&[]),
        Ok(words(&["bin/shop", "report", "7"]))
    );
    assert!(stock.exclusive && !report.exclusive);
    let zones: Vec<String> = two.cron.iter().map(|cron| cron.when.to_string()).collect();
    assert_eq!(zones, ["every 60 s", "30 3 * * * Europe/Berlin"]);
    assert!(matches!(plan("refshop@1").cron[0].when, When::Every(_)));
}

#[test]
fn what_is_wrong_is_refused_with_its_line_and_reason() {
    let update = "update: {task: migrate, schema: 2, works_from: 1}";
    let cron = r#"{task: reindex, schedule: "30 3 * * *", time_zone: Europe/Berlin}"#;
    let product = "{name: product, type: text, max_length: 80,";
    let days = "{name: days, type: int, min: 1, max: 3650, default: 7,";
    for (from, to, attribute, word) in [
        (
            update,
            "update: {task: nothing, schema: 2, works_from: 1}",
            "update",
            "no task",
        ),
        (
            update,
            "update: {task: install, schema: 2, works_from: 1}",
            "idempotent",
            "must say",
        ),
        (
            update,
            "update: {task: reindex, schema: 2, works_from: 1}",
            "idempotent",
            "must say",
        ),
        (
            update,
            "update: {task: migrate, schema: 1, works_from: 1}",
            "schema",
            "2 or more",
        ),
        (
            update,
            "update: {task: migrate, schema: 2, works_from: 3}",
            "works_from",
            "1 to 2",
        ),
        (
            update,
            "update: {task: migrate, schema: 2, works_from: 0}",
            "works_from",
            "1 to 2",
        ),
        (
            update,
            "update: {task: migrate, schema: two, works_from: 1}",
            "schema",
            "",
        ),
        (
            update,
            "update: {task: migrate, schema: 2}",
            "works_from",
            "missing",
        ),
        (
            update,
            "update: {task: migrate, schema: 2, works_from: 1, undo: x}",
            "undo",
            "subset",
        ),
        (
            cron,
            r#"{task: reindex, schedule: "30 3 * *", time_zone: UTC}"#,
            "schedule",
            "five fields",
        ),
        (
            cron,
            r#"{task: reindex, schedule: "61 3 * * *", time_zone: UTC}"#,
            "schedule",
            "minute",
        ),
        (
            cron,
            r#"{task: reindex, schedule: "0 0 31 2 *", time_zone: UTC}"#,
            "schedule",
            "no day",
        ),
        (
            cron,
            r#"{task: reindex, schedule: "30 3 * * *", time_zone: CET/Berlin}"#,
            "time_zone",
            "IANA",
        ),
        (
            cron,
            r#"{task: reindex, schedule: "30 3 * * *"}"#,
            "cron",
            "needs a `time_zone`",
        ),
        (
            cron,
            r#"{task: reindex, every: 60s, schedule: "30 3 * * *", time_zone: UTC}"#,
            "cron",
            "either",
        ),
        (cron, "{task: reindex, time_zone: UTC}", "cron", "either"),
        (cron, "{task: reindex, every: 5s}", "every", "every 10 s"),
        (cron, "{task: cron, every: 90s}", "cron", "already"),
        (
            cron,
            "{task: stock, every: 60s}",
            "cron",
            "without a default",
        ),
        (
            cron,
            "{task: install, every: 60s}",
            "cron",
            "once in a store's life",
        ),
        (
            product,
            "{name: product, type: text,",
            "arguments",
            "max_length",
        ),
        (
            product,
            "{name: product, type: shell,",
            "arguments",
            "type is",
        ),
        (
            product,
            "{name: Product, type: text, max_length: 80,",
            "name",
            "[a-z]",
        ),
        (
            product,
            "{name: pieces, type: text, max_length: 80,",
            "name",
            "two arguments",
        ),
        (
            product,
            "{name: product, type: text, max_length: 80, default: \"--all\",",
            "arguments",
            "hyphen",
        ),
        (
            days,
            "{name: days, type: int, min: 1, max: 3650, default: 0,",
            "arguments",
            "1 to 3650",
        ),
        ("channel: stable", "channel: beta", "channel", ""),
        ("version: 2.0.0", "version: 1.5.0", "version", "refshop/2"),
        ("idempotent: true", "idempotent: perhaps", "idempotent", ""),
    ] {
        let (from, to) = match from {
            "channel: stable" => (
                "  maturity: run-tested\n",
                format!("  maturity: run-tested\n  {to}\n"),
            ),
            _ => (from, to.to_owned()),
        };
        let (problem, line) = refused(from, &to);
        let place = format!("{to} → {problem}");
        assert_eq!(problem.file, "refshop/2/compose.yaml", "{place}");
        assert!(problem.reason.contains(word), "{place}");
        assert_eq!(problem.attribute, attribute, "{place}");
        // What concerns the whole manifest has its line; a second name is told where the second one stands.
        let found = problem.line.expect("a refusal has a line");
        assert!(
            found == line || found == line + 1 || attribute == "version",
            "{place}: {line}"
        );
    }
}

#[test]
fn an_argument_with_a_default_comes_after_those_without() {
    let product = r#"such as morning-mug"}"#;
    let (problem, line) = refused(product, r#"such as morning-mug", default: x}"#);
    assert_eq!(
        (problem.line, problem.attribute.as_str()),
        (Some(line + 1), "default")
    );
    assert!(
        problem.reason.contains("pieces needs a default"),
        "{problem}"
    );
}

#[test]
fn of_the_secrets_the_databases_password_can_be_rotated() {
    use shop_plan::NotRotatable::{NeverTwoAtOnce, Unknown};
    for (template, user) in [
        ("refshop@1", "shop"),
        ("refshop@2", "shop"),
        ("refshop@3", "shop"),
        ("wordpress", "wordpress"),
    ] {
        let plan = plan(template);
        assert_eq!(plan.rotatable().collect::<Vec<_>>(), ["db_password"]);
        let login = plan.login("db_password").expect("a login");
        assert_eq!(
            (login.service.as_str(), &*login.user, login.port),
            ("db", user, 3306)
        );
        for secret in ["app_key", "admin_password", "db_root_password"] {
            assert_eq!(plan.login(secret), Err(NeverTwoAtOnce), "{secret}");
        }
        assert_eq!(plan.login("no_such"), Err(Unknown));
    }
}

#[test]
fn a_password_that_something_fixed_holds_besides_the_database_is_not_rotated() {
    let mut plan = plan("refshop@2");
    let secret = || "db_password".to_owned();
    for service in &mut plan.services {
        if service.name.as_str() == "search" {
            service.container.secrets.push(secret());
        }
    }
    assert_eq!(
        plan.login("db_password"),
        Err(shop_plan::NotRotatable::HeldForGood)
    );
}

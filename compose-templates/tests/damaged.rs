//! Damaged templates: refused with a place, or accepted and lintable; never a panic, never long.

#[path = "../../proto/tests/support/mutate.rs"]
mod mutate;

use std::path::Path;

use proptest::{prelude::*, sample::Index};
use shop_plan::{CronExpression, Template, When};

use mutate::{changes, corpus, mutated};

fn kept() -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut inputs = corpus(&root.join("tests/corpus"));
    inputs.push(include_bytes!("../refshop/compose.yaml").to_vec());
    inputs.push(include_bytes!("../refshop/2/compose.yaml").to_vec());
    inputs
}

/// Parsing renders and lints every choice of profiles, so an accepted template needs no second look.
fn judge(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if let Err(error) = Template::parse("refshop", &[("compose.yaml", &text)]) {
        assert!(!error.problems.is_empty());
        for problem in &error.problems {
            assert!(
                !problem.attribute.is_empty() && !problem.reason.is_empty(),
                "{error}"
            );
        }
    }
}

#[test]
fn kept_inputs_are_judged() {
    kept().iter().for_each(|input| judge(input));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn damaged_templates_are_judged(which in any::<Index>(), changes in changes()) {
        judge(&mutated(&kept(), &which, &changes));
    }

    /// Fields of a schedule are made of these; most are nonsense. Whatever is accepted has a next run, and soon enough found.
    #[test]
    fn any_schedule_is_judged(text in "[0-9*/,a-z -]{0,24}", fields in "([0-9*]{1,2}[-,/]?[0-9]{0,2} ){4}[0-7*]") {
        for text in [text, fields] {
            if let Ok(expression) = text.parse::<CronExpression>() {
                let when = When::Cron { expression, time_zone: "Europe/Berlin".parse().expect("a time zone") };
                prop_assert!(when.next(jiff::Timestamp::UNIX_EPOCH) > jiff::Timestamp::UNIX_EPOCH);
            }
        }
    }
}

//! Templates, what operators choose of them, and the small languages inside: schedules, allow-lists, arguments of tasks.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use shop_plan::{
    AllowedImages, Catalogue, Choices, CronExpression, ImageRule, Permission, StorePlan, Template,
    TimeZoneName, When, lint, render, transition,
};
use shop_proto::{Isolation, Resources};

use crate::{Target, sessions::store_id, texts};

pub(crate) const TARGETS: &[Target] = &[
    Target::new("template", template)
        .with_seeds(templates)
        .dear(),
    Target::new("choices", choices).dear(),
    Target::new("images", images),
    Target::new("schedule", schedule).dear(),
    Target::new("task_arguments", task_arguments),
];

/// Runs of a schedule that are looked at, one after the other.
const PATIENCE: usize = 5;

/// A template is refused with a place and a reason, or good in all of its profiles: parsing renders and lints each.
fn template(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    match Template::parse("refshop", &[("compose.yaml", &text)]) {
        Ok(template) => {
            let again = Template::parse("refshop", &[("compose.yaml", &text)]);
            assert_eq!(
                again.map(|again| again.digest).ok(),
                Some(template.digest),
                "the same text is another template"
            );
        }
        Err(error) => {
            assert!(!error.problems.is_empty());
            for problem in &error.problems {
                assert!(!problem.attribute.is_empty() && !problem.reason.is_empty());
            }
        }
    }
}

fn templates() -> Vec<Vec<u8>> {
    [
        include_str!("../../../compose-templates/refshop/compose.yaml"),
        include_str!("../../../compose-templates/refshop/3/compose.yaml"),
        include_str!("../../../compose-templates/wordpress/compose.yaml"),
    ]
    .map(|text| text.as_bytes().to_vec())
    .into()
}

/// Choices as the API takes them.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Chosen {
    template: String,
    parameters: BTreeMap<String, String>,
    profiles: BTreeMap<String, String>,
    resources: BTreeMap<String, Resources>,
    images: BTreeMap<String, String>,
}

/// What the check lets through renders to a plan without a fault, and to the same one again.
fn choices(input: &[u8]) {
    let Ok(chosen) = serde_json::from_slice::<Chosen>(input) else {
        return;
    };
    let catalogue = Catalogue::builtin();
    let Some(template) = catalogue.find(&chosen.template) else {
        return;
    };
    let wanted = Choices {
        parameters: chosen.parameters,
        profiles: chosen.profiles,
        resources: chosen.resources,
        images: chosen.images,
    };
    match template.check(&wanted) {
        Err(problems) => {
            assert!(!problems.is_empty());
            assert!(problems.iter().all(|it| it.pointer.starts_with('/')));
            assert!(template.revision(1, &wanted, Isolation::Standard).is_err());
        }
        Ok(()) => {
            let plan = planned(template, &wanted);
            assert_eq!(lint(&plan), []);
            assert_eq!(plan.digest(), planned(template, &wanted).digest());
            let kept = serde_json::to_vec(&plan).expect("a plan is JSON");
            let kept: StorePlan = serde_json::from_slice(&kept).expect("we wrote it");
            assert_eq!(kept.digest(), plan.digest());
            let others = Choices {
                parameters: needed(template, &wanted),
                ..Choices::default()
            };
            if template.check(&others).is_ok() {
                // No pair of plans is too different to be told apart.
                let _ = transition(&planned(template, &others), &plan);
            }
        }
    }
}

fn needed(template: &Template, wanted: &Choices) -> BTreeMap<String, String> {
    let required = template.manifest.parameters.iter();
    required
        .filter(|(_, parameter)| parameter.default.is_none())
        .filter_map(|(name, _)| wanted.parameters.get_key_value(name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

fn planned(template: &Template, choices: &Choices) -> StorePlan {
    let revision = template
        .revision(1, choices, Isolation::Standard)
        .expect("what was checked is a revision");
    render(&store_id(), &revision, template, 1).expect("what was checked renders")
}

/// A list says the same when a node tells of it; no image is granted by one of the two alone.
fn images(input: &[u8]) {
    let [list, own, image] = texts(input);
    if let Ok(rule) = own.parse::<ImageRule>() {
        assert_eq!(rule.to_string(), own);
    }
    let Ok(allowed) = AllowedImages::read(&list) else {
        return;
    };
    let told = allowed.texts();
    let told = AllowedImages::told(told.iter().map(String::as_str));
    assert_eq!(told, allowed);
    let permission = allowed.permission(&own, &image);
    assert_eq!(permission, told.permission(&own, &image));
    if let Permission::ByContent(digests) = &permission {
        assert!(!digests.is_empty());
    }
    if permission != Permission::Denied {
        assert!(image.parse::<shop_plan::ImageName>().is_ok());
    }
    assert_eq!(
        AllowedImages::default().permission(&own, &image),
        Permission::Denied
    );
}

/// Every accepted expression has a next run, later than now, and no run is passed over.
fn schedule(input: &[u8]) {
    let [text, zone, after] = texts(input);
    let Ok(expression) = text.parse::<CronExpression>() else {
        return;
    };
    assert_eq!(expression.to_string(), text);
    let Ok(time_zone) = zone.parse::<TimeZoneName>() else {
        return;
    };
    assert_eq!(time_zone.to_string(), zone);
    let when = When::Cron {
        expression,
        time_zone,
    };
    // Until the year 2200 or so.
    let seconds = after.bytes().fold(0_i64, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(i64::from(byte)) & 0x1_ffff_ffff
    });
    let mut now = Timestamp::from_second(seconds).expect("a time");
    for _ in 0..PATIENCE {
        let next = when.next(now);
        assert!(next > now, "{text} {zone} after {now}");
        if next == Timestamp::MAX {
            return;
        }
        let between = (next.as_second() - now.as_second()) / 2;
        let between = now + SignedDuration::from_secs(between);
        assert_eq!(when.next(between), next, "{text} {zone} after {between}");
        now = next;
    }
}

/// What is let through becomes words of a command line, never more of them than the task knows.
fn task_arguments(input: &[u8]) {
    let [task, first, second, third] = texts(input);
    let given: Vec<String> = [first, second, third]
        .into_iter()
        .filter(|it| !it.is_empty())
        .collect();
    let Some(plan) = default_plan() else {
        return;
    };
    for known in plan.tasks.iter().filter(|it| it.name.as_str() == task) {
        let line = known.command_line(&given);
        match known.check(&given) {
            Ok(()) => {
                let line = line.expect("what was checked is a command line");
                assert!(given.len() <= known.arguments.len());
                assert!(given.iter().all(|word| line.contains(word)));
                assert!(!given.iter().any(|word| word.contains('\0')));
            }
            Err(problems) => {
                assert!(!problems.is_empty());
                assert!(line.is_err());
            }
        }
    }
}

fn default_plan() -> Option<&'static StorePlan> {
    static PLAN: std::sync::LazyLock<Option<StorePlan>> = std::sync::LazyLock::new(|| {
        let template = Catalogue::builtin().find("refshop@3")?;
        let revision = template.revision(1, &Choices::default(), Isolation::Standard);
        render(&store_id(), &revision.ok()?, template, 1).ok()
    });
    PLAN.as_ref()
}

//! What each kind of change means, from real templates.

use std::collections::BTreeMap;

use shop_proto::{Isolation, Resources};

use super::*;
use crate::{Catalogue, Choices, RENDER_VERSIONS, UpdatePlan, render};

fn plan(template: &str, edit: impl FnOnce(&mut Choices)) -> StorePlan {
    let template = Catalogue::builtin().find(template).expect("a template");
    let mut choices = Choices::default();
    edit(&mut choices);
    let revision = template
        .revision(1, &choices, Isolation::Standard)
        .expect("choices that fit");
    let store = "k3v9q2m8x1aa".parse().expect("a store id");
    render(&store, &revision, template, RENDER_VERSIONS[0]).expect("a plan")
}

fn refshop() -> StorePlan {
    plan("refshop@1", |_| {})
}

fn with_schema(schema: u32, works_from: u32) -> StorePlan {
    StorePlan {
        update: Some(UpdatePlan {
            task: "migrate".parse().expect("a name"),
            schema,
            works_from,
        }),
        ..refshop()
    }
}

fn of<'t>(transition: &'t Transition, service: &str) -> &'t ServiceChange {
    let named = |change: &&ServiceChange| change.service.as_str() == service;
    transition.services.iter().find(named).expect("a service")
}

#[test]
fn the_same_plan_changes_nothing() {
    let same = transition(&refshop(), &refshop());
    assert!(!same.slots && !same.back_refused);
    assert_eq!(same.migration, Migration::None);
    for service in &same.services {
        assert_eq!(
            (service.change, service.restarts),
            (Change::Same, Restarts::Never)
        );
        assert!(service.fields.is_empty() && service.reversible);
    }
}

#[test]
fn a_parameter_moves_the_slots_and_says_what_changed() {
    let renamed = plan("refshop@1", |choices| {
        choices
            .parameters
            .insert("shop_name".to_owned(), "Linde".to_owned());
    });
    let moved = transition(&refshop(), &renamed);
    assert!(moved.slots);
    let php = of(&moved, "php-fpm");
    assert_eq!(
        (php.change, php.restarts),
        (Change::Recreated, Restarts::InFreeSlot)
    );
    assert_eq!(
        php.fields,
        [FieldChange {
            field: "environment.SHOP_NAME".to_owned(),
            from: Some("Refshop".to_owned()),
            to: Some("Linde".to_owned()),
        }]
    );
    // Web itself is the same, and starts anew beside its php-fpm; the database is not touched.
    let web = of(&moved, "web");
    assert_eq!(
        (web.change, web.restarts),
        (Change::Same, Restarts::InFreeSlot)
    );
    assert_eq!(of(&moved, "db").restarts, Restarts::Never);
}

#[test]
fn limits_are_taken_live_and_a_database_stops_first() {
    let roomy = plan("refshop@1", |choices| {
        let limits = Resources {
            memory_bytes: Some(512 << 20),
            cpu_millis: None,
        };
        choices.resources =
            BTreeMap::from([("php-fpm".to_owned(), limits), ("db".to_owned(), limits)]);
    });
    let live = transition(&refshop(), &roomy);
    assert!(!live.slots);
    for name in ["php-fpm", "db"] {
        let service = of(&live, name);
        assert_eq!(
            (service.change, service.restarts),
            (Change::LimitsOnly, Restarts::Live)
        );
        assert_eq!(service.fields[0].field, "memory_bytes");
    }
    let buffered = plan("refshop@1", |choices| {
        choices
            .parameters
            .insert("db_buffer".to_owned(), "128M".to_owned());
    });
    let stopped = transition(&refshop(), &buffered);
    assert!(!stopped.slots);
    assert_eq!(of(&stopped, "db").restarts, Restarts::StopFirst);
}

#[test]
fn services_come_and_go() {
    let without = plan("refshop@1", |choices| {
        choices
            .profiles
            .insert("search".to_owned(), "none".to_owned());
    });
    let gone = transition(&refshop(), &without);
    assert_eq!(of(&gone, "search").change, Change::Removed);
    assert_eq!(
        gone.services.last().map(|s| s.service.as_str()),
        Some("search")
    );
    assert_eq!(
        of(&transition(&without, &refshop()), "search").change,
        Change::Added
    );
}

#[test]
fn schemas_say_whether_there_is_a_way_back() {
    let (one, two, three) = (refshop(), with_schema(2, 1), with_schema(3, 3));
    let case = |from: &StorePlan, to: &StorePlan| {
        let found = transition(from, to);
        (found.migration, found.back_refused)
    };
    assert_eq!(case(&one, &two), (Migration::Reversible, false));
    assert_eq!(case(&two, &one), (Migration::None, false));
    assert_eq!(case(&two, &three), (Migration::Irreversible, false));
    assert_eq!(case(&one, &three), (Migration::Irreversible, false));
    assert_eq!(case(&three, &two), (Migration::None, true));
    assert_eq!(case(&three, &three), (Migration::None, false));
    // A migration moves the slots even where no container differs.
    assert!(transition(&one, &two).slots);
    assert!(!of(&transition(&two, &three), "php-fpm").reversible);
    assert!(of(&transition(&one, &two), "php-fpm").reversible);
}

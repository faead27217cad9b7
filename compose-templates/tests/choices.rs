//! What operators choose: refused all at once, and never let near anything that runs.

use std::collections::BTreeMap;

use proptest::prelude::*;
use shop_plan::{
    Catalogue, ChoiceCode, Choices, NetworkName, RenderError, StorePlan, Template, address, render,
    verify,
};
use shop_proto::{Digest, Isolation, ReplicaKey, Resources, Slot};

fn refshop() -> &'static Template {
    Catalogue::builtin()
        .find("refshop")
        .expect("refshop is built in")
}

fn texts<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

fn rendered(choices: &Choices) -> StorePlan {
    let revision = refshop()
        .revision(1, choices, Isolation::Standard)
        .expect("the choices fit");
    let store = "k3v9q2m8x1aa".parse().expect("a store id");
    render(&store, &revision, refshop(), 1).expect("it renders")
}

#[test]
fn templates_are_found_by_name_version_and_digest() {
    let catalogue = Catalogue::builtin();
    for (reference, version) in [
        ("refshop", "2.0.0"),
        ("refshop@1", "1.0.0"),
        ("refshop@1.0", "1.0.0"),
        ("refshop@1.0.0", "1.0.0"),
        ("refshop@2", "2.0.0"),
        ("refshop@3", "3.0.0"),
    ] {
        let found = catalogue.find(reference).expect(reference);
        assert_eq!(found.version, version, "{reference}");
        assert_eq!(catalogue.is_default(found), version == "2.0.0");
    }
    for bad in [
        "",
        "refshop@",
        "refshop@4",
        "refshop@1.0.0.0",
        "refshop@1.",
        "Refshop",
        "nothing",
    ] {
        assert!(catalogue.find(bad).is_none(), "{bad}");
    }
    assert!(verify(&refshop().digest).is_ok_and(|template| template.name == "refshop"));
    assert!(verify(&Digest::of(b"unknown")).is_err());
}

#[test]
fn every_problem_is_told_at_once() {
    let choices = Choices {
        parameters: texts([
            ("currency", "euro"),
            ("php_children", "99"),
            ("shop_name", "a\nb"),
            ("a/b~c", "x"),
        ]),
        profiles: texts([("web", "iis"), ("colour", "red")]),
        resources: BTreeMap::from([
            ("nothing".to_owned(), Resources::default()),
            (
                "db".to_owned(),
                Resources {
                    memory_bytes: Some(1),
                    cpu_millis: Some(0),
                },
            ),
        ]),
        images: texts([
            ("db", "shopfleet/mariadb:2"),
            ("php-fpm", "shopfleet/refshop-php-fpm"),
            ("web-nginx", "shopfleet/refshop-nginx:2"),
        ]),
    };
    let problems = refshop().check(&choices).expect_err("nothing of it fits");
    let mut told: Vec<(&str, ChoiceCode)> = problems
        .iter()
        .map(|problem| (problem.pointer.as_str(), problem.code))
        .collect();
    told.sort_by_key(|(pointer, _)| *pointer);
    assert_eq!(
        told,
        [
            ("/images/db", ChoiceCode::ImageFixed),
            ("/images/php-fpm", ChoiceCode::ImageShape),
            ("/images/web-nginx", ChoiceCode::UnknownService),
            ("/parameters/a~1b~0c", ChoiceCode::UnknownParameter),
            ("/parameters/currency", ChoiceCode::ParameterType),
            ("/parameters/php_children", ChoiceCode::ParameterRange),
            ("/parameters/shop_name", ChoiceCode::ParameterType),
            ("/profiles/colour", ChoiceCode::UnknownProfile),
            ("/profiles/web", ChoiceCode::ProfileChoice),
            ("/resources/db/cpu_millis", ChoiceCode::ResourceRange),
            ("/resources/db/memory_bytes", ChoiceCode::ResourceRange),
            ("/resources/nothing", ChoiceCode::UnknownService),
        ]
    );
    assert!(
        problems
            .iter()
            .all(|problem| !problem.message.contains("euro"))
    );
}

#[test]
fn a_revision_keeps_only_what_differs_from_the_defaults() {
    let choices = Choices {
        parameters: texts([("currency", "EUR"), ("shop_name", "Teapots")]),
        ..Choices::default()
    };
    let revision = refshop()
        .revision(3, &choices, Isolation::Standard)
        .expect("the choices fit");
    assert_eq!(revision.parameters, texts([("shop_name", "Teapots")]));
    assert_eq!(
        revision.profiles,
        texts([("search", "sphinx"), ("web", "nginx")])
    );
}

#[test]
fn a_revision_from_outside_is_not_believed() {
    let good = refshop()
        .revision(1, &Choices::default(), Isolation::Standard)
        .expect("the defaults fit");
    let store = "k3v9q2m8x1aa".parse().expect("a store id");
    let attempt =
        |revision: &shop_proto::Revision, version| render(&store, revision, refshop(), version);

    let mut bad = good.clone();
    bad.parameters = texts([("currency", "$(id)")]);
    assert!(matches!(attempt(&bad, 1), Err(RenderError::Choices(_))));
    let mut bad = good.clone();
    bad.images = BTreeMap::from([("db".parse().expect("a name"), "evil/image:1".to_owned())]);
    assert!(matches!(attempt(&bad, 1), Err(RenderError::Choices(_))));
    let mut bad = good.clone();
    bad.template_digest = Digest::of(b"another");
    assert!(matches!(
        attempt(&bad, 1),
        Err(RenderError::OtherTemplate { .. })
    ));
    let mut bad = good.clone();
    bad.number = 0;
    assert!(matches!(attempt(&bad, 1), Err(RenderError::Lint(_))));
    assert_eq!(attempt(&good, 99), Err(RenderError::UnknownVersion(99)));
}

#[test]
fn profiles_decide_what_exists() {
    let with_search = rendered(&Choices::default());
    let without = rendered(&Choices {
        profiles: texts([("search", "none"), ("web", "apache")]),
        ..Choices::default()
    });
    let names = |plan: &StorePlan| -> Vec<String> {
        plan.services
            .iter()
            .map(|service| service.name.to_string())
            .collect()
    };
    assert_eq!(
        names(&with_search),
        ["db", "cache", "search", "php-fpm", "web"]
    );
    assert_eq!(names(&without), ["db", "cache", "php-fpm", "web"]);
    assert!(
        without
            .volumes
            .iter()
            .all(|volume| volume.name.as_str() != "search-data")
    );
    let install = "install".parse().expect("a name");
    let after = |plan: &StorePlan| plan.task(&install).map(|task| task.after.len());
    assert_eq!((after(&with_search), after(&without)), (Some(3), Some(2)));
    let php = without
        .service(&"php-fpm".parse().expect("a name"))
        .expect("php-fpm is there");
    assert_eq!(php.container.env["SHOP_SEARCH"], "none");
    assert_eq!(php.after_tasks, [install]);
}

#[test]
fn resources_change_the_limits_and_the_spec_hash_of_one_service_only() {
    let plain = rendered(&Choices::default());
    let more = rendered(&Choices {
        resources: BTreeMap::from([(
            "db".to_owned(),
            Resources {
                memory_bytes: Some(1 << 30),
                cpu_millis: None,
            },
        )]),
        ..Choices::default()
    });
    for (before, after) in plain.services.iter().zip(&more.services) {
        let changed = before.name.as_str() == "db";
        assert_eq!(
            before.spec_hash != after.spec_hash,
            changed,
            "{}",
            before.name
        );
    }
    assert_eq!(more.services[0].container.memory_bytes, 1 << 30);
    assert_eq!(
        more.services[0].container.cpu_millis,
        plain.services[0].container.cpu_millis
    );
}

#[test]
fn addresses_are_those_of_the_table() {
    let plan = rendered(&Choices::default());
    for (service, slot, replica, network, host) in [
        ("db", "fixed", 0, NetworkName::Data, Some(3)),
        ("cache", "fixed", 0, NetworkName::Data, Some(4)),
        ("search", "fixed", 0, NetworkName::Data, Some(5)),
        ("web", "a", 0, NetworkName::AppA, Some(3)),
        ("web", "b", 5, NetworkName::AppB, Some(8)),
        ("php-fpm", "a", 1, NetworkName::AppA, Some(11)),
        ("php-fpm", "b", 1, NetworkName::Data, Some(17)),
        ("php-fpm", "a", 0, NetworkName::Egress, Some(10)),
        ("web", "a", 0, NetworkName::AppB, None),
        ("web", "a", 0, NetworkName::Data, None),
        ("db", "a", 0, NetworkName::Data, None),
    ] {
        let key = ReplicaKey::parse(service, slot, replica).expect("a replica key");
        assert_eq!(
            address::replica(&plan, &key, network),
            host,
            "{key} in {network:?}"
        );
    }
    let key = ReplicaKey {
        service: "db".parse().expect("a name"),
        slot: Slot::Fixed,
        replica: 1,
    };
    assert_eq!(address::replica(&plan, &key, NetworkName::Data), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever a parameter says, it changes environment values and a login's user name, and nothing else.
    #[test]
    fn hostile_values_never_reach_what_runs(
        shop_name in "\\PC{1,60}|[$`{}();|&<>'\"\\\\]{1,20}|\\$\\{[A-Z_]{1,10}\\}",
        admin in "[a-z][a-z+%_-]{0,11}@[a-z]{2,8}\\.[a-z]{2,3}",
        currency in prop::sample::select(&["EUR", "JPY", "USD"][..]),
        locale in "[a-z]{2}-[A-Z]{2}",
        children in 2..=32_u8,
        buffer in 32..=4096_u16,
    ) {
        let choices = Choices {
            parameters: texts([
                ("shop_name", &shop_name), ("admin_email", &admin), ("currency", currency),
                ("locale", &locale), ("php_children", &children.to_string()), ("db_buffer", &format!("{buffer}M")),
            ]),
            ..Choices::default()
        };
        prop_assume!(refshop().check(&choices).is_ok());
        let plan = rendered(&choices);
        let php = plan.service(&"php-fpm".parse().expect("a name")).expect("php-fpm is there");
        prop_assert_eq!(&php.container.env["SHOP_NAME"], &shop_name);
        prop_assert_eq!(&plan.credentials["admin"].user, &admin);
        prop_assert_eq!(without_data(plan), without_data(rendered(&Choices::default())));
    }

    /// Anything at all as a parameter is refused or rendered; nothing panics.
    #[test]
    fn any_text_is_judged(name in "\\PC{0,40}", value in "(?s).{0,80}") {
        for parameter in [name.as_str(), "shop_name", "admin_email", "currency", "locale", "php_children", "db_buffer"] {
            let choices = Choices { parameters: texts([(parameter, &value)]), ..Choices::default() };
            if refshop().check(&choices).is_ok() {
                rendered(&choices);
            }
        }
    }
}

/// A plan without what parameters may change.
fn without_data(mut plan: StorePlan) -> StorePlan {
    for service in &mut plan.services {
        service.container.env.clear();
        service.spec_hash = Digest::of(b"");
    }
    for task in &mut plan.tasks {
        task.container.env.clear();
    }
    for credential in plan.credentials.values_mut() {
        credential.user.clear();
    }
    plan
}

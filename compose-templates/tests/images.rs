//! Images in place of a template's: what they change of a plan, and what they leave as it is.

use std::collections::BTreeMap;

use shop_plan::{
    Catalogue, Change, Choices, Restarts, ServiceKind, StorePlan, Template, render, transition,
};
use shop_proto::{Isolation, ServiceName};

const OTHER: &str = "shopfleet/refshop-php-fpm:77";

fn refshop() -> &'static Template {
    Catalogue::builtin()
        .find("refshop@1")
        .expect("refshop is built in")
}

fn plan(images: &[(&str, &str)]) -> StorePlan {
    let choices = Choices {
        images: images
            .iter()
            .map(|(service, image)| ((*service).to_owned(), (*image).to_owned()))
            .collect(),
        ..Choices::default()
    };
    let revision = refshop()
        .revision(1, &choices, Isolation::Standard)
        .expect("the choices fit");
    let store = "k3v9q2m8x1aa".parse().expect("a store id");
    render(&store, &revision, refshop(), 1).expect("it renders")
}

fn name(text: &str) -> ServiceName {
    text.parse().expect("a name")
}

#[test]
fn a_service_and_the_tasks_that_copy_it_run_another_image_and_nothing_else_does() {
    let (before, after) = (plan(&[]), plan(&[("php-fpm", OTHER)]));
    let overrides: Vec<_> = after.overrides().collect();
    assert_eq!(
        overrides,
        [(&name("php-fpm"), "shopfleet/refshop-php-fpm:1", OTHER)]
    );
    for (old, new) in before.services.iter().zip(&after.services) {
        if new.name == name("php-fpm") {
            assert_ne!(new.spec_hash, old.spec_hash);
            assert_eq!(new.container.image, OTHER);
        } else {
            assert_eq!(new, old);
        }
    }
    assert!(!after.tasks.is_empty());
    for task in &after.tasks {
        assert_eq!(task.container.image, OTHER, "{}", task.name);
        let own = task.container.own_image.as_deref();
        assert_eq!(own, Some("shopfleet/refshop-php-fpm:1"), "{}", task.name);
    }
}

#[test]
fn the_template_s_own_image_is_no_choice_and_changes_no_digest() {
    let own = plan(&[("php-fpm", "shopfleet/refshop-php-fpm:1")]);
    assert_eq!(own, plan(&[]));
    assert_eq!(own.digest(), plan(&[]).digest());
    assert!(
        !serde_json::to_string(&own)
            .expect("a plan is JSON")
            .contains("own_image")
    );
}

#[test]
fn the_difference_names_both_images_restarts_in_the_free_slot_and_has_a_way_back() {
    let (before, after) = (plan(&[]), plan(&[("php-fpm", OTHER)]));
    for (old, new) in [(&before, &after), (&after, &before)] {
        let transition = transition(old, new);
        assert!(transition.slots);
        let changed: BTreeMap<_, _> = transition
            .services
            .iter()
            .filter(|service| service.change != Change::Same)
            .map(|service| (service.service.clone(), service))
            .collect();
        assert_eq!(changed.len(), 1);
        let php = changed[&name("php-fpm")];
        assert_eq!(php.restarts, Restarts::InFreeSlot);
        assert!(php.reversible);
        let fields: Vec<&str> = php.fields.iter().map(|it| it.field.as_str()).collect();
        assert_eq!(fields, ["image"]);
    }
}

#[test]
fn what_keeps_data_has_the_template_s_image() {
    for template in Catalogue::builtin().iter() {
        for service in template.service_names() {
            let choices = Choices {
                parameters: template.examples(),
                images: BTreeMap::from([(service.to_string(), "example/other:1".to_owned())]),
                ..Choices::default()
            };
            let Ok(revision) = template.revision(1, &choices, Isolation::Standard) else {
                continue;
            };
            let store = "k3v9q2m8x1aa".parse().expect("a store id");
            let plan = render(&store, &revision, template, 1).expect("it renders");
            let kind = plan.service(&service).expect("it is there").kind;
            assert!(
                matches!(
                    kind,
                    ServiceKind::Web | ServiceKind::PhpFpm | ServiceKind::Worker
                ),
                "{service} of {}",
                template.name
            );
        }
    }
}

//! A store for tests: the built-in refshop, as it is rendered for one.

use std::collections::BTreeMap;

use shop_plan::{Catalogue, StorePlan, render};
use shop_proto::{
    Generation, Host, Isolation, Resources, Revision, RunState, SPEC_FORMAT, Spec, StoreId,
};

use crate::ledger::Accepted;

/// Its id.
pub fn store() -> StoreId {
    "k3v9q2m8x1aa".parse().unwrap()
}

/// Its spec.
pub fn spec() -> Spec {
    of_template("refshop@1")
}

/// Revisions of it: 1 to 3 are the templates of that version (2 migrates, 3 does so without a way back), 4 is the first one with
/// another name for the shop, 5 with a smaller database, which changes in place, 6 with another limit alone.
pub fn revision(number: u64) -> Spec {
    let mut spec = match number {
        2 => of_template("refshop@2"),
        3 => of_template("refshop@3"),
        _ => of_template("refshop@1"),
    };
    spec.revision.number = number;
    let mut set = |name: &str, value: &str| {
        let parameters = &mut spec.revision.parameters;
        parameters.insert(name.to_owned(), value.to_owned());
    };
    match number {
        4 => set("shop_name", "Another name"),
        5 => set("db_buffer", "48M"),
        6 => {
            let limit = Resources {
                memory_bytes: Some(512 << 20),
                cpu_millis: None,
            };
            let resources = &mut spec.revision.resources;
            resources.insert("php-fpm".parse().unwrap(), limit);
        }
        _ => {}
    }
    spec
}

fn of_template(name: &str) -> Spec {
    let template = Catalogue::builtin().find(name).unwrap();
    Spec {
        format: SPEC_FORMAT,
        store_name: "shop".parse().unwrap(),
        revision: Revision {
            number: 1,
            template: template.name.clone(),
            template_digest: template.digest,
            parameters: BTreeMap::new(),
            profiles: BTreeMap::from([
                ("web".to_owned(), "nginx".to_owned()),
                ("search".to_owned(), "sphinx".to_owned()),
            ]),
            images: BTreeMap::new(),
            resources: BTreeMap::new(),
            isolation: Isolation::Standard,
        },
        hosts: vec![Host {
            name: "shop.localhost".parse().unwrap(),
            verified: true,
        }],
        scale: BTreeMap::new(),
        run_state: RunState::Running,
        restart_seq: 0,
        maintenance: false,
        hold_until_unix_ms: None,
        watch: None,
        rotations: BTreeMap::new(),
    }
}

/// An order to be it.
pub fn order(generation: u64) -> Accepted {
    Accepted {
        generation: Generation::new(generation).unwrap(),
        render_version: 1,
        spec: spec(),
    }
}

/// Its plan.
pub fn plan() -> StorePlan {
    plan_of(&spec())
}

/// The plan of another revision of it.
pub fn plan_of(spec: &Spec) -> StorePlan {
    let catalogue = Catalogue::builtin();
    let template = catalogue.by_digest(&spec.revision.template_digest).unwrap();
    render(&store(), &spec.revision, template, 1).unwrap()
}

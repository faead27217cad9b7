//! A store for tests: the built-in refshop, as it is rendered for one.

use std::collections::BTreeMap;

use shop_plan::{Catalogue, StorePlan, render};
use shop_proto::{Generation, Host, Isolation, Revision, RunState, SPEC_FORMAT, Spec, StoreId};

use crate::ledger::Accepted;

/// Its id.
pub fn store() -> StoreId {
    "k3v9q2m8x1aa".parse().unwrap()
}

/// Its spec.
pub fn spec() -> Spec {
    let template = Catalogue::builtin().find("refshop").unwrap();
    Spec {
        format: SPEC_FORMAT,
        store_name: "shop".parse().unwrap(),
        revision: Revision {
            number: 1,
            template: "refshop".to_owned(),
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
    let template = Catalogue::builtin().find("refshop").unwrap();
    render(&store(), &spec().revision, template, 1).unwrap()
}

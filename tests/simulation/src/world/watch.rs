//! What must never be, at any time.

use std::collections::{BTreeMap, BTreeSet};

use shop_proto::StoreId;

use super::World;

impl World<'_> {
    /// Looks at every store on every host.
    pub(super) fn watch(&mut self) {
        let mut homes: BTreeMap<StoreId, Vec<&'static str>> = BTreeMap::new();
        for machine in &self.machines {
            let stores: BTreeSet<_> = machine.lock().stores.keys().cloned().collect();
            // What was torn down and is there again is another one.
            self.generations
                .retain(|(name, store), _| *name != machine.name || stores.contains(store));
            for store in stores {
                if machine
                    .running(&store)
                    .iter()
                    .any(|key| key.service.as_str() == "db")
                {
                    homes.entry(store.clone()).or_default().push(machine.name);
                }
                machine.watch_logins(&store);
                let Some(held) = machine.entries(&store).accepted else {
                    continue;
                };
                let generation = held.generation.get();
                let before = self
                    .generations
                    .insert((machine.name, store.clone()), generation)
                    .unwrap_or_default();
                if generation < before {
                    self.trace.violated(format!(
                        "{store} on {} went back from g{before} to g{generation}",
                        machine.name
                    ));
                }
            }
        }
        for (store, homes) in homes {
            if homes.len() > 1 {
                self.trace
                    .violated(format!("the database of {store} runs on {homes:?}"));
            }
        }
    }
}

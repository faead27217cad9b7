//! Fixed addresses: the host part of every container in each of its /27 networks, a pure function of what it is.
//!
//! Dynamic addresses swap when containers restart in another order; these never do.
//!
//! | host part | network `app-*` | network `data`, `egress` |
//! |---|---|---|
//! | 1 | gateway | gateway |
//! | 2 | shop agent | shop agent (`data` only) |
//! | 3 | web 0 | database |
//! | 4 | web 1 | cache |
//! | 5 | web 2 | search |
//! | 6–9 | web 3–5 | workers, by order of name |
//! | 10–15 | php-fpm 0–5 | php-fpm of slot a |
//! | 16–21 | | php-fpm of slot b |
//! | 24–30 | tasks, by order in the plan | tasks, by order in the plan |

use std::{collections::BTreeSet, net::Ipv4Addr};

use shop_proto::{ReplicaKey, ServiceName, Slot};

use crate::{NetworkName, ServiceKind, StorePlan};

/// Host part of the gateway: the host itself.
pub const GATEWAY: u8 = 1;
/// Host part of the shop agent.
pub const AGENT: u8 = 2;
/// Prefix length of every network.
pub const PREFIX_LENGTH: u8 = 27;
/// The same as a mask.
pub const MASK: Ipv4Addr = Ipv4Addr::from_bits(u32::MAX << (32 - PREFIX_LENGTH));

/// First address of the network that an address is in.
#[must_use]
pub const fn network(address: Ipv4Addr) -> Ipv4Addr {
    Ipv4Addr::from_bits(address.to_bits() & MASK.to_bits())
}

const FIRST_WEB: u8 = 3;
const DATABASE: u8 = 3;
const CACHE: u8 = 4;
const SEARCH: u8 = 5;
const FIRST_WORKER: u8 = 6;
const LAST_WORKER: u8 = 9;
const FIRST_PHP_A: u8 = 10;
const FIRST_PHP_B: u8 = 16;
const FIRST_TASK: u8 = 24;
const LAST_HOST: u8 = 30;

/// Host part of a replica in a network, or `None` when the plan does not put it there.
#[must_use]
pub fn replica(plan: &StorePlan, key: &ReplicaKey, network: NetworkName) -> Option<u8> {
    if !plan.allows(key) {
        return None;
    }
    let service = plan.service(&key.service)?;
    if !service.container.networks_in(key.slot).contains(&network) {
        return None;
    }
    let shared = matches!(network, NetworkName::Data | NetworkName::Egress);
    match service.kind {
        ServiceKind::Web => Some(FIRST_WEB + key.replica),
        ServiceKind::PhpFpm if shared && key.slot == Slot::B => Some(FIRST_PHP_B + key.replica),
        ServiceKind::PhpFpm => Some(FIRST_PHP_A + key.replica),
        ServiceKind::Database => Some(DATABASE),
        ServiceKind::Cache => Some(CACHE),
        ServiceKind::Search => Some(SEARCH),
        ServiceKind::Worker => {
            let workers: BTreeSet<&ServiceName> = plan
                .services
                .iter()
                .filter(|other| other.kind == ServiceKind::Worker)
                .map(|other| &other.name)
                .collect();
            let position = workers.into_iter().position(|name| name == &key.service)?;
            let host = FIRST_WORKER + u8::try_from(position).ok()?;
            (host <= LAST_WORKER).then_some(host)
        }
    }
}

/// Host part of a task's container, or `None` when the plan has no such task or no room for it.
#[must_use]
pub fn task(plan: &StorePlan, name: &ServiceName) -> Option<u8> {
    let position = plan.tasks.iter().position(|task| &task.name == name)?;
    let host = FIRST_TASK + u8::try_from(position).ok()?;
    (host <= LAST_HOST).then_some(host)
}

//! Two values of a secret at once, and one again. Each step may be repeated, and a crash in the middle of one is repaired by the next.
//!
//! A database gets what it is to accept as files first: it reads them at every start, so one that starts anew in the middle of this
//! accepts what is handed out. Then it is told while it runs.

use std::{collections::BTreeMap, io, net::SocketAddrV4};

use secrecy::SecretString;
use shop_plan::Login;
use shop_proto::ServiceName;

use super::{Beside, Failure, Tools, locked, parcel};
use crate::{
    blocking::off_thread,
    engine::StoreEngine,
    ledger::{Entries, Rotating},
    store::{
        database::{Accept, DatabaseError},
        deliver::DeliveryError,
        vault::Content,
    },
};

/// By secret: whose password it is, and where that is checked.
pub type Logins = BTreeMap<String, (Login, SocketAddrV4)>;

/// The files in which a consumer gets a secret. Who checks it gets the coming value beside the one in force, as `<name>.next`.
pub fn files(
    beside: &Beside,
    content: &Content,
    consumer: &ServiceName,
    name: String,
) -> Result<Vec<(String, SecretString)>, DeliveryError> {
    let Some(value) = content.secrets.get(&name) else {
        return Err(DeliveryError::Missing(name));
    };
    let login = beside.force.login(&name);
    let checks = login.is_ok_and(|login| login.service == *consumer);
    Ok(match content.coming.get(&name) {
        Some(coming) if checks => {
            let next = format!("{name}.next");
            vec![(name, value.clone()), (next, coming.clone())]
        }
        Some(coming) if beside.hands_out_new => vec![(name, coming.clone())],
        _ => vec![(name, value.clone())],
    })
}

/// New values are made, on disk before anybody sees them, and accepted beside those in force.
pub async fn admit<E: StoreEngine>(tools: &Tools<E>, beside: Beside) -> Result<(), Failure> {
    let Some(rotating) = tools.ledger.entries().rotating else {
        return Ok(());
    };
    let (vault, plan) = (tools.vault.clone(), beside.force.clone());
    let secrets = rotating.secrets.clone();
    off_thread(move || {
        let names = secrets.keys().map(String::as_str);
        locked(&vault).stage(&plan, names)
    })
    .await
    .map_err(|_| Failure::Internal)??;
    accept(tools, &beside, &rotating).await?;
    tools.ledger.change(Entries::admitted).await?;
    Ok(())
}

/// One value of each remains.
pub async fn dismiss<E: StoreEngine>(tools: &Tools<E>, beside: Beside) -> Result<(), Failure> {
    let Some(rotating) = tools.ledger.entries().rotating else {
        return Ok(());
    };
    let (vault, ending) = (tools.vault.clone(), rotating.clone());
    off_thread(move || {
        let names = ending.secrets.keys().map(String::as_str);
        locked(&vault).settle(names, ending.kept)
    })
    .await
    .map_err(|_| Failure::Internal)??;
    accept(tools, &beside, &rotating).await?;
    tools.ledger.change(Entries::rotated).await?;
    Ok(())
}

/// Has the databases accept what the vault holds, at their next start and now.
async fn accept<E: StoreEngine>(
    tools: &Tools<E>,
    beside: &Beside,
    rotating: &Rotating,
) -> Result<(), Failure> {
    let reached =
        |name: &String| beside.force.login(name).is_err() || beside.logins.contains_key(name);
    if !rotating.secrets.keys().all(reached) {
        return Err(DatabaseError::Connection(io::ErrorKind::AddrNotAvailable).into());
    }
    let consumers: Vec<ServiceName> = beside
        .logins
        .values()
        .map(|(login, _)| login.service.clone())
        .collect();
    let (vault, mailbox, plans) = (tools.vault.clone(), tools.mailbox.clone(), beside.clone());
    off_thread(move || {
        for consumer in consumers {
            let parcel = parcel(&plans, &locked(&vault), consumer)?;
            mailbox.deliver(&parcel)?;
        }
        Ok::<(), Failure>(())
    })
    .await
    .unwrap_or(Err(Failure::Internal))?;
    for (name, (login, address)) in &beside.logins {
        let passwords = {
            let vault = locked(&tools.vault);
            let content = vault.content();
            let both = [content.secrets.get(name), content.coming.get(name)];
            both.into_iter().flatten().cloned().collect()
        };
        let accept = Accept {
            address: *address,
            user: login.user.clone(),
            passwords,
        };
        tools.databases.accept(&accept).await?;
    }
    Ok(())
}

//! A refshop's orders, read where its owner reads them: at the order desk.

use std::collections::BTreeSet;

use anyhow::Context;

use crate::change::site;
use crate::fleet::Store;
use crate::load::client::Client;
use crate::load::journey::between;

/// Far more pages than any benchmark fills.
const PAGES: u32 = 2000;

/// Numbers of all orders, and how many there are by the desk's own count.
pub fn all(store: &Store) -> anyhow::Result<(BTreeSet<String>, u64)> {
    let login = store.credentials()?;
    let site = site(store)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut desk = Client::new(site);
        let page = desk.get("/admin").await?;
        let csrf = between(&page.body, "name=\"csrf\" value=\"", "\"").context("no login form")?;
        let form = [
            ("csrf", csrf),
            ("email", &login.user),
            ("password", &login.password),
        ];
        let mut page = desk.post("/admin/login", &form).await?;
        let count = between(&page.body, "data-test=\"order-count\">", "<")
            .context("no order count: the login did not work")?
            .parse()?;
        let mut numbers = BTreeSet::new();
        for next in 2..PAGES {
            let known = numbers.len();
            numbers.extend(
                page.body
                    .split("href=\"/admin/orders/")
                    .skip(1)
                    .filter_map(|rest| rest.split('"').next())
                    .map(str::to_owned),
            );
            if numbers.len() == known {
                break;
            }
            page = desk.get(&format!("/admin?page={next}")).await?;
        }
        Ok((numbers, count))
    })
}

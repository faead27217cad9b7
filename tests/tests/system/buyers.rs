//! Fifty buyers after the last ten pieces.

use std::time::Duration;

use shop_tests::fleet::Fleet;
use shop_tests::shop::{self, Buyer, Outcome};

const BUYERS: usize = 50;
/// The catalogue has exactly ten of it.
const RARE: &str = "teapot-linde";
const PIECES: usize = 10;

#[test]
fn fifty_buyers_after_the_last_ten_pieces() -> anyhow::Result<()> {
    let fleet = Fleet::installed()?;
    let store = fleet.create_running("rush", &[])?;
    store.wait_serving(Duration::from_secs(15))?;
    // All carts are full before the first one pays.
    let buyers: Vec<Buyer> = (0..BUYERS)
        .map(|_| Buyer::new(&store))
        .collect::<Result<_, _>>()?;
    each(&buyers, |buyer| buyer.add(RARE))?;
    let outcomes = each(&buyers, Buyer::checkout)?;
    let ordered = outcomes
        .iter()
        .filter(|o| matches!(o, Outcome::Ordered(_)))
        .count();
    assert_eq!(ordered, PIECES, "{outcomes:?}");
    assert_eq!(outcomes.len() - ordered, BUYERS - PIECES);
    assert_eq!(shop::orders(&store)?, u32::try_from(PIECES)?);
    let page = Buyer::new(&store)?.get(&format!("/p/{RARE}"))?;
    assert!(page.body.contains("Sold out"), "the page still sells it");
    store.delete()
}

/// Runs `work` for every buyer at once.
fn each<T: Send>(
    buyers: &[Buyer],
    work: impl Fn(&Buyer) -> anyhow::Result<T> + Sync,
) -> anyhow::Result<Vec<T>> {
    let work = &work;
    std::thread::scope(|scope| {
        let running: Vec<_> = buyers
            .iter()
            .map(|buyer| scope.spawn(move || work(buyer)))
            .collect();
        running
            .into_iter()
            .map(|thread| {
                thread
                    .join()
                    .map_err(|_| anyhow::anyhow!("a buyer panicked"))?
            })
            .collect()
    })
}

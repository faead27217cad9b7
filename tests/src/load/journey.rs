//! One buyer, from a product's page to the order's number, slowly enough to have an update happen in between.

use std::time::{Duration, Instant};

use super::client::{Client, Reply, Site};
use super::record::Recorder;

/// Of the catalogue of refshop: what there is plenty of.
pub const PRODUCTS: [&str; 8] = [
    "dotted-notebook",
    "beeswax-candles",
    "pencil-set",
    "gift-wrap",
    "morning-mug",
    "canvas-tote",
    "dinner-plate",
    "waffle-towel",
];

const ADDRESS: [(&str, &str); 5] = [
    ("name", "Ada Buyer"),
    ("street", "Long Lane 1"),
    ("postcode", "12345"),
    ("city", "Sampletown"),
    ("country", "DE"),
];

/// A buyer at work. `dice` makes one differ from the next.
#[derive(Debug)]
pub struct Journey {
    client: Client,
    recorder: Recorder,
    dice: u64,
}

impl Journey {
    #[must_use]
    pub const fn new(site: Site, recorder: Recorder, dice: u64) -> Self {
        Self {
            client: Client::new(site),
            recorder,
            dice,
        }
    }

    /// Walks it to the end, or gives up at the first page that fails.
    pub async fn walk(mut self) {
        // Whatever failed is in the books.
        let _ = self.steps().await;
    }

    async fn steps(&mut self) -> Option<()> {
        let slug = PRODUCTS[self.pick(PRODUCTS.len())];
        let page = self.get(&format!("/p/{slug}")).await?;
        let form = ["csrf", "product"].map(|name| hidden(&page.body, name));
        let assets = assets(&page.body);
        self.think().await;
        // The page was fetched a while ago, perhaps from the release before.
        for asset in assets {
            self.asset(&asset).await?;
        }
        let [Some(csrf), Some(product)] = form else {
            // Sold out: the page has no form.
            return None;
        };
        let fields = [("csrf", &*csrf), ("product", &*product), ("quantity", "1")];
        let cart = self.post("/cart/add", &fields).await?;
        let mut filled = cart.body.contains("data-test=\"cart-line\"");
        if !filled {
            filled = self.get("/cart").await?.body.contains("cart-line");
        }
        if !filled {
            self.recorder.note(|books| books.lost_carts += 1);
            return None;
        }
        self.think().await;
        let checkout = self.get("/checkout").await?;
        let [Some(csrf), Some(token)] = ["csrf", "token"].map(|name| hidden(&checkout.body, name))
        else {
            // The checkout sends whoever has nothing in the cart back to it.
            self.recorder.note(|books| books.lost_carts += 1);
            return None;
        };
        self.think().await;
        // Everybody is somebody else: one buyer's orders may rightly wait for each other.
        let email = format!("ada.{:x}@example.com", self.dice);
        let mut fields = ADDRESS.to_vec();
        fields.extend([("email", &*email), ("csrf", &*csrf), ("token", &*token)]);
        self.order(&fields).await
    }

    async fn order(&mut self, fields: &[(&str, &str)]) -> Option<()> {
        let due = Instant::now();
        let reply = self.client.post("/checkout", fields).await;
        match &reply {
            Ok(reply) if reply.body.contains("data-test=\"sold-out\"") => {
                self.recorder.answered(due);
                None
            }
            Ok(reply) => {
                let number = between(&reply.body, "data-test=\"order-number\">", "<");
                if let (200, Some(number)) = (reply.status, number) {
                    self.recorder.answered(due);
                    let number = number.to_owned();
                    self.recorder.note(|books| {
                        books.confirmed.insert(number);
                    });
                    return Some(());
                }
                self.unsure(due, reply.status, reply.retry_after);
                None
            }
            Err(_) => {
                self.unsure(due, 0, false);
                None
            }
        }
    }

    fn unsure(&self, due: Instant, status: u16, announced: bool) {
        let what = "POST /checkout".to_owned();
        self.recorder.failed(due, status, announced, what);
        self.recorder.note(|books| books.unsure += 1);
    }

    async fn get(&mut self, path: &str) -> Option<Reply> {
        let due = Instant::now();
        let reply = self.client.get(path).await;
        self.judge(due, path, reply)
    }

    async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Option<Reply> {
        let due = Instant::now();
        let reply = self.client.post(path, fields).await;
        self.judge(due, path, reply)
    }

    async fn asset(&mut self, path: &str) -> Option<()> {
        let due = Instant::now();
        let reply = self.client.get(path).await;
        if let Ok(Reply { status: 404, .. }) = reply {
            self.recorder.answered(due);
            let path = path.to_owned();
            self.recorder
                .note(|books| *books.missing_assets.entry(path).or_default() += 1);
            return Some(());
        }
        self.judge(due, path, reply).map(drop)
    }

    fn judge(&self, due: Instant, path: &str, reply: anyhow::Result<Reply>) -> Option<Reply> {
        judge(&self.recorder, due, path, reply)
    }

    /// Half a second to four.
    async fn think(&mut self) {
        let more = u64::try_from(self.pick(3500)).unwrap_or(0);
        tokio::time::sleep(Duration::from_millis(500 + more)).await;
    }

    fn pick(&mut self, of: usize) -> usize {
        // xorshift64: cheap, and the same buyers in every run.
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        usize::try_from(self.dice % of as u64).unwrap_or(0)
    }
}

/// Writes an answer down; only a 200 is passed on.
pub fn judge(
    recorder: &Recorder,
    due: Instant,
    path: &str,
    reply: anyhow::Result<Reply>,
) -> Option<Reply> {
    match reply {
        Ok(reply) if reply.status == 200 => {
            recorder.answered(due);
            Some(reply)
        }
        Ok(reply) => {
            recorder.failed(due, reply.status, reply.retry_after, path.to_owned());
            None
        }
        Err(error) => {
            recorder.failed(due, 0, false, format!("{error:#}"));
            None
        }
    }
}

/// Style sheets and pictures of a page, as paths, without repeats.
#[must_use]
pub fn assets(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    for tag in page.split('<').filter(|tag| {
        tag.starts_with("img ") || tag.starts_with("link ") || tag.starts_with("script ")
    }) {
        let path = between(tag, " src=\"", "\"").or_else(|| between(tag, " href=\"", "\""));
        if let Some(path) = path.filter(|path| path.starts_with('/'))
            && !found.iter().any(|known| known == path)
        {
            found.push(path.to_owned());
        }
    }
    found
}

/// The value of a hidden field of a form.
fn hidden(page: &str, name: &str) -> Option<String> {
    between(page, &format!("name=\"{name}\" value=\""), "\"").map(str::to_owned)
}

/// What stands between two texts.
#[must_use]
pub fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    let from = text.find(start)? + start.len();
    let length = text[from..].find(end)?;
    Some(&text[from..from + length])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assets_of_a_page() {
        let page = "<link rel=\"stylesheet\" href=\"/assets/shop.1a.css\"><img src=\"/assets/a.svg\" alt=\"\">\
                    <img src=\"/assets/a.svg\"><img src=\"https://elsewhere.example/b.svg\"><a href=\"/p/x\">";
        assert_eq!(assets(page), ["/assets/shop.1a.css", "/assets/a.svg"]);
    }
}

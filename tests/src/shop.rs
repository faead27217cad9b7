//! A buyer of a refshop, without a browser: cookies, forms and what the pages say.

use anyhow::{Context, bail};
use tempfile::NamedTempFile;

use crate::fleet::{Fleet, Store};
use crate::http::Answer;

/// One visitor with a cookie jar of their own.
pub struct Buyer {
    fleet: Fleet,
    base: String,
    jar: NamedTempFile,
}

/// How a checkout ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The order's number.
    Ordered(String),
    /// Told politely that there is not enough left.
    SoldOut,
}

const ADDRESS: &[&str] = &[
    "name=Ada Buyer",
    "email=ada@example.com",
    "street=Long Lane 1",
    "postcode=12345",
    "city=Sampletown",
    "country=DE",
];

impl Buyer {
    pub fn new(store: &Store) -> anyhow::Result<Self> {
        let base = store.url()?.trim_end_matches('/').to_owned();
        Ok(Self {
            fleet: store.fleet.clone(),
            base,
            jar: NamedTempFile::new()?,
        })
    }

    pub fn get(&self, path: &str) -> anyhow::Result<Answer> {
        self.request(path, &[])
    }

    fn request(&self, path: &str, args: &[&str]) -> anyhow::Result<Answer> {
        let jar = self
            .jar
            .path()
            .to_str()
            .context("the jar's path is not UTF-8")?;
        let mut all = vec!["--location", "--cookie", jar, "--cookie-jar", jar];
        all.extend_from_slice(args);
        self.fleet.get(&format!("{}{path}", self.base), &all)
    }

    fn post(&self, path: &str, fields: &[String]) -> anyhow::Result<Answer> {
        let mut args = Vec::new();
        for field in fields {
            args.extend(["--data-urlencode", field.as_str()]);
        }
        self.request(path, &args)
    }

    /// Puts one piece of a product into the cart.
    pub fn add(&self, slug: &str) -> anyhow::Result<()> {
        let page = self.get(&format!("/p/{slug}"))?;
        if page.status != 200 {
            bail!("/p/{slug} answered {}", page.status);
        }
        let form = [
            format!("csrf={}", hidden(&page.body, "csrf")?),
            format!("product={}", hidden(&page.body, "product")?),
            "quantity=1".to_owned(),
        ];
        let cart = self.post("/cart/add", &form)?;
        if cart.status != 200 || !cart.body.contains("data-test=\"cart-line\"") {
            bail!("/cart/add answered {}", cart.status);
        }
        Ok(())
    }

    /// Buys what is in the cart.
    pub fn checkout(&self) -> anyhow::Result<Outcome> {
        let page = self.get("/checkout")?;
        let mut form: Vec<String> = ADDRESS.iter().map(|field| (*field).to_owned()).collect();
        form.push(format!("csrf={}", hidden(&page.body, "csrf")?));
        form.push(format!("token={}", hidden(&page.body, "token")?));
        let answer = self.post("/checkout", &form)?;
        if answer.status == 409 && answer.body.contains("data-test=\"sold-out\"") {
            return Ok(Outcome::SoldOut);
        }
        let number = between(&answer.body, "data-test=\"order-number\">", "<");
        number
            .map(|n| Outcome::Ordered(n.to_owned()))
            .with_context(|| format!("checkout answered {}", answer.status))
    }

    /// Puts one piece into the cart and buys it.
    pub fn buy(&self, slug: &str) -> anyhow::Result<Outcome> {
        self.add(slug)?;
        self.checkout()
    }
}

/// How many orders the shop has, by its own word.
pub fn orders(store: &Store) -> anyhow::Result<u32> {
    let php = crate::docker::service(&store.id()?, "php-fpm")?;
    let said = crate::docker::docker(&["exec", &php.id, "bin/shop", "orders"])?.ok()?;
    said.split(' ')
        .next()
        .and_then(|n| n.parse().ok())
        .with_context(|| format!("bin/shop orders said {said}"))
}

/// The value of a hidden field of a form.
fn hidden(page: &str, name: &str) -> anyhow::Result<String> {
    let value = between(page, &format!("name=\"{name}\" value=\""), "\"");
    value
        .map(str::to_owned)
        .with_context(|| format!("the page has no field {name}"))
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    let from = text.find(start)? + start.len();
    let length = text[from..].find(end)?;
    Some(&text[from..from + length])
}

//! Logs: JSON when not on a terminal, readable otherwise. Never a secret, never a shop's own log text.

use std::io::IsTerminal as _;

use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    layer::{Layer as _, SubscriberExt as _},
    util::SubscriberInitExt as _,
};

use crate::identity::{KeyError, KeyPair};

/// Starts logging to standard error. `SHOPFLEET_LOG` filters, such as `info,shop_agent=debug`.
///
/// Targets and levels only: filters by span and field would bring a regular-expression engine into every store.
pub fn start() {
    let filter = std::env::var("SHOPFLEET_LOG")
        .ok()
        .and_then(|wanted| wanted.parse::<Targets>().ok())
        .unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry();
    // An error means that a subscriber is set already, as in tests.
    let _ = if std::io::stderr().is_terminal() {
        registry.with(lines.with_filter(filter)).try_init()
    } else {
        let lines = lines.json().flatten_event(true).with_current_span(false);
        registry.with(lines.with_filter(filter)).try_init()
    };
}

/// What `shop-agent self-test` checks: the random source and the signing key type work here.
///
/// # Errors
/// When a key cannot be made.
pub fn self_test() -> Result<(), KeyError> {
    let key = KeyPair::generate()?;
    key.csr_der()?;
    Ok(())
}

//! Logs: JSON when not on a terminal, readable otherwise. Never a secret.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// Starts logging to standard error. `SHOPFLEET_LOG` filters, such as `info,control_plane=debug`.
pub fn start() {
    let filter =
        EnvFilter::try_from_env("SHOPFLEET_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // An error means that a subscriber is set already, as in tests.
    let _ = if std::io::stderr().is_terminal() {
        builder.try_init()
    } else {
        builder
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .try_init()
    };
}

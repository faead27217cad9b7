//! How tests wait for what others do.

use std::time::Duration;

use crate::client::PATIENCE;

/// Waits for a condition; says what it saw last when it gives up.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Result<T, String>) -> T {
    let give_up = tokio::time::Instant::now() + PATIENCE;
    loop {
        let seen = match look().await {
            Ok(value) => return value,
            Err(seen) => seen,
        };
        assert!(
            tokio::time::Instant::now() < give_up,
            "never: {what}; last seen: {seen}"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

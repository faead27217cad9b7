//! What containers wrote.

use bollard::{container::LogOutput, query_parameters::LogsOptionsBuilder};
use futures::StreamExt as _;

use super::engine::{CHANGE, Engine, EngineError, within};

impl Engine {
    /// The last lines of what it wrote, at most `limit` bytes of them.
    ///
    /// # Errors
    /// Status 404 when it is absent.
    pub async fn logs(&self, name: &str, tail: u32, limit: usize) -> Result<Vec<u8>, EngineError> {
        let operation = "read logs";
        let options = LogsOptionsBuilder::default()
            .stdout(true)
            .stderr(true)
            .tail(&tail.to_string())
            .build();
        let mut stream = self.docker.logs(name, Some(options));
        let read = async {
            let mut text = Vec::new();
            while let Some(chunk) = stream.next().await {
                let chunk: LogOutput = chunk?;
                text.extend_from_slice(&chunk.into_bytes());
                if text.len() > 2 * limit {
                    text.drain(..text.len() - limit);
                }
            }
            let excess = text.len().saturating_sub(limit);
            text.drain(..excess);
            Ok(text)
        };
        within(operation, CHANGE, read).await
    }

    /// What it wrote from its start, without the first `after` bytes; at most `limit` bytes. What rotation took is not there.
    ///
    /// # Errors
    /// Status 404 when it is absent.
    pub async fn logs_after(
        &self,
        name: &str,
        after: u64,
        limit: usize,
    ) -> Result<Vec<u8>, EngineError> {
        let options = LogsOptionsBuilder::default()
            .stdout(true)
            .stderr(true)
            .build();
        let mut stream = self.docker.logs(name, Some(options));
        let read = async {
            let (mut text, mut skip) = (Vec::new(), usize::try_from(after).unwrap_or(usize::MAX));
            while let Some(chunk) = stream.next().await {
                let chunk: LogOutput = chunk?;
                let bytes = chunk.into_bytes();
                let known = skip.min(bytes.len());
                skip -= known;
                text.extend_from_slice(&bytes[known..]);
                if text.len() >= limit {
                    text.truncate(limit);
                    break;
                }
            }
            Ok(text)
        };
        within("read logs", CHANGE, read).await
    }
}

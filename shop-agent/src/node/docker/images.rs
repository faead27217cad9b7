//! Image archives into the engine.

use std::{path::Path, time::Duration};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use tokio::{fs::File, io::AsyncReadExt as _};

use super::engine::{Engine, EngineError, within};

/// Unpacking a gigabyte on a slow disk takes minutes.
const LOAD: Duration = Duration::from_secs(900);
/// How much is read at a time.
const PIECE: usize = 256 << 10;

impl Engine {
    /// Loads an archive as `docker save` writes it. Loading what is there already changes nothing.
    ///
    /// # Errors
    /// When the file cannot be read or the engine refuses it.
    pub async fn load_images(&self, archive: &Path) -> Result<(), EngineError> {
        let operation = "load an image archive";
        let archive = archive.to_path_buf();
        let options = bollard::query_parameters::ImportImageOptionsBuilder::default()
            .quiet(true)
            .build();
        within(operation, LOAD, async {
            let file = File::open(archive).await?;
            let pieces = stream::unfold(Some(file), |file| async {
                let mut file = file?;
                let mut piece = vec![0; PIECE];
                match file.read(&mut piece).await {
                    Ok(0) => None,
                    Ok(read) => {
                        piece.truncate(read);
                        Some((Ok(Bytes::from(piece)), Some(file)))
                    }
                    Err(error) => Some((Err(error), None)),
                }
            });
            let answers = self.docker.import_image_stream(options, pieces, None);
            tokio::pin!(answers);
            while let Some(answer) = answers.next().await {
                answer?;
            }
            Ok(())
        })
        .await
    }
}

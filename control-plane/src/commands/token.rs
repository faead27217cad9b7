//! Fresh admin tokens, handed over once.

use std::{io::Write as _, path::Path};

use anyhow::Context as _;
use secrecy::ExposeSecret as _;

use crate::{app::App, cli::TokenOutput, identity::write_private};

/// Makes a new owner token and hands it over: to a file, alone on standard output, or shown once with a sentence.
pub async fn reset(app: &App, output: &TokenOutput) -> anyhow::Result<()> {
    let made = app
        .reset_admin_token()
        .await
        .context("making the admin token")?;
    let secret = made.secret.expose_secret();
    let mut stdout = std::io::stdout().lock();
    match output.token_file.as_deref() {
        Some(path) if path == Path::new("-") => writeln!(stdout, "{secret}")?,
        Some(path) => {
            write_private(path, format!("{secret}\n").as_bytes())
                .with_context(|| format!("writing {}", path.display()))?;
            writeln!(stdout, "  admin token    written to {}", path.display())?;
        }
        None => {
            writeln!(stdout, "  admin token    {secret}")?;
            writeln!(
                stdout,
                "  It is shown once. Log in: shopctl login https://127.0.0.1:7440 --ca-pin sha256:{}",
                app.context().settings.root_pin
            )?;
        }
    }
    Ok(())
}

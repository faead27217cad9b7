//! tmp
use super::Session;
use crate::cli::TrustCommand;
pub(super) async fn run(_session: &Session, _command: TrustCommand) -> anyhow::Result<()> {
    anyhow::bail!("not yet")
}
pub(super) fn known_pin(_session: &Session) -> anyhow::Result<Option<String>> {
    Ok(None)
}

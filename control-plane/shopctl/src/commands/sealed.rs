//! tmp
use super::Session;
pub(super) async fn logs(
    _session: &Session,
    _store: &str,
    _service: Option<String>,
) -> anyhow::Result<()> {
    anyhow::bail!("not yet")
}
pub(super) async fn credentials(
    _session: &Session,
    _store: &str,
    _name: &str,
) -> anyhow::Result<()> {
    anyhow::bail!("not yet")
}

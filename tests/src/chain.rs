//! The certificates of the installed control plane.

use std::io::Write;
use std::time::Duration;

use crate::process;

/// The certificates the admin API shows, root included, as a file for clients that want one.
pub fn shown(into: &mut impl Write) -> anyhow::Result<()> {
    let args = [
        "s_client",
        "-connect",
        "127.0.0.1:7440",
        "-showcerts",
        "-servername",
        "control-plane.shopfleet",
    ];
    let said = process::run_with_input("openssl", &args, Some(""), Duration::from_secs(20))?.stdout;
    let mut inside = false;
    for line in said.lines() {
        inside |= line.starts_with("-----BEGIN CERTIFICATE");
        if inside {
            writeln!(into, "{line}")?;
        }
        inside &= !line.starts_with("-----END CERTIFICATE");
    }
    Ok(())
}

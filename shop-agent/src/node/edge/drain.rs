//! How an edge that is no longer meant comes to its end. While its file lies in the directory of what the edges are told, it tells every visitor
//! to come back on another connection (its configuration looks for the file, so nothing is reloaded); the firewall sends that one to the new
//! edge. Who is still connected is read from the kernel's tables.

use std::{path::PathBuf, sync::Arc, time::Duration};

use super::{EdgeError, side::Side, told};
use crate::node::{
    context::Node,
    firewall::Port,
    state::files::{self, FileError},
    tasks::blocking,
};

/// Longest wait for visitors: idle ones go after two minutes, and whoever is served an answer for this long has to come again.
const PATIENCE: Duration = Duration::from_secs(600);
/// TCP sockets of this network namespace.
const TABLES: [&str; 2] = ["/proc/net/tcp", "/proc/net/tcp6"];

/// What there is to know of an edge's end.
struct Leaving {
    file: PathBuf,
    ports: [Port; 2],
}

fn leaving(node: &Node, side: Side) -> Arc<Leaving> {
    Arc::new(Leaving {
        file: told::directory(&node.paths).join(side.leaving()),
        ports: side.ports(&node.args),
    })
}

/// Tells the edge of a side to send its visitors over.
///
/// # Errors
/// When the disk says no.
pub async fn begin(node: &Node, side: Side) -> Result<(), EdgeError> {
    let leaving = leaving(node, side);
    blocking(&leaving, |it| {
        // Written once: its time says since when.
        if files::read(&it.file)?.is_none() {
            files::replace(&it.file, b"", 0o644)?;
        }
        Ok::<_, FileError>(())
    })
    .await??;
    Ok(())
}

/// The edge of a side keeps its visitors.
///
/// # Errors
/// When the disk says no.
pub async fn forget(node: &Node, side: Side) -> Result<(), EdgeError> {
    let leaving = leaving(node, side);
    blocking(&leaving, |it| files::remove(&it.file)).await??;
    Ok(())
}

/// Whether it was told, and nobody is connected any more, or it had time enough.
///
/// # Errors
/// When the node is ending.
pub async fn left(node: &Node, side: Side) -> Result<bool, EdgeError> {
    let leaving = leaving(node, side);
    let looked = blocking(&leaving, |it| {
        let Ok(told) = std::fs::metadata(&it.file).and_then(|file| file.modified()) else {
            return false;
        };
        // A clock that was set back starts the wait anew.
        if told.elapsed().is_ok_and(|age| age >= PATIENCE) {
            return true;
        }
        let tables: Result<Vec<String>, _> =
            TABLES.into_iter().map(std::fs::read_to_string).collect();
        tables.is_ok_and(|tables| {
            let ports = it.ports.map(|port| port.inner);
            !tables.iter().any(|table| connected(table, ports))
        })
    });
    Ok(looked.await?)
}

/// Whether a table of the kernel has a connection that came in at one of the ports.
pub(super) fn connected(table: &str, ports: [u16; 2]) -> bool {
    table.lines().skip(1).any(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let (local, state) = (fields.next(), fields.nth(1));
        let port = local
            .and_then(|it| it.rsplit_once(':'))
            .and_then(|(_, port)| u16::from_str_radix(port, 16).ok());
        // Established, being established, and closed by the visitor, who may still wait for an answer.
        matches!(state, Some("01" | "03" | "08")) && port.is_some_and(|it| ports.contains(&it))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str =
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid
   0: 00000000:1D38 00000000:0000 0A 00000000:00000000 00:00000000 00000000 199999
   1: 0100007F:1D39 0100007F:D431 06 00000000:00000000 00:00000000 00000000 0
   2: 0100007F:D431 0100007F:1D38 01 00000000:00000000 00:00000000 00000000 0
";

    #[test]
    fn visitors_are_told_from_listeners_and_from_what_is_over() {
        let ports = [7480, 7481];
        assert!(!connected(TABLE, ports), "nobody came in");
        for (line, inside) in [
            ("3: 0100007F:1D38 0100007F:D431 01 0:0 0:0 0 0", true),
            ("3: 0100007F:1D39 0100007F:D431 08 0:0 0:0 0 0", true),
            (
                "3: 00000000000000000000000000000000:1D38 00000000000000000000000000000000:D431 03 0:0",
                true,
            ),
            ("3: 0100007F:1D38 0100007F:D431 05 0:0 0:0 0 0", false),
            ("3: 0100007F:1D3A 0100007F:D431 01 0:0 0:0 0 0", false),
            ("3:", false),
        ] {
            let table = format!("{TABLE}   {line}\n");
            assert_eq!(connected(&table, ports), inside, "{line}");
        }
    }
}

//! MySQL and what speaks like it: the server's first packet must be a handshake of version 10.

use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::NotReady;

/// Protocol version byte of a handshake.
const HANDSHAKE: u8 = 0x0a;
/// First byte of an error packet, such as "host is blocked" or "too many connections".
const ERROR: u8 = 0xff;

pub async fn ask(stream: &mut (impl AsyncRead + Unpin)) -> Result<(), NotReady> {
    let mut packet = [0; 5];
    stream.read_exact(&mut packet).await?;
    match packet {
        [_, _, _, 0, HANDSHAKE] => Ok(()),
        [_, _, _, _, ERROR] => Err(NotReady::Starting),
        _ => Err(NotReady::Unexpected),
    }
}

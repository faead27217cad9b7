//! PostgreSQL: a startup message is answered by a request to authenticate, or by an error that is not "starting up".

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};

use super::{NotReady, read_until};

const PROTOCOL_3: u32 = 196_608;
/// SQLSTATE cannot_connect_now: starting up or shutting down.
const CANNOT_CONNECT_NOW: &[u8] = b"C57P03\0";

pub async fn ask(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Result<(), NotReady> {
    stream.write_all(&startup()).await?;
    let answer = read_until(stream, whole).await?;
    match answer.first() {
        Some(b'R') => Ok(()),
        Some(b'E') if contains(&answer, CANNOT_CONNECT_NOW) => Err(NotReady::Starting),
        Some(b'E') => Ok(()),
        _ => Err(NotReady::Unexpected),
    }
}

fn startup() -> Vec<u8> {
    let parameters = b"user\0shopfleet-probe\0database\0postgres\0\0";
    let length = (8 + parameters.len()) as u32;
    [
        &length.to_be_bytes()[..],
        &PROTOCOL_3.to_be_bytes()[..],
        parameters,
    ]
    .concat()
}

/// One message: a type byte and a length that counts itself.
fn whole(answer: &[u8]) -> bool {
    match answer {
        [_, a, b, c, d, rest @ ..] => {
            let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
            rest.len() + 4 >= length
        }
        _ => false,
    }
}

fn contains(answer: &[u8], needle: &[u8]) -> bool {
    answer.windows(needle.len()).any(|window| window == needle)
}

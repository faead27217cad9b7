//! FastCGI: php-fpm's ping page. php-fpm ends a request for an unknown page with END_REQUEST status 0 as well,
//! so only the page's own output counts: no `Status` header and exactly the expected body.

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::{LARGEST_ANSWER, NotReady};

const VERSION: u8 = 1;
const BEGIN_REQUEST: u8 = 1;
const END_REQUEST: u8 = 3;
const PARAMS: u8 = 4;
const STDIN: u8 = 5;
const STDOUT: u8 = 6;
const RESPONDER: u8 = 1;

pub async fn ask(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    path: &str,
    expect: &str,
) -> Result<(), NotReady> {
    stream.write_all(&request(path)).await?;
    let output = output(stream).await?;
    judge(&output, expect)
}

/// php-fpm wants both names and the method; without them it answers 404 or nothing.
fn request(path: &str) -> Vec<u8> {
    let mut params = Vec::new();
    for (name, value) in [
        ("SCRIPT_NAME", path),
        ("SCRIPT_FILENAME", path),
        ("REQUEST_METHOD", "GET"),
    ] {
        push_length(&mut params, name.len());
        push_length(&mut params, value.len());
        params.extend_from_slice(name.as_bytes());
        params.extend_from_slice(value.as_bytes());
    }
    let mut bytes = Vec::new();
    record(&mut bytes, BEGIN_REQUEST, &[0, RESPONDER, 0, 0, 0, 0, 0, 0]);
    record(&mut bytes, PARAMS, &params);
    record(&mut bytes, PARAMS, &[]);
    record(&mut bytes, STDIN, &[]);
    bytes
}

fn push_length(bytes: &mut Vec<u8>, length: usize) {
    match u8::try_from(length) {
        Ok(short) if short < 128 => bytes.push(short),
        _ => bytes.extend_from_slice(&(length as u32 | 0x8000_0000).to_be_bytes()),
    }
}

fn record(bytes: &mut Vec<u8>, kind: u8, content: &[u8]) {
    let length = (content.len() as u16).to_be_bytes();
    bytes.extend_from_slice(&[VERSION, kind, 0, 1, length[0], length[1], 0, 0]);
    bytes.extend_from_slice(content);
}

/// What the page wrote, up to the end of the request.
async fn output(stream: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>, NotReady> {
    let mut output = Vec::new();
    let mut seen = 0;
    loop {
        let mut header = [0; 8];
        stream.read_exact(&mut header).await?;
        let [VERSION, kind, _, _, high, low, padding, _] = header else {
            return Err(NotReady::Unexpected);
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        let mut content = vec![0; length + usize::from(padding)];
        seen += content.len() + header.len();
        if seen > LARGEST_ANSWER {
            return Err(NotReady::Unexpected);
        }
        stream.read_exact(&mut content).await?;
        match kind {
            STDOUT => output.extend_from_slice(&content[..length]),
            END_REQUEST => return Ok(output),
            _ => {}
        }
    }
}

fn judge(output: &[u8], expect: &str) -> Result<(), NotReady> {
    let text = std::str::from_utf8(output).map_err(|_| NotReady::Unexpected)?;
    let (headers, body) = text.split_once("\r\n\r\n").ok_or(NotReady::Unexpected)?;
    for line in headers.lines() {
        let (name, value) = line.split_once(':').ok_or(NotReady::Unexpected)?;
        if name.eq_ignore_ascii_case("status") {
            let status = value.trim().get(..3).and_then(|code| code.parse().ok());
            return Err(status.map_or(NotReady::Unexpected, NotReady::Status));
        }
    }
    if body.trim_end() == expect {
        Ok(())
    } else {
        Err(NotReady::Unexpected)
    }
}

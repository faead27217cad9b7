//! Redis: AUTH when there is a password, then PING. `-LOADING` is not ready; `-NOAUTH` and `-WRONGPASS` say that its secret is another.

use secrecy::{ExposeSecret as _, SecretString};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use zeroize::Zeroizing;

use super::{NotReady, read_until};

pub async fn ask(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    password: Option<&SecretString>,
) -> Result<(), NotReady> {
    if let Some(password) = password {
        let password = password.expose_secret();
        let command = Zeroizing::new(format!(
            "*2\r\n$4\r\nAUTH\r\n${}\r\n{password}\r\n",
            password.len()
        ));
        stream.write_all(command.as_bytes()).await?;
        expect(stream, b"+OK").await?;
    }
    stream.write_all(b"*1\r\n$4\r\nPING\r\n").await?;
    expect(stream, b"+PONG").await
}

async fn expect(stream: &mut (impl AsyncRead + Unpin), line: &[u8]) -> Result<(), NotReady> {
    let answer = read_until(stream, |answer| answer.ends_with(b"\r\n")).await?;
    if answer.strip_suffix(b"\r\n") == Some(line) {
        Ok(())
    } else if answer.starts_with(b"-LOADING") {
        Err(NotReady::Starting)
    } else if answer.starts_with(b"-NOAUTH")
        || answer.starts_with(b"-WRONGPASS")
        || answer.starts_with(b"-ERR AUTH")
    {
        Err(NotReady::Unauthenticated)
    } else {
        Err(NotReady::Unexpected)
    }
}

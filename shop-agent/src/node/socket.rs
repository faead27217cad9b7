//! Unix sockets of one store: only its agent's user gets in, and only so many times at once.

use std::{
    io,
    os::unix::fs::{PermissionsExt as _, chown},
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{UnixListener, UnixStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tonic::transport::server::Connected;

/// A socket that is listened on.
pub struct Door {
    listener: UnixListener,
    uid: u32,
    places: Arc<Semaphore>,
}

/// A connection from the store's agent; gives its place back when dropped.
pub struct Visitor {
    stream: UnixStream,
    _place: OwnedSemaphorePermit,
}

impl Door {
    /// Binds anew; whatever socket a previous process left there is replaced. `uid` (and its group) may connect, `places` times at once.
    ///
    /// # Errors
    /// When the directory is not there or the socket cannot be made.
    pub fn open(path: &Path, uid: u32, places: usize) -> io::Result<Self> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        // Connecting needs the write permission. The directory lets nobody else near it.
        chown(path, None, Some(uid))?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
        Ok(Self {
            listener,
            uid,
            places: Arc::new(Semaphore::new(places)),
        })
    }

    /// The next connection. Others are closed without a word.
    ///
    /// # Errors
    /// When the socket itself fails.
    pub async fn next(&self) -> io::Result<Visitor> {
        loop {
            let place = Arc::clone(&self.places)
                .acquire_owned()
                .await
                .map_err(io::Error::other)?;
            let (stream, _) = self.listener.accept().await?;
            match stream.peer_cred() {
                Ok(peer) if peer.uid() == self.uid => {
                    return Ok(Visitor {
                        stream,
                        _place: place,
                    });
                }
                Ok(peer) => {
                    tracing::warn!(
                        uid = peer.uid(),
                        expected = self.uid,
                        "refused a connection of another user"
                    );
                }
                Err(error) => tracing::warn!(%error, "refused a connection of an unknown user"),
            }
        }
    }
}

impl Connected for Visitor {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Visitor {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Visitor {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[tokio::test]
    async fn only_the_agent_s_user_gets_in() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.sock");
        let us = rustix::process::getuid().as_raw();
        {
            let door = Door::open(&path, us, 1).unwrap();
            let (_client, visitor) = tokio::join!(UnixStream::connect(&path), door.next());
            assert!(visitor.is_ok());
        }
        // Only root can give the socket to another group.
        if us != 0 {
            return;
        }
        let door = Door::open(&path, us + 4711, 1).unwrap();
        let mut client = UnixStream::connect(&path).await.unwrap();
        let mut byte = [0];
        let refused = tokio::select! {
            visitor = door.next() => visitor.is_err(),
            read = client.read(&mut byte) => matches!(read, Ok(0) | Err(_)),
        };
        assert!(refused);
    }
}

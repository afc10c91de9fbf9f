//! One connection: bytes in both directions, with and without a runtime.

use std::io::{self, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use interprocess::local_socket::prelude::*;
use interprocess::local_socket::{Stream as SystemStream, tokio::Stream as SystemTokioStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

// tokio's own types on Unix: interprocess reads once more after every message to find that there is nothing.
#[cfg(unix)]
mod system {
    pub(super) type Whole = tokio::net::UnixStream;
    pub(super) type Read = tokio::net::unix::OwnedReadHalf;
    pub(super) type Write = tokio::net::unix::OwnedWriteHalf;
}
#[cfg(windows)]
mod system {
    pub(super) type Whole = interprocess::local_socket::tokio::Stream;
    pub(super) type Read = tokio::io::ReadHalf<Whole>;
    pub(super) type Write = tokio::io::WriteHalf<Whole>;
}

/// A connection for tokio, closed when it, or both of its halves, are dropped. On Unix `shutdown` ends what is sent, as
/// dropping the [`WriteHalf`] does.
#[derive(Debug)]
pub struct Stream(system::Whole);

/// The half of a [`Stream`] that is read.
#[derive(Debug)]
pub struct ReadHalf(system::Read);

/// The half of a [`Stream`] that is written.
#[derive(Debug)]
pub struct WriteHalf(system::Write);

/// A connection for programs without a runtime. Reads and writes that reach the timeout fail with `WouldBlock` or `TimedOut`.
#[derive(Debug)]
pub struct BlockingStream {
    inner: SystemStream,
    timeout: Option<Duration>,
}

impl Stream {
    /// Two halves for two tasks.
    #[must_use]
    pub fn split(self) -> (ReadHalf, WriteHalf) {
        #[cfg(unix)]
        let (read, write) = self.0.into_split();
        #[cfg(windows)]
        let (read, write) = tokio::io::split(self.0);
        (ReadHalf(read), WriteHalf(write))
    }

    /// Takes over what interprocess accepted or connected.
    pub(super) fn of(stream: SystemTokioStream) -> Self {
        #[cfg(unix)]
        {
            let SystemTokioStream::UdSocket(socket) = stream;
            Self(socket.into())
        }
        #[cfg(windows)]
        Self(stream)
    }

    /// Looks whether `connect` did its work: interprocess takes the `EAGAIN` of connect(2), a full queue on Linux, for a
    /// connection under way, and returns a socket that will never be connected. It has no peer.
    pub(super) fn connected(stream: SystemTokioStream) -> io::Result<Self> {
        let stream = Self::of(stream);
        #[cfg(unix)]
        stream.0.peer_addr().map_err(not_yet)?;
        Ok(stream)
    }
}

#[cfg(unix)]
fn not_yet(why: io::Error) -> io::Error {
    if why.kind() == io::ErrorKind::NotConnected { io::Error::new(io::ErrorKind::WouldBlock, "its queue of new connections is full") } else { why }
}

impl ReadHalf {
    /// Has the other side closed the whole connection? Not where only what it sends has ended, and it still reads.
    pub async fn is_closed(&self) -> bool {
        #[cfg(unix)]
        {
            let state = self.0.as_ref().ready(tokio::io::Interest::WRITABLE);
            // Whoever has its buffer full does not answer at once, and has closed nothing.
            let state = tokio::time::timeout(Duration::ZERO, state).await;
            state.is_ok_and(|state| state.is_ok_and(|state| state.is_write_closed()))
        }
        #[cfg(windows)]
        true
    }
}

impl BlockingStream {
    pub(super) fn connected(stream: SystemStream) -> io::Result<Self> {
        #[cfg(unix)]
        {
            let SystemStream::UdSocket(socket) = &stream;
            socket.inner().peer_addr().map_err(not_yet)?;
        }
        stream.set_nonblocking(false)?;
        Ok(Self { inner: stream, timeout: None })
    }

    /// Bounds each later read and write; `None` lets them wait without bound. A zero timeout counts as one millisecond.
    ///
    /// # Errors
    /// The system refuses; on Windows pipes have no timeouts.
    pub fn set_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = timeout.map(|span| span.max(Duration::from_millis(1)));
        // Two system calls, spared where nothing changes.
        if timeout != self.timeout {
            self.inner.set_recv_timeout(timeout)?;
            self.inner.set_send_timeout(timeout)?;
            self.timeout = timeout;
        }
        Ok(())
    }
}

impl Read for BlockingStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer)
    }
}

impl Write for BlockingStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

macro_rules! reads {
    ($type:ty) => {
        impl AsyncRead for $type {
            fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut self.get_mut().0).poll_read(context, buffer)
            }
        }
    };
}

macro_rules! writes {
    ($type:ty) => {
        impl AsyncWrite for $type {
            fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
                Pin::new(&mut self.get_mut().0).poll_write(context, bytes)
            }

            fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut self.get_mut().0).poll_flush(context)
            }

            fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut self.get_mut().0).poll_shutdown(context)
            }
        }
    };
}

reads!(Stream);
reads!(ReadHalf);
writes!(Stream);
writes!(WriteHalf);

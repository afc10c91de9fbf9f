//! One connection: bytes in both directions, with and without a runtime.

use std::io::{self, Read, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use interprocess::local_socket::prelude::*;
use interprocess::local_socket::{Stream as SystemStream, tokio::Stream as SystemTokioStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connection for tokio. It is closed when it, or both of its halves, are dropped; `shutdown` alone does nothing.
#[derive(Debug)]
pub struct Stream(SystemTokioStream);

/// The half of a [`Stream`] that is read.
#[derive(Debug)]
pub struct ReadHalf(Arc<Stream>);

/// The half of a [`Stream`] that is written.
#[derive(Debug)]
pub struct WriteHalf(Arc<Stream>);

/// A connection for programs without a runtime. Reads and writes that reach the timeout fail with `WouldBlock` or `TimedOut`.
#[derive(Debug)]
pub struct BlockingStream {
    inner: SystemStream,
    timeout: Option<Duration>,
}

impl Stream {
    /// Two halves for two tasks. They share the connection without a lock.
    #[must_use]
    pub fn split(self) -> (ReadHalf, WriteHalf) {
        let shared = Arc::new(self);
        (ReadHalf(Arc::clone(&shared)), WriteHalf(shared))
    }

    #[cfg(unix)]
    pub(super) const fn system(&self) -> &SystemTokioStream {
        &self.0
    }

    #[cfg(unix)]
    pub(super) const fn accepted(stream: SystemTokioStream) -> Self {
        Self(stream)
    }

    /// interprocess takes the `EAGAIN` of connect(2), a full queue on Linux, for a connection under way and returns a socket
    /// that will never be connected; the name of the peer tells them apart.
    #[cfg_attr(windows, expect(clippy::unnecessary_wraps, reason = "the same call on every system"))]
    pub(super) fn connected(stream: SystemTokioStream) -> io::Result<Self> {
        #[cfg(unix)]
        {
            let SystemTokioStream::UdSocket(socket) = &stream;
            socket.inner().peer_addr().map_err(not_yet)?;
        }
        Ok(Self(stream))
    }
}

#[cfg(unix)]
fn not_yet(why: io::Error) -> io::Error {
    if why.kind() == io::ErrorKind::NotConnected { io::Error::new(io::ErrorKind::WouldBlock, "its queue of new connections is full") } else { why }
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

impl AsyncRead for &Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut &self.get_mut().0).poll_read(context, buffer)
    }
}

impl AsyncWrite for &Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut &self.get_mut().0).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut &*self.get_mut()).poll_read(context, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut &*self.get_mut()).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for ReadHalf {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut &*self.get_mut().0).poll_read(context, buffer)
    }
}

impl AsyncWrite for WriteHalf {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut &*self.get_mut().0).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

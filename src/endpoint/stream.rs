//! One connection: bytes in both directions, with and without a runtime.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use std::io::{self, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::endpoint::Endpoint;

#[cfg(unix)]
use unix as system;
#[cfg(windows)]
use windows as system;

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
    inner: system::Blocking,
    timeout: Option<Duration>,
}

impl Stream {
    /// Two halves for two tasks.
    #[must_use]
    pub fn split(self) -> (ReadHalf, WriteHalf) {
        let (read, write) = system::split(self.0);
        (ReadHalf(read), WriteHalf(write))
    }

    /// Takes over what the listener accepted.
    pub(super) fn of(stream: system::Accepted) -> Self {
        Self(system::take(stream))
    }

    /// Connects, once. `WouldBlock`: the daemon's queue of new connections is full.
    pub(super) async fn connect(endpoint: &Endpoint) -> io::Result<Self> {
        system::connect(endpoint).await.map(Self)
    }
}

impl ReadHalf {
    /// Has the other side closed the whole connection? Not where only what it sends has ended, and it still reads.
    pub async fn is_closed(&self) -> bool {
        system::is_closed(&self.0).await
    }
}

impl BlockingStream {
    /// As [`Stream::connect`].
    pub(super) fn connect(endpoint: &Endpoint) -> io::Result<Self> {
        Ok(Self { inner: system::Blocking::connect(endpoint)?, timeout: None })
    }

    /// Bounds each later read and write; `None` lets them wait without bound. A zero timeout counts as one millisecond.
    ///
    /// # Errors
    /// The system refuses.
    pub fn set_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = timeout.map(|span| span.max(Duration::from_millis(1)));
        // Two system calls, spared where nothing changes.
        if timeout != self.timeout {
            self.inner.set_timeout(timeout)?;
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

//! Named pipes: the daemon's end by interprocess, the caller's end by tokio.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use interprocess::os::windows::named_pipe::pipe_mode;
use interprocess::os::windows::named_pipe::tokio::DuplexPipeStream;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::windows::named_pipe::{ClientOptions, NamedPipeClient};
use tokio::runtime::{Builder, Handle, Runtime};

use crate::endpoint::Endpoint;

/// ERROR_PIPE_BUSY: the pipe is there, and its daemon has not made its next end yet.
const BUSY: i32 = 231;

#[derive(Debug)]
pub(super) enum Whole {
    Accepted(Accepted),
    /// tokio lets the daemon identify the caller and not act in its name, as interprocess would.
    Connected(NamedPipeClient),
}

pub(super) type Read = tokio::io::ReadHalf<Whole>;
pub(super) type Write = tokio::io::WriteHalf<Whole>;
pub(super) type Accepted = DuplexPipeStream<pipe_mode::Bytes>;

pub(super) fn split(stream: Whole) -> (Read, Write) {
    tokio::io::split(stream)
}

pub(super) fn take(stream: Accepted) -> Whole {
    Whole::Accepted(stream)
}

pub(super) async fn connect(endpoint: &Endpoint) -> io::Result<Whole> {
    open(endpoint)
}

fn open(endpoint: &Endpoint) -> io::Result<Whole> {
    let name = endpoint.pipe().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no pipe has such a name"))?;
    ClientOptions::new().open(name).map(Whole::Connected).map_err(|why| match why.raw_os_error() {
        Some(BUSY) => io::Error::new(io::ErrorKind::WouldBlock, "its queue of new connections is full"),
        _ => why,
    })
}

/// A pipe ends in both directions at once.
pub(super) async fn is_closed(_: &Read) -> bool {
    true
}

impl AsyncRead for Whole {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Accepted(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Connected(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Whole {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Accepted(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Connected(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    /// Does nothing: to flush a pipe is to wait until the other side has read all of it.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A pipe knows no timeouts: the runtime that drives it has them.
#[derive(Debug)]
pub(super) struct Blocking {
    stream: Whole,
    driver: Driver,
    timeout: Option<Duration>,
}

impl Blocking {
    pub(super) fn connect(endpoint: &Endpoint) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let driver = Driver(Some(runtime));
        let stream = driver.wait(None, async { open(endpoint) })?;
        Ok(Self { stream, driver, timeout: None })
    }

    pub(super) fn set_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.timeout = timeout;
        Ok(())
    }

    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.driver.wait(self.timeout, self.stream.read(buffer))
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.driver.wait(self.timeout, self.stream.write(bytes))
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Lets a thread wait, also one that drives another runtime. There is a runtime in it until it is dropped.
#[derive(Debug)]
struct Driver(Option<Runtime>);

impl Driver {
    fn wait<T: Send>(&self, timeout: Option<Duration>, work: impl Future<Output = io::Result<T>> + Send) -> io::Result<T> {
        let runtime = self.0.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        let bounded = async {
            match timeout {
                Some(timeout) => tokio::time::timeout(timeout, work).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())),
                None => work.await,
            }
        };
        if Handle::try_current().is_err() {
            return runtime.block_on(bounded);
        }
        // A thread that drives a runtime can't drive another.
        thread::scope(|scope| {
            let waiting = thread::Builder::new().spawn_scoped(scope, || runtime.block_on(bounded))?;
            waiting.join().unwrap_or_else(|_| Err(io::Error::other("the thread that waited for the pipe failed")))
        })
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // To drop a runtime is to wait for it, which a thread that drives another may not.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

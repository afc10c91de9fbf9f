//! Sockets. tokio's own types: interprocess reads once more after every message to find that there is nothing.

use std::io::{self, Read as _, Write as _};
use std::time::Duration;

use interprocess::ConnectWaitMode;
use interprocess::local_socket::prelude::*;
use interprocess::local_socket::{ConnectOptions, Stream as SystemStream, tokio::Stream as SystemTokioStream};

use crate::endpoint::Endpoint;

pub(super) type Whole = tokio::net::UnixStream;
pub(super) type Read = tokio::net::unix::OwnedReadHalf;
pub(super) type Write = tokio::net::unix::OwnedWriteHalf;
pub(super) type Accepted = SystemTokioStream;

pub(super) fn split(stream: Whole) -> (Read, Write) {
    stream.into_split()
}

pub(super) fn take(stream: Accepted) -> Whole {
    let SystemTokioStream::UdSocket(socket) = stream;
    socket.into()
}

pub(super) async fn connect(endpoint: &Endpoint) -> io::Result<Whole> {
    let stream = take(ConnectOptions::new().name(endpoint.name()?).connect_tokio().await?);
    stream.peer_addr().map_err(not_yet)?;
    Ok(stream)
}

/// interprocess takes the `EAGAIN` of connect(2), a full queue on Linux, for a connection under way, and returns a socket
/// that will never be connected. It has no peer.
fn not_yet(why: io::Error) -> io::Error {
    if why.kind() == io::ErrorKind::NotConnected { io::Error::new(io::ErrorKind::WouldBlock, "its queue of new connections is full") } else { why }
}

pub(super) async fn is_closed(half: &Read) -> bool {
    let state = half.as_ref().ready(tokio::io::Interest::WRITABLE);
    // Whoever has its buffer full does not answer at once, and has closed nothing.
    let state = tokio::time::timeout(Duration::ZERO, state).await;
    state.is_ok_and(|state| state.is_ok_and(|state| state.is_write_closed()))
}

#[derive(Debug)]
pub(super) struct Blocking(SystemStream);

impl Blocking {
    pub(super) fn connect(endpoint: &Endpoint) -> io::Result<Self> {
        // Without `Deferred`, a full queue would hold connect(2) for as long as it is full.
        let stream = ConnectOptions::new().name(endpoint.name()?).wait_mode(ConnectWaitMode::Deferred).connect_sync()?;
        let SystemStream::UdSocket(socket) = &stream;
        socket.inner().peer_addr().map_err(not_yet)?;
        stream.set_nonblocking(false)?;
        Ok(Self(stream))
    }

    pub(super) fn set_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.0.set_recv_timeout(timeout)?;
        self.0.set_send_timeout(timeout)
    }

    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

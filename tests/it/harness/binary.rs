//! The binary codec, written out by hand where a test needs other bytes than the client sends.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

use gollm::protocol::reply::Response;
use gollm::protocol::request::{Op, Request};
use gollm::protocol::{PREAMBLE, frame};

use super::{LONGEST, until};

/// Connects and sends these bytes.
pub(crate) fn connect(socket: &Path, hello: &[u8]) -> UnixStream {
    let mut stream = until("a connection", || UnixStream::connect(socket).ok());
    stream.set_read_timeout(Some(LONGEST)).unwrap();
    stream.set_write_timeout(Some(LONGEST)).unwrap();
    stream.write_all(hello).unwrap();
    stream
}

/// A connection on which both have said hello.
pub(crate) fn greeted(socket: &Path) -> UnixStream {
    let mut stream = connect(socket, &PREAMBLE);
    let mut answer = [0; PREAMBLE.len()];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer, PREAMBLE);
    stream
}

/// A request as a frame.
pub(crate) fn framed(id: u64, op: Op) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::encode(&Request { id, op }, &mut bytes).unwrap();
    bytes
}

/// The next answer; none: the daemon closed the connection.
pub(crate) fn response(stream: &mut UnixStream) -> Option<Response> {
    let mut header = [0; frame::HEADER];
    stream.read_exact(&mut header).ok()?;
    let mut body = vec![0; frame::body_length(&header).unwrap().unwrap()];
    stream.read_exact(&mut body).ok()?;
    Some(frame::decode(&body).unwrap())
}

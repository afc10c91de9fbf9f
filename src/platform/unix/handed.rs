//! Sockets that the service manager made and passed on (sd_listen_fds(3)).

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::net::sockopt::{socket_acceptconn, socket_domain, socket_type};
use rustix::net::{AddressFamily, SocketType};

/// They can be taken once.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The one socket that was passed on to this process; none: there is none, or it was taken before.
pub(super) fn socket() -> io::Result<Option<OwnedFd>> {
    if TAKEN.swap(true, Ordering::AcqRel) {
        return Ok(None);
    }
    let passed: Vec<RawFd> = sd_notify::listen_fds()?.collect();
    let number = match passed.as_slice() {
        [] => return Ok(None),
        [one] => *one,
        _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, "there are several: name one in the .socket unit")),
    };
    #[expect(unsafe_code, reason = "a descriptor that was inherited has no owner but who takes it")]
    // SAFETY: the service manager passed it on to this process, and it is taken here, once.
    let socket = unsafe { OwnedFd::from_raw_fd(number) };
    let fits = socket_domain(&socket)? == AddressFamily::UNIX && socket_type(&socket)? == SocketType::STREAM && socket_acceptconn(&socket)?;
    if fits {
        Ok(Some(socket))
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no Unix socket that listens: name it with `ListenStream=`"))
    }
}

//! Listening: one daemon at a time, out of the reach of other users, every caller named by the kernel.

mod cgroup;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use std::io;
#[cfg(unix)]
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::endpoint::{Endpoint, Stream};
use crate::id::Uid;

pub use cgroup::Cgroup;

#[cfg(unix)]
use unix as system;
#[cfg(windows)]
use windows as system;

/// The process at the other end of a connection, as the kernel knows it from the moment it connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its effective user; 0 for all on Windows, which has no such ids.
    pub uid: Uid,
    /// Its effective group; 0 on Windows.
    pub gid: u32,
    /// Its further groups, where the kernel tells them (Linux).
    pub groups: Arc<[u32]>,
    /// Its process id, where the system tells it (not on macOS).
    pub pid: Option<i32>,
    /// Its control group, where the kernel tells it of this very process (Linux 6.5).
    pub cgroup: Option<Cgroup>,
}

impl Peer {
    /// Is it of that group, as its own or a further one?
    #[must_use]
    pub fn is_in(&self, group: u32) -> bool {
        self.gid == group || self.groups.contains(&group)
    }
}

/// Who may connect besides root. What they may do there is decided by who they are, for each request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// The daemon's own user: mode 0600.
    Owner,
    /// The members of a group, by its id: the socket gets this group and mode 0660.
    Group(u32),
    /// Every user: mode 0666.
    Everyone,
}

/// Why a daemon can't listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// A daemon serves this socket.
    #[error("another daemon answers on {path}: stop it first, or listen elsewhere with --socket")]
    InUse {
        /// The socket.
        path: Endpoint,
    },
    /// A daemon that is starting or ending holds the lock.
    #[error("another daemon holds {}: stop it first, or listen elsewhere with --socket", lock.display())]
    Locked {
        /// The lock file.
        lock: PathBuf,
    },
    /// The path belongs to something else, which is left as it is.
    #[error("{path} is not a socket and is left untouched: move it away, or listen elsewhere with --socket")]
    NotASocket {
        /// What stands there.
        path: Endpoint,
    },
    /// No pipe can have such a name.
    #[error("{path} can't be the name of a pipe: choose one without `\\` and `/`, such as `gollmd`, with --socket")]
    NotAPipe {
        /// The name.
        path: Endpoint,
    },
    /// The pipe can't be opened to more than those it was made for.
    #[error("other users can't be let in on this system: only the daemon's user, administrators and SYSTEM can connect")]
    NoAudience,
    /// The system has no room for such a path in the address of a socket.
    #[error("{path} is too long for a socket: choose a path of at most 97 bytes with --socket")]
    TooLong {
        /// The path.
        path: Endpoint,
    },
    /// The system refuses.
    #[error("can't {act} {}: {why}", path.display())]
    System {
        /// What was tried.
        act: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system says.
        why: io::Error,
    },
}

fn refused(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ListenError {
    let path = path.to_path_buf();
    move |why| ListenError::System { act, path, why }
}

/// A socket or pipe that is listened on. Dropping it removes the socket, if it is still this one.
#[derive(Debug)]
pub struct Listener(system::Listening);

impl Listener {
    /// Listens on `endpoint`, from within a tokio runtime.
    ///
    /// On Unix, the directory is made if it is missing: 0700, or 0755 below `/run`, where every user's programs must reach the
    /// system's socket. `PATH.lock` is locked first and stays locked and in place. A socket that nobody answers on is
    /// replaced; one that is answered on, and anything that is not a socket, is left untouched. The socket is never visible
    /// with a mode wider than 0600, whatever the umask: it is bound in a directory of mode 0700, gets its mode there, and is
    /// then renamed into place, which also replaces a stale one at once.
    ///
    /// On Windows, the pipe is the first of its name, takes no callers from other machines, and can be opened by its
    /// owner, administrators and SYSTEM alone.
    ///
    /// # Errors
    /// See [`ListenError`].
    pub fn bind(endpoint: &Endpoint) -> Result<Self, ListenError> {
        system::Listening::bind(endpoint).map(Self)
    }

    /// Asks whether [`Listener::bind`] would find the place free now, and changes nothing.
    ///
    /// # Errors
    /// [`ListenError::InUse`], [`ListenError::NotASocket`], [`ListenError::NotAPipe`], or the system refuses.
    pub fn probe(endpoint: &Endpoint) -> Result<(), ListenError> {
        system::Listening::probe(endpoint)
    }

    /// Listens on a socket that the service manager made and passed on. It is neither locked nor removed.
    ///
    /// # Errors
    /// The descriptor is no listening socket.
    #[cfg(unix)]
    pub fn inherited(socket: OwnedFd) -> io::Result<Self> {
        system::Listening::inherited(socket).map(Self)
    }

    /// Where it listens, and the group that may connect besides the owner, where it was made for one.
    ///
    /// # Errors
    /// The system does not say where.
    #[cfg(unix)]
    pub fn place(&self) -> io::Result<(Endpoint, Option<u32>)> {
        self.0.place()
    }

    /// Lets others than the owner connect, once the daemon is ready for them. Does nothing to a socket that was inherited:
    /// who made it set its mode. The directory must let them through too.
    ///
    /// # Errors
    /// The system refuses, as where the daemon is no member of the group; [`ListenError::NoAudience`] on Windows.
    pub fn open_to(&self, audience: Audience) -> Result<(), ListenError> {
        self.0.open_to(audience)
    }

    /// Takes the socket away, so that nobody new finds it; who connected before can still be accepted. A socket that was
    /// inherited stays, and so does a pipe until the listener is dropped.
    pub fn hide(&self) {
        self.0.hide();
    }

    /// The next connection, and who made it. Safe to drop while it waits.
    ///
    /// # Errors
    /// The connection was lost before it was taken, the process has no descriptor left, or the kernel does not say who
    /// the caller is: such a caller is refused. The listener goes on in each case.
    pub async fn accept(&self) -> io::Result<(Stream, Peer)> {
        self.0.accept().await
    }
}

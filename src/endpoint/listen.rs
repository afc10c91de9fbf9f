//! Listening on a socket: one daemon at a time, visible to its owner alone, every caller named by the kernel.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use interprocess::local_socket::{ListenerOptions, tokio::Listener as SystemListener, traits::StreamCommon, traits::tokio::Listener as _};
use interprocess::os::unix::uds_local_socket::tokio::Listener as SocketListener;

use crate::endpoint::{Endpoint, Stream, connect_blocking};
use crate::id::Uid;

/// The process at the other end of a connection, as the kernel knows it from the moment it connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Its effective user.
    pub uid: Uid,
    /// Its effective group.
    pub gid: u32,
    /// Its process id, where the system tells it (not on macOS).
    pub pid: Option<i32>,
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

/// A socket that is listened on. Dropping it removes the socket, if it is still this one.
#[derive(Debug)]
pub struct Listener {
    system: SystemListener,
    /// What to remove at the end; nothing for a socket that somebody else made.
    bound: Option<Bound>,
}

#[derive(Debug)]
struct Bound {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
    /// Held for as long as the socket is.
    _lock: File,
}

impl Listener {
    /// Listens on `endpoint`, from within a tokio runtime.
    ///
    /// The directory is made if it is missing: 0700, or 0755 below `/run`, where every user's programs must reach the
    /// system's socket. `PATH.lock` is locked first and stays locked and in place. A socket that nobody answers on is
    /// replaced; one that is answered on, and anything that is not a socket, is left untouched.
    ///
    /// The socket is never visible with a mode wider than 0600, whatever the umask: it is bound in a directory of mode
    /// 0700, gets its mode there, and is then renamed into place, which also replaces a stale one at once.
    ///
    /// # Errors
    /// See [`ListenError`].
    pub fn bind(endpoint: &Endpoint) -> Result<Self, ListenError> {
        let path = endpoint.path();
        if let Some(directory) = path.parent() {
            make_directory(directory)?;
        }
        let lock = lock(path)?;
        probe(endpoint)?;
        let (system, identity) = bind_in_private(path)?;
        Ok(Self { system, bound: Some(Bound { path: path.to_path_buf(), identity, _lock: lock }) })
    }

    /// Listens on a socket that the service manager made and passed on. It is neither locked nor removed.
    ///
    /// # Errors
    /// The descriptor is no listening socket.
    pub fn inherited(socket: OwnedFd) -> io::Result<Self> {
        let system = SystemListener::UdSocket(SocketListener::try_from(socket)?);
        Ok(Self { system, bound: None })
    }

    /// The next connection, and who made it. Safe to drop while it waits.
    ///
    /// # Errors
    /// The connection was lost before it was taken, the process has no descriptor left, or the kernel does not say who
    /// the caller is: such a caller is refused. The listener goes on in each case.
    pub async fn accept(&self) -> io::Result<(Stream, Peer)> {
        let stream = Stream::accepted(self.system.accept().await?);
        let peer = peer(&stream)?;
        Ok((stream, peer))
    }
}

fn peer(stream: &Stream) -> io::Result<Peer> {
    let known = stream.system().peer_creds()?;
    let nameless = || io::Error::new(io::ErrorKind::PermissionDenied, "the kernel does not say who the caller is");
    let uid = known.euid().ok_or_else(nameless)?;
    let gid = known.egid().ok_or_else(nameless)?;
    Ok(Peer { uid: Uid(uid), gid, pid: known.pid() })
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(bound) = &self.bound
            && fs::symlink_metadata(&bound.path).is_ok_and(|found| (found.dev(), found.ino()) == bound.identity)
        {
            // What can't be removed is a stale socket, which the next daemon replaces.
            fs::remove_file(&bound.path).ok();
        }
    }
}

fn make_directory(directory: &Path) -> Result<(), ListenError> {
    if directory.as_os_str().is_empty() || directory.is_dir() {
        return Ok(());
    }
    let of_system = directory.starts_with("/run") && !directory.starts_with("/run/user");
    let mode = if of_system { 0o755 } else { 0o700 };
    DirBuilder::new().recursive(true).mode(mode).create(directory).map_err(refused("make the directory", directory))?;
    fs::set_permissions(directory, Permissions::from_mode(mode)).map_err(refused("set the mode of", directory))
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

fn lock(path: &Path) -> Result<File, ListenError> {
    let lock = beside(path, ".lock");
    let opened = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&lock);
    let file = opened.map_err(refused("open the lock file", &lock))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(ListenError::Locked { lock }),
        Err(TryLockError::Error(why)) => Err(ListenError::System { act: "lock", path: lock, why }),
    }
}

/// Nothing or a stale socket may stand at the path.
fn probe(endpoint: &Endpoint) -> Result<(), ListenError> {
    let path = endpoint.path();
    match fs::symlink_metadata(path) {
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(why) => return Err(refused("look at", path)(why)),
        Ok(found) if !found.file_type().is_socket() => return Err(ListenError::NotASocket { path: endpoint.clone() }),
        Ok(_) => {}
    }
    match connect_blocking(endpoint, Duration::ZERO) {
        Err(why) if matches!(why.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) => Ok(()),
        Err(why) if why.kind() != io::ErrorKind::WouldBlock => Err(refused("ask who serves", path)(why)),
        _ => Err(ListenError::InUse { path: endpoint.clone() }),
    }
}

/// Binds in a private directory beside `path` and moves the socket to it. The lock keeps others out of that directory;
/// what a daemon that died there left behind is swept away.
fn bind_in_private(path: &Path) -> Result<(SystemListener, (u64, u64)), ListenError> {
    let directory = beside(path, ".new");
    let inside = directory.join("s");
    fs::remove_file(&inside).ok();
    fs::remove_dir(&directory).ok();
    DirBuilder::new().mode(0o700).create(&directory).map_err(refused("make the directory", &directory))?;
    let made = bind_and_move(&inside, path);
    fs::remove_file(&inside).ok();
    fs::remove_dir(&directory).ok();
    made
}

fn bind_and_move(inside: &Path, path: &Path) -> Result<(SystemListener, (u64, u64)), ListenError> {
    let place = Endpoint::at(inside);
    let named = place.name().map_err(refused("listen on", path))?;
    let system = ListenerOptions::new().name(named).reclaim_name(false).create_tokio().map_err(refused("listen on", path))?;
    fs::set_permissions(inside, Permissions::from_mode(0o600)).map_err(refused("set the mode of", inside))?;
    let made = fs::symlink_metadata(inside).map_err(refused("look at", inside))?;
    fs::rename(inside, path).map_err(refused("put the socket at", path))?;
    Ok((system, (made.dev(), made.ino())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const SECOND: Duration = Duration::from_secs(1);

    fn place() -> (tempfile::TempDir, Endpoint) {
        let directory = tempfile::tempdir().unwrap();
        let endpoint = Endpoint::at(directory.path().join("gollm/gollmd.sock"));
        (directory, endpoint)
    }

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & 0o7777
    }

    #[tokio::test]
    async fn the_socket_and_what_is_made_for_it_are_the_owners_alone() {
        let (_directory, endpoint) = place();
        let _listener = Listener::bind(&endpoint).unwrap();
        assert_eq!(mode(endpoint.path()), 0o600);
        assert_eq!(mode(endpoint.path().parent().unwrap()), 0o700);
        assert_eq!(mode(&beside(endpoint.path(), ".lock")), 0o600);
        assert!(!beside(endpoint.path(), ".new").exists());
    }

    #[tokio::test]
    async fn the_renamed_socket_is_connected_to_and_names_its_caller() {
        let (directory, endpoint) = place();
        let listener = Listener::bind(&endpoint).unwrap();
        let mut caller = crate::endpoint::connect(&endpoint, SECOND).await.unwrap();
        let (mut stream, peer) = listener.accept().await.unwrap();
        let own = fs::metadata(directory.path()).unwrap();
        assert_eq!((peer.uid, peer.gid), (Uid(own.uid()), own.gid()));
        assert_eq!(peer.pid, i32::try_from(std::process::id()).ok());
        caller.write_all(b"ping").await.unwrap();
        let mut heard = [0; 4];
        stream.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"ping");
        drop(stream);
        assert_eq!(caller.read(&mut heard).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced() {
        let (_directory, endpoint) = place();
        fs::create_dir_all(endpoint.path().parent().unwrap()).unwrap();
        drop(UnixListener::bind(endpoint.path()).unwrap());
        let _listener = Listener::bind(&endpoint).unwrap();
        assert!(crate::endpoint::connect(&endpoint, SECOND).await.is_ok());
    }

    #[tokio::test]
    async fn what_a_daemon_left_that_died_while_binding_is_swept_away() {
        let (_directory, endpoint) = place();
        let left = beside(endpoint.path(), ".new");
        fs::create_dir_all(&left).unwrap();
        drop(UnixListener::bind(left.join("s")).unwrap());
        assert!(Listener::bind(&endpoint).is_ok());
        assert!(!left.exists());
    }

    #[tokio::test]
    async fn a_socket_that_is_answered_on_is_left_to_its_daemon() {
        let (_directory, endpoint) = place();
        fs::create_dir_all(endpoint.path().parent().unwrap()).unwrap();
        let other = UnixListener::bind(endpoint.path()).unwrap();
        let refusal = Listener::bind(&endpoint).unwrap_err();
        assert!(matches!(refusal, ListenError::InUse { .. }), "{refusal}");
        assert!(refusal.to_string().contains("another daemon answers on"));
        other.set_nonblocking(true).unwrap();
        assert!(other.accept().is_ok(), "the probe reached the daemon that lives");
    }

    #[tokio::test]
    async fn a_second_daemon_is_kept_out_by_the_lock() {
        let (_directory, endpoint) = place();
        let first = Listener::bind(&endpoint).unwrap();
        assert!(matches!(Listener::bind(&endpoint), Err(ListenError::Locked { .. })));
        drop(first);
        assert!(!endpoint.path().exists());
        assert!(Listener::bind(&endpoint).is_ok());
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_is_left_untouched() {
        let (_directory, endpoint) = place();
        fs::create_dir_all(endpoint.path().parent().unwrap()).unwrap();
        fs::write(endpoint.path(), "precious").unwrap();
        assert!(matches!(Listener::bind(&endpoint), Err(ListenError::NotASocket { .. })));
        assert_eq!(fs::read_to_string(endpoint.path()).unwrap(), "precious");
    }

    #[tokio::test]
    async fn a_daemon_that_ends_leaves_the_socket_of_another_in_place() {
        let (_directory, endpoint) = place();
        let first = Listener::bind(&endpoint).unwrap();
        fs::remove_file(endpoint.path()).unwrap();
        let _other = UnixListener::bind(endpoint.path()).unwrap();
        drop(first);
        assert!(endpoint.path().exists());
    }

    #[tokio::test]
    async fn an_inherited_socket_is_served_and_stays() {
        let (_directory, endpoint) = place();
        fs::create_dir_all(endpoint.path().parent().unwrap()).unwrap();
        let listener = Listener::inherited(UnixListener::bind(endpoint.path()).unwrap().into()).unwrap();
        let _caller = crate::endpoint::connect(&endpoint, SECOND).await.unwrap();
        assert!(listener.accept().await.is_ok());
        drop(listener);
        assert!(endpoint.path().exists());
    }

    #[tokio::test]
    async fn a_full_queue_of_connections_is_an_error_that_says_so() {
        let (_directory, endpoint) = place();
        let _listener = Listener::bind(&endpoint).unwrap();
        let mut waiting = Vec::new();
        let full = loop {
            match connect_blocking(&endpoint, Duration::ZERO) {
                Ok(stream) if waiting.len() < 10_000 => waiting.push(stream),
                other => break other,
            }
        };
        assert_eq!(full.err().map(|why| why.kind()), Some(io::ErrorKind::WouldBlock));
        let late = crate::endpoint::connect(&endpoint, Duration::from_millis(20)).await;
        assert_eq!(late.err().map(|why| why.kind()), Some(io::ErrorKind::WouldBlock));
    }
}

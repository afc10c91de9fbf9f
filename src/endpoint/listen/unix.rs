//! Sockets: bound out of sight, with a mode, a lock beside them, and the kernel's word for who connects.

mod bind;
#[cfg(all(target_os = "linux", feature = "daemon"))]
mod peer;

use std::fs::{self, File, Permissions};
use std::io;
#[cfg(all(target_os = "linux", feature = "daemon"))]
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;

use interprocess::local_socket::{
    tokio::Listener as SystemListener, tokio::Stream as SystemStream, traits::StreamCommon, traits::tokio::Listener as _,
};
use interprocess::os::unix::uds_local_socket::tokio::Listener as SocketListener;

use crate::endpoint::listen::{Audience, Cgroup, ListenError, Peer, refused};
use crate::endpoint::{Endpoint, Stream};
use crate::id::Uid;

#[derive(Debug)]
pub(super) struct Listening {
    system: SystemListener,
    /// What to remove at the end; nothing for a socket that somebody else made.
    bound: Option<Bound>,
    /// Where somebody else made it.
    place: Option<PathBuf>,
}

#[derive(Debug)]
struct Bound {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
    /// Held for as long as the socket is.
    _lock: File,
}

impl Listening {
    pub(super) fn bind(endpoint: &Endpoint) -> Result<Self, ListenError> {
        let path = endpoint.path();
        if let Some(directory) = path.parent() {
            bind::make_directory(directory)?;
        }
        let lock = bind::lock(path)?;
        bind::probe(endpoint)?;
        let (system, identity) = bind::in_private(path)?;
        Ok(Self { system, bound: Some(Bound { path: path.to_path_buf(), identity, _lock: lock }), place: None })
    }

    pub(super) fn probe(endpoint: &Endpoint) -> Result<(), ListenError> {
        bind::probe(endpoint)
    }

    pub(super) fn inherited(socket: OwnedFd) -> io::Result<Self> {
        let address = UnixListener::from(socket.try_clone()?).local_addr()?;
        let path = address.as_pathname().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the socket has no path"))?;
        let place = Some(path.to_path_buf());
        let system = SystemListener::UdSocket(SocketListener::try_from(socket)?);
        Ok(Self { system, bound: None, place })
    }

    pub(super) fn place(&self) -> io::Result<(Endpoint, Option<u32>)> {
        let path = self.place.as_ref().or_else(|| self.bound.as_ref().map(|bound| &bound.path)).ok_or(io::ErrorKind::NotFound)?;
        let found = fs::symlink_metadata(path)?;
        // One that was bound here is for its owner until the rules say more.
        let group =
            Some(found.gid()).filter(|group| self.bound.is_none() && found.mode() & 0o060 == 0o060 && found.mode() & 0o006 == 0 && *group != 0);
        Ok((Endpoint::at(path), group))
    }

    pub(super) fn open_to(&self, audience: Audience) -> Result<(), ListenError> {
        let Some(Bound { path, .. }) = &self.bound else { return Ok(()) };
        let mode = match audience {
            Audience::Owner => 0o600,
            Audience::Group(group) => {
                chown(path, None, Some(group)).map_err(refused("set the group of", path))?;
                0o660
            }
            Audience::Everyone => 0o666,
        };
        fs::set_permissions(path, Permissions::from_mode(mode)).map_err(refused("set the mode of", path))
    }

    pub(super) fn hide(&self) {
        if let Some(bound) = &self.bound
            && fs::symlink_metadata(&bound.path).is_ok_and(|found| (found.dev(), found.ino()) == bound.identity)
        {
            // What can't be removed is a stale socket, which the next daemon replaces.
            fs::remove_file(&bound.path).ok();
        }
    }

    pub(super) async fn accept(&self) -> io::Result<(Stream, Peer)> {
        let stream = self.system.accept().await?;
        let peer = peer(&stream)?;
        Ok((Stream::of(stream), peer))
    }
}

fn peer(stream: &SystemStream) -> io::Result<Peer> {
    let nameless = || io::Error::new(io::ErrorKind::PermissionDenied, "the kernel does not say who the caller is");
    // Also fails for a caller whose process can't be seen from the daemon's pid namespace.
    let known = stream.peer_creds().map_err(|_| nameless())?;
    let uid = known.euid().ok_or_else(nameless)?;
    let gid = known.egid().ok_or_else(nameless)?;
    let pid = known.pid();
    let (groups, cgroup) = further(stream, uid, pid).ok_or_else(nameless)?;
    Ok(Peer { uid: Uid(uid), gid, groups, pid, cgroup })
}

#[cfg(all(target_os = "linux", feature = "daemon"))]
fn further(stream: &SystemStream, uid: u32, pid: Option<i32>) -> Option<(Arc<[u32]>, Option<Cgroup>)> {
    static OVERFLOW: std::sync::LazyLock<Option<u32>> = std::sync::LazyLock::new(peer::overflow_user);
    if *OVERFLOW == Some(uid) {
        return None;
    }
    let SystemStream::UdSocket(socket) = stream;
    let socket = socket.as_fd();
    Some((peer::groups(socket)?, peer::cgroup(socket, pid)))
}

#[cfg(not(all(target_os = "linux", feature = "daemon")))]
fn further(_: &SystemStream, _: u32, _: Option<i32>) -> Option<(Arc<[u32]>, Option<Cgroup>)> {
    Some((Arc::default(), None))
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.hide();
    }
}

#[cfg(test)]
mod tests {
    use super::bind::beside;
    use super::*;
    use crate::endpoint::connect_blocking;
    use crate::endpoint::listen::Listener;
    use std::os::unix::net::UnixListener;
    use std::path::Path;
    use std::time::Duration;
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
    async fn others_may_connect_when_the_daemon_lets_them() {
        let (directory, endpoint) = place();
        let listener = Listener::bind(&endpoint).unwrap();
        listener.open_to(Audience::Group(fs::metadata(directory.path()).unwrap().gid())).unwrap();
        assert_eq!(mode(endpoint.path()), 0o660);
        listener.open_to(Audience::Everyone).unwrap();
        assert_eq!(mode(endpoint.path()), 0o666);
    }

    #[tokio::test]
    async fn the_socket_is_at_no_moment_open_to_others() {
        let (_directory, endpoint) = place();
        let watched = endpoint.path().to_path_buf();
        fs::create_dir_all(watched.parent().unwrap()).unwrap();
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let stopped = std::sync::Arc::clone(&stop);
        let watcher = std::thread::spawn(move || {
            let mut seen = std::collections::BTreeSet::new();
            while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
                seen.extend(fs::symlink_metadata(&watched).ok().map(|found| found.mode() & 0o7777));
            }
            seen
        });
        for _ in 0..200 {
            drop(Listener::bind(&endpoint).unwrap());
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        let seen = watcher.join().unwrap();
        assert!(seen.iter().all(|mode| *mode == 0o600), "{seen:?}");
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
    async fn a_path_that_no_socket_can_have_is_told_so() {
        let (directory, _) = place();
        let endpoint = Endpoint::at(directory.path().join("x".repeat(100)));
        assert!(matches!(Listener::bind(&endpoint), Err(ListenError::TooLong { .. })));
        let left: Vec<_> = fs::read_dir(directory.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "the lock alone: {left:?}");
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

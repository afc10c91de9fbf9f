//! From a path to a socket that is listened on: directory, lock, probe, bind.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use interprocess::local_socket::{ListenerOptions, tokio::Listener as SystemListener};

use crate::endpoint::listen::{ListenError, refused};
use crate::endpoint::{Endpoint, connect_blocking};

pub(super) fn make_directory(directory: &Path) -> Result<(), ListenError> {
    if directory.as_os_str().is_empty() || directory.is_dir() {
        return Ok(());
    }
    let of_system = directory.starts_with("/run") && !directory.starts_with("/run/user");
    let mode = if of_system { 0o755 } else { 0o700 };
    DirBuilder::new().recursive(true).mode(mode).create(directory).map_err(refused("make the directory", directory))?;
    fs::set_permissions(directory, Permissions::from_mode(mode)).map_err(refused("set the mode of", directory))
}

pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

pub(super) fn lock(path: &Path) -> Result<File, ListenError> {
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
pub(super) fn probe(endpoint: &Endpoint) -> Result<(), ListenError> {
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
pub(super) fn in_private(path: &Path) -> Result<(SystemListener, (u64, u64)), ListenError> {
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
    let on = |why: io::Error| match why.kind() {
        io::ErrorKind::InvalidInput => ListenError::TooLong { path: Endpoint::at(path) },
        _ => refused("listen on", path)(why),
    };
    let named = place.name().map_err(on)?;
    let system = ListenerOptions::new().name(named).reclaim_name(false).create_tokio().map_err(on)?;
    fs::set_permissions(inside, Permissions::from_mode(0o600)).map_err(refused("set the mode of", inside))?;
    let made = fs::symlink_metadata(inside).map_err(refused("look at", inside))?;
    fs::rename(inside, path).map_err(refused("put the socket at", path))?;
    Ok((system, (made.dev(), made.ino())))
}

//! Private files: made for their owner alone, replaced as a whole, and on the disk when a call returns.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Makes a directory with its parents, or takes one that is there, and closes it to everybody but its owner (0700).
pub(crate) fn private_dir(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        // Its parent may be closed to us, as /var/lib/private is.
        return restrict(path, 0o700);
    }
    fs::create_dir_all(path)?;
    restrict(path, 0o700)?;
    path.parent().map_or(Ok(()), sync_dir)
}

/// Makes an empty file that its owner alone can read (0600), whatever the umask is. One that is there is emptied.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    restrict(path, 0o600)?;
    Ok(file)
}

/// Gives `path` the content `bytes` as one step: after a crash it has the old content or the new one.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let draft = PathBuf::from(name);
    let mut file = create(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    path.parent().map_or(Ok(()), sync_dir)
}

/// Puts the names in a directory on the disk: a new, renamed or removed file is durable only after it (fsync(2)).
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
}

/// The content of a file, or nothing where there is no such file.
pub(crate) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Removes a file; one that is not there is no error.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Removes a directory with all that it holds; one that is not there is no error.
pub(crate) fn remove_dir(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Copies a file, or a directory with all that it holds, onto the disk; one that is not there is no error.
pub(crate) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if !from.is_dir() {
        return match fs::copy(from, to) {
            Ok(_) => File::open(to)?.sync_all(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        };
    }
    private_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        copy(&entry.path(), &to.join(entry.file_name()))?;
    }
    sync_dir(to)
}

/// Closes a directory and all files below it to everybody but their owner: for packages that make files with the umask alone.
pub(crate) fn close_to_others(dir: &Path) -> io::Result<()> {
    restrict(dir, 0o700)?;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            close_to_others(&entry.path())?;
        } else {
            restrict(&entry.path(), 0o600)?;
        }
    }
    Ok(())
}

/// Whether group or others have any right on a file.
pub(crate) fn open_to_others(path: &Path) -> io::Result<bool> {
    #[cfg(unix)]
    return Ok(std::os::unix::fs::PermissionsExt::mode(&fs::metadata(path)?.permissions()) & 0o077 != 0);
    #[cfg(not(unix))]
    return fs::metadata(path).map(|_| false);
}

/// Takes the lock that `path` stands for, until the file is dropped. Nothing where another process, or another part of
/// this one, holds it.
pub(crate) fn lock(path: &Path) -> io::Result<Option<File>> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    {
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(path)?;
        restrict(path, 0o600)?;
        match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(file)),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
    #[cfg(windows)]
    {
        // A file that is opened for sharing with nobody is a lock. 32 is ERROR_SHARING_VIOLATION.
        std::os::windows::fs::OpenOptionsExt::share_mode(&mut options, 0);
        match options.open(path) {
            Err(error) if error.raw_os_error() == Some(32) => Ok(None),
            other => other.map(Some),
        }
    }
}

/// Gives a path exactly this mode. Windows has none: there the state directory inherits the rights of its owner's profile.
fn restrict(path: &Path, mode: u32) -> io::Result<()> {
    #[cfg(unix)]
    {
        let permissions = fs::metadata(path)?.permissions();
        if std::os::unix::fs::PermissionsExt::mode(&permissions) & 0o7777 != mode {
            fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode))?;
        }
    }
    #[cfg(not(unix))]
    let _: (&Path, u32) = (path, mode);
    Ok(())
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn what_is_made_belongs_to_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("a/b");
        private_dir(&state).unwrap();
        replace(&state.join("file"), b"x").unwrap();
        assert_eq!((mode(&state), mode(&state.join("file"))), (0o700, 0o600));
        fs::set_permissions(state.join("file"), fs::Permissions::from_mode(0o644)).unwrap();
        assert!(open_to_others(&state.join("file")).unwrap());
        close_to_others(&state).unwrap();
        assert!(!open_to_others(&state.join("file")).unwrap());
    }

    #[test]
    fn a_lock_is_held_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = lock(&path).unwrap();
        assert!(held.is_some());
        assert!(lock(&path).unwrap().is_none());
        drop(held);
        assert!(lock(&path).unwrap().is_some());
    }
}

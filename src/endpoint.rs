//! Where the daemon's socket is, and how to connect to it and listen on it. The only user of interprocess.
//!
//! On Unix an endpoint is the path of a socket; on Windows it is the name of a pipe.

pub mod listen;
mod stream;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[cfg(unix)]
use interprocess::local_socket::{Name, prelude::*};

use crate::environment::Environment;

pub use stream::{BlockingStream, ReadHalf, Stream, WriteHalf};

/// The variable that names the socket for both sides.
pub const VARIABLE: &str = "GOLLM_SOCKET";

/// Below `$XDG_RUNTIME_DIR`: a user's own daemon.
const IN_RUNTIME_DIR: &str = "gollm/gollmd.sock";

/// The system's daemon.
#[cfg(not(windows))]
const OF_SYSTEM: &str = "/run/gollm/gollmd.sock";
#[cfg(windows)]
const OF_SYSTEM: &str = "gollmd";

/// How long to wait before a daemon whose queue of new connections is full is tried again.
const PAUSE: Duration = Duration::from_millis(5);

/// A place where a daemon may listen: the path of a socket, or on Windows the name of a pipe. Shown as that text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint(PathBuf);

/// Nothing says where a daemon that is not root's should listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "no place for the socket: neither --socket, $GOLLM_SOCKET nor $XDG_RUNTIME_DIR is set; set one of them, for example GOLLM_SOCKET=/path/gollmd.sock"
)]
pub struct NoPlace;

impl Endpoint {
    /// The socket at `path`.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Its path, or the name of its pipe.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    #[cfg(unix)]
    fn name(&self) -> io::Result<Name<'_>> {
        self.0.as_path().to_fs_name::<interprocess::local_socket::GenericFilePath>()
    }

    /// The whole name of the pipe; none where it can't be one.
    #[cfg(windows)]
    fn pipe(&self) -> Option<String> {
        pipe_name(&self.0)
    }
}

/// `\\.\pipe\gollmd` for `gollmd`, and for itself. A pipe's own name has no separator (Pipe Names, Windows documentation).
#[cfg(any(windows, test))]
fn pipe_name(given: &Path) -> Option<String> {
    const ROOT: &str = r"\\.\pipe\";
    let given = given.to_str()?;
    let own = given.strip_prefix(ROOT).unwrap_or(given);
    let fits = !own.is_empty() && !own.contains(['\\', '/', '\0']);
    fits.then(|| format!("{ROOT}{own}"))
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

/// Where a client looks for a daemon, in order: only `explicit` where it is given, else only `$GOLLM_SOCKET` where it is
/// set, else a user's own daemon below `$XDG_RUNTIME_DIR` and then the system's.
#[must_use]
pub fn candidates(explicit: Option<&Path>, environment: &Environment) -> Vec<Endpoint> {
    if let Some(path) = named(explicit, environment) {
        return vec![Endpoint(path)];
    }
    let of_user = of_user(environment).map(Endpoint);
    of_user.into_iter().chain([Endpoint::at(OF_SYSTEM)]).collect()
}

/// Where a daemon listens: `explicit`, else `$GOLLM_SOCKET`, else for root the system's place, else below `$XDG_RUNTIME_DIR`.
///
/// # Errors
/// None of these is known.
pub fn own(explicit: Option<&Path>, environment: &Environment, root: bool) -> Result<Endpoint, NoPlace> {
    let of_system = (root || cfg!(windows)).then(|| PathBuf::from(OF_SYSTEM));
    let place = named(explicit, environment).or(of_system).or_else(|| of_user(environment));
    place.map(Endpoint).ok_or(NoPlace)
}

fn named(explicit: Option<&Path>, environment: &Environment) -> Option<PathBuf> {
    explicit.map(Path::to_path_buf).or_else(|| environment.path(VARIABLE))
}

fn of_user(environment: &Environment) -> Option<PathBuf> {
    if cfg!(windows) {
        return None;
    }
    environment.path("XDG_RUNTIME_DIR").map(|dir| dir.join(IN_RUNTIME_DIR))
}

/// Connects, from within a tokio runtime.
///
/// # Errors
/// Those of connect(2): `NotFound` and `ConnectionRefused` mean that no daemon listens there. `WouldBlock`: one does, and
/// its queue of new connections stayed full for as long as `within`.
pub async fn connect(endpoint: &Endpoint, within: Duration) -> io::Result<Stream> {
    let mut waited = Duration::ZERO;
    loop {
        match Stream::connect(endpoint).await {
            Err(why) if why.kind() == io::ErrorKind::WouldBlock && waited < within => tokio::time::sleep(PAUSE).await,
            done => return done,
        }
        waited += PAUSE;
    }
}

/// Connects without a runtime. Reads and writes wait without bound until [`BlockingStream::set_timeout`] bounds them.
///
/// # Errors
/// As [`connect`].
pub fn connect_blocking(endpoint: &Endpoint, within: Duration) -> io::Result<BlockingStream> {
    let mut waited = Duration::ZERO;
    loop {
        match BlockingStream::connect(endpoint) {
            Err(why) if why.kind() == io::ErrorKind::WouldBlock && waited < within => std::thread::sleep(PAUSE),
            done => return done,
        }
        waited += PAUSE;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(endpoints: &[Endpoint]) -> Vec<String> {
        endpoints.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_client_looks_at_what_it_was_told_and_nowhere_else() {
        let environment: Environment = [("GOLLM_SOCKET", "/a.sock"), ("XDG_RUNTIME_DIR", "/run/user/7")].into_iter().collect();
        assert_eq!(texts(&candidates(Some(Path::new("/b.sock")), &environment)), ["/b.sock"]);
        assert_eq!(texts(&candidates(None, &environment)), ["/a.sock"]);
    }

    #[test]
    fn a_pipe_is_named_with_or_without_its_root() {
        for name in ["gollmd", r"\\.\pipe\gollmd"] {
            assert_eq!(pipe_name(Path::new(name)).as_deref(), Some(r"\\.\pipe\gollmd"));
        }
        for none in ["", r"\\.\pipe\", r"C:\gollm\gollmd.sock", "a/b", r"\\other\pipe\gollmd"] {
            assert_eq!(pipe_name(Path::new(none)), None, "{none}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_client_tries_the_users_daemon_before_the_systems() {
        let environment: Environment = [("XDG_RUNTIME_DIR", "/run/user/7")].into_iter().collect();
        assert_eq!(texts(&candidates(None, &environment)), ["/run/user/7/gollm/gollmd.sock", "/run/gollm/gollmd.sock"]);
        assert_eq!(texts(&candidates(None, &Environment::default())), ["/run/gollm/gollmd.sock"]);
    }

    #[cfg(unix)]
    #[test]
    fn roots_daemon_listens_for_the_system_and_anothers_for_its_user() {
        let environment: Environment = [("XDG_RUNTIME_DIR", "/run/user/0")].into_iter().collect();
        assert_eq!(own(None, &environment, true), Ok(Endpoint::at("/run/gollm/gollmd.sock")));
        assert_eq!(own(None, &environment, false), Ok(Endpoint::at("/run/user/0/gollm/gollmd.sock")));
        assert_eq!(own(Some(Path::new("/b.sock")), &environment, true), Ok(Endpoint::at("/b.sock")));
        assert_eq!(own(None, &Environment::default(), false), Err(NoPlace));
    }
}

//! The operating system: who runs, hardening of the process, the service manager, processes of callers.

use crate::access::{Access, Account};
use crate::id::Uid;
use crate::policy::AccessPolicy;

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
use unix as system;
#[cfg(windows)]
use windows as system;

/// The user that this process runs as; 0 on Windows, as its callers.
#[must_use]
pub fn own_uid() -> Uid {
    system::own_uid()
}

/// Whom the daemon serves, by the rules of the configuration, else by the group that its socket was made for, and what is to be said of them; where callers have no user ids (Windows)
/// everybody whom the system lets connect.
#[must_use]
pub fn access(policy: Option<&AccessPolicy>, socket_group: Option<u32>) -> (Access, Vec<String>) {
    system::access(policy, socket_group)
}

/// A user and its groups, by its name or its number. None on Windows.
#[must_use]
pub fn account(name: &str) -> Option<Account> {
    system::account(name)
}

/// The socket that the service manager made and passed on; none: there is none, or it was taken before.
///
/// # Errors
/// There are several, or it is none that a daemon can listen on.
#[cfg(unix)]
pub fn handed_socket() -> std::io::Result<Option<std::os::fd::OwnedFd>> {
    system::handed_socket()
}

/// How often the service manager wants to hear of this process at least; none: it does not.
#[must_use]
pub fn watchdog() -> Option<std::time::Duration> {
    system::watchdog()
}

/// Before the first secret is read: no core dump, no reading of its memory by other processes of the user, and files
/// that nobody else can read; and as many descriptors as the system gives. Returns what the system refused, for the log.
#[must_use]
pub fn harden() -> Vec<String> {
    system::harden()
}

/// The name of this machine, for people.
#[must_use]
pub fn host_name() -> String {
    system::host_name()
}

/// Descriptors that the process may have open.
#[must_use]
pub fn descriptors() -> u64 {
    system::descriptors()
}

/// What the service manager is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// It serves.
    Ready {
        /// A line for `systemctl status`.
        status: String,
    },
    /// It answers.
    Alive,
    /// It reads its configuration again.
    Reloading,
    /// It ends.
    Stopping,
}

/// Tells the service manager, where there is one.
///
/// # Errors
/// It does not listen.
pub fn notify(phase: &Phase) -> std::io::Result<()> {
    system::notify(phase)
}

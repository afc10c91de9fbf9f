//! The operating system: who runs, hardening of the process, the service manager, processes of callers.

use std::path::Path;

use crate::access::Access;
use crate::id::Uid;

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

/// Whom the daemon serves: by user ids, or where there are none (Windows) everybody whom the system lets connect.
#[must_use]
pub fn access() -> Access {
    system::access()
}

/// Before the first secret is read: no core dump, no reading of its memory by other processes of the user, and files
/// that nobody else can read; and as many descriptors as the system gives. Returns what the system refused, for the log.
#[must_use]
pub fn harden() -> Vec<String> {
    system::harden()
}

/// Descriptors that the process may have open.
#[must_use]
pub fn descriptors() -> u64 {
    system::descriptors()
}

/// The systemd unit of a process, by its control group: the last part of it that is a unit. None but on Linux.
#[must_use]
pub fn unit_of(pid: i32) -> Option<String> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    let text = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("cgroup")).ok()?;
    unit_in(&text)
}

/// The unit in the text of `/proc/PID/cgroup` (cgroups(7)).
fn unit_in(cgroup: &str) -> Option<String> {
    let path = cgroup.lines().find_map(|line| line.strip_prefix("0::"))?;
    let is_unit = |part: &&str| [".service", ".scope", ".socket"].iter().any(|kind| part.ends_with(kind));
    path.split('/').rev().find(is_unit).map(str::to_owned)
}

/// What the service manager is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// It serves.
    Ready {
        /// A line for `systemctl status`.
        status: String,
    },
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_is_the_last_part_of_the_control_group_that_is_one() {
        assert_eq!(unit_in("0::/system.slice/nightly.service\n").as_deref(), Some("nightly.service"));
        assert_eq!(unit_in("0::/user.slice/user-1000.slice/user@1000.service/app.slice/a.scope/x\n").as_deref(), Some("a.scope"));
        assert_eq!(unit_in("0::/\n"), None);
        assert_eq!(unit_in("1:cpu:/system.slice/a.service\n"), None);
    }
}

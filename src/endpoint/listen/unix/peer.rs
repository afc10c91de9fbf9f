//! What the kernel says of the process at the other end of a socket.
//!
//! All of it is of the moment in which the process connected, or is asked of the process itself by a descriptor that the kernel gave
//! for it: a process id may be another's by the time that it is looked at.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, poll};

use crate::endpoint::listen::Cgroup;

/// Groups that one process may have (`NGROUPS_MAX`).
const GROUPS_MAX: usize = 65_536;

/// Its supplementary groups; none where the kernel does not say.
#[expect(unsafe_code, reason = "getsockopt(2) with SO_PEERGROUPS is in no safe library: it writes at most the bytes that it is told of")]
pub(super) fn groups(socket: BorrowedFd<'_>) -> Option<Arc<[u32]>> {
    let mut groups: Vec<u32> = vec![0; 64];
    loop {
        let room = groups.len() * size_of::<u32>();
        let Ok(mut length) = libc::socklen_t::try_from(room) else { return None };
        // SAFETY: `groups` has `length` bytes, and the kernel writes no more than that.
        let answer =
            unsafe { libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_PEERGROUPS, groups.as_mut_ptr().cast(), &raw mut length) };
        let count = usize::try_from(length).unwrap_or(0) / size_of::<u32>();
        if answer == 0 {
            groups.truncate(count);
            return Some(groups.into());
        }
        // Too little room: the kernel says how much it takes.
        if io::Error::last_os_error().raw_os_error() != Some(libc::ERANGE) || count <= groups.len() || count > GROUPS_MAX {
            return None;
        }
        groups.resize(count, 0);
    }
}

/// The user that stands for every one that a user namespace does not know, in such a namespace: nobody in particular.
pub(super) fn overflow_user() -> Option<u32> {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    if map.split_whitespace().eq(["0", "0", "4294967295"]) {
        return None;
    }
    let overflow = std::fs::read_to_string("/proc/sys/kernel/overflowuid").ok().and_then(|text| text.trim().parse().ok());
    Some(overflow.unwrap_or(65_534))
}

/// Its control group; none where the kernel is too old to say it of this very process.
pub(super) fn cgroup(socket: BorrowedFd<'_>, pid: Option<i32>) -> Option<Cgroup> {
    let process = process(socket)?;
    // Where /proc hides other users' processes, the kernel tells the group's id all the same.
    in_proc(&process, pid).or_else(|| cgroup_id(process.as_fd()).map(Cgroup::Id))
}

fn in_proc(process: &OwnedFd, pid: Option<i32>) -> Option<Cgroup> {
    let text = std::fs::read_to_string(format!("/proc/{}/cgroup", pid?)).ok()?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::"))?.to_owned();
    // While the process is there, its number is nobody else's: what was read was of it.
    let mut ended = [PollFd::new(process, PollFlags::IN)];
    let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
    (poll(&mut ended, Some(&now)) == Ok(0)).then_some(Cgroup::Path(path))
}

/// A descriptor of the process (Linux 6.5).
#[expect(unsafe_code, reason = "getsockopt(2) with SO_PEERPIDFD is in no safe library: it writes one descriptor")]
fn process(socket: BorrowedFd<'_>) -> Option<OwnedFd> {
    let mut descriptor: libc::c_int = -1;
    let mut length = libc::socklen_t::try_from(size_of::<libc::c_int>()).ok()?;
    let place = (&raw mut descriptor).cast();
    // SAFETY: `descriptor` has `length` bytes.
    let answer = unsafe { libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_PEERPIDFD, place, &raw mut length) };
    // SAFETY: the kernel made the descriptor for this call, and nobody else has it.
    (answer == 0 && descriptor >= 0).then(|| unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// `struct pidfd_info` of <linux/pidfd.h>, in its first form.
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroup: u64,
    others: [u32; 12],
}

/// `PIDFD_GET_INFO`: `_IOWR(0xFF, 11, struct pidfd_info)`.
const PIDFD_GET_INFO: libc::Ioctl = 0xC040_FF0B_u32 as libc::Ioctl;

/// `PIDFD_INFO_CGROUPID`
const WITH_CGROUP: u64 = 1 << 2;

/// The id of the control group of a process that lives (Linux 6.13): needs no look into /proc.
#[expect(unsafe_code, reason = "ioctl(2) with PIDFD_GET_INFO is in no safe library: it writes the structure that it is given")]
fn cgroup_id(process: BorrowedFd<'_>) -> Option<u64> {
    const { assert!(size_of::<PidfdInfo>() == 64) };
    let mut info = PidfdInfo { mask: WITH_CGROUP, ..PidfdInfo::default() };
    // SAFETY: the request names the structure's size, and the kernel writes no more.
    let answer = unsafe { libc::ioctl(process.as_raw_fd(), PIDFD_GET_INFO, &raw mut info) };
    (answer == 0 && info.mask & WITH_CGROUP != 0 && info.cgroup != 0).then_some(info.cgroup)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn the_kernel_names_this_process() {
        let (one, _other) = UnixStream::pair().unwrap();
        let mut own: Vec<u32> = rustix::process::getgroups().unwrap().into_iter().map(|group| group.as_raw()).collect();
        let mut found = groups(one.as_fd()).unwrap().to_vec();
        own.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, own);
        let pid = i32::try_from(std::process::id()).unwrap();
        if let Some(cgroup) = cgroup(one.as_fd(), Some(pid)) {
            let text = std::fs::read_to_string("/proc/self/cgroup").unwrap();
            let path = text.lines().find_map(|line| line.strip_prefix("0::")).unwrap();
            assert_eq!(cgroup.path().as_deref(), Some(path));
            assert!(cgroup.is_within(path) && !cgroup.is_within("/no.such.slice"));
        }
    }
}

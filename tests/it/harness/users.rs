//! Other users, for tests that run as root.

use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::process::{Gid, Uid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

/// Other users can only be had by root: what is tested here is tested where the tests run as root.
pub(crate) fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("not root: nothing is tested as other users");
    }
    root
}

/// A connection of a thread that is another user while it connects, and stays.
pub(crate) fn connect(socket: &Path, uid: u32, gid: u32, groups: &[u32]) -> std::io::Result<UnixStream> {
    let (socket, groups) = (socket.to_path_buf(), groups.iter().map(|group| Gid::from_raw(*group)).collect::<Vec<_>>());
    let connecting = std::thread::spawn(move || {
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        // The kernel's calls are for this thread alone.
        set_thread_groups(&groups).unwrap();
        set_thread_res_gid(gid, gid, gid).unwrap();
        set_thread_res_uid(uid, uid, uid).unwrap();
        UnixStream::connect(socket)
    });
    connecting.join().unwrap()
}

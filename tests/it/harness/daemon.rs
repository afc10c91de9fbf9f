//! A `gollmd` process that a test owns.

use std::fs::OpenOptions;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::{Site, until};

/// A running daemon. It is killed when it is dropped.
pub(crate) struct Daemon {
    child: Child,
}

impl Daemon {
    /// Starts it and waits until it serves.
    pub(super) fn start(site: &Site) -> Self {
        let mut daemon = Self::spawn(site, &[]);
        until("a daemon that serves", || {
            if let Some(status) = daemon.child.try_wait().unwrap() {
                panic!("gollmd ended with {status}:\n{}", site.log());
            }
            UnixStream::connect(site.socket()).ok()
        });
        daemon
    }

    /// Starts it and waits for nothing.
    pub(crate) fn spawn(site: &Site, arguments: &[&str]) -> Self {
        let log = OpenOptions::new().create(true).append(true).open(site.path("log")).unwrap();
        let child = site.gollmd(arguments).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        Self { child }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        assert_eq!(self.child.wait().unwrap().signal(), Some(9));
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn terminate(mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.ended()
    }

    pub(crate) fn signal(&self, which: Signal) {
        signal(self.pid(), which);
    }

    /// Waits until it ends by itself.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        until("the end of a daemon", || self.child.try_wait().unwrap())
    }

    pub(crate) fn lives(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// A value of `/proc/PID/status`, in KiB.
    pub(crate) fn memory(&self, field: &str) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // One that has ended needs neither.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Sends a signal to a process that a test started.
pub(crate) fn signal(pid: u32, which: Signal) {
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), which).unwrap();
}

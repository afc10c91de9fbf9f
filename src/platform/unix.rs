//! Linux and other Unix systems.

#[cfg(target_os = "linux")]
mod handed;
mod names;

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit};
use sd_notify::NotifyState;

use crate::access::{Access, Account};
use crate::id::Uid;
use crate::platform::Phase;
use crate::policy::AccessPolicy;

pub(super) fn own_uid() -> Uid {
    Uid(rustix::process::geteuid().as_raw())
}

pub(super) fn access(policy: Option<&AccessPolicy>, socket_group: Option<u32>) -> (Access, Vec<String>) {
    Access::of(own_uid(), policy, socket_group, &names::SystemNames)
}

#[cfg(target_os = "linux")]
pub(super) fn handed_socket() -> io::Result<Option<OwnedFd>> {
    handed::socket()
}

/// Only systemd passes sockets on in this way.
#[cfg(not(target_os = "linux"))]
pub(super) const fn handed_socket() -> io::Result<Option<OwnedFd>> {
    Ok(None)
}

pub(super) fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero())
}

pub(super) fn account(name: &str) -> Option<Account> {
    names::account(name)
}

pub(super) fn harden() -> Vec<String> {
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    let mut refused = Vec::new();
    if let Err(why) = rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }) {
        refused.push(format!("core dumps can't be switched off: {why}"));
    }
    let files = rustix::process::getrlimit(Resource::Nofile);
    if let Err(why) = rustix::process::setrlimit(Resource::Nofile, Rlimit { current: files.maximum, maximum: files.maximum }) {
        refused.push(format!("the number of open files can't be raised: {why}"));
    }
    // A process that is not dumpable gives no core and lets no other process of its user read its memory (prctl(2)).
    #[cfg(target_os = "linux")]
    if let Err(why) = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable) {
        refused.push(format!("the process can't be made undumpable: {why}"));
    }
    refused
}

pub(super) fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

pub(super) fn descriptors() -> u64 {
    rustix::process::getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

pub(super) fn notify(phase: &Phase) -> io::Result<()> {
    match phase {
        Phase::Ready { status } => sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(status)]),
        Phase::Alive => sd_notify::notify(&[NotifyState::Watchdog]),
        Phase::Reloading => sd_notify::notify(&[NotifyState::Reloading, NotifyState::monotonic_usec_now()?]),
        Phase::Stopping => sd_notify::notify(&[NotifyState::Stopping, NotifyState::Status("stopping")]),
    }
}

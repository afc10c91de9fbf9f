//! Windows, where the named pipe's access list says who is served. There is no service manager to tell, and no hardening.

use std::io;

use crate::access::{Access, Account};
use crate::id::Uid;
use crate::platform::Phase;
use crate::policy::AccessPolicy;

pub(super) fn own_uid() -> Uid {
    Uid(0)
}

pub(super) fn access(policy: Option<&AccessPolicy>, _: Option<u32>) -> (Access, Vec<String>) {
    let ignored = policy.map(|_| "access: callers have no user ids on this system: whoever can open the pipe may do everything".to_owned());
    (Access::of_all_who_connect(), ignored.into_iter().collect())
}

pub(super) const fn account(_: &str) -> Option<Account> {
    None
}

pub(super) fn harden() -> Vec<String> {
    Vec::new()
}

pub(super) fn host_name() -> String {
    crate::environment::Environment::of_process().value("COMPUTERNAME").unwrap_or("this machine").to_owned()
}

pub(super) fn descriptors() -> u64 {
    u64::MAX
}

pub(super) fn notify(_: &Phase) -> io::Result<()> {
    Ok(())
}

pub(super) const fn watchdog() -> Option<std::time::Duration> {
    None
}

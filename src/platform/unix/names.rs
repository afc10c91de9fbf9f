//! Users and groups in the system's own databases, by the name service switch.

use nix::unistd::{Group, User};

use crate::access::{Account, Names};
use crate::id::Uid;

/// The system's databases.
pub(super) struct SystemNames;

impl Names for SystemNames {
    fn user(&self, name: &str) -> Option<u32> {
        number(name).or_else(|| User::from_name(name).ok().flatten().map(|user| user.uid.as_raw()))
    }

    fn group(&self, name: &str) -> Option<u32> {
        number(name).or_else(|| Group::from_name(name).ok().flatten().map(|group| group.gid.as_raw()))
    }
}

fn number(text: &str) -> Option<u32> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// A user, by its name or its number; none: the system does not know it.
pub(super) fn account(name: &str) -> Option<Account> {
    let found = match number(name) {
        Some(uid) => User::from_uid(uid.into()).ok().flatten(),
        None => User::from_name(name).ok().flatten(),
    };
    // A number needs no name to be somebody's.
    let Some(user) = found else {
        return number(name).map(|uid| Account { uid: Uid(uid), gid: uid, groups: Vec::new() });
    };
    Some(Account { uid: Uid(user.uid.as_raw()), gid: user.gid.as_raw(), groups: groups(&user) })
}

#[cfg(not(target_os = "macos"))]
fn groups(user: &User) -> Vec<u32> {
    let found = std::ffi::CString::new(user.name.as_str()).ok().and_then(|name| nix::unistd::getgrouplist(&name, user.gid).ok());
    found.unwrap_or_else(|| vec![user.gid]).into_iter().map(nix::unistd::Gid::as_raw).collect()
}

/// The kernel of macOS tells nothing but a caller's own group.
#[cfg(target_os = "macos")]
fn groups(user: &User) -> Vec<u32> {
    vec![user.gid.as_raw()]
}

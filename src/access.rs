//! May this caller use a provider, do this admin's act? Unless a rule says so, no.

use crate::id::Uid;
use crate::protocol::reply::Role;
use crate::protocol::request::Op;

/// Who may do what: root and the daemon's own user may do everything, nobody else anything.
#[derive(Debug, Clone, Copy)]
pub struct Access(Served);

#[derive(Debug, Clone, Copy)]
enum Served {
    /// Root and this user, the daemon's own.
    Own(Uid),
    /// Everybody who could connect.
    Connected,
}

/// A caller and what it may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// Its user id, from the kernel.
    pub uid: Uid,
    /// What it may do.
    pub role: Role,
    /// Which rule made it so.
    pub rule: &'static str,
}

impl Access {
    /// The rules of a daemon that runs as user `own`.
    #[must_use]
    pub const fn of(own: Uid) -> Self {
        Self(Served::Own(own))
    }

    /// The rules where callers have no user ids: a pipe that only its owner, administrators and SYSTEM can open has decided.
    #[must_use]
    pub const fn of_all_who_connect() -> Self {
        Self(Served::Connected)
    }

    /// What the peer with user id `uid` may do.
    #[must_use]
    pub fn admit(&self, uid: Uid) -> Caller {
        let (role, rule) = match self.0 {
            Served::Connected => (Role::Admin, "whoever can open the pipe"),
            Served::Own(own) if uid == own => (Role::Admin, "the daemon's own user"),
            Served::Own(_) if uid == Uid(0) => (Role::Admin, "root"),
            Served::Own(_) => (Role::None, "no rule"),
        };
        Caller { uid, role, rule }
    }
}

impl Caller {
    /// May it ask for `op`?
    #[must_use]
    pub fn may(&self, op: &Op) -> bool {
        self.role >= needed(op)
    }

    /// May it settle a lease of `owner`?
    #[must_use]
    pub fn may_settle(&self, owner: Uid) -> bool {
        self.role == Role::Admin || (self.role == Role::Client && self.uid == owner)
    }
}

const fn needed(op: &Op) -> Role {
    match op {
        Op::Whoami => Role::None,
        Op::Select(_) | Op::Explain(_) | Op::Report(_) | Op::Renew(_) | Op::Record(_) | Op::Status | Op::Keys(_) | Op::Statistics(_) | Op::Health => {
            Role::Client
        }
        Op::Validate(_) | Op::KeySet(_) | Op::KeyRemove(_) | Op::KeyEnable(_) | Op::KeyDisable(_) | Op::Reload => Role::Admin,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stranger_may_ask_who_it_is_and_nothing_else() {
        let stranger = Access::of(Uid(1000)).admit(Uid(1001));
        assert!(stranger.may(&Op::Whoami));
        assert!(!stranger.may(&Op::Status));
        assert!(!stranger.may(&Op::Reload));
        assert!(!stranger.may_settle(Uid(1001)));
    }

    #[test]
    fn where_the_system_decided_who_connects_each_of_them_may_do_everything() {
        let caller = Access::of_all_who_connect().admit(Uid(0));
        assert!(caller.may(&Op::Reload) && caller.may_settle(Uid(0)));
        assert_eq!(caller.rule, "whoever can open the pipe");
    }

    #[test]
    fn root_and_the_daemons_user_may_do_everything() {
        for uid in [Uid(0), Uid(1000)] {
            let admin = Access::of(Uid(1000)).admit(uid);
            assert!(admin.may(&Op::Reload) && admin.may_settle(Uid(5)));
        }
    }
}

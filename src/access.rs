//! May this caller use a provider, do this admin's act? Unless a rule says so, no.

use crate::id::Uid;
use crate::protocol::reply::Role;
use crate::protocol::request::Op;

/// Who may do what: root and the daemon's own user may do everything, nobody else anything.
#[derive(Debug, Clone, Copy)]
pub struct Access {
    own: Uid,
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
        Self { own }
    }

    /// What the peer with user id `uid` may do.
    #[must_use]
    pub fn admit(&self, uid: Uid) -> Caller {
        if uid == self.own {
            Caller { uid, role: Role::Admin, rule: "the daemon's own user" }
        } else if uid == Uid(0) {
            Caller { uid, role: Role::Admin, rule: "root" }
        } else {
            Caller { uid, role: Role::None, rule: "no rule" }
        }
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
    fn root_and_the_daemons_user_may_do_everything() {
        for uid in [Uid(0), Uid(1000)] {
            let admin = Access::of(Uid(1000)).admit(uid);
            assert!(admin.may(&Op::Reload) && admin.may_settle(Uid(5)));
        }
    }
}

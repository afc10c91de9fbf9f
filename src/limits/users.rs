//! How much of something each user has, and may have.

use std::collections::HashMap;

use crate::id::Uid;
use crate::protocol::reply::Role;

/// A count for each user that has any.
#[derive(Debug, Default)]
pub struct PerUser(HashMap<Uid, usize>);

/// How something that there is only so much of is shared.
#[derive(Debug, Clone, Copy)]
pub struct Shares {
    /// How much there is.
    pub all: usize,
    /// Of it, what one client may have.
    pub client: usize,
    /// Of it, what is kept for admins.
    pub admins: usize,
}

/// Nothing is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// All have this much together.
    ByAll(usize),
    /// The client has this much by itself.
    ByClient(usize),
}

impl Shares {
    /// May one more be had, where all have `all` and who asks has `own`?
    ///
    /// # Errors
    /// No: it is taken.
    pub fn admit(self, role: Role, all: usize, own: usize) -> Result<(), Taken> {
        let is_admin = role == Role::Admin;
        let most = if is_admin { self.all } else { self.all - self.admins };
        if all >= most {
            return Err(Taken::ByAll(most));
        }
        if !is_admin && own >= self.client {
            return Err(Taken::ByClient(self.client));
        }
        Ok(())
    }
}

impl PerUser {
    /// How much the user has.
    #[must_use]
    pub fn of(&self, uid: Uid) -> usize {
        self.0.get(&uid).copied().unwrap_or_default()
    }

    /// One more.
    pub fn add(&mut self, uid: Uid) {
        *self.0.entry(uid).or_default() += 1;
    }

    /// One less; of a user that has none nothing is taken.
    pub fn take(&mut self, uid: Uid) {
        if let Some(count) = self.0.get_mut(&uid) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.0.remove(&uid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_its_share_and_admins_what_is_kept_for_them() {
        let shares = Shares { all: 10, client: 4, admins: 2 };
        assert_eq!(shares.admit(Role::Client, 7, 3), Ok(()));
        assert_eq!(shares.admit(Role::Client, 7, 4), Err(Taken::ByClient(4)));
        assert_eq!(shares.admit(Role::Client, 8, 0), Err(Taken::ByAll(8)));
        assert_eq!(shares.admit(Role::Admin, 9, 9), Ok(()));
        assert_eq!(shares.admit(Role::Admin, 10, 0), Err(Taken::ByAll(10)));
    }

    #[test]
    fn who_has_none_takes_no_room() {
        let mut counts = PerUser::default();
        counts.add(Uid(1));
        counts.add(Uid(1));
        counts.take(Uid(1));
        counts.take(Uid(2));
        assert_eq!((counts.of(Uid(1)), counts.of(Uid(2)), counts.0.len()), (1, 0, 1));
        counts.take(Uid(1));
        assert!(counts.0.is_empty());
    }
}

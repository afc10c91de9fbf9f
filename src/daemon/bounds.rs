//! What one user may take of what all share.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::daemon::logging as log;
use crate::endpoint::listen::{Cgroup, Peer};
use crate::id::{Uid, UnitName};
use crate::limits::users::PerUser;
use crate::protocol::reply::Role;
use crate::time::Steady;

/// Connections of one user that no rule lets in: enough to be told so.
const STRANGERS: usize = 8;

/// Connections of one client.
const CLIENTS: usize = 512;

/// Control groups whose unit is remembered.
const SERVICES_KNOWN: usize = 1024;

/// Denials that the log tells within [`TELL_SPAN`]; of the others only how many.
const TOLD_MAX: u32 = 100;
const TELL_SPAN: Duration = Duration::from_secs(10);

/// Open connections by user.
#[derive(Debug, Default)]
pub(crate) struct Connections(Mutex<PerUser>);

impl Connections {
    /// Takes a place, which must be given back; none is left: how many the user may have.
    pub(crate) fn take(&self, uid: Uid, role: Role) -> Result<(), usize> {
        let most = match role {
            Role::None => STRANGERS,
            Role::Client => CLIENTS,
            // Whoever may do everything may also take everything.
            Role::Admin => usize::MAX,
        };
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if open.of(uid) >= most {
            return Err(most);
        }
        open.add(uid);
        Ok(())
    }

    /// A connection of the user ended.
    pub(crate) fn give_back(&self, uid: Uid) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take(uid);
    }
}

/// The units of callers whose control group the kernel tells by its id alone, so that each is looked for once.
#[derive(Debug, Default)]
pub(crate) struct Services(Mutex<HashMap<u64, Option<UnitName>>>);

impl Services {
    /// The system's unit that the process is in.
    pub(crate) fn of(&self, peer: &Peer) -> Option<UnitName> {
        let cgroup = peer.cgroup.as_ref()?;
        let found = || cgroup.system_service().and_then(|name| name.parse().ok());
        let Cgroup::Id(id) = cgroup else { return found() };
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= SERVICES_KNOWN && !known.contains_key(id) {
            known.clear();
        }
        known.entry(*id).or_insert_with(found).clone()
    }
}

/// How many denials the log was told of, so that nobody fills a disk with them.
#[derive(Debug, Default)]
pub(crate) struct Denials(Mutex<(Option<Steady>, u32)>);

impl Denials {
    /// May the log be told of one more? At the end of a span in which it was not, it is told of how many.
    pub(crate) fn may_be_told(&self, now: Steady) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (began, count) = *state;
        if began.is_none_or(|began| now.since(began) >= TELL_SPAN) {
            let untold = count.saturating_sub(TOLD_MAX);
            if untold > 0 {
                tracing::warn!(target: log::AUDIT, denials = untold, "more was denied than is told one by one");
            }
            *state = (Some(now), 1);
            return true;
        }
        *state = (began, count.saturating_add(1));
        count < TOLD_MAX
    }
}

/// How often what anybody can bring about goes into the audit trail within [`NOTE_SPAN`]: of each one, and of all together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Share {
    each: u32,
    all: u32,
}

/// Of denials, by user.
pub(crate) const DENIALS: Share = Share { each: 5, all: 20 };

/// Of changed states, by key or account.
pub(crate) const STATES: Share = Share { each: 6, all: 30 };

const NOTE_SPAN: Duration = Duration::from_secs(60 * 60);

/// Keeps what anybody can bring about from driving out of the audit trail what admins did.
#[derive(Debug, Default)]
pub(crate) struct Sparse {
    began: Option<Steady>,
    noted: HashMap<String, u32>,
    all: u32,
    left_out: u64,
}

impl Sparse {
    /// May one more be noted? Then with how many were left out since the last one that was.
    pub(crate) fn take(&mut self, whose: &str, share: Share, now: Steady) -> Option<u64> {
        if self.began.is_none_or(|began| now.since(began) >= NOTE_SPAN) {
            *self = Self { began: Some(now), left_out: self.left_out, ..Self::default() };
        }
        let of_it = self.noted.get(whose).copied().unwrap_or_default();
        if self.all >= share.all || of_it >= share.each {
            self.left_out = self.left_out.saturating_add(1);
            return None;
        }
        self.all += 1;
        self.noted.insert(whose.to_owned(), of_it + 1);
        Some(std::mem::take(&mut self.left_out))
    }
}

/// Denials that the audit trail is told of.
#[derive(Debug, Default)]
pub(crate) struct NotedDenials(Mutex<Sparse>);

impl NotedDenials {
    /// As [`Sparse::take`].
    pub(crate) fn take(&self, uid: Uid, now: Steady) -> Option<u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take(&uid.to_string(), DENIALS, now)
    }
}

/// What an entry of the audit trail says of those that were left out.
pub(crate) fn left_out(count: u64) -> Option<String> {
    (count > 0).then(|| format!("{count} more before it were not noted"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_its_own_places_and_gives_them_back() {
        let connections = Connections::default();
        for _ in 0..STRANGERS {
            assert_eq!(connections.take(Uid(7), Role::None), Ok(()));
        }
        assert_eq!(connections.take(Uid(7), Role::None), Err(STRANGERS));
        assert_eq!(connections.take(Uid(8), Role::None), Ok(()));
        connections.give_back(Uid(7));
        assert_eq!(connections.take(Uid(7), Role::None), Ok(()));
        for _ in 0..2 * CLIENTS {
            assert_eq!(connections.take(Uid(0), Role::Admin), Ok(()));
        }
    }

    #[test]
    fn denials_are_told_up_to_a_bound_and_again_later() {
        let denials = Denials::default();
        let at = |seconds: u64| Steady::from_millis(1_000_000 + seconds * 1000);
        let told = (0..1000).filter(|_| denials.may_be_told(at(0))).count();
        assert_eq!(told, TOLD_MAX as usize);
        assert!(!denials.may_be_told(at(9)) && denials.may_be_told(at(10)));
    }

    #[test]
    fn nobody_takes_more_of_the_trail_than_its_share_and_what_is_left_out_is_counted() {
        let mut sparse = Sparse::default();
        let at = |minutes: u64| Steady::from_millis(minutes * 60_000);
        let share = Share { each: 2, all: 3 };
        let taken: Vec<_> = ["a", "a", "a", "a", "b", "c"].into_iter().map(|who| sparse.take(who, share, at(0))).collect();
        assert_eq!(taken, [Some(0), Some(0), None, None, Some(2), None]);
        assert_eq!(sparse.take("a", share, at(59)), None);
        assert_eq!((sparse.take("a", share, at(60)), sparse.take("a", share, at(60))), (Some(2), Some(0)));
    }
}

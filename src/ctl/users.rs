//! Users as people know them: the names that this machine has for user ids.

use std::collections::BTreeMap;

use crate::ctl::print::clean;
use crate::id::Uid;

/// The names of some users.
#[derive(Debug, Default)]
pub(crate) struct Users {
    names: BTreeMap<Uid, String>,
}

impl Users {
    /// Looks up each of these once: a directory may be far away. A number that the machine has no name for stays one.
    pub(crate) fn of(uids: impl Iterator<Item = Uid>) -> Self {
        let mut seen: BTreeMap<Uid, Option<String>> = BTreeMap::new();
        for uid in uids {
            seen.entry(uid).or_insert_with(|| name(uid));
        }
        seen.into_iter().filter_map(|(uid, name)| Some((uid, name?))).collect()
    }

    /// `alice (1000)`, or `uid 1000` of a user without a name.
    pub(crate) fn words(&self, uid: Uid) -> String {
        self.names.get(&uid).map_or_else(|| format!("uid {uid}"), |name| format!("{} ({uid})", clean(name)))
    }
}

impl FromIterator<(Uid, String)> for Users {
    fn from_iter<I: IntoIterator<Item = (Uid, String)>>(names: I) -> Self {
        Self { names: names.into_iter().collect() }
    }
}

#[cfg(unix)]
fn name(uid: Uid) -> Option<String> {
    nix::unistd::User::from_uid(uid.0.into()).ok().flatten().map(|user| user.name)
}

#[cfg(not(unix))]
fn name(_: Uid) -> Option<String> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_told_by_name_and_number() {
        let users: Users = [(Uid(1000), "alice".to_owned()), (Uid(1001), "b\u{1b}[2J".to_owned())].into_iter().collect();
        assert_eq!(users.words(Uid(1000)), "alice (1000)");
        assert_eq!(users.words(Uid(1001)), "b?[2J (1001)");
        assert_eq!(users.words(Uid(1002)), "uid 1002");
    }

    #[cfg(unix)]
    #[test]
    fn the_machine_is_asked_for_names() {
        let nobody_has = Uid(u32::MAX - 7);
        let users = Users::of([Uid(0), nobody_has, Uid(0)].into_iter());
        assert_eq!(users.words(Uid(0)), "root (0)");
        assert_eq!(users.words(nobody_has), format!("uid {nobody_has}"));
    }
}

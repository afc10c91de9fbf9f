//! How much of something each user has.

use std::collections::HashMap;

use crate::id::Uid;

/// A count for each user that has any.
#[derive(Debug, Default)]
pub struct PerUser(HashMap<Uid, usize>);

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

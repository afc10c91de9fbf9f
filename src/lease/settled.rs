//! The numbers of settled leases: a bit each, so that a day of many leases stays small.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Steady;

/// Numbers in one page.
const PAGE: u64 = 4096;

/// A page of bits, and when the last of them was set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    words: Vec<u64>,
    last: Steady,
}

/// A set of numbers that forgets them by age.
#[derive(Debug, Clone, Default)]
pub struct Numbers {
    pages: BTreeMap<u64, Page>,
    changed: BTreeSet<u64>,
}

const fn place(number: u64) -> (u64, usize, u64) {
    let in_page = number % PAGE;
    (number / PAGE, (in_page / 64) as usize, 1 << (in_page % 64))
}

impl Numbers {
    /// Is the number in the set?
    #[must_use]
    pub fn contains(&self, number: u64) -> bool {
        let (page, word, bit) = place(number);
        self.pages.get(&page).and_then(|page| page.words.get(word)).is_some_and(|word| word & bit != 0)
    }

    /// Adds a number.
    pub fn insert(&mut self, number: u64, at: Steady) {
        let (index, word, bit) = place(number);
        let page = self.pages.entry(index).or_insert_with(|| Page { words: vec![0; (PAGE / 64) as usize], last: at });
        if let Some(word) = page.words.get_mut(word) {
            *word |= bit;
        }
        page.last = page.last.max(at);
        self.changed.insert(index);
    }

    /// Forgets pages in which nothing was set for `age`.
    pub fn forget(&mut self, now: Steady, age: Duration) {
        let old: Vec<u64> = self.pages.iter().filter(|(_, page)| page.last.after(age) <= now).map(|(index, _)| *index).collect();
        for index in old {
            self.pages.remove(&index);
            self.changed.insert(index);
        }
    }

    /// The pages that changed since this was last asked; none where one was forgotten.
    pub fn take_changed(&mut self) -> Vec<(u64, Option<Page>)> {
        let changed = std::mem::take(&mut self.changed);
        changed.into_iter().map(|index| (index, self.pages.get(&index).cloned())).collect()
    }

    /// Every page counts as changed.
    pub fn all_changed(&mut self) {
        self.changed.extend(self.pages.keys());
    }

    /// Takes up a page that was kept.
    pub fn load(&mut self, index: u64, page: Page) {
        self.pages.insert(index, page);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn pages_are_forgotten_by_age() {
        let mut numbers = Numbers::default();
        numbers.insert(5, Steady::from_millis(1_000));
        numbers.insert(5 + PAGE, Steady::from_millis(9_000));
        numbers.forget(Steady::from_millis(12_000), Duration::from_secs(10));
        assert!(!numbers.contains(5));
        assert!(numbers.contains(5 + PAGE));
        assert_eq!(numbers.take_changed().len(), 2);
        assert!(numbers.take_changed().is_empty());
    }

    proptest! {
        #[test]
        fn it_holds_what_was_put_in(members in proptest::collection::btree_set(0_u64..20_000, 0..200), other in 0_u64..20_000) {
            let mut numbers = Numbers::default();
            for number in &members {
                numbers.insert(*number, Steady::from_millis(1));
            }
            prop_assert_eq!(numbers.contains(other), members.contains(&other));
            let mut again = Numbers::default();
            for (index, page) in numbers.take_changed() {
                again.load(index, page.unwrap());
            }
            prop_assert!(members.iter().all(|number| again.contains(*number)));
        }
    }
}

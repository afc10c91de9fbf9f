//! The audit trail: who did what, when, and what came of it, each entry chained to the one before by a keyed hash.
//!
//! What is removed, changed or put in another order breaks the chain. Old entries leave from the front; the hash of the last
//! one that left stays, so that what is left can still be checked.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::Uid;
use crate::protocol::bytes::hex;
use crate::time::Timestamp;
use crate::vault::Vault;

/// Version of the encoding of an entry, its first byte.
const VERSION: u8 = 1;

/// Longest entry, in bytes.
const LONGEST: usize = 4096;

type Hash = [u8; 32];

/// One thing that was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When.
    pub at: Timestamp,
    /// Who asked for it; none: the daemon did it by itself.
    pub uid: Option<Uid>,
    /// Its process.
    pub pid: Option<i32>,
    /// The systemd unit of that process.
    pub unit: Option<String>,
    /// What: the name of the request, or `start`, `stop`, `repair`, `key_state`, `account_state`.
    pub act: String,
    /// To what: a key, an account, a slot.
    pub target: Option<String>,
    /// What came of it: `done`, the code of an error, a state.
    pub result: String,
    /// Why, or how.
    pub detail: Option<String>,
}

/// How many entries are kept, and how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Entries at most.
    pub entries: usize,
    /// Their age at most.
    pub age: Duration,
}

/// An entry as it is chained and kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Its number, from 1; no number is given twice.
    pub seq: u64,
    /// When it was made; the same as in the entry.
    pub at: Timestamp,
    hash: Hash,
    bytes: Vec<u8>,
}

impl Link {
    /// As it is kept, and told by an event.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        encoded(self).unwrap_or_default()
    }

    /// What [`Link::to_bytes`] gave.
    #[must_use]
    pub fn of_bytes(bytes: &[u8]) -> Option<Self> {
        decoded(bytes)
    }

    /// What it says; none: it can't be read.
    #[must_use]
    pub fn entry(&self) -> Option<Entry> {
        let (&VERSION, body) = self.bytes.split_first()? else { return None };
        let (entry, used) = bincode::serde::decode_from_slice(body, bincode::config::standard().with_limit::<LONGEST>()).ok()?;
        (used == body.len()).then_some(entry)
    }
}

/// The end of a trail: what an anchor names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    /// The number of the last entry.
    pub seq: u64,
    /// Its hash, the first 16 bytes in hexadecimal.
    pub hash: String,
}

/// The first entry that is not what it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken {
    /// The number that it has, or should have.
    pub seq: u64,
}

/// The trail. A copy shares the entries.
#[derive(Debug, Clone, Default)]
pub struct Trail {
    /// The last entry that left at the front.
    floor: (u64, Hash),
    links: VecDeque<Arc<Link>>,
    /// The last entry that the store holds.
    saved: u64,
    /// The oldest entry that the store may hold.
    oldest_saved: u64,
}

/// A row of the store: the bytes of its key, and its value; none: the row goes.
pub type Row = (Vec<u8>, Option<Vec<u8>>);

impl Trail {
    /// The trail that the rows of a store tell, and then links that it does not hold yet.
    #[must_use]
    pub fn restore<'a>(floor: Option<&[u8]>, rows: impl Iterator<Item = &'a [u8]>, links: impl Iterator<Item = Link>) -> Self {
        let floor = floor.and_then(decoded::<(u64, Hash)>).unwrap_or_default();
        let mut kept: VecDeque<Arc<Link>> = rows.filter_map(decoded::<Link>).map(Arc::new).collect();
        kept.make_contiguous().sort_by_key(|link| link.seq);
        let saved = kept.back().map_or(floor.0, |last| last.seq);
        let oldest_saved = kept.front().map_or(floor.0.saturating_add(1), |first| first.seq);
        kept.extend(links.filter(|link| link.seq > saved).map(Arc::new));
        Self { floor, links: kept, saved, oldest_saved }
    }

    /// Chains an entry to the end. What is chained must reach the store.
    pub fn append(&mut self, vault: &Vault, entry: &Entry, bounds: Bounds) -> Option<Arc<Link>> {
        let mut bytes = vec![VERSION];
        bincode::serde::encode_into_std_write(entry, &mut bytes, bincode::config::standard()).ok()?;
        if bytes.len() > LONGEST {
            // What is said of it is all that can be so long.
            let detail = entry.detail.as_ref().map(|detail| format!("{}…", detail.chars().take(LONGEST / 8).collect::<String>()));
            return if detail == entry.detail { None } else { self.append(vault, &Entry { detail, ..entry.clone() }, bounds) };
        }
        let (seq, before) = self.end();
        let seq = seq.saturating_add(1);
        let link = Arc::new(Link { seq, at: entry.at, hash: chained(vault, &before, seq, &bytes), bytes });
        self.links.push_back(Arc::clone(&link));
        self.prune(bounds, entry.at);
        Some(link)
    }

    fn end(&self) -> (u64, Hash) {
        self.links.back().map_or(self.floor, |last| (last.seq, last.hash))
    }

    /// The end as an anchor: written down elsewhere, it shows when the end was cut off.
    #[must_use]
    pub fn anchor(&self) -> Anchor {
        let (seq, hash) = self.end();
        Anchor { seq, hash: short(&hash) }
    }

    /// The number of the oldest entry that is there.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.floor.0.saturating_add(1)
    }

    /// Whether the entry that an anchor names is the same still; none: it has left at the front.
    #[must_use]
    pub fn holds(&self, anchor: &Anchor) -> Option<bool> {
        if anchor.seq < self.floor.0 {
            return None;
        }
        let hash = if anchor.seq == self.floor.0 {
            Some(&self.floor.1)
        } else {
            self.links.iter().find(|link| link.seq == anchor.seq).map(|link| &link.hash)
        };
        Some(hash.is_some_and(|hash| short(hash) == anchor.hash))
    }

    fn prune(&mut self, bounds: Bounds, now: Timestamp) {
        let age = i64::try_from(bounds.age.as_millis()).unwrap_or(i64::MAX);
        let oldest = now.unix_millis().saturating_sub(age);
        while self.links.len() > 1 && self.links.front().is_some_and(|first| self.links.len() > bounds.entries || first.at.unix_millis() < oldest) {
            if let Some(gone) = self.links.pop_front() {
                self.floor = (gone.seq, gone.hash);
            }
        }
    }

    /// Walks the whole chain.
    ///
    /// # Errors
    /// The first entry that is missing, changed or out of its place.
    pub fn verify(&self, vault: &Vault) -> Result<(), Broken> {
        let (mut seq, mut before) = self.floor;
        for link in &self.links {
            seq = seq.saturating_add(1);
            if link.seq != seq || link.hash != chained(vault, &before, seq, &link.bytes) {
                return Err(Broken { seq });
            }
            before = link.hash;
        }
        Ok(())
    }

    /// The entries from the oldest to the newest.
    pub fn links(&self) -> impl DoubleEndedIterator<Item = &Link> {
        self.links.iter().map(AsRef::as_ref)
    }

    /// The rows that bring the store up to date; [`Trail::saved`] says that it is.
    #[must_use]
    pub fn unsaved(&self) -> Vec<Row> {
        let gone = (self.oldest_saved..=self.floor.0).map(|seq| (key(seq), None));
        gone.chain(self.links.iter().filter(|link| link.seq > self.saved).map(|link| (key(link.seq), encoded(link.as_ref())))).collect()
    }

    /// The same for a store that holds nothing of it.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        self.links.iter().map(|link| (key(link.seq), encoded(link.as_ref()))).collect()
    }

    /// What says where the trail begins.
    #[must_use]
    pub fn floor(&self) -> Option<Vec<u8>> {
        encoded(&self.floor)
    }

    /// The store holds what [`Trail::unsaved`] gave while the trail ended with the entry `seq` and began after `floor`.
    pub fn saved(&mut self, seq: u64, floor: u64) {
        (self.saved, self.oldest_saved) = (seq, floor.saturating_add(1));
    }

    /// Where the trail ends, and the last entry that left at its front.
    #[must_use]
    pub fn reach(&self) -> (u64, u64) {
        (self.end().0, self.floor.0)
    }
}

fn key(seq: u64) -> Vec<u8> {
    seq.to_be_bytes().to_vec()
}

fn short(hash: &Hash) -> String {
    hex(hash.first_chunk::<16>().map_or(&[], |start| start.as_slice()))
}

fn chained(vault: &Vault, before: &Hash, seq: u64, bytes: &[u8]) -> Hash {
    vault.chain(&[before, &seq.to_le_bytes(), bytes])
}

fn encoded<T: Serialize>(value: &T) -> Option<Vec<u8>> {
    let mut bytes = vec![VERSION];
    bincode::serde::encode_into_std_write(value, &mut bytes, bincode::config::standard()).ok()?;
    Some(bytes)
}

fn decoded<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let (&VERSION, body) = bytes.split_first()? else { return None };
    let (value, used) = bincode::serde::decode_from_slice(body, bincode::config::standard().with_limit::<{ 2 * LONGEST }>()).ok()?;
    (used == body.len()).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::StoreId;
    use crate::vault::keys::Keys;

    const WIDE: Bounds = Bounds { entries: 1000, age: Duration::from_secs(86_400) };

    fn vault() -> Vault {
        Vault::new(StoreId([1; 16]), Keys::of_root([2; 32])).unwrap()
    }

    fn entry(number: i64) -> Entry {
        Entry {
            at: Timestamp::from_unix_millis(number * 1000),
            uid: Some(Uid(1000)),
            pid: Some(7),
            unit: None,
            act: "key_set".to_owned(),
            target: Some(format!("openai/k{number}")),
            result: "done".to_owned(),
            detail: None,
        }
    }

    fn trail(count: i64, bounds: Bounds) -> Trail {
        let (mut trail, vault) = (Trail::default(), vault());
        for number in 1..=count {
            trail.append(&vault, &entry(number), bounds).unwrap();
        }
        trail
    }

    #[test]
    fn a_whole_trail_verifies_and_reads_back_from_rows_and_links() {
        let vault = vault();
        let mut before = trail(10, WIDE);
        let rows: Vec<Vec<u8>> = before.unsaved().into_iter().filter_map(|(_, value)| value).collect();
        let (seq, floor) = before.reach();
        before.saved(seq, floor);
        let later: Vec<Arc<Link>> = (11..=13).map(|number| before.append(&vault, &entry(number), WIDE).unwrap()).collect();
        assert_eq!(before.unsaved().len(), 3);
        let after = Trail::restore(before.floor().as_deref(), rows.iter().map(Vec::as_slice), later.iter().map(|link| Link::clone(link)));
        assert_eq!((after.verify(&vault), after.anchor()), (Ok(()), before.anchor()));
        assert_eq!(after.links().map(|link| link.entry().unwrap()).collect::<Vec<_>>(), (1..=13).map(entry).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_flipped_cut_swapped_or_taken_out_is_found_at_its_place() {
        let vault = vault();
        let broken = |change: &dyn Fn(&mut VecDeque<Arc<Link>>)| {
            let mut trail = trail(10, WIDE);
            change(&mut trail.links);
            trail.verify(&vault).unwrap_err().seq
        };
        assert_eq!(broken(&|links| Arc::make_mut(&mut links[4]).bytes[9] ^= 1), 5);
        assert_eq!(broken(&|links| Arc::make_mut(&mut links[4]).hash[0] ^= 1), 5);
        assert_eq!(broken(&|links| drop(links.remove(4))), 5);
        assert_eq!(broken(&|links| links.swap(4, 5)), 5);
        assert_eq!(broken(&|links| drop(links.pop_front())), 1);
        let other = Vault::new(StoreId([9; 16]), Keys::of_root([2; 32])).unwrap();
        assert_eq!(trail(1, WIDE).verify(&other), Err(Broken { seq: 1 }));
    }

    #[test]
    fn an_end_that_was_cut_off_shows_against_an_anchor() {
        let whole = trail(10, WIDE);
        let mut cut = trail(10, WIDE);
        cut.links.truncate(7);
        assert_eq!(cut.verify(&vault()), Ok(()));
        assert_eq!((whole.holds(&whole.anchor()), cut.holds(&whole.anchor())), (Some(true), Some(false)));
        assert_eq!(whole.holds(&trail(7, WIDE).anchor()), Some(true));
    }

    #[test]
    fn what_leaves_at_the_front_leaves_a_chain_that_can_be_checked() {
        let vault = vault();
        let mut trail = trail(10, Bounds { entries: 4, ..WIDE });
        assert_eq!((trail.first(), trail.verify(&vault)), (7, Ok(())));
        assert_eq!(trail.holds(&Anchor { seq: 2, hash: String::new() }), None);
        let rows = trail.unsaved();
        let (seq, floor) = trail.reach();
        trail.saved(seq, floor);
        assert_eq!(rows.iter().filter(|(_, value)| value.is_some()).count(), 4);
        // By age: an entry a day later leaves alone.
        trail.append(&vault, &entry(100_000), WIDE);
        assert_eq!((trail.first(), trail.verify(&vault)), (11, Ok(())));
        assert_eq!(trail.unsaved().iter().filter(|(_, value)| value.is_none()).count(), 4);
    }

    #[test]
    fn rows_that_are_none_are_passed_over_and_missed_by_the_chain() {
        let mut whole = trail(3, WIDE);
        let mut rows: Vec<Vec<u8>> = whole.unsaved().into_iter().filter_map(|(_, value)| value).collect();
        rows[1].truncate(5);
        whole = Trail::restore(None, rows.iter().map(Vec::as_slice), std::iter::empty());
        assert_eq!(whole.verify(&vault()), Err(Broken { seq: 2 }));
    }
}

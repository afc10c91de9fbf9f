//! The store: what is appended is on the disk when the call returns, and what was on the disk is there at the next start,
//! or the start is refused with words.
//!
//! Events go to a journal of our own; a checkpoint brings the backend (sled) to the state after them. What a
//! checkpoint changes is in the journal before it is in the backend, together with the counts and digests that the
//! backend must show afterwards. The manifest keeps these, and the journal's last record, after segments are removed.
//! One limit: of records after the last manifest, a tail that is taken away without a trace looks as if they had never
//! been written, and so does a whole directory that is put back to an older copy.

pub mod error;
mod backend;
mod batch;
mod fault;
mod frame;
pub(crate) mod generation;
pub(crate) mod image;
mod journal;
mod ledger;
mod manifest;
#[cfg(test)]
mod memory;
mod opening;
pub mod repair;
mod replay;
mod segment;
mod sled;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::environment::Environment;
use crate::vault::master::{MasterSetting, MasterSource};
use crate::vault::{Place, Vault};

use backend::{Backend, BackendError};
use batch::Row;
use error::{AppendError, OpenError};
use fault::{Step, reach};
use frame::{BODY_MAX, Kind};
use journal::Journal;
use ledger::Ledger;
use manifest::Manifest;

/// The version of the place that values are sealed for; records carry their own version inside.
const SEALED: u8 = 1;

/// The trees of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tree {
    /// Secrets of keys.
    Secrets,
    /// Windows of limits.
    Counters,
    /// States of keys, accounts and providers.
    States,
    /// Open and settled leases.
    Leases,
    /// Totals by key, model, caller and time.
    Usage,
    /// The audit trail.
    Audit,
    /// What concerns the store as a whole.
    Meta,
}

impl Tree {
    /// All trees.
    pub const ALL: [Self; 7] = [Self::Secrets, Self::Counters, Self::States, Self::Leases, Self::Usage, Self::Audit, Self::Meta];

    /// Its name on the disk and in messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Secrets => "secrets",
            Self::Counters => "counters",
            Self::States => "states",
            Self::Leases => "leases",
            Self::Usage => "usage",
            Self::Audit => "audit",
            Self::Meta => "meta",
        }
    }

    /// The number that stands for it in the journal; never given to another tree.
    const fn code(self) -> u8 {
        match self {
            Self::Secrets => 1,
            Self::Counters => 2,
            Self::States => 3,
            Self::Leases => 4,
            Self::Usage => 5,
            Self::Audit => 6,
            Self::Meta => 7,
        }
    }

    fn of_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|tree| tree.code() == code)
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tree| tree.name() == name)
    }
}

impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One change of a checkpoint.
pub struct Change {
    /// The tree.
    pub tree: Tree,
    /// The key in it; it is not sealed, and may hold nothing secret.
    pub key: Vec<u8>,
    /// The new value, not yet sealed; nothing deletes the key.
    pub value: Option<Zeroizing<Vec<u8>>>,
}

/// One record as it was at the last checkpoint.
pub struct Record {
    /// The tree.
    pub tree: Tree,
    /// The key in it.
    pub key: Vec<u8>,
    /// The opened value.
    pub value: Zeroizing<Vec<u8>>,
}

/// What opening a store gives.
pub struct Opened {
    /// The store, to go on with.
    pub store: Store,
    /// Its keys.
    pub vault: Arc<Vault>,
    /// All records, as of the last checkpoint.
    pub records: Vec<Record>,
    /// Secrets that are there and can't be opened any more.
    pub unreadable: Vec<(Tree, Vec<u8>)>,
    /// What was appended after that checkpoint, in order.
    pub events: Vec<Zeroizing<Vec<u8>>>,
    /// Whether the store was made just now.
    pub fresh: bool,
    /// Where the master secret came from.
    pub master: MasterSource,
    /// What a person should know, one sentence each.
    pub warnings: Vec<String>,
}

/// A store that is open, and locked against other processes. One owner uses it.
pub struct Store {
    /// The state directory, with the header.
    home: PathBuf,
    /// Where this generation's files are.
    dir: PathBuf,
    generation: u32,
    /// Bytes of a segment of the journal.
    segment: u64,
    vault: Arc<Vault>,
    journal: Journal,
    backend: Box<dyn Backend>,
    /// What the backend holds, or held before `pending`.
    ledger: Ledger,
    epoch: u64,
    /// A checkpoint that is in the journal, and not yet in the backend and the manifest.
    pending: Option<Pending>,
    since_checkpoint: u64,
    _lock: File,
}

struct Pending {
    epoch: u64,
    rows: Vec<Row>,
    after: Ledger,
}

impl Store {
    /// Appends events; they are on the disk when this returns.
    ///
    /// # Errors
    /// Nothing was taken, and a later call may succeed: a full disk, for one, may have room again.
    pub fn append(&mut self, events: &[u8]) -> Result<(), AppendError> {
        self.since_checkpoint = self.since_checkpoint.saturating_add(self.journal.append(Kind::Events, events)?);
        Ok(())
    }

    /// Takes changes that bring the records to the state after all events that were appended; those are not given back
    /// by the next start. Of several changes of one key the last counts.
    ///
    /// # Errors
    /// [`AppendError::Behind`]: it counts, and will be completed. Any other: it does not count, and the events stay.
    pub fn checkpoint(&mut self, changes: &[Change]) -> Result<(), AppendError> {
        self.settle().map_err(AppendError::before)?;
        let rows = self.sealed(changes)?;
        let after = self.ledger_after(&rows)?;
        let parts = batch::encode(&rows);
        if let Some(part) = parts.iter().find(|part| part.len() > BODY_MAX) {
            return Err(AppendError::TooLarge { bytes: part.len() });
        }
        for part in &parts {
            self.journal.append(Kind::Changes, part)?;
        }
        self.journal.append(Kind::Checkpoint, &after.encode_end(parts.len()))?;
        self.since_checkpoint = 0;
        self.pending = Some(Pending { epoch: self.journal.last().seq, rows, after });
        self.settle()
    }

    /// Bytes of the journal that the next start would have to give back as events.
    #[must_use]
    pub fn journal_bytes_since_checkpoint(&self) -> u64 {
        self.since_checkpoint
    }

    /// Closes the store so that the next start notices any record that is missing, be it the last one.
    ///
    /// # Errors
    /// The disk failed; what was appended is safe all the same.
    pub fn close(mut self) -> Result<(), AppendError> {
        self.settle()?;
        self.write_manifest()
    }

    /// Takes the pending checkpoint over into backend and manifest, if there is one.
    fn settle(&mut self) -> Result<(), AppendError> {
        let Some(pending) = &self.pending else { return Ok(()) };
        let path = self.dir.join("sled");
        let behind = |why: BackendError| AppendError::Behind { path: path.clone(), why: why.to_string() };
        let step = |step: Step| reach(step).map_err(|why| behind(why.into()));
        step(Step::Journaled)?;
        self.backend.apply(pending.epoch, &pending.rows).map_err(behind)?;
        step(Step::Applied)?;
        self.backend.sync().map_err(behind)?;
        step(Step::Flushed)?;
        let manifest = Manifest { epoch: pending.epoch, ledger: pending.after.clone(), journal: self.journal.last() };
        let listed = manifest.write(&self.dir.join("manifest"), &self.vault);
        listed.map_err(|why| AppendError::Behind { path: self.dir.join("manifest"), why: why.to_string() })?;
        (self.epoch, self.ledger) = (manifest.epoch, manifest.ledger);
        self.pending = None;
        step(Step::Listed)?;
        let pruned = self.journal.prune(self.epoch);
        pruned.map_err(|why| AppendError::Behind { path: self.dir.join("journal"), why: why.to_string() })
    }

    fn write_manifest(&self) -> Result<(), AppendError> {
        let manifest = Manifest { epoch: self.epoch, ledger: self.ledger.clone(), journal: self.journal.last() };
        let path = self.dir.join("manifest");
        manifest.write(&path, &self.vault).map_err(|cause| AppendError::Disk { path, cause })
    }

    fn sealed(&self, changes: &[Change]) -> Result<Vec<Row>, AppendError> {
        let last: BTreeMap<(Tree, &[u8]), &Change> = changes.iter().map(|change| ((change.tree, change.key.as_slice()), change)).collect();
        let seal = |change: &&Change| {
            let place = Place { tree: change.tree.name(), key: &change.key, version: SEALED };
            let value = change.value.as_ref().map(|plain| self.vault.seal(&place, plain)).transpose()?;
            Ok(Row { tree: change.tree, key: change.key.clone(), value })
        };
        last.values().map(seal).collect()
    }

    fn ledger_after(&self, rows: &[Row]) -> Result<Ledger, AppendError> {
        let mut after = self.ledger.clone();
        for row in rows {
            let disk = |why: BackendError| AppendError::Disk { path: self.dir.join("sled"), cause: io::Error::other(why) };
            if let Some(old) = self.backend.read(row.tree, &row.key).map_err(disk)? {
                after.take(&self.vault, row.tree, &row.key, &old);
            }
            if let Some(new) = &row.value {
                after.add(&self.vault, row.tree, &row.key, new);
            }
        }
        Ok(after)
    }
}

/// Opens the store in `dir`, or makes one where there is none. Slow: it derives a key, and reads everything.
///
/// # Errors
/// The master secret is missing or wrong, or anything that was acknowledged is lost. See [`OpenError`].
pub fn open(dir: &Path, master: &MasterSetting, encrypt: bool, environment: &Environment) -> Result<Opened, OpenError> {
    opening::open(dir, master, encrypt, environment, opening::Scale::STANDARD)
}

/// Opens a store again whose keys are known.
///
/// # Errors
/// As [`open`].
pub(crate) fn open_again(dir: &Path, vault: Arc<Vault>, master: MasterSource) -> Result<Opened, OpenError> {
    opening::open_again(dir, vault, master, opening::Scale::STANDARD)
}

/// Gives a store that is closed, and whose keys are known, other records, and events after them.
///
/// # Errors
/// The disk failed; the store is as it was.
pub(crate) fn replace(dir: &Path, vault: &Arc<Vault>, records: Vec<Record>, events: &[u8]) -> Result<(), OpenError> {
    generation::replace(dir, vault, records, events, opening::Scale::STANDARD.segment)
}

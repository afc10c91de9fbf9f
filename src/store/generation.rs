//! Another generation of a store's files: the same records under other keys, built beside the files in use, which stay as they
//! are until the header names the new ones. Whatever ends before that leaves rubbish that the next start removes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::disk;
use crate::vault::header::Header;
use crate::vault::{Place, Vault};

use super::backend::{Backend, BackendError};
use super::batch::Row;
use super::error::OpenError;
use super::fault::{Step, reach};
use super::frame::Kind;
use super::journal::Journal;
use super::ledger::{Ledger, Rows, difference};
use super::manifest::Manifest;
use super::sled::Sled;
use super::{Record, SEALED, Store, Tree};

/// Rows that one step seals anew.
const STEP: usize = 256;

/// Where the files of a generation are, below the state directory. The first ones lie in it.
pub(super) fn dir_of(home: &Path, generation: u32) -> PathBuf {
    if generation == 0 { home.to_owned() } else { home.join(format!("generation-{generation}")) }
}

/// The number of the next generation, which is never that of files in use.
pub(super) fn after(home: &Path, generation: u32) -> Result<u32, OpenError> {
    generation.checked_add(1).ok_or_else(|| OpenError::Damaged { path: home.join("header"), what: "it names a generation that there is none after" })
}

/// Removes what other generations have left.
pub(super) fn remove_others(home: &Path, generation: u32) -> std::io::Result<()> {
    for entry in std::fs::read_dir(home)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_one = name.to_str().is_some_and(|name| name.starts_with("generation-"));
        if is_one && entry.path() != dir_of(home, generation) {
            disk::remove_dir(&entry.path())?;
        }
    }
    if generation > 0 {
        disk::remove(&home.join("manifest"))?;
        disk::remove_dir(&home.join("journal"))?;
        disk::remove_dir(&home.join("sled"))?;
    }
    Ok(())
}

/// A row before it is sealed: tree, key, value; none: the row goes.
type Plain = (Tree, Vec<u8>, Option<Zeroizing<Vec<u8>>>);

/// A generation that is being built.
pub(crate) struct Next {
    number: u32,
    dir: PathBuf,
    vault: Arc<Vault>,
    backend: Sled,
    ledger: Ledger,
    /// What the store held when it was begun, and how far that is copied.
    rows: Rows,
    copied: Vec<(Tree, Vec<u8>)>,
}

impl Next {
    pub(super) fn begin(home: &Path, number: u32, vault: Arc<Vault>, rows: Rows) -> Result<Self, OpenError> {
        let dir = dir_of(home, number);
        let io = |cause| OpenError::Io { path: dir.clone(), cause };
        disk::remove_dir(&dir).map_err(io)?;
        disk::private_dir(&dir).map_err(io)?;
        let backend = Sled::open(&dir.join("sled")).map_err(|why| failed(&dir, why))?;
        let mut left: Vec<(Tree, Vec<u8>)> = rows.keys().cloned().collect();
        left.reverse();
        Ok(Self { number, dir, vault, backend, ledger: Ledger::default(), rows, copied: left })
    }

    /// Seals rows anew and applies them; a value that does not open is left out, and told.
    fn apply(&mut self, from: &Vault, rows: &[Row]) -> Result<Vec<(Tree, Vec<u8>)>, OpenError> {
        let (mut sealed, mut lost) = (Vec::with_capacity(rows.len()), Vec::new());
        for row in rows {
            let place = Place { tree: row.tree.name(), key: &row.key, version: SEALED };
            let plain = row.value.as_ref().map(|value| from.open(&place, value)).transpose();
            match plain {
                Ok(plain) => sealed.push((row.tree, row.key.clone(), plain)),
                Err(_) => lost.push((row.tree, row.key.clone())),
            }
        }
        self.put(&sealed)?;
        Ok(lost)
    }

    fn put(&mut self, rows: &[Plain]) -> Result<(), OpenError> {
        let mut sealed = Vec::with_capacity(rows.len());
        for (tree, key, plain) in rows {
            let place = Place { tree: tree.name(), key, version: SEALED };
            let value = plain.as_ref().map(|plain| self.vault.seal(&place, plain)).transpose()?;
            if let Some(old) = self.backend.read(*tree, key).map_err(|why| failed(&self.dir, why))? {
                self.ledger.take(&self.vault, *tree, key, &old);
            }
            if let Some(new) = &value {
                self.ledger.add(&self.vault, *tree, key, new);
            }
            sealed.push(Row { tree: *tree, key: key.clone(), value });
        }
        self.backend.apply(0, &sealed).map_err(|why| failed(&self.dir, why))
    }

    /// Seals records that are opened.
    pub(super) fn fill(&mut self, records: Vec<Record>) -> Result<(), OpenError> {
        let rows: Vec<_> = records.into_iter().map(|record| (record.tree, record.key, Some(record.value))).collect();
        rows.chunks(STEP).try_for_each(|some| self.put(some))
    }

    /// Copies some more; `true` when all is copied.
    fn step(&mut self, from: &Vault) -> Result<bool, OpenError> {
        let start = self.copied.len().saturating_sub(STEP);
        let some: Vec<Row> = self
            .copied
            .drain(start..)
            .filter_map(|(tree, key)| {
                let value = self.rows.get(&(tree, key.clone())).cloned()?;
                Some(Row { tree, key, value: Some(value) })
            })
            .collect();
        tell(&self.apply(from, &some)?);
        Ok(self.copied.is_empty())
    }

    /// Puts everything on the disk, with an empty journal.
    pub(super) fn seal_off(&mut self, segment: u64) -> Result<Journal, OpenError> {
        let io = |cause| OpenError::Io { path: self.dir.clone(), cause };
        self.backend.sync().map_err(|why| failed(&self.dir, why))?;
        let path = self.dir.join("journal");
        disk::private_dir(&path).map_err(io)?;
        let journal = Journal::create(&path, segment, &self.vault)?;
        let manifest = Manifest { epoch: 0, ledger: self.ledger.clone(), journal: journal.last() };
        manifest.write(&self.dir.join("manifest"), &self.vault).map_err(io)?;
        disk::sync_dir(&self.dir).map_err(io)?;
        Ok(journal)
    }
}

impl Store {
    /// Begins a generation under a new data key. What is decided meanwhile goes on into the files in use; until the end no
    /// checkpoint may come in between but the one before [`Store::rekeyed`].
    ///
    /// # Errors
    /// The disk failed; nothing was changed.
    pub(crate) fn rekey(&self) -> Result<Next, OpenError> {
        let vault = Arc::new(self.vault.rotated()?);
        let (_, rows) = self.backend.load().map_err(|why| failed(&self.dir, why))?;
        Next::begin(&self.home, after(&self.home, self.generation)?, vault, rows)
    }

    /// Copies some more into the next generation; `true` when all is copied.
    ///
    /// # Errors
    /// The disk failed; the files in use are as they were.
    pub(crate) fn rekey_step(&self, next: &mut Next) -> Result<bool, OpenError> {
        next.step(&self.vault)
    }

    /// Goes over to the next generation: to be called right after a checkpoint. From then on the vault is another one.
    ///
    /// # Errors
    /// The disk failed; the files in use are as they were.
    pub(crate) fn rekeyed(&mut self, mut next: Next) -> Result<Arc<Vault>, OpenError> {
        let outstanding = || OpenError::Io { path: self.dir.clone(), cause: std::io::Error::other("a checkpoint is outstanding") };
        if self.pending.is_some() || self.since_checkpoint > 0 {
            return Err(outstanding());
        }
        while !next.step(&self.vault)? {}
        let (_, now) = self.backend.load().map_err(|why| failed(&self.dir, why))?;
        let changed = difference(&next.rows, &now);
        tell(&next.apply(&self.vault, &changed)?);
        let journal = next.seal_off(self.segment)?;
        let header = Header::existing(&self.home)?;
        switch(header, &self.home, &next.vault, next.number)?;
        self.dir = next.dir;
        self.vault = Arc::clone(&next.vault);
        (self.journal, self.backend, self.ledger, self.epoch) = (journal, Box::new(next.backend), next.ledger, 0);
        (self.pending, self.since_checkpoint, self.generation) = (None, 0, next.number);
        // The next start tries again.
        drop(remove_others(&self.home, self.generation));
        Ok(Arc::clone(&self.vault))
    }

    /// Removes what there is of a generation that is not gone over to.
    pub(crate) fn give_up(&self, next: Next) {
        drop(next);
        if let Err(why) = remove_others(&self.home, self.generation) {
            tracing::warn!(error = %why, "what was begun of another generation stays until the next start");
        }
    }

    /// All records, opened, as of the last checkpoint; what can't be opened is told to the log, and left out.
    ///
    /// # Errors
    /// The disk failed.
    pub(crate) fn records(&self) -> Result<Vec<Record>, OpenError> {
        let (_, rows) = self.backend.load().map_err(|why| failed(&self.dir, why))?;
        let (mut records, mut lost) = (Vec::with_capacity(rows.len()), Vec::new());
        for ((tree, key), sealed) in rows {
            let place = Place { tree: tree.name(), key: &key, version: SEALED };
            match self.vault.open(&place, &sealed) {
                Ok(value) => records.push(Record { tree, key, value }),
                Err(_) => lost.push((tree, key)),
            }
        }
        tell(&lost);
        Ok(records)
    }
}

/// Gives the store in `home`, which is closed, other records, and events after them. Its keys and slots stay.
///
/// # Errors
/// The disk failed; the store is as it was.
pub(crate) fn replace(home: &Path, vault: &Arc<Vault>, records: Vec<Record>, events: &[u8], segment: u64) -> Result<(), OpenError> {
    let header = Header::existing(home)?;
    let mut next = Next::begin(home, after(home, header.generation)?, Arc::clone(vault), Rows::new())?;
    next.fill(records)?;
    next.seal_off(segment)?.append(Kind::Events, events)?;
    switch(header, home, vault, next.number)
}

/// Lets the header name another generation.
pub(super) fn switch(header: Header, home: &Path, vault: &Vault, generation: u32) -> Result<(), OpenError> {
    let switched = reach(Step::Switch).map_err(|cause| OpenError::Io { path: home.to_owned(), cause });
    let Err(why) = switched.and_then(|()| Ok(header.switch(home, vault, generation)?)) else { return Ok(()) };
    // It may name it all the same, and only not be known to be on the disk: what is written from now on has to go where the next start reads.
    match Header::read(home) {
        Ok(Some(now)) if now.generation == generation => {
            tracing::warn!(error = %why, "the header was replaced, and the disk does not say that it is written");
            // Another try; there is nothing else that could be done.
            drop(disk::sync_dir(home));
            Ok(())
        }
        _ => Err(why),
    }
}

fn tell(lost: &[(Tree, Vec<u8>)]) {
    for (tree, key) in lost {
        tracing::error!(%tree, key = %String::from_utf8_lossy(key), "a record can't be opened, and is left out");
    }
}

fn failed(dir: &Path, why: BackendError) -> OpenError {
    match why {
        BackendError::Io(cause) => OpenError::Io { path: dir.to_owned(), cause },
        BackendError::Corrupt(why) => OpenError::Backend { path: dir.to_owned(), why },
    }
}

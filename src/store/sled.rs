//! sled as the backend; the only file that names it.
//!
//! Measured of sled 0.34.7: its `flush` syncs a range of its file but not the drive's cache; many threads that flush
//! make it stall or deadlock; a cut or changed file opens empty or rolled back, without an error; a `snap.*.generating`
//! that a crash has left stops every start. So one thread uses it, this file syncs it itself, and the store checks it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sled::{Batch, Config, Db, Mode};

use crate::disk;

use super::Tree;
use super::backend::{Backend, BackendError};
use super::batch::Row;
use super::ledger::Rows;

/// Bytes that sled may keep in memory: the records are read once, at start.
const CACHE: u64 = 16 << 20;

/// Rows that are handed to sled at once.
const CHUNK: usize = 1000;

/// How often, and how long apart, a lock is asked for that the database closed before may still hold.
const LOCK_TRIES: u32 = 50;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// A tree of our own, beside those of [`Tree`].
const EPOCH: &str = "epoch";

/// sled, and its data file a second time, to sync it.
pub(super) struct Sled {
    dir: PathBuf,
    open: Option<(Db, File)>,
}

impl Sled {
    /// Opens the database in `dir`, or makes one.
    pub(super) fn open(dir: &Path) -> Result<Self, BackendError> {
        disk::private_dir(dir)?;
        remove_unfinished(dir)?;
        let mut sled = Self { dir: dir.to_owned(), open: None };
        sled.db()?;
        disk::close_to_others(dir)?;
        Ok(sled)
    }

    /// The open database. After an error sled refuses all work until it is opened again, as when a full disk has room again.
    fn db(&mut self) -> Result<&(Db, File), BackendError> {
        let open = match self.open.take() {
            Some(open) => open,
            None => {
                let config = Config::new().path(&self.dir).mode(Mode::LowSpace).cache_capacity(CACHE).flush_every_ms(None);
                let db = opened_in_time(&config)?;
                (db, File::options().read(true).write(true).open(self.dir.join("db"))?)
            }
        };
        Ok(self.open.insert(open))
    }

    fn opened(&self) -> Result<&Db, BackendError> {
        self.open.as_ref().map(|(db, _)| db).ok_or_else(|| io::Error::other("it is closed after an error").into())
    }

    fn write(&mut self, epoch: u64, rows: &[Row]) -> Result<(), BackendError> {
        let (db, _) = self.db()?;
        for tree in Tree::ALL {
            let mine: Vec<&Row> = rows.iter().filter(|row| row.tree == tree).collect();
            for chunk in mine.chunks(CHUNK) {
                let mut batch = Batch::default();
                for row in chunk {
                    match &row.value {
                        Some(value) => batch.insert(row.key.as_slice(), value.as_slice()),
                        None => batch.remove(row.key.as_slice()),
                    }
                }
                db.open_tree(tree.name()).and_then(|tree| tree.apply_batch(batch)).map_err(told)?;
            }
        }
        let number = epoch.to_be_bytes();
        db.open_tree(EPOCH).and_then(|tree| tree.insert(EPOCH, number.as_slice())).map_err(told)?;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), BackendError> {
        let (db, file) = self.db()?;
        db.flush().map_err(told)?;
        file.sync_data()?;
        disk::sync_dir(&self.dir)?;
        Ok(disk::close_to_others(&self.dir)?)
    }

    /// Closes sled after an error, so that the next call opens it anew.
    fn settled<T>(&mut self, result: Result<T, BackendError>) -> Result<T, BackendError> {
        if result.is_err() {
            self.open = None;
        }
        result
    }
}

impl Backend for Sled {
    fn load(&self) -> Result<(u64, Rows), BackendError> {
        let db = self.opened()?;
        let mut rows = Rows::new();
        for tree in Tree::ALL {
            for row in &db.open_tree(tree.name()).map_err(told)? {
                let (key, value) = row.map_err(told)?;
                rows.insert((tree, key.to_vec()), value.to_vec());
            }
        }
        let epoch = db.open_tree(EPOCH).and_then(|tree| tree.get(EPOCH)).map_err(told)?;
        let epoch = epoch.and_then(|bytes| bytes.as_ref().try_into().ok()).map_or(0, u64::from_be_bytes);
        Ok((epoch, rows))
    }

    fn read(&self, tree: Tree, key: &[u8]) -> Result<Option<Vec<u8>>, BackendError> {
        let value = self.opened()?.open_tree(tree.name()).and_then(|tree| tree.get(key)).map_err(told)?;
        Ok(value.map(|value| value.to_vec()))
    }

    fn apply(&mut self, epoch: u64, rows: &[Row]) -> Result<(), BackendError> {
        let written = self.write(epoch, rows);
        self.settled(written)
    }

    fn sync(&mut self) -> Result<(), BackendError> {
        let flushed = self.flush();
        self.settled(flushed)
    }
}

/// Opens the database. The one that was closed before it may hold its lock for a moment longer, on a thread of sled's; the
/// directory itself is locked by the store, so nobody else can.
fn opened_in_time(config: &Config) -> Result<Db, BackendError> {
    for _ in 0..LOCK_TRIES {
        match config.open() {
            Err(sled::Error::Io(why)) if is_lock(&why) => std::thread::sleep(LOCK_PAUSE),
            other => return other.map_err(told),
        }
    }
    config.open().map_err(told)
}

/// Is it the lock? sled hands the error on under another kind, and tells by its text what it was about.
fn is_lock(why: &io::Error) -> bool {
    why.kind() == io::ErrorKind::WouldBlock || why.to_string().starts_with("could not acquire lock")
}

/// Removes the snapshots that a crash has left half made; sled makes them anew from its data file.
fn remove_unfinished(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "generating") {
            disk::remove(&path)?;
        }
    }
    Ok(())
}

fn told(error: sled::Error) -> BackendError {
    match error {
        sled::Error::Io(cause) => BackendError::Io(cause),
        other => BackendError::Corrupt(other.to_string()),
    }
}

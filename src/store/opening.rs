//! Opening a store: header, manifest, backend and journal must fit; what the backend lacks is taken from the journal, and
//! what is lost is said. Nothing is changed before all of it is known.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::disk;
use crate::environment::Environment;
use crate::vault::header::{Header, Request, Unlocked};
use crate::vault::kdf::Cost;
use crate::vault::master::{MasterSetting, MasterSource};
use crate::vault::{Place, Vault};

use super::backend::{Backend, BackendError};
use super::error::OpenError;
use super::generation::{dir_of, remove_others};
use super::journal::Journal;
use super::ledger::{Ledger, Rows, apply, difference};
use super::manifest::Manifest;
use super::replay::{Checkpoint, Replay, replay};
use super::sled::Sled;
use super::{Opened, Record, SEALED, Store, Tree};

/// How large things are; tests make them small.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    /// Bytes of a segment of the journal.
    pub(super) segment: u64,
    /// What the key of a new store costs.
    pub(super) cost: Cost,
}

impl Scale {
    pub(super) const STANDARD: Self = Self { segment: 8 << 20, cost: Cost::STANDARD };
}

/// The files of a store.
struct Files {
    home: PathBuf,
    dir: PathBuf,
    generation: u32,
    manifest: PathBuf,
    journal: PathBuf,
    sled: PathBuf,
}

impl Files {
    fn of(home: &Path, generation: u32) -> Self {
        let dir = &dir_of(home, generation);
        Self {
            home: home.to_owned(),
            dir: dir.to_owned(),
            generation,
            manifest: dir.join("manifest"),
            journal: dir.join("journal"),
            sled: dir.join("sled"),
        }
    }

    /// Whether there is anything but a header.
    fn any(&self) -> bool {
        let filled = |dir: &Path| fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some());
        self.manifest.exists() || filled(&self.journal) || filled(&self.sled) || has_generations(&self.home)
    }

    /// Removes what an unfinished first start has left. Nothing was ever acknowledged from it.
    fn clear(&self) -> io::Result<()> {
        disk::remove(&self.manifest)?;
        disk::remove_dir(&self.journal)?;
        disk::remove_dir(&self.sled)
    }
}

pub(super) fn open(dir: &Path, master: &MasterSetting, encrypt: bool, environment: &Environment, scale: Scale) -> Result<Opened, OpenError> {
    let io_error = |cause| OpenError::Io { path: dir.to_owned(), cause };
    let lock = locked(dir)?;
    let request = Request { dir, setting: master, encrypt, environment, ring: &crate::vault::keyring::RING, cost: scale.cost };
    let header = Header::read(dir)?;
    let files = Files::of(dir, header.as_ref().map_or(0, |header| header.generation));
    are_ours(&files.dir)?;
    match header {
        // No generation but the first one is made before the header is finished.
        Some(header) if !header.ready && (header.generation > 0 || has_generations(dir)) => {
            Err(OpenError::Damaged { path: dir.join("header"), what: "it says that the store was never finished, and it was" })
        }
        Some(header) if header.ready => load(&files, header.unlock(&request)?, lock, scale),
        None if files.any() => Err(OpenError::Damaged { path: dir.join("header"), what: "it is missing, and the keys of the store with it" }),
        _ => {
            files.clear().map_err(io_error)?;
            create(&files, &request, lock, scale)
        }
    }
}

fn has_generations(home: &Path) -> bool {
    let is_one = |entry: io::Result<fs::DirEntry>| entry.is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with("generation-"));
    fs::read_dir(home).is_ok_and(|mut entries| entries.any(is_one))
}

/// Files and directories are what they are called: gollm never makes a link, and a pipe would be waited for.
fn are_ours(dir: &Path) -> Result<(), OpenError> {
    let refused = |path: &Path, what| Err(OpenError::Damaged { path: path.to_owned(), what });
    for name in ["header", "header.new", "manifest", "manifest.new", "lock", "master.key.new", "journal", "sled"] {
        let path = dir.join(name);
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        let is_dir = matches!(name, "journal" | "sled");
        if is_dir != metadata.is_dir() || metadata.is_dir() == metadata.is_file() {
            return refused(&path, "it is a link, or no file of the kind that gollm makes there");
        }
        for entry in fs::read_dir(&path).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_symlink()) {
                return refused(&entry.path(), "it is a link, which gollm never makes");
            }
        }
    }
    Ok(())
}

pub(super) fn locked(dir: &Path) -> Result<File, OpenError> {
    let io_error = |cause| OpenError::Io { path: dir.to_owned(), cause };
    are_ours(dir)?;
    disk::private_dir(dir).map_err(io_error)?;
    disk::lock(&dir.join("lock")).map_err(io_error)?.ok_or_else(|| OpenError::InUse { dir: dir.to_owned() })
}

pub(super) fn open_again(dir: &Path, vault: Arc<Vault>, source: MasterSource, scale: Scale) -> Result<Opened, OpenError> {
    let lock = locked(dir)?;
    let header = Header::existing(dir)?;
    load_with(&Files::of(dir, header.generation), vault, source, Vec::new(), lock, scale)
}

fn create(files: &Files, request: &Request<'_>, lock: File, scale: Scale) -> Result<Opened, OpenError> {
    let io_error = |path: &Path| {
        let path = path.to_owned();
        move |cause| OpenError::Io { path, cause }
    };
    let (header, Unlocked { vault, source, warnings }) = Header::create(request)?;
    let vault = Arc::new(vault);
    disk::private_dir(&files.journal).map_err(io_error(&files.journal))?;
    let mut backend = Sled::open(&files.sled).map_err(|why| backend_error(files, why))?;
    backend.sync().map_err(|why| backend_error(files, why))?;
    let journal = Journal::create(&files.journal, scale.segment, &vault)?;
    let store = Store {
        home: files.home.clone(),
        dir: files.dir.clone(),
        generation: files.generation,
        segment: scale.segment,
        vault: Arc::clone(&vault),
        journal,
        backend: Box::new(backend),
        ledger: Ledger::default(),
        epoch: 0,
        pending: None,
        since_checkpoint: 0,
        _lock: lock,
    };
    store.write_manifest()?;
    header.finish(&files.dir)?;
    Ok(Opened { store, vault, records: Vec::new(), unreadable: Vec::new(), events: Vec::new(), fresh: true, master: source, warnings })
}

fn load(files: &Files, unlocked: Unlocked, lock: File, scale: Scale) -> Result<Opened, OpenError> {
    let Unlocked { vault, source, warnings } = unlocked;
    load_with(files, Arc::new(vault), source, warnings, lock, scale)
}

fn load_with(
    files: &Files,
    vault: Arc<Vault>,
    source: MasterSource,
    mut warnings: Vec<String>,
    lock: File,
    scale: Scale,
) -> Result<Opened, OpenError> {
    let manifest = read_manifest(files, &vault)?;
    let replay = replay(&files.journal, &vault, manifest.journal)?;
    let mut backend = Sled::open(&files.sled).map_err(|why| backend_error(files, why))?;
    let (held_epoch, held) = backend.load().map_err(|why| backend_error(files, why))?;
    let mut truth = find_truth(files, &vault, manifest, &replay, held_epoch, &held)?;
    let (records, unreadable) = open_rows(files, &vault, &truth.rows)?;
    if truth.ledger != Ledger::of(&vault, &truth.rows) {
        // Only secrets that can't be opened get here: the loss is told key by key, and counted from now on.
        truth.ledger = Ledger::of(&vault, &truth.rows);
    }
    let missing = difference(&held, &truth.rows);
    if !missing.is_empty() || held_epoch != truth.epoch {
        warnings.extend((!missing.is_empty()).then(|| format!("{} records that the database lacked were taken from the journal", missing.len())));
        backend.apply(truth.epoch, &missing).and_then(|()| backend.sync()).map_err(|why| backend_error(files, why))?;
    }
    let events: Vec<Zeroizing<Vec<u8>>> = replay.events.into_iter().filter(|(seq, _)| *seq > truth.epoch).map(|(_, events)| events).collect();
    let since_checkpoint = events.iter().map(|events| u64::try_from(super::frame::length(events.len())).unwrap_or(0)).sum();
    let journal = Journal::resume(&files.journal, scale.segment, &vault, replay.end)?;
    let store = Store {
        home: files.home.clone(),
        dir: files.dir.clone(),
        generation: files.generation,
        segment: scale.segment,
        vault: Arc::clone(&vault),
        journal,
        backend: Box::new(backend),
        ledger: truth.ledger,
        epoch: truth.epoch,
        pending: None,
        since_checkpoint,
        _lock: lock,
    };
    store.write_manifest()?;
    remove_others(&files.home, files.generation).map_err(|cause| OpenError::Io { path: files.home.clone(), cause })?;
    Ok(Opened { store, vault, records, unreadable, events, fresh: false, master: source, warnings })
}

fn read_manifest(files: &Files, vault: &Vault) -> Result<Manifest, OpenError> {
    let path = files.manifest.clone();
    match Manifest::read(&path, vault) {
        Ok(Some(Some(manifest))) => Ok(manifest),
        Ok(Some(None)) => Err(OpenError::Damaged { path, what: "it was changed, cut, or comes from another store" }),
        Ok(None) => Err(OpenError::Damaged { path, what: "it is missing, so that nobody can tell whether records are" }),
        Err(cause) => Err(OpenError::Io { path, cause }),
    }
}

/// What the store holds as of its last complete checkpoint.
struct Truth {
    epoch: u64,
    rows: Rows,
    /// What was written down about these rows when they were written.
    ledger: Ledger,
}

/// Finds the rows of the last complete checkpoint: in the backend, or with the help of the journal.
fn find_truth(files: &Files, vault: &Vault, manifest: Manifest, replay: &Replay, held_epoch: u64, held: &Rows) -> Result<Truth, OpenError> {
    let newest = replay.checkpoints.last().filter(|newest| newest.seq > manifest.epoch);
    let (epoch, ledger) = newest.map_or((manifest.epoch, manifest.ledger), |newest| (newest.seq, newest.after.clone()));
    if held_epoch > epoch {
        return Err(OpenError::Damaged { path: files.dir.clone(), what: "the database is newer than manifest and journal: these are older copies" });
    }
    let found = Ledger::of(vault, held);
    if found == ledger {
        return Ok(Truth { epoch, rows: held.clone(), ledger });
    }
    // Applying them again to a backend that has some of them already gives the same as applying them once in order.
    let mut bases = vec![held.clone()];
    if replay.before.seq == 0 {
        bases.push(Rows::new());
    }
    for mut rows in bases {
        apply_all(&mut rows, &replay.checkpoints);
        if Ledger::of(vault, &rows) == ledger {
            return Ok(Truth { epoch, rows, ledger });
        }
    }
    let mut rows = held.clone();
    apply_all(&mut rows, &replay.checkpoints);
    let losses = ledger.losses(&Ledger::of(vault, &rows));
    let only_secrets = losses.iter().all(|loss| loss.tree == Tree::Secrets && loss.found == loss.expected);
    let sealed_shut = rows.iter().any(|((tree, key), sealed)| *tree == Tree::Secrets && open_row(vault, *tree, key, sealed).is_none());
    if only_secrets && sealed_shut { Ok(Truth { epoch, rows, ledger }) } else { Err(OpenError::Loss { dir: files.dir.clone(), losses }) }
}

fn apply_all(rows: &mut Rows, checkpoints: &[Checkpoint]) {
    for checkpoint in checkpoints {
        apply(rows, &checkpoint.rows);
    }
}

type Sorted = (Vec<Record>, Vec<(Tree, Vec<u8>)>);

fn open_rows(files: &Files, vault: &Vault, rows: &Rows) -> Result<Sorted, OpenError> {
    let (mut records, mut unreadable) = (Vec::with_capacity(rows.len()), Vec::new());
    for ((tree, key), sealed) in rows {
        match open_row(vault, *tree, key, sealed) {
            Some(value) => records.push(Record { tree: *tree, key: key.clone(), value }),
            // A key whose secret is lost is shown as such, and can be given a new one; a lost sum is lost.
            None if *tree == Tree::Secrets => unreadable.push((*tree, key.clone())),
            None => return Err(OpenError::Damaged { path: files.sled.clone(), what: "a value can't be opened" }),
        }
    }
    Ok((records, unreadable))
}

fn open_row(vault: &Vault, tree: Tree, key: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    vault.open(&Place { tree: tree.name(), key, version: SEALED }, sealed).ok()
}

fn backend_error(files: &Files, why: BackendError) -> OpenError {
    match why {
        BackendError::Io(cause) => OpenError::Io { path: files.sled.clone(), cause },
        BackendError::Corrupt(why) => OpenError::Backend { path: files.sled.clone(), why },
    }
}

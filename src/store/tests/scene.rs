//! A store in a directory of its own, and ways to hurt it.

use std::fs;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::environment::Environment;
use crate::store::error::OpenError;
use crate::store::opening::{Scale, open};
use crate::store::{Change, Opened, Tree};
use crate::vault::kdf::Cost;
use crate::vault::master::MasterSetting;

/// Bytes of a segment: a few records.
pub(super) const SEGMENT: u64 = 8192;

pub(super) struct Scene {
    pub(super) dir: tempfile::TempDir,
}

impl Scene {
    pub(super) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(super) fn open(&self) -> Result<Opened, OpenError> {
        open_at(self.dir.path(), "correct horse")
    }

    /// Why the store is refused; twice, since the first try must change nothing that the second one could mistake for a store.
    pub(super) fn refusal(&self) -> String {
        let first = self.open().err().expect("the store opens").to_string();
        assert_eq!(self.open().err().expect("the store opens at the second try").to_string(), first);
        first
    }

    /// A copy of the directory as it is now: what a machine that loses its power now finds at its next start.
    pub(super) fn copy(&self) -> Self {
        let copy = Self::new();
        copy_dir(self.dir.path(), copy.dir.path());
        copy
    }

    /// The segments of the journal, oldest first.
    pub(super) fn segments(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.path("journal")).unwrap().map(|entry| entry.unwrap().path());
        let mut segments: Vec<_> = entries.filter(|path| path.extension().is_some_and(|end| end == "journal")).collect();
        segments.sort();
        segments
    }

    /// Changes the bytes of a file.
    pub(super) fn edit(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        edit(&self.path(name), change);
    }
}

pub(super) fn edit(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

pub(super) fn open_at(dir: &Path, password: &str) -> Result<Opened, OpenError> {
    let environment: Environment = [("GOLLM_MASTER_PASSWORD", password)].into_iter().collect();
    open(dir, &MasterSetting::Auto, true, &environment, Scale { segment: SEGMENT, cost: Cost::LEAST })
}

/// Puts a copy of `from` in the place of `to`.
pub(super) fn put_back(from: &Path, to: &Path) {
    fs::remove_dir_all(to).unwrap();
    copy_dir(from, to);
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else if fs::copy(entry.path(), &target).is_err() {
            // The spare segment gets its name while the copy is made.
            assert!(!entry.path().exists());
        }
    }
}

/// A change of the tree `usage`.
pub(super) fn change(key: &str, value: &str) -> Change {
    Change { tree: Tree::Usage, key: key.into(), value: Some(Zeroizing::new(value.into())) }
}

/// A removal from the tree `usage`.
pub(super) fn removal(key: &str) -> Change {
    Change { tree: Tree::Usage, key: key.into(), value: None }
}

/// The records of an opened store as text.
pub(super) fn rows(opened: &Opened) -> Vec<(&str, &str)> {
    opened.records.iter().map(|record| (std::str::from_utf8(&record.key).unwrap(), std::str::from_utf8(&record.value).unwrap())).collect()
}

/// The events of an opened store.
pub(super) fn events(opened: &Opened) -> Vec<Vec<u8>> {
    opened.events.iter().map(|events| events.to_vec()).collect()
}

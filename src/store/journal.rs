//! The journal that is written: one record, one `fdatasync`; what it has taken is on the disk when it returns.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk;
use crate::vault::Vault;
use crate::vault::cipher::SealKey;

use super::error::AppendError;
use super::fault::{Step, reach};
use super::frame::{self, BODY_MAX, Frames, Kind, Link};
use super::replay::End;
use super::segment::{self, BODY, Label, MakeError, Maker};

/// The writing end of the journal.
pub(super) struct Journal {
    dir: PathBuf,
    vault: Arc<Vault>,
    maker: Maker,
    file: File,
    label: Label,
    key: SealKey,
    /// Where the next record goes.
    at: u64,
    /// The last record that counts.
    last: Link,
    /// Bytes that hold a record that does not count; nothing is written before they are zero again.
    dirty: Option<Range<u64>>,
    /// A next segment may lie on the disk, though making it failed: nothing more goes into this one, so that both fit.
    full: bool,
    /// The segments that are there: number, and the last record before it.
    segments: Vec<(u64, u64)>,
}

impl Journal {
    /// Begins a journal in a directory that has none.
    pub(super) fn create(dir: &Path, size: u64, vault: &Arc<Vault>) -> Result<Self, AppendError> {
        let before = Link { seq: 0, tag: [0; 16] };
        let mut maker = Maker::new(dir, size);
        let (file, label) = maker.make(1, before, 0, vault).map_err(|why| failed(dir, why))?;
        let end = End { label, last: before, at: u64::try_from(BODY).unwrap_or(u64::MAX), torn: None, segments: vec![(1, 0)] };
        Self::start(dir, vault, maker, file, end)
    }

    /// Goes on where the replay ended; erases the record that a crash has cut off.
    pub(super) fn resume(dir: &Path, size: u64, vault: &Arc<Vault>, end: End) -> Result<Self, AppendError> {
        let path = segment::path(dir, end.label.number);
        disk::remove(&dir.join("spare")).map_err(|cause| disk_error(dir, cause))?;
        let file = File::options().read(true).write(true).open(&path).map_err(|cause| disk_error(&path, cause))?;
        let mut journal = Self::start(dir, vault, Maker::new(dir, size), file, end)?;
        journal.erase()?;
        Ok(journal)
    }

    fn start(dir: &Path, vault: &Arc<Vault>, mut maker: Maker, file: File, end: End) -> Result<Self, AppendError> {
        maker.prepare();
        let key = vault.segment_key(&end.label.salt)?;
        let End { label, last, at, torn: dirty, segments } = end;
        Ok(Self { dir: dir.to_owned(), vault: Arc::clone(vault), maker, file, label, key, at, last, dirty, full: false, segments })
    }

    /// The last record that counts.
    pub(super) fn last(&self) -> Link {
        self.last
    }

    /// Writes one record; it is on the disk when this returns, and gives its length in bytes. After an error nothing
    /// was written, and the journal can be used again.
    pub(super) fn append(&mut self, kind: Kind, plain: &[u8]) -> Result<u64, AppendError> {
        if plain.len() > BODY_MAX {
            return Err(AppendError::TooLarge { bytes: plain.len() });
        }
        self.erase()?;
        let length = frame::length(plain.len());
        let size = u64::try_from(length).unwrap_or(u64::MAX);
        if self.full || self.at.saturating_add(size) > self.label.size {
            self.rotate(length)?;
        }
        let frames = Frames { vault: &self.vault, key: &self.key, salt: &self.label.salt };
        let (record, link) = frames.encode(kind, self.last, plain)?;
        let written = self.write(&record);
        if let Err(cause) = written {
            self.dirty = Some(self.at..self.at.saturating_add(size));
            // The error that counts is the first one; this one comes again with the next record if it lasts.
            drop(self.erase());
            return Err(disk_error(&segment::path(&self.dir, self.label.number), cause));
        }
        self.at = self.at.saturating_add(size);
        self.last = link;
        Ok(size)
    }

    /// Removes the segments that hold nothing behind the record `seq`.
    pub(super) fn prune(&mut self, seq: u64) -> Result<(), AppendError> {
        // From the oldest on, each removal made durable: a crash in between leaves no gap.
        while let [(oldest, _), (_, before), ..] = self.segments.as_slice()
            && *before <= seq
        {
            let path = segment::path(&self.dir, *oldest);
            disk::remove(&path).and_then(|()| disk::sync_dir(&self.dir)).map_err(|cause| disk_error(&path, cause))?;
            self.segments.remove(0);
        }
        Ok(())
    }

    fn write(&mut self, record: &[u8]) -> io::Result<()> {
        reach(Step::Write)?;
        self.file.seek(SeekFrom::Start(self.at))?;
        self.file.write_all(record)?;
        reach(Step::Sync)?;
        self.file.sync_data()
    }

    /// Makes the bytes of a record that does not count zero again.
    fn erase(&mut self) -> Result<(), AppendError> {
        let Some(range) = self.dirty.clone() else { return Ok(()) };
        let erased = reach(Step::Erase).and_then(|()| {
            self.file.seek(SeekFrom::Start(range.start))?;
            io::copy(&mut io::Read::take(io::repeat(0), range.end - range.start), &mut self.file)?;
            self.file.sync_data()
        });
        erased.map_err(|cause| disk_error(&segment::path(&self.dir, self.label.number), cause))?;
        self.dirty = None;
        Ok(())
    }

    fn rotate(&mut self, record: usize) -> Result<(), AppendError> {
        let number = self.label.number.saturating_add(1);
        self.full = true;
        let (file, label) = self.maker.make(number, self.last, record, &self.vault).map_err(|why| failed(&self.dir, why))?;
        self.key = self.vault.segment_key(&label.salt)?;
        self.at = u64::try_from(BODY).unwrap_or(u64::MAX);
        self.segments.push((number, label.before.seq));
        (self.file, self.label, self.full) = (file, label, false);
        self.maker.prepare();
        Ok(())
    }
}

fn failed(dir: &Path, why: MakeError) -> AppendError {
    match why {
        MakeError::Io(cause) => disk_error(dir, cause),
        MakeError::Vault(why) => AppendError::Vault(why),
    }
}

fn disk_error(path: &Path, cause: io::Error) -> AppendError {
    AppendError::Disk { path: path.to_owned(), cause }
}

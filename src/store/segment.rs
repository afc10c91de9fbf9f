//! One file of the journal: zero-filled ahead, since writing over blocks that are there costs a third of making new ones.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use crate::disk;
use crate::vault::{Vault, VaultError};

use super::fault::{Step, reach};
use super::frame::{Link, SECTOR};

const MAGIC: [u8; 8] = *b"gollmjr1";

/// Where the records of a segment begin.
pub(super) const BODY: usize = SECTOR;

/// What the first sector of a segment says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Label {
    /// Segments are numbered without gaps.
    pub(super) number: u64,
    /// The last record before this segment.
    pub(super) before: Link,
    /// Makes the segment's key.
    pub(super) salt: [u8; 16],
    /// Length of the file in bytes.
    pub(super) size: u64,
}

impl Label {
    fn encode(&self, vault: &Vault) -> Vec<u8> {
        let mut sector = MAGIC.to_vec();
        sector.extend_from_slice(&self.number.to_le_bytes());
        sector.extend_from_slice(&self.before.seq.to_le_bytes());
        sector.extend_from_slice(&self.before.tag);
        sector.extend_from_slice(&self.salt);
        sector.extend_from_slice(&self.size.to_le_bytes());
        let mac = vault.mac("segment", &[&sector]);
        sector.extend_from_slice(&mac);
        sector.resize(SECTOR, 0);
        sector
    }

    /// Reads the first sector of a segment; nothing if it is not one of this store.
    fn decode(sector: &[u8], vault: &Vault) -> Option<Self> {
        let mut rest = sector.strip_prefix(&MAGIC)?;
        let named = sector.get(..64)?;
        let number = u64::from_le_bytes(take(&mut rest)?);
        let before = Link { seq: u64::from_le_bytes(take(&mut rest)?), tag: take(&mut rest)? };
        let salt = take(&mut rest)?;
        let size = u64::from_le_bytes(take(&mut rest)?);
        let mac: [u8; 32] = take(&mut rest)?;
        vault.has_mac(&mac, "segment", &[named]).then_some(Self { number, before, salt, size })
    }
}

/// The next `N` bytes of `rest`.
pub(super) fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (bytes, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(*bytes)
}

/// The file of a segment.
pub(super) fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:012}.journal"))
}

/// The numbers of the segments in a directory, in order.
pub(super) fn list(dir: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let number: Option<u64> = name.to_str().and_then(|name| name.strip_suffix(".journal")).and_then(|name| name.parse().ok());
        numbers.extend(number);
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Why a segment can't be read.
pub(super) enum Unreadable {
    Io(io::Error),
    Damaged(&'static str),
}

/// A whole segment: its label, and all its bytes.
pub(super) fn read(dir: &Path, number: u64, vault: &Vault) -> Result<(Label, Vec<u8>), Unreadable> {
    let mut bytes = Vec::new();
    File::open(path(dir, number)).and_then(|mut file| file.read_to_end(&mut bytes)).map_err(Unreadable::Io)?;
    let label = Label::decode(&bytes, vault).filter(|label| label.number == number);
    let label = label.ok_or(Unreadable::Damaged("its label was changed, or is another store's"))?;
    if u64::try_from(bytes.len()).ok() != Some(label.size) {
        return Err(Unreadable::Damaged("the file was cut or has grown"));
    }
    Ok((label, bytes))
}

/// Makes segments; the next one is filled with zeros on another thread while this one is written.
pub(super) struct Maker {
    dir: PathBuf,
    size: u64,
    spare: Option<JoinHandle<io::Result<File>>>,
}

impl Maker {
    /// Makes segments of `size` bytes in `dir`.
    pub(super) fn new(dir: &Path, size: u64) -> Self {
        Self { dir: dir.to_owned(), size: size.next_multiple_of(4096), spare: None }
    }

    /// Fills the next segment ahead.
    pub(super) fn prepare(&mut self) {
        if self.spare.is_none() {
            let (path, size) = (self.spare_path(), self.size);
            // Without a thread the next segment is filled when it is needed.
            self.spare = std::thread::Builder::new().name("segment".to_owned()).spawn(move || fill(&path, size)).ok();
        }
    }

    /// A new segment that goes on after `before`, long enough for a record of `record` bytes; it is on the disk under its name.
    pub(super) fn make(&mut self, number: u64, before: Link, record: usize, vault: &Vault) -> Result<(File, Label), MakeError> {
        reach(Step::Segment)?;
        let spare = self.spare.take().and_then(|thread| thread.join().ok()).and_then(Result::ok);
        let needed = u64::try_from(BODY + record).unwrap_or(u64::MAX).next_multiple_of(4096);
        let (mut file, size) = match spare.filter(|_| needed <= self.size) {
            Some(file) => (file, self.size),
            None => (fill(&self.spare_path(), needed.max(self.size))?, needed.max(self.size)),
        };
        let label = Label { number, before, salt: crate::vault::cipher::random()?, size };
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&label.encode(vault))?;
        file.sync_all()?;
        fs::rename(self.spare_path(), path(&self.dir, number))?;
        disk::sync_dir(&self.dir)?;
        Ok((file, label))
    }

    fn spare_path(&self) -> PathBuf {
        self.dir.join("spare")
    }
}

impl Drop for Maker {
    fn drop(&mut self) {
        // The thread must not fill a file that the next owner of the directory has begun to use.
        if let Some(thread) = self.spare.take() {
            let _unused = thread.join();
        }
    }
}

/// Why no segment was made.
#[derive(Debug, thiserror::Error)]
pub(super) enum MakeError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Vault(#[from] VaultError),
}

fn fill(path: &Path, size: u64) -> io::Result<File> {
    let filled = disk::create(path).and_then(|mut file| {
        io::copy(&mut io::repeat(0).take(size), &mut file)?;
        file.sync_all()?;
        Ok(file)
    });
    if filled.is_err() {
        // Half a segment is of no use, and the disk may be full.
        disk::remove(path)?;
    }
    filled
}

//! What gollm needs of the package that keeps its records between checkpoints.

use super::Tree;
use super::batch::Row;
use super::ledger::Rows;

/// Why the package failed, in its own words.
#[derive(Debug, thiserror::Error)]
pub(super) enum BackendError {
    /// A file could not be read or written; a full disk, for one.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The package can't read its own file.
    #[error("its file can't be read: {0}")]
    Corrupt(String),
}

/// Keeps sealed records. Nobody relies on it to notice a loss: the store checks all that it gives back.
pub(super) trait Backend: Send {
    /// All records, and the number of the last checkpoint that was applied, 0 before the first.
    fn load(&self) -> Result<(u64, Rows), BackendError>;
    /// The sealed value of one key.
    fn read(&self, tree: Tree, key: &[u8]) -> Result<Option<Vec<u8>>, BackendError>;
    /// Applies the checkpoint `epoch`. Applying it again changes nothing.
    fn apply(&mut self, epoch: u64, rows: &[Row]) -> Result<(), BackendError>;
    /// Puts all that was applied on the disk.
    fn sync(&mut self) -> Result<(), BackendError>;
}

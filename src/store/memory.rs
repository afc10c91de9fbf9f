//! A backend that forgets everything at its end: for tests of what stands above it.

use super::Tree;
use super::backend::{Backend, BackendError};
use super::batch::Row;
use super::ledger::{Rows, apply};

/// Records in memory.
#[derive(Default)]
pub(super) struct Memory {
    epoch: u64,
    rows: Rows,
}

impl Backend for Memory {
    fn load(&self) -> Result<(u64, Rows), BackendError> {
        Ok((self.epoch, self.rows.clone()))
    }

    fn read(&self, tree: Tree, key: &[u8]) -> Result<Option<Vec<u8>>, BackendError> {
        Ok(self.rows.get(&(tree, key.to_vec())).cloned())
    }

    fn apply(&mut self, epoch: u64, rows: &[Row]) -> Result<(), BackendError> {
        apply(&mut self.rows, rows);
        self.epoch = epoch;
        Ok(())
    }

    fn sync(&mut self) -> Result<(), BackendError> {
        Ok(())
    }
}

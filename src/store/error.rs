//! Why a store can't be opened, or does not take something; each says what mends it.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::vault::VaultError;

use super::Tree;
use super::frame::BODY_MAX;

/// Records of one tree that are not what they must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeLoss {
    /// The tree.
    pub tree: Tree,
    /// How many records it must hold.
    pub expected: u64,
    /// How many it holds.
    pub found: u64,
}

impl fmt::Display for TreeLoss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.found == self.expected {
            write!(f, "{} {} records of which some are not the newest", self.found, self.tree)
        } else {
            write!(f, "{} of {} {} records", self.found, self.expected, self.tree)
        }
    }
}

/// Why a store can't be opened. Nothing was changed by trying, unless the text says so.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another daemon has it.
    #[error("another gollmd uses {}: stop it first, or give this one another `--state-dir`", dir.display())]
    InUse {
        /// The state directory.
        dir: PathBuf,
    },
    /// The master secret, the header, or a sealed value is not right.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// A file is missing, cut, changed or too old.
    #[error("{} is damaged: {what}; `gollmd --repair` saves what can be opened, or move the directory aside, start anew and `gollmctl restore` a backup", path.display())]
    Damaged {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Records are lost, and the journal no longer holds them.
    #[error("{} has lost records: it holds {}; `gollmd --repair` saves what can be opened, or move the directory aside, start anew and `gollmctl restore` a backup", dir.display(), list(losses))]
    Loss {
        /// The state directory.
        dir: PathBuf,
        /// The trees that differ from what they must be.
        losses: Vec<TreeLoss>,
    },
    /// The package that keeps the records can't read its own file.
    #[error("{}: {why}; `gollmd --repair` saves what can be opened, or move the directory aside, start anew and `gollmctl restore` a backup", path.display())]
    Backend {
        /// Its directory.
        path: PathBuf,
        /// What it says.
        why: String,
    },
    /// Reading or writing failed.
    #[error("{}: {cause}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// The journal could not be made, or made ready.
    #[error(transparent)]
    Append(#[from] AppendError),
}

fn list(losses: &[TreeLoss]) -> String {
    losses.iter().map(TreeLoss::to_string).collect::<Vec<_>>().join(", ")
}

/// Why the store did not take something.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The disk failed, or is full. Nothing was taken; the next call tries anew.
    #[error("{}: {cause}", path.display())]
    Disk {
        /// The file.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// One record can't be longer than 4 MiB.
    #[error("{bytes} bytes are more than one record holds: at most {BODY_MAX}")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// The checkpoint is safe in the journal, and was not yet taken over by the package that keeps the records. The next
    /// checkpoint, or start, tries anew; giving the same changes again is harmless.
    #[error("the checkpoint is in the journal, but not yet in {}: {why}", path.display())]
    Behind {
        /// Where it is not yet.
        path: PathBuf,
        /// What was said.
        why: String,
    },
    /// Sealing failed.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

impl AppendError {
    /// The same for a checkpoint that waits for an earlier one: it does not count itself.
    pub(super) fn before(self) -> Self {
        match self {
            Self::Behind { path, why } => Self::Disk { path, cause: io::Error::other(why) },
            other => other,
        }
    }
}

//! The manifest: what the backend and the journal must hold at least, so that no loss of theirs goes unseen. One line of JSON, one of its seal.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::disk;
use crate::protocol::bytes::{hex, unhex, unhex_array};
use crate::vault::Vault;

use super::Tree;
use super::frame::Link;
use super::ledger::{Ledger, Sum};

/// What the store knows of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Manifest {
    /// Number of the last checkpoint that the backend holds.
    pub(super) epoch: u64,
    /// What the backend holds after it.
    pub(super) ledger: Ledger,
    /// The last record of the journal when the manifest was written.
    pub(super) journal: Link,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    gollm_manifest: u32,
    store: String,
    epoch: u64,
    journal_seq: u64,
    journal_tag: String,
    trees: BTreeMap<String, (u64, String)>,
}

impl Manifest {
    /// Writes it in the place of the one before.
    pub(super) fn write(&self, path: &Path, vault: &Vault) -> io::Result<()> {
        let trees = Tree::ALL.into_iter().map(|tree| (tree, self.ledger.sum(tree)));
        let file = File {
            gollm_manifest: 1,
            store: vault.store().to_string(),
            epoch: self.epoch,
            journal_seq: self.journal.seq,
            journal_tag: hex(&self.journal.tag),
            trees: trees.map(|(tree, sum)| (tree.name().to_owned(), (sum.count, hex(&sum.digest.to_be_bytes())))).collect(),
        };
        let body = serde_json::to_string(&file)?;
        let mac = hex(&vault.mac("manifest", &[body.as_bytes()]));
        disk::replace(path, format!("{body}\n{mac}\n").as_bytes())
    }

    /// Reads it; the inner nothing stands for a manifest that was changed, cut or made by another store.
    pub(super) fn read(path: &Path, vault: &Vault) -> io::Result<Option<Option<Self>>> {
        Ok(disk::read(path)?.map(|bytes| Self::decode(&bytes, vault)))
    }

    fn decode(bytes: &[u8], vault: &Vault) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let (body, mac) = text.strip_suffix('\n')?.split_once('\n')?;
        if !vault.has_mac(&unhex(mac)?, "manifest", &[body.as_bytes()]) {
            return None;
        }
        let file: File = serde_json::from_str(body).ok()?;
        let mut ledger = Ledger::default();
        for (name, (count, digest)) in &file.trees {
            ledger.set(Tree::named(name)?, Sum { count: *count, digest: u128::from_be_bytes(unhex_array(digest)?) });
        }
        let journal = Link { seq: file.journal_seq, tag: unhex_array(&file.journal_tag)? };
        Some(Self { epoch: file.epoch, ledger, journal })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::StoreId;

    #[test]
    fn a_manifest_reads_back_and_a_changed_one_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("manifest");
        let vault = Vault::new(StoreId([1; 16]), crate::vault::keys::Keys::of_root([2; 32])).unwrap();
        assert!(Manifest::read(&path, &vault).unwrap().is_none());
        let mut ledger = Ledger::default();
        ledger.add(&vault, Tree::Usage, b"key", b"sealed");
        let manifest = Manifest { epoch: 7, ledger, journal: Link { seq: 9, tag: [3; 16] } };
        manifest.write(&path, &vault).unwrap();
        assert_eq!(Manifest::read(&path, &vault).unwrap(), Some(Some(manifest)));
        let bytes = std::fs::read(&path).unwrap();
        // The last byte is the line end; the hexadecimal digits of the seal may change their case.
        for at in 0..bytes.len() - 1 {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            std::fs::write(&path, changed).unwrap();
            assert_eq!(Manifest::read(&path, &vault).unwrap(), Some(None), "byte {at}");
        }
        let other = Vault::new(StoreId([1; 16]), crate::vault::keys::Keys::of_root([4; 32])).unwrap();
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(Manifest::read(&path, &other).unwrap(), Some(None));
    }
}

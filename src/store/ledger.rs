//! What the backend must hold: for each tree how many records, and a keyed digest of all of them.

use std::collections::BTreeMap;

use crate::vault::Vault;

use super::Tree;
use super::batch::Row;
use super::error::TreeLoss;
use super::segment::take;

/// Count and digest of one tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Sum {
    pub(super) count: u64,
    /// The wrapping sum of the keyed hashes of all records: it does not depend on their order, and a record can be taken out again.
    pub(super) digest: u128,
}

/// Counts and digests of all trees.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Ledger {
    sums: BTreeMap<Tree, Sum>,
}

impl Ledger {
    /// The sum of one tree.
    pub(super) fn sum(&self, tree: Tree) -> Sum {
        self.sums.get(&tree).copied().unwrap_or_default()
    }

    pub(super) fn set(&mut self, tree: Tree, sum: Sum) {
        if sum == Sum::default() {
            self.sums.remove(&tree);
        } else {
            self.sums.insert(tree, sum);
        }
    }

    /// Counts a sealed record in.
    pub(super) fn add(&mut self, vault: &Vault, tree: Tree, key: &[u8], sealed: &[u8]) {
        let sum = self.sum(tree);
        let digest = sum.digest.wrapping_add(hash(vault, tree, key, sealed));
        self.set(tree, Sum { count: sum.count.saturating_add(1), digest });
    }

    /// Counts a sealed record out.
    pub(super) fn take(&mut self, vault: &Vault, tree: Tree, key: &[u8], sealed: &[u8]) {
        let sum = self.sum(tree);
        let digest = sum.digest.wrapping_sub(hash(vault, tree, key, sealed));
        self.set(tree, Sum { count: sum.count.saturating_sub(1), digest });
    }

    /// The ledger of these records.
    pub(super) fn of(vault: &Vault, rows: &Rows) -> Self {
        let mut ledger = Self::default();
        for ((tree, key), sealed) in rows {
            ledger.add(vault, *tree, key, sealed);
        }
        ledger
    }

    /// The trees in which `found` differs from what this one says.
    pub(super) fn losses(&self, found: &Self) -> Vec<TreeLoss> {
        let differing = Tree::ALL.into_iter().filter(|tree| self.sum(*tree) != found.sum(*tree));
        differing.map(|tree| TreeLoss { tree, expected: self.sum(tree).count, found: found.sum(tree).count }).collect()
    }

    /// The end of a checkpoint: its number of parts, and what the backend holds after it.
    pub(super) fn encode_end(&self, parts: usize) -> Vec<u8> {
        let mut bytes = u64::try_from(parts).unwrap_or(u64::MAX).to_le_bytes().to_vec();
        for (tree, sum) in &self.sums {
            bytes.push(tree.code());
            bytes.extend_from_slice(&sum.count.to_le_bytes());
            bytes.extend_from_slice(&sum.digest.to_le_bytes());
        }
        bytes
    }

    /// Reads what [`Ledger::encode_end`] wrote.
    pub(super) fn decode_end(mut bytes: &[u8]) -> Option<(usize, Self)> {
        let parts = usize::try_from(u64::from_le_bytes(take(&mut bytes)?)).ok()?;
        let mut ledger = Self::default();
        while !bytes.is_empty() {
            let [tree] = take(&mut bytes)?;
            let sum = Sum { count: u64::from_le_bytes(take(&mut bytes)?), digest: u128::from_le_bytes(take(&mut bytes)?) };
            ledger.set(Tree::of_code(tree)?, sum);
        }
        Some((parts, ledger))
    }
}

/// All sealed records of a store.
pub(super) type Rows = BTreeMap<(Tree, Vec<u8>), Vec<u8>>;

/// Does to `rows` what a checkpoint does to the backend.
pub(super) fn apply(rows: &mut Rows, changes: &[Row]) {
    for Row { tree, key, value } in changes {
        match value {
            Some(value) => rows.insert((*tree, key.clone()), value.clone()),
            None => rows.remove(&(*tree, key.clone())),
        };
    }
}

/// The changes that turn `from` into `to`.
pub(super) fn difference(from: &Rows, to: &Rows) -> Vec<Row> {
    let gone = from.keys().filter(|at| !to.contains_key(*at)).map(|(tree, key)| Row { tree: *tree, key: key.clone(), value: None });
    let new = to.iter().filter(|(at, value)| from.get(*at) != Some(*value));
    gone.chain(new.map(|((tree, key), value)| Row { tree: *tree, key: key.clone(), value: Some(value.clone()) })).collect()
}

fn hash(vault: &Vault, tree: Tree, key: &[u8], sealed: &[u8]) -> u128 {
    let mac = vault.mac("row", &[tree.name().as_bytes(), key, sealed]);
    mac.first_chunk().map_or(0, |start| u128::from_le_bytes(*start))
}

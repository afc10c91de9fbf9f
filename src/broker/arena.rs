//! Keys and accounts by place. Entries are never taken out, so a place stays good.
#![expect(clippy::indexing_slicing, reason = "a place is only made by `push`, and entries are never taken out")]

use std::collections::HashMap;
use std::ops::{Index, IndexMut};

use crate::broker::{AccountEntry, AccountIx, KeyEntry, KeyIx};
use crate::health::account::AccountKey;
use crate::id::KeyId;

/// Every key that was ever heard of.
#[derive(Debug, Default)]
pub(super) struct Keys {
    entries: Vec<KeyEntry>,
    by_id: HashMap<KeyId, KeyIx>,
}

impl Keys {
    pub(super) fn push(&mut self, entry: KeyEntry) -> KeyIx {
        let ix = KeyIx(self.entries.len());
        self.by_id.insert(entry.id.clone(), ix);
        self.entries.push(entry);
        ix
    }

    pub(super) fn find(&self, id: &KeyId) -> Option<KeyIx> {
        self.by_id.get(id).copied()
    }

    /// Every place; it borrows nothing, so that entries can be changed meanwhile.
    pub(super) fn all(&self) -> impl Iterator<Item = KeyIx> + use<> {
        (0..self.entries.len()).map(KeyIx)
    }
}

impl Index<KeyIx> for Keys {
    type Output = KeyEntry;
    fn index(&self, ix: KeyIx) -> &KeyEntry {
        &self.entries[ix.0]
    }
}

impl IndexMut<KeyIx> for Keys {
    fn index_mut(&mut self, ix: KeyIx) -> &mut KeyEntry {
        &mut self.entries[ix.0]
    }
}

/// Every account that was ever heard of.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    entries: Vec<AccountEntry>,
    by_key: HashMap<AccountKey, AccountIx>,
}

impl Accounts {
    pub(super) fn push(&mut self, entry: AccountEntry) -> AccountIx {
        let ix = AccountIx(self.entries.len());
        self.by_key.insert(entry.key.clone(), ix);
        self.entries.push(entry);
        ix
    }

    pub(super) fn find(&self, key: &AccountKey) -> Option<AccountIx> {
        self.by_key.get(key).copied()
    }

    /// Every place.
    pub(super) fn all(&self) -> impl Iterator<Item = AccountIx> + use<> {
        (0..self.entries.len()).map(AccountIx)
    }
}

impl Index<AccountIx> for Accounts {
    type Output = AccountEntry;
    fn index(&self, ix: AccountIx) -> &AccountEntry {
        &self.entries[ix.0]
    }
}

impl IndexMut<AccountIx> for Accounts {
    fn index_mut(&mut self, ix: AccountIx) -> &mut AccountEntry {
        &mut self.entries[ix.0]
    }
}

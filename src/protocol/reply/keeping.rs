//! What is answered of the store as a whole: master secrets, audit trail, backups.

use serde::{Deserialize, Serialize};

use crate::id::Uid;
use crate::protocol::bytes::Bytes;
use crate::secret::Password;
use crate::time::Timestamp;

/// A backup that the daemon holds, until it is read, or another one is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupMade {
    /// Its name in `backup_part`.
    pub backup: u64,
    /// Its length.
    pub bytes: u64,
}

/// A piece of a backup.
#[derive(Serialize, Deserialize)]
pub struct BackupPiece {
    /// The piece.
    pub data: Bytes,
    /// Is it the last one? Then the daemon holds the backup no more.
    pub last: bool,
}

/// What a backup holds, or held that was restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    /// The store that it is of.
    pub store: String,
    /// When it was made.
    pub created: Timestamp,
    /// By which version of gollm.
    pub version: String,
    /// Records in it.
    pub records: u64,
    /// Secrets among them.
    pub secrets: u64,
    /// Does the store hold it now?
    pub replaced: bool,
}

/// Of the audit trail what was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    /// From the older to the newer.
    pub entries: Vec<AuditEntry>,
    /// With `verify`: what walking the chain came to.
    pub verified: Option<AuditVerified>,
}

/// One thing that was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Its number, from 1.
    pub seq: u64,
    /// When.
    pub time: Timestamp,
    /// Who asked for it; null: the daemon did it by itself.
    pub uid: Option<Uid>,
    /// Its process.
    pub pid: Option<i32>,
    /// The systemd unit of that process.
    pub unit: Option<String>,
    /// What: the name of the request, or `start`, `stop`, `repair`, `key_state`, `account_state`.
    pub act: String,
    /// To what: a key, an account, a slot.
    pub target: Option<String>,
    /// What came of it: `done`, the code of an error, a state.
    pub result: String,
    /// Why, or how.
    pub detail: Option<String>,
}

/// What walking the audit trail's chain came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditVerified {
    /// Is every entry there as it was written, and the anchor, where one was given?
    pub ok: bool,
    /// The number of the first entry that is missing, changed or out of its place.
    pub broken_at: Option<u64>,
    /// The oldest entry.
    pub first: u64,
    /// The newest entry.
    pub last: u64,
    /// `SEQ:HASH` of the newest, to be kept elsewhere and given as `anchor` later.
    pub anchor: String,
    /// Is the given anchor in the chain? Null: none was given, or its entry has left by age.
    pub anchored: Option<bool>,
}

/// A master secret that opens the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotRow {
    /// Its number.
    pub slot: u32,
    /// Where it is: `prompt`, `environment`, `credential`, `keyring`, `file`, `recovery`.
    pub source: String,
    /// The slot that takes its place once that one has opened the store.
    pub until: Option<u32>,
}

/// A slot that was made.
#[derive(Serialize, Deserialize)]
pub struct SlotAdded {
    /// Its number.
    pub slot: u32,
    /// Of a recovery slot: the code, which is told this once.
    pub recovery_code: Option<Password>,
}

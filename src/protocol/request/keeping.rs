//! What an admin may ask of the store as a whole: master secrets, audit trail, backups.

use serde::{Deserialize, Serialize};

use crate::id::Uid;
use crate::protocol::bytes::Bytes;
use crate::secret::Password;
use crate::time::Timestamp;

/// Bytes of a backup in one message, at most.
pub const PART_MAX: usize = 384 * 1024;

/// Makes a backup.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backup {
    /// What opens it; absent: every master secret of the store that a person may know.
    #[serde(default)]
    pub passphrase: Option<Password>,
}

/// Reads a piece of a backup.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupPart {
    /// Which backup, as `backup` named it.
    pub backup: u64,
    /// Where the piece begins.
    pub offset: u64,
}

/// Hands in a piece of a backup.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestorePart {
    /// Where the piece begins; 0 begins anew.
    pub offset: u64,
    /// The piece, at most [`PART_MAX`] bytes.
    pub data: Bytes,
}

/// Restores what was handed in.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restore {
    /// The passphrase, or a master secret of the store that the backup is of.
    pub password: Password,
    /// Only say what it holds.
    #[serde(default)]
    pub check: Option<bool>,
}

/// Entries of the audit trail in one answer, at most.
pub const AUDIT_MAX: u64 = 2000;

/// Asks for the audit trail: its newest entries, or those after one.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Audit {
    /// None that is older.
    #[serde(default)]
    pub since: Option<Timestamp>,
    /// So many, at most [`AUDIT_MAX`]; absent: 200.
    #[serde(default)]
    pub limit: Option<u64>,
    /// Is the whole chain as it was written?
    #[serde(default)]
    pub verify: Option<bool>,
    /// The oldest after the entry of this number, instead of the newest.
    #[serde(default)]
    pub after: Option<u64>,
    /// What this user asked for.
    #[serde(default)]
    pub uid: Option<Uid>,
    /// With `verify`: an end of the chain that was written down, as `SEQ:HASH`; is it in the chain still?
    #[serde(default)]
    pub anchor: Option<String>,
}

/// Opens the store.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unlock {
    /// The master password, or a recovery code.
    pub password: Password,
}

/// Puts another master password in the place of one.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangePassword {
    /// The one that opens the store now.
    pub old: Password,
    /// The one that shall.
    pub new: Password,
}

/// Where the secret of a slot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SlotSource {
    /// In a person's head; the daemon starts locked.
    Password,
    /// In the systemd credential `gollm-master`.
    Credential,
    /// In the keyring of the operating system.
    Keyring,
    /// In `master.key` in the state directory.
    File,
    /// On paper.
    Recovery,
}

impl SlotSource {
    /// Its name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            SlotSource::Password => "password",
            SlotSource::Credential => "credential",
            SlotSource::Keyring => "keyring",
            SlotSource::File => "file",
            SlotSource::Recovery => "recovery",
        }
    }
}

/// Lets another master secret open the store.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlotAdd {
    /// Where it is.
    pub source: SlotSource,
    /// It itself, for `password` and `credential`; the others are made by the daemon.
    #[serde(default)]
    pub secret: Option<Password>,
    /// The others but recovery codes go: at once, or, for `credential`, once it has opened the store.
    #[serde(default)]
    pub instead: Option<bool>,
}

/// Lets a master secret open the store no more.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlotRemove {
    /// The number of its slot.
    pub slot: u32,
}

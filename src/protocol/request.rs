//! What a caller may ask.

mod keeping;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::{AccountName, KeyId, KeyName, LeaseId, ModelName, ProviderName, SessionName};
use crate::money::Usd;
use crate::protocol::live::EventKind;
use crate::protocol::outcome::Outcome;
use crate::protocol::provider::ProviderResponse;
use crate::protocol::strategy::Strategy;
use crate::secret::{Secret, to_wire};
use crate::time::Timestamp;

pub use keeping::{AUDIT_MAX, Audit, Backup, BackupPart, ChangePassword, PART_MAX, Restore, RestorePart, SlotAdd, SlotRemove, SlotSource, Unlock};

/// One request. `id` comes back with its reply; replies may come in another order than their requests.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Chosen by the caller.
    pub id: u64,
    /// What is asked.
    pub op: Op,
}

/// What is asked of the daemon.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// Who the daemon takes the caller for.
    Whoami,
    /// A lease on a key.
    Select(Select),
    /// Which key a select would be given, and why not each other one.
    Explain(Select),
    /// What came of a lease.
    Report(Report),
    /// Another `lease_ttl` for a lease.
    Renew(Renew),
    /// Usage that had no lease.
    Record(Record),
    /// The daemon at a glance.
    Status,
    /// Every key with its state and counters.
    Keys(Keys),
    /// Usage, by key, model, caller, provider and time.
    Statistics(Statistics),
    /// Are keys well-formed, and does their provider take them?
    Validate(Validate),
    /// The health of every key.
    Health,
    /// Adds a key, or replaces its secret.
    KeySet(KeySet),
    /// Retires a key that `key_set` added.
    KeyRemove(KeyRemove),
    /// Lifts a manual disable and every set-aside of a key.
    KeyEnable(KeyEnable),
    /// Keeps a key from being selected.
    KeyDisable(KeyDisable),
    /// Reads the configuration again.
    Reload,
    /// What a user may do, and by which rule.
    Access(Access),
    /// Closes the store and forgets its keys, until `unlock`.
    Lock,
    /// Opens the store.
    Unlock(Unlock),
    /// Puts another master password in the place of one.
    ChangePassword(ChangePassword),
    /// Which master secrets open the store.
    Slots,
    /// Lets another master secret open the store.
    SlotAdd(SlotAdd),
    /// Lets a master secret open the store no more.
    SlotRemove(SlotRemove),
    /// Who did what.
    Audit(Audit),
    /// Seals everything under a new data key.
    Rekey,
    /// The configuration in force, with keys that were set by hand, and no secret.
    Export,
    /// Makes a backup, which the daemon holds until it is read.
    Backup(Backup),
    /// Reads a piece of it.
    BackupPart(BackupPart),
    /// Hands in a piece of a backup that is to be restored.
    RestorePart(RestorePart),
    /// Puts what was handed in in the place of all that the store holds.
    Restore(Restore),
    /// What happens from now on, an answer for each thing, until the connection ends.
    Subscribe(Subscribe),
    /// The alerts whose cause is there.
    Alerts,
    /// Sends a test to every webhook.
    AlertTest,
}

impl Op {
    /// Its name on the wire.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Op::Whoami => "whoami",
            Op::Select(_) => "select",
            Op::Explain(_) => "explain",
            Op::Report(_) => "report",
            Op::Renew(_) => "renew",
            Op::Record(_) => "record",
            Op::Status => "status",
            Op::Keys(_) => "keys",
            Op::Statistics(_) => "statistics",
            Op::Validate(_) => "validate",
            Op::Health => "health",
            Op::KeySet(_) => "key_set",
            Op::KeyRemove(_) => "key_remove",
            Op::KeyEnable(_) => "key_enable",
            Op::KeyDisable(_) => "key_disable",
            Op::Reload => "reload",
            Op::Access(_) => "access",
            Op::Lock => "lock",
            Op::Unlock(_) => "unlock",
            Op::ChangePassword(_) => "change_password",
            Op::Slots => "slots",
            Op::SlotAdd(_) => "slot_add",
            Op::SlotRemove(_) => "slot_remove",
            Op::Audit(_) => "audit",
            Op::Rekey => "rekey",
            Op::Export => "export",
            Op::Backup(_) => "backup",
            Op::BackupPart(_) => "backup_part",
            Op::RestorePart(_) => "restore_part",
            Op::Restore(_) => "restore",
            Op::Subscribe(_) => "subscribe",
            Op::Alerts => "alerts",
            Op::AlertTest => "alert_test",
        }
    }

    /// How long its answer may take because it waits for a key.
    #[must_use]
    pub fn wait(&self) -> Duration {
        if let Op::Select(select) = self { select.wait() } else { Duration::ZERO }
    }
}

/// Asks for a lease.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Select {
    /// Whose key.
    pub provider: ProviderName,
    /// The model that will be asked; set-asides and prices hang on it.
    #[serde(default)]
    pub model: Option<ModelName>,
    /// Instead of the provider's own strategy.
    #[serde(default)]
    pub strategy: Option<Strategy>,
    /// This key and no other.
    #[serde(default)]
    pub key_name: Option<KeyName>,
    /// What the request will use: reserved against cost limits until the lease is settled.
    #[serde(default)]
    pub estimate: Option<Estimate>,
    /// `false` refuses the fallback chain; absent or `true` leaves it to the configuration.
    #[serde(default)]
    pub fallback: Option<bool>,
    /// The conversation that this belongs to: it keeps its key while that is eligible.
    #[serde(default)]
    pub session: Option<SessionName>,
    /// How long to wait for a key where none is eligible, in milliseconds; at most [`WAIT_MAX_MS`].
    #[serde(default)]
    pub wait_ms: Option<u64>,
    /// None of these keys, at most [`EXCLUDED_MAX`]: those that failed before for the same request.
    #[serde(default)]
    pub exclude: Option<Vec<KeyRef>>,
}

/// Longest wait of a select, in milliseconds: a day, after which every day's limit has room again.
pub const WAIT_MAX_MS: u64 = 86_400_000;

/// Keys that a select may exclude.
pub const EXCLUDED_MAX: usize = 64;

/// A key by its names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRef {
    /// Whose key.
    pub provider: ProviderName,
    /// Its name.
    pub key_name: KeyName,
}

impl Select {
    /// Any key of `provider`.
    #[must_use]
    pub const fn any(provider: ProviderName) -> Self {
        Self { provider, model: None, strategy: None, key_name: None, estimate: None, fallback: None, session: None, wait_ms: None, exclude: None }
    }

    /// How long it may wait.
    #[must_use]
    pub fn wait(&self) -> Duration {
        Duration::from_millis(self.wait_ms.unwrap_or(0))
    }
}

/// What a request is expected to use: tokens, priced by the model, or a cost.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Estimate {
    /// Tokens sent.
    #[serde(default)]
    pub input_tokens: Option<u64>,
    /// Tokens answered.
    #[serde(default)]
    pub output_tokens: Option<u64>,
    /// The cost itself; not beside tokens.
    #[serde(default)]
    pub cost_usd: Option<Usd>,
}

/// Settles a lease.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// The lease, as `select` gave it.
    pub lease: LeaseId,
    /// What came of it; not beside `response`.
    #[serde(default)]
    pub outcome: Option<Outcome>,
    /// What the provider answered: the daemon reads from it what came of the request, what it used, and how long to wait, as
    /// far as the fields below do not say it.
    #[serde(default)]
    pub response: Option<ProviderResponse>,
    /// The model that answered; absent: the one that was selected for.
    #[serde(default)]
    pub model: Option<ModelName>,
    /// Tokens sent, cached ones included.
    #[serde(default)]
    pub input_tokens: Option<u64>,
    /// Tokens answered.
    #[serde(default)]
    pub output_tokens: Option<u64>,
    /// How many of the input tokens the provider read from its cache.
    #[serde(default)]
    pub cached_tokens: Option<u64>,
    /// The cost, where the provider told it: wins over the price.
    #[serde(default)]
    pub cost_usd: Option<Usd>,
    /// How long the provider asked to wait.
    #[serde(default)]
    pub retry_after_ms: Option<u64>,
}

impl Report {
    /// `outcome` and nothing else.
    #[must_use]
    pub const fn of(lease: LeaseId, outcome: Outcome) -> Self {
        let (outcome, response) = (Some(outcome), None);
        Self {
            lease,
            outcome,
            response,
            model: None,
            input_tokens: None,
            output_tokens: None,
            cached_tokens: None,
            cost_usd: None,
            retry_after_ms: None,
        }
    }

    /// What the provider answered, for the daemon to read.
    #[must_use]
    pub fn answered(lease: LeaseId, response: ProviderResponse) -> Self {
        Self { outcome: None, response: Some(response), ..Self::of(lease, Outcome::Ok) }
    }
}

/// Asks for another `lease_ttl`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Renew {
    /// The lease, as `select` gave it.
    pub lease: LeaseId,
}

/// Books usage that had no lease.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Whose key was used.
    pub provider: ProviderName,
    /// Which key was used.
    pub key_name: KeyName,
    /// What came of it; absent: `ok`.
    #[serde(default)]
    pub outcome: Option<Outcome>,
    /// The model that answered.
    #[serde(default)]
    pub model: Option<ModelName>,
    /// Tokens sent, cached ones included.
    #[serde(default)]
    pub input_tokens: Option<u64>,
    /// Tokens answered.
    #[serde(default)]
    pub output_tokens: Option<u64>,
    /// How many of the input tokens the provider read from its cache.
    #[serde(default)]
    pub cached_tokens: Option<u64>,
    /// The cost, where the provider told it: wins over the price.
    #[serde(default)]
    pub cost_usd: Option<Usd>,
}

/// Asks for the keys.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// Of this provider only.
    #[serde(default)]
    pub provider: Option<ProviderName>,
}

/// What statistics are split by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// By key, which is by provider too.
    Key,
    /// By model.
    Model,
    /// By caller.
    Caller,
    /// By provider.
    Provider,
    /// By the system's unit that the caller was in.
    Unit,
}

/// The width of a row in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bucket {
    /// A UTC hour.
    Hour,
    /// A UTC day.
    Day,
}

impl Bucket {
    /// The start of the hour or day that a moment falls into.
    #[must_use]
    pub fn start(self, at: Timestamp) -> Timestamp {
        match self {
            Bucket::Hour => at.hour(),
            Bucket::Day => at.day().start(),
        }
    }

    /// How long one is.
    #[must_use]
    pub const fn width(self) -> Duration {
        match self {
            Bucket::Hour => Duration::from_secs(3600),
            Bucket::Day => Duration::from_secs(86_400),
        }
    }
}

/// Asks for usage.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statistics {
    /// Of this provider only.
    #[serde(default)]
    pub provider: Option<ProviderName>,
    /// What to split by; absent: by key. An empty list gives the total alone.
    #[serde(default)]
    pub by: Option<Vec<Split>>,
    /// Usage in UTC hours that end after this time.
    #[serde(default)]
    pub since: Option<Timestamp>,
    /// Usage in UTC hours that begin before this time.
    #[serde(default)]
    pub until: Option<Timestamp>,
    /// A row for each hour or day.
    #[serde(default)]
    pub bucket: Option<Bucket>,
}

impl Statistics {
    /// Can it be answered?
    ///
    /// # Errors
    /// Something is named twice in `by`.
    pub fn check(&self) -> Result<(), TwiceInBy> {
        let by = self.by.as_deref().unwrap_or_default();
        let twice = by.iter().enumerate().any(|(place, split)| by.iter().take(place).take(SPLITS).any(|before| before == split));
        if twice || by.len() > SPLITS { Err(TwiceInBy) } else { Ok(()) }
    }
}

/// Asks to be told what happens.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subscribe {
    /// Of these kinds only; absent: of all.
    #[serde(default)]
    pub kinds: Option<Vec<EventKind>>,
}

/// Kinds of [`Split`].
const SPLITS: usize = 5;

/// A list of splits that names one twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`by` is a list of key, model, caller, unit and provider, each at most once")]
pub struct TwiceInBy;

/// Asks whether keys are good.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Validate {
    /// Keys of this provider only.
    #[serde(default)]
    pub provider: Option<ProviderName>,
    /// This key only; needs `provider`.
    #[serde(default)]
    pub key_name: Option<KeyName>,
    /// `true`: look at the shape alone and ask no provider.
    #[serde(default)]
    pub format_only: Option<bool>,
    /// `true`: after the free check, ask for the smallest completion, which costs money; not beside `format_only`.
    #[serde(default)]
    pub spend: Option<bool>,
}

/// Asks what a user may do.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Access {
    /// Its name or its number.
    pub user: String,
    /// As if its process were in this control group: a system unit's name, or a whole path.
    #[serde(default)]
    pub unit: Option<String>,
}

/// Adds a key, or replaces its secret. Settings are for keys that the configuration file does not name.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeySet {
    /// Whose key.
    pub provider: ProviderName,
    /// Its name.
    pub key_name: KeyName,
    /// Its text.
    #[serde(serialize_with = "to_wire")]
    pub secret: Secret,
    /// Leases in any 60 minutes.
    #[serde(default)]
    pub rate_limit: Option<u64>,
    /// Dollars in a UTC day.
    #[serde(default)]
    pub cost_limit: Option<Usd>,
    /// `false`: kept, never selected.
    #[serde(default)]
    pub enabled: Option<bool>,
    /// Share in `random` and `round_robin`.
    #[serde(default)]
    pub weight: Option<u32>,
    /// The account it belongs to.
    #[serde(default)]
    pub account: Option<AccountName>,
    /// `true`: its provider is asked first, by a request that costs nothing, and a secret that it refuses is not kept. With
    /// `key_validation: false` nobody is asked.
    #[serde(default)]
    pub validate: Option<bool>,
}

impl KeySet {
    /// Whose secret it is.
    #[must_use]
    pub fn id(&self) -> KeyId {
        KeyId { provider: self.provider.clone(), key: self.key_name.clone() }
    }
}

/// Retires a key.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRemove {
    /// Whose key.
    pub provider: ProviderName,
    /// Its name.
    pub key_name: KeyName,
}

/// Lifts a manual disable and every set-aside.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyEnable {
    /// Whose key.
    pub provider: ProviderName,
    /// Its name.
    pub key_name: KeyName,
}

/// Keeps a key from being selected.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyDisable {
    /// Whose key.
    pub provider: ProviderName,
    /// Its name.
    pub key_name: KeyName,
    /// For how long; absent: until it is enabled.
    #[serde(default)]
    pub for_ms: Option<u64>,
}

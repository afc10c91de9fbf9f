//! What the daemon answers.

mod keeping;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::{AccountName, KeyId, KeyName, LeaseId, ModelName, ProviderName, Uid, UnitName};
use crate::money::Usd;
use crate::protocol::alert::{Alert, Delivery};
use crate::protocol::error::ErrorReply;
use crate::protocol::explanation::Explanation;
use crate::protocol::live::Event;
use crate::protocol::outcome::Outcome;
use crate::protocol::strategy::Strategy;
use crate::secret::{Secret, to_wire};
use crate::time::Timestamp;

pub use keeping::{Audit, AuditEntry, AuditVerified, BackupMade, BackupPiece, Restored, SlotAdded, SlotRow};

/// One answer.
#[derive(Serialize, Deserialize)]
pub struct Response {
    /// The request's own; null when it could not be read.
    pub id: Option<u64>,
    /// The answer.
    pub reply: Reply,
}

/// The answer to an [`Op`](crate::protocol::request::Op).
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// To `whoami`.
    You(You),
    /// To `select` and `renew`.
    Lease(Lease),
    /// To `explain`.
    Explanation(Box<Explanation>),
    /// To `report` and `record`.
    Reported(Reported),
    /// To `status`.
    Status(Box<Status>),
    /// To `keys`.
    Keys(Vec<KeyRow>),
    /// To `statistics`.
    Statistics(Statistics),
    /// To `validate`.
    Validations(Vec<Validation>),
    /// To `access`.
    Access(Access),
    /// To `health`.
    Health(BTreeMap<ProviderName, BTreeMap<KeyName, KeyHealth>>),
    /// To what has nothing to tell but that it is done.
    Done,
    /// To what could not be done.
    Error(ErrorReply),
    /// To `slots`.
    Slots(Vec<SlotRow>),
    /// To `slot_add`.
    SlotAdded(SlotAdded),
    /// To `audit`.
    Audit(Audit),
    /// To `backup`.
    Backup(BackupMade),
    /// To `backup_part`.
    BackupPart(BackupPiece),
    /// To `restore`.
    Restored(Restored),
    /// To `export`: YAML that loads as a configuration.
    Export(String),
    /// To `subscribe`, again and again.
    Event(Arc<Event>),
    /// To `alerts`.
    Alerts(Vec<Alert>),
    /// To `alert_test`: one for each webhook.
    Deliveries(Vec<Delivery>),
}

/// Who the daemon takes a caller for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct You {
    /// User id, from the kernel.
    pub uid: Uid,
    /// Group id, from the kernel.
    pub gid: u32,
    /// Process id, where the kernel tells it.
    pub pid: Option<i32>,
    /// The systemd unit of the process, where it can be known.
    pub unit: Option<String>,
    /// What the caller may do.
    pub role: Role,
    /// Which rule made it so.
    pub rule: String,
    /// The daemon's version.
    pub version: String,
}

/// What a caller may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Nothing.
    None,
    /// Lease and report.
    Client,
    /// Everything.
    Admin,
}

/// What a user may do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Access {
    /// Its user id.
    pub uid: Uid,
    /// The groups that a new process of it has.
    pub groups: Vec<u32>,
    /// What it may do.
    pub role: Role,
    /// Which rule made it so.
    pub rule: String,
    /// Providers whose keys it may use; null: all.
    pub providers: Option<Vec<ProviderName>>,
    /// Its leases in any 60 minutes; null: no limit.
    pub rate_limit: Option<u64>,
    /// What it may spend in a UTC day; null: no limit.
    pub cost_limit: Option<Usd>,
    /// May it see a key?
    pub reveal: bool,
}

/// The right to make one request with a key.
#[derive(Serialize, Deserialize)]
pub struct Lease {
    /// Names the lease in `report` and `renew`.
    pub lease: LeaseId,
    /// Whose key.
    pub provider: ProviderName,
    /// Which key.
    pub key_name: KeyName,
    /// The key's text.
    #[serde(serialize_with = "to_wire")]
    pub secret: Secret,
    /// Where to send the request.
    pub base_url: String,
    /// How the key was chosen.
    pub strategy: Strategy,
    /// The provider that was asked for, when this is another one.
    pub fallback_from: Option<ProviderName>,
    /// With `fallback_from`: what to ask this provider for instead; null: the caller must choose.
    pub model: Option<ModelName>,
    /// When the key was leased before this.
    pub last_used: Option<Timestamp>,
    /// When the lease ends, if it is not reported or renewed.
    pub expires: Timestamp,
}

/// What a report came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reported {
    /// Whose key.
    pub provider: ProviderName,
    /// Which key.
    pub key_name: KeyName,
    /// What it cost.
    pub cost_usd: Usd,
    /// `false`: no price is known for the model, so it counts as nothing.
    pub priced: bool,
    /// `true`: this lease was settled before, and nothing was counted.
    pub duplicate: bool,
    /// The key's state now.
    pub state: KeyState,
}

/// The state of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// Never checked.
    Unknown,
    /// Used or checked with success.
    Healthy,
    /// Set aside after a rate limit.
    CoolingDown,
    /// Its account's credit or quota is spent.
    Exhausted,
    /// Its provider does not take it.
    Invalid,
    /// It has no secret, or its secret can't be opened.
    Sealed,
    /// Disabled in the configuration or by an admin.
    Disabled,
}

impl KeyState {
    /// Its name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            KeyState::Unknown => "unknown",
            KeyState::Healthy => "healthy",
            KeyState::CoolingDown => "cooling_down",
            KeyState::Exhausted => "exhausted",
            KeyState::Invalid => "invalid",
            KeyState::Sealed => "sealed",
            KeyState::Disabled => "disabled",
        }
    }

    /// May a key in this state be selected, as far as its state goes?
    #[must_use]
    pub const fn is_healthy(self) -> bool {
        matches!(self, KeyState::Unknown | KeyState::Healthy)
    }
}

impl fmt::Display for KeyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The daemon at a glance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The daemon's version.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// Seconds since it started.
    pub uptime_s: u64,
    /// When it started.
    pub started: Timestamp,
    /// `true`: no key can be opened until it is unlocked.
    pub locked: bool,
    /// Where the master secret came from: `credential`, `environment`, `keyring`, `file`, or `none` with `encrypt_keys: false`.
    pub master_source: String,
    /// The socket it serves.
    pub socket: String,
    /// The configuration file it read; null: the environment alone.
    pub config: Option<String>,
    /// What it has done and has open.
    pub counts: Counts,
    /// A row a provider.
    pub providers: Vec<ProviderStatus>,
    /// Over all providers.
    pub global: GlobalStatus,
    /// What an admin should know.
    pub warnings: Vec<String>,
}

/// Counts since the daemon started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Leases that are neither settled nor run out, now.
    pub leases_open: u64,
    /// Connections, now.
    pub connections: u64,
    /// Leases given.
    pub selects: u64,
    /// Reports and records taken.
    pub reports: u64,
}

/// A provider at a glance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProviderStatus {
    /// Its name.
    pub provider: ProviderName,
    /// How its keys are chosen.
    pub strategy: Strategy,
    /// Keys it has.
    pub keys_total: u64,
    /// Keys whose state lets them be selected.
    pub keys_healthy: u64,
    /// Leases in the last 60 minutes, over its keys.
    pub requests_last_hour: u64,
    /// The sum of its keys' `rate_limit`; null when one of them has none.
    pub rate_limit: Option<u64>,
    /// Cost settled today (UTC), over its keys.
    pub cost_today_usd: Usd,
    /// The sum of its keys' `cost_limit`; null when one of them has none.
    pub cost_limit: Option<Usd>,
    /// `false`: it failed so often that fallback is preferred.
    pub reachable: bool,
    /// When the first key may be free again; null when one is, or when only a person can mend it.
    pub next_free: Option<Timestamp>,
    /// Selects that wait for one of its keys.
    pub waiting: u64,
}

/// All providers together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GlobalStatus {
    /// Keys there are.
    pub keys_total: u64,
    /// Keys whose state lets them be selected.
    pub keys_healthy: u64,
    /// Leases in the last 60 minutes.
    pub requests_last_hour: u64,
    /// `global_rate_limit`.
    pub rate_limit: Option<u64>,
    /// Cost settled today (UTC).
    pub cost_today_usd: Usd,
    /// Estimates of open leases.
    pub reserved_usd: Usd,
    /// `daily_cost_limit`.
    pub cost_limit: Option<Usd>,
    /// Reports today whose model has no known price.
    pub unpriced_today: u64,
}

impl GlobalStatus {
    /// What is known from these providers alone, for who may see no others.
    #[must_use]
    pub fn of(providers: &[ProviderStatus]) -> Self {
        Self {
            keys_total: providers.iter().map(|row| row.keys_total).sum(),
            keys_healthy: providers.iter().map(|row| row.keys_healthy).sum(),
            requests_last_hour: providers.iter().map(|row| row.requests_last_hour).sum(),
            rate_limit: None,
            cost_today_usd: providers.iter().map(|row| row.cost_today_usd).sum(),
            reserved_usd: Usd::ZERO,
            cost_limit: None,
            unpriced_today: 0,
        }
    }
}

/// A key with its state and counters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeyRow {
    /// Whose key.
    pub provider: ProviderName,
    /// Which key.
    pub key_name: KeyName,
    /// `false`: disabled in the configuration or by an admin.
    pub enabled: bool,
    /// Its state.
    pub state: KeyState,
    /// Until when the state lasts at most.
    pub until: Option<Timestamp>,
    /// Why it is in this state.
    pub reason: Option<String>,
    /// The last four characters of its secret.
    pub last_four: Option<String>,
    /// Names its secret, keyed by the store: equal secrets have equal fingerprints here and nowhere else.
    pub fingerprint: Option<String>,
    /// Leases in any 60 minutes.
    pub rate_limit: Option<u64>,
    /// Leases in the last 60 minutes.
    pub requests_last_hour: u64,
    /// Dollars in a UTC day.
    pub cost_limit: Option<Usd>,
    /// Cost settled today (UTC).
    pub cost_today_usd: Usd,
    /// Estimates of its open leases.
    pub reserved_usd: Usd,
    /// Leases in its lifetime.
    pub requests_total: u64,
    /// When it was leased last.
    pub last_used: Option<Timestamp>,
    /// The account it belongs to, where it is known.
    pub account: Option<AccountName>,
    /// Share in `random` and `round_robin`.
    pub weight: u32,
    /// What its provider said last is left of the provider's own limits.
    pub provider_left: Option<ProviderLeft>,
}

impl KeyRow {
    /// Names the key.
    #[must_use]
    pub fn id(&self) -> KeyId {
        KeyId { provider: self.provider.clone(), key: self.key_name.clone() }
    }
}

/// What a provider said is left of its own limits for a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderLeft {
    /// Requests; null where it does not say.
    pub requests: Option<u64>,
    /// Tokens; null where it does not say.
    pub tokens: Option<u64>,
    /// When it said so.
    pub at: Timestamp,
}

/// Usage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Statistics {
    /// A row for each combination of what it is split by.
    pub rows: Vec<UsageRow>,
    /// The sum of the rows.
    pub total: UsageRow,
}

/// One row of usage. Fields that it is not split by are null.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct UsageRow {
    /// Whose keys.
    pub provider: Option<ProviderName>,
    /// Which key.
    pub key_name: Option<KeyName>,
    /// Which model; null also where none was named.
    pub model: Option<ModelName>,
    /// Which caller.
    pub caller: Option<Uid>,
    /// Which of the system's units the caller was in; null also where it was in none, or the kernel did not say.
    pub unit: Option<UnitName>,
    /// The start of the hour or day.
    pub bucket: Option<Timestamp>,
    /// Requests that were reported, recorded, or ran out unreported.
    pub requests: u64,
    /// Tokens sent, cached ones included.
    pub input_tokens: u64,
    /// Tokens answered.
    pub output_tokens: u64,
    /// Input tokens that came from the provider's cache.
    pub cached_tokens: u64,
    /// What it cost.
    pub cost_usd: Usd,
    /// Requests by outcome, other than `ok`.
    pub errors: BTreeMap<Outcome, u64>,
    /// Requests whose model has no known price.
    pub unpriced: u64,
}

/// What a check says of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyVerdict {
    /// Its provider takes it.
    Valid,
    /// Its provider takes it, for some things only.
    ValidRestricted,
    /// Its provider knows it, and its credit or quota is spent.
    NoQuota,
    /// Its provider does not take it, or its shape is another provider's.
    Invalid,
    /// Nothing can be said: the provider was not reached, or did not say.
    Inconclusive,
}

/// The result of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validation {
    /// Whose key.
    pub provider: ProviderName,
    /// Which key.
    pub key_name: KeyName,
    /// May it be used?
    pub valid: bool,
    /// What the check says.
    pub verdict: KeyVerdict,
    /// The same for people.
    pub message: String,
    /// What the check cost, where it was told to spend and a completion was answered.
    pub cost_usd: Option<Usd>,
}

/// What is left of a key's money, as its provider told at the last check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Balance {
    /// The currency (ISO 4217).
    pub currency: String,
    /// What is left, in its units.
    pub left: f64,
    /// Of how much; null where it does not say.
    pub limit: Option<f64>,
    /// When it is filled up again, in the provider's word, such as `monthly`.
    pub resets: Option<String>,
}

/// The health of a key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeyHealth {
    /// Its state.
    pub state: KeyState,
    /// Does its state let it be selected?
    pub healthy: bool,
    /// When it came into this state.
    pub since: Option<Timestamp>,
    /// Until when the state lasts at most.
    pub until: Option<Timestamp>,
    /// When it was last checked, live.
    pub last_checked: Option<Timestamp>,
    /// Why it is in this state, for people.
    pub message: String,
    /// What its provider says is left of its money, by currency; empty where it does not say.
    pub balance: Vec<Balance>,
}

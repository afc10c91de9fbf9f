//! Alerts, as they are told to subscribers, admins and webhooks.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::id::{AccountName, KeyName, ProviderName, Uid};
use crate::money::Usd;
use crate::protocol::strategy::UnknownVariant;
use crate::time::Timestamp;

/// What an alert is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertKind {
    /// The cost of today has passed `cost_alert_threshold` of a limit.
    CostThreshold,
    /// The cost of today has reached a limit.
    CostLimit,
    /// Its provider does not take a key.
    KeyInvalid,
    /// The credit or quota of an account is spent.
    AccountExhausted,
    /// A provider is not reached.
    ProviderUnreachable,
    /// No provider is reached: the network of this machine seems to be down.
    NetworkDown,
    /// A provider has no key left that can be leased.
    NoHealthyKey,
    /// The store can't be written.
    StoreFailing,
    /// The master secret lies in a file beside the store.
    MasterInFile,
    /// Somebody asked for one: `gollmctl alert test`.
    Test,
}

/// Is the cause there?
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertState {
    /// It is.
    Raised,
    /// It is there no more.
    Recovered,
}

/// Something that an admin should look at, or that has passed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// Its number in this store; that it is raised and that it has passed are two.
    pub id: u64,
    /// When it was told.
    pub time: Timestamp,
    /// What it is about.
    pub kind: AlertKind,
    /// Is the cause there?
    pub state: AlertState,
    /// Since when it is, or was.
    pub since: Timestamp,
    /// The provider that it concerns.
    pub provider: Option<ProviderName>,
    /// The key that it concerns.
    pub key_name: Option<KeyName>,
    /// The account that it concerns.
    pub account: Option<AccountName>,
    /// The caller that it concerns.
    pub caller: Option<Uid>,
    /// The cost of today, where it is about a limit.
    pub cost_usd: Option<Usd>,
    /// The limit.
    pub limit_usd: Option<Usd>,
    /// The same for people.
    pub message: String,
}

/// What came of sending a test to one webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// Its place in `webhooks`, from 0.
    pub webhook: u64,
    /// The host that it is sent to. The rest of the URL may be a secret.
    pub host: String,
    /// Did the host take it?
    pub delivered: bool,
    /// The status that it answered with; null: it did not answer.
    pub status: Option<u16>,
    /// What happened, for people.
    pub message: String,
}

impl AlertKind {
    /// All of them, with their names.
    pub const ALL: [(&'static str, AlertKind); 10] = [
        ("cost_threshold", AlertKind::CostThreshold),
        ("cost_limit", AlertKind::CostLimit),
        ("key_invalid", AlertKind::KeyInvalid),
        ("account_exhausted", AlertKind::AccountExhausted),
        ("provider_unreachable", AlertKind::ProviderUnreachable),
        ("network_down", AlertKind::NetworkDown),
        ("no_healthy_key", AlertKind::NoHealthyKey),
        ("store_failing", AlertKind::StoreFailing),
        ("master_in_file", AlertKind::MasterInFile),
        ("test", AlertKind::Test),
    ];

    /// Its name in messages and in `webhooks[].kinds`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            AlertKind::CostThreshold => "cost_threshold",
            AlertKind::CostLimit => "cost_limit",
            AlertKind::KeyInvalid => "key_invalid",
            AlertKind::AccountExhausted => "account_exhausted",
            AlertKind::ProviderUnreachable => "provider_unreachable",
            AlertKind::NetworkDown => "network_down",
            AlertKind::NoHealthyKey => "no_healthy_key",
            AlertKind::StoreFailing => "store_failing",
            AlertKind::MasterInFile => "master_in_file",
            AlertKind::Test => "test",
        }
    }
}

impl fmt::Display for AlertKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for AlertKind {
    type Err = UnknownVariant;
    fn from_str(text: &str) -> Result<Self, UnknownVariant> {
        let allowed = "cost_threshold, cost_limit, key_invalid, account_exhausted, provider_unreachable, network_down, no_healthy_key, \
                       store_failing, master_in_file, test";
        let found = Self::ALL.iter().find(|(name, _)| *name == text);
        found.map(|(_, kind)| *kind).ok_or(UnknownVariant { allowed })
    }
}

impl AlertState {
    /// Its name in messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            AlertState::Raised => "raised",
            AlertState::Recovered => "recovered",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_has_one_name() {
        for (name, kind) in AlertKind::ALL {
            assert_eq!((name.parse(), kind.name()), (Ok(kind), name));
            assert_eq!(serde_json::to_value(kind).unwrap(), name);
        }
        let allowed = "nothing".parse::<AlertKind>().unwrap_err().allowed;
        assert_eq!(allowed.split(", ").collect::<Vec<_>>(), AlertKind::ALL.map(|(name, _)| name));
        assert_eq!(serde_json::to_value(AlertState::Recovered).unwrap(), AlertState::Recovered.name());
    }
}

//! What the configuration decides, as plain checked data: providers, keys, models, strategies and limits.
//!
//! Built by `config`, obeyed by `broker`. It holds no secrets.

use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use crate::catalogue::prices::{Price, PriceList};
use crate::id::{AccountName, InvalidName, KeyId, KeyName, ModelName, ProviderName};
use crate::money::Usd;
use crate::protocol::strategy::Strategy;

/// Leases an hour that a limit may allow.
pub const RATES: RangeInclusive<u64> = 1..=1_000_000_000;

/// Weights that a key may have.
pub const WEIGHTS: RangeInclusive<u64> = 1..=1_000_000;

/// Everything that selection, limits and health are decided by.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// In configured order.
    pub providers: Vec<ProviderPolicy>,
    /// Providers in order of priority; only names that stand in `providers`.
    pub fallback_chain: Vec<ProviderName>,
    /// Models that stand in for each other when another provider is fallen back to.
    pub equivalent_models: Vec<Vec<ModelId>>,
    /// What models cost where their provider's entry says nothing.
    pub prices: PriceList,
    /// Leases in any 60 minutes, over all keys.
    pub global_rate_limit: Option<u64>,
    /// Dollars in a UTC day, over all keys.
    pub daily_cost_limit: Option<Usd>,
    /// Share of any cost limit at which an alert is raised, from above 0.0 to 1.0.
    pub cost_alert_threshold: f64,
    /// An unreported lease ends then and is charged its estimate.
    pub lease_ttl: Duration,
    /// How often keys are probed.
    pub health_check_interval: Duration,
}

/// A model of a provider, written `provider/model`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelId {
    /// Whose model.
    pub provider: ProviderName,
    /// Its name there.
    pub model: ModelName,
}

/// One provider.
#[derive(Debug, Clone, PartialEq)]
pub struct ProviderPolicy {
    /// Its name.
    pub name: ProviderName,
    /// The catalogue entry whose API it speaks, e.g. `openai`.
    pub kind: &'static str,
    /// Where its API is, without a slash at the end.
    pub base_url: String,
    /// In configured order.
    pub keys: Vec<KeyPolicy>,
    /// Models with a configured price or switch.
    pub models: Vec<ModelPolicy>,
    /// Is a model refused that does not stand in `models`?
    pub strict_models: bool,
    /// How its keys are chosen.
    pub strategy: Strategy,
    /// How long a set-aside without a term of its own lasts before the key is considered again; with `per: interval`,
    /// also how long a choice is kept.
    pub interval: Duration,
    /// When a new choice is made.
    pub per: ChoicePer,
    /// Are its keys probed?
    pub health_check: bool,
    /// When no key is eligible, is the fallback chain tried?
    pub fallback_enabled: bool,
}

/// Who is served, and with what. Root and the daemon's own user may do everything besides.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AccessPolicy {
    /// Users that may do everything.
    pub admin_users: Vec<Who>,
    /// Groups whose members may do everything.
    pub admin_groups: Vec<Who>,
    /// Who may use keys: the first that fits counts.
    pub clients: Vec<ClientRule>,
}

/// A user or a group, by its name or its number; `*` is every user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who(pub String);

/// Callers that may use keys: all that is said of them must fit.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ClientRule {
    /// Of this user.
    pub user: Option<Who>,
    /// Of this group, as their own or a further one.
    pub group: Option<Who>,
    /// In this control group: a unit of the system's manager by its name, or a whole path.
    pub unit: Option<String>,
    /// Keys of these providers; none: of all.
    pub providers: Option<Vec<ProviderName>>,
    /// Leases in any 60 minutes, each user by itself; none: no limit.
    pub rate_limit: Option<u64>,
    /// Dollars in a UTC day, each user by itself; none: no limit.
    pub cost_limit: Option<Usd>,
    /// `false`: may not see a key.
    pub reveal: bool,
}

impl AccessPolicy {
    /// Providers that rules name and the configuration does not have, each with the number of its rule.
    pub fn unknown_providers<'a>(&'a self, policy: &'a Policy) -> impl Iterator<Item = (usize, &'a ProviderName)> {
        let named = self.clients.iter().enumerate().flat_map(|(number, rule)| rule.providers.iter().flatten().map(move |name| (number, name)));
        named.filter(|(_, name)| policy.provider(name).is_none())
    }
}

/// Is that URL's host this machine?
#[must_use]
pub fn is_here(url: &str) -> bool {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest).split('/').next().unwrap_or_default();
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    };
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// When a new choice is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ChoicePer {
    /// At every select.
    #[default]
    Request,
    /// A choice is kept for the provider's `interval` while it stays eligible.
    Interval,
}

/// One key, without its secret.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyPolicy {
    /// Its name, unique in its provider.
    pub name: KeyName,
    /// Leases in any 60 minutes; none: no limit.
    pub rate_limit: Option<u64>,
    /// Dollars in a UTC day; none: no limit.
    pub cost_limit: Option<Usd>,
    /// `false`: kept, never selected.
    pub enabled: bool,
    /// Share in `random` and `round_robin`, at least 1.
    pub weight: u32,
    /// The account it belongs to, where the configuration names it.
    pub account: Option<AccountName>,
}

/// One model of a provider.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelPolicy {
    /// Its name.
    pub name: ModelName,
    /// Its price, which wins over the built-in price list.
    pub price: Option<Price>,
    /// Tokens that an answer may have at most.
    pub max_tokens: Option<u64>,
    /// `false`: a select for it is refused.
    pub enabled: bool,
}

impl Policy {
    /// The price of a model: the configured one, else the list's.
    #[must_use]
    pub fn price(&self, provider: &ProviderPolicy, model: &ModelName) -> Option<Price> {
        let configured = provider.model(model).and_then(|model| model.price);
        configured.or_else(|| self.prices.lookup(provider.kind, model.as_str()))
    }

    /// The provider of that name.
    #[must_use]
    pub fn provider(&self, name: &ProviderName) -> Option<&ProviderPolicy> {
        self.providers.iter().find(|provider| provider.name == *name)
    }

    /// What can be asked of `other` instead of a model of `provider`, in configured order.
    pub fn equivalents<'a>(
        &'a self,
        provider: &'a ProviderName,
        model: &'a ModelName,
        other: &'a ProviderName,
    ) -> impl Iterator<Item = &'a ModelName> {
        let same = move |id: &ModelId| id.provider == *provider && id.model == *model;
        let lists = self.equivalent_models.iter().filter(move |list| list.iter().any(same));
        lists.flatten().filter(move |id| id.provider == *other).map(|id| &id.model)
    }

    /// Every key there is, in configured order.
    pub fn keys(&self) -> impl Iterator<Item = KeyId> {
        self.providers.iter().flat_map(|provider| provider.keys.iter().map(|key| KeyId { provider: provider.name.clone(), key: key.name.clone() }))
    }
}

impl ProviderPolicy {
    /// The key of that name.
    #[must_use]
    pub fn key(&self, name: &KeyName) -> Option<&KeyPolicy> {
        self.keys.iter().find(|key| key.name == *name)
    }

    /// May the model be asked for?
    #[must_use]
    pub fn allows(&self, model: &ModelName) -> bool {
        self.model(model).map_or(!self.strict_models, |model| model.enabled)
    }

    /// What the configuration says of a model.
    #[must_use]
    pub fn model(&self, name: &ModelName) -> Option<&ModelPolicy> {
        self.models.iter().find(|model| model.name == *name)
    }
}

impl fmt::Display for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.provider, self.model)
    }
}

impl FromStr for ModelId {
    type Err = InvalidName;
    /// Reads `provider/model`; the model's name may have slashes in it.
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let (provider, model) = text.split_once('/').ok_or(InvalidName::NoSlash)?;
        Ok(Self { provider: provider.parse()?, model: model.parse()? })
    }
}

impl KeyPolicy {
    /// An enabled key of weight 1 without limits.
    #[must_use]
    pub const fn unlimited(name: KeyName) -> Self {
        Self { name, rate_limit: None, cost_limit: None, enabled: true, weight: 1, account: None }
    }
}

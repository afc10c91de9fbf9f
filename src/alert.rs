//! Alerts: what an admin should look at is told once a cause and period, and once more when it has passed.

pub mod post;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::alert::post::{Post, PostId};
use crate::health::account::AccountKey;
use crate::id::{KeyId, ProviderName, Uid};
use crate::money::Usd;
use crate::protocol::alert::{Alert, AlertKind, AlertState};
use crate::time::{Now, Steady, Timestamp};

/// A cause that comes and goes is told of once in this time.
const PERIOD: Duration = Duration::from_secs(3600);

/// How soon it is looked again whether a cause that is there has passed by itself.
const LOOK_AFTER: Duration = Duration::from_secs(60);

/// Causes that are remembered after they have passed; past it those of longest ago are forgotten.
const PASSED_MAX: usize = 4096;

/// Whose money a limit is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Purse {
    /// All together.
    All,
    /// One key.
    Key(KeyId),
    /// One caller.
    Caller(Uid),
}

/// Why an alert is raised. The order of the variants is the stored format: add at the end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Cause {
    /// The cost of today has passed the share of a limit at which that is told.
    CostThreshold(Purse),
    /// The cost of today has reached a limit.
    CostLimit(Purse),
    /// Its provider does not take a key.
    KeyInvalid(KeyId),
    /// The credit or quota of an account is spent.
    AccountExhausted(AccountKey),
    /// A provider is not reached.
    ProviderUnreachable(ProviderName),
    /// No provider is reached.
    NetworkDown,
    /// A provider has no key left that can be leased.
    NoHealthyKey(ProviderName),
    /// The store can't be written.
    StoreFailing,
    /// The master secret lies in a file beside the store.
    MasterInFile,
    /// Somebody wants to see one.
    Test,
}

/// A cause that is there, and what is to be said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sign {
    /// The cause.
    pub cause: Cause,
    /// What has happened, for people.
    pub message: String,
    /// The cost of today and the limit, where it is about a limit.
    pub money: Option<Money>,
}

/// A cost against its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Money {
    /// The cost of the day.
    pub cost: Usd,
    /// The limit.
    pub limit: Usd,
}

/// An alert as it was told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Its number.
    pub id: u64,
    /// Why.
    pub cause: Cause,
    /// Is the cause there?
    pub state: AlertState,
    /// Since when it is, or was.
    pub since: Timestamp,
    /// When it was told.
    pub at: Now,
    /// What has happened, for people.
    pub message: String,
    /// The cost of that day and the limit.
    pub money: Option<Money>,
    /// The webhooks that are to hear of it.
    pub posts: Vec<PostId>,
}

/// When a cause that has passed was told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Passed {
    raised: Now,
    limit: Option<Usd>,
}

/// What was told, and what waits to be sent.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Alerts {
    /// What was told of and has not passed.
    raised: BTreeMap<Cause, Notice>,
    passed: BTreeMap<Cause, Passed>,
    last_id: u64,
    /// What webhooks have not taken yet.
    pub post: Post,
}

impl Cause {
    /// Its kind, as it is told.
    #[must_use]
    pub const fn kind(&self) -> AlertKind {
        match self {
            Cause::CostThreshold(_) => AlertKind::CostThreshold,
            Cause::CostLimit(_) => AlertKind::CostLimit,
            Cause::KeyInvalid(_) => AlertKind::KeyInvalid,
            Cause::AccountExhausted(_) => AlertKind::AccountExhausted,
            Cause::ProviderUnreachable(_) => AlertKind::ProviderUnreachable,
            Cause::NetworkDown => AlertKind::NetworkDown,
            Cause::NoHealthyKey(_) => AlertKind::NoHealthyKey,
            Cause::StoreFailing => AlertKind::StoreFailing,
            Cause::MasterInFile => AlertKind::MasterInFile,
            Cause::Test => AlertKind::Test,
        }
    }

    /// Is it told of once a day, and not once in [`PERIOD`]?
    const fn is_of_the_day(&self) -> bool {
        matches!(self, Cause::CostThreshold(_) | Cause::CostLimit(_))
    }

    /// In what time it is told of once.
    const fn period(&self) -> Duration {
        if matches!(self, Cause::StoreFailing) { LOOK_AFTER } else { PERIOD }
    }

    /// What is said when it has passed.
    #[must_use]
    pub fn passed(&self) -> String {
        match self {
            Cause::CostThreshold(purse) => format!("{purse}: the cost of today is below the threshold of the limit again"),
            Cause::CostLimit(purse) => format!("{purse}: the cost of today is below the limit again"),
            Cause::KeyInvalid(key) => format!("{key} is not invalid any more"),
            Cause::AccountExhausted(account) => format!("the {account} is not exhausted any more"),
            Cause::ProviderUnreachable(provider) => format!("{provider} is reached again"),
            Cause::NetworkDown => "a provider is reached again".to_owned(),
            Cause::NoHealthyKey(provider) => format!("{provider} is no longer without a key that can be leased"),
            Cause::StoreFailing => "the store can be written again; nothing was lost".to_owned(),
            Cause::MasterInFile => "the master secret lies in a file no more".to_owned(),
            Cause::Test => "this was a test".to_owned(),
        }
    }
}

impl std::fmt::Display for Purse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Purse::All => f.write_str("all keys together"),
            Purse::Key(key) => write!(f, "{key}"),
            Purse::Caller(uid) => write!(f, "the caller uid {uid}"),
        }
    }
}

impl Notice {
    /// The limit, where it is about one.
    fn limit(&self) -> Option<Usd> {
        self.money.map(|money| money.limit)
    }

    /// As it is told on the wire.
    #[must_use]
    pub fn told(&self) -> Alert {
        let (key, account, caller) = match &self.cause {
            Cause::CostThreshold(Purse::Key(key)) | Cause::CostLimit(Purse::Key(key)) | Cause::KeyInvalid(key) => (Some(key), None, None),
            Cause::AccountExhausted(AccountKey::Named(_, account)) => (None, Some(account.clone()), None),
            Cause::CostThreshold(Purse::Caller(uid)) | Cause::CostLimit(Purse::Caller(uid)) => (None, None, Some(*uid)),
            _ => (None, None, None),
        };
        let own = if let Cause::AccountExhausted(AccountKey::Own(_, key)) = &self.cause { Some(key) } else { None };
        let provider = match &self.cause {
            Cause::AccountExhausted(AccountKey::Named(provider, _) | AccountKey::Own(provider, _))
            | Cause::ProviderUnreachable(provider)
            | Cause::NoHealthyKey(provider) => Some(provider),
            _ => key.map(|key| &key.provider),
        };
        Alert {
            id: self.id,
            time: self.at.wall,
            kind: self.cause.kind(),
            state: self.state,
            since: self.since,
            provider: provider.cloned(),
            key_name: key.map(|key| &key.key).or(own).cloned(),
            account,
            caller,
            cost_usd: self.money.map(|money| money.cost),
            limit_usd: self.money.map(|money| money.limit),
            message: self.message.clone(),
        }
    }
}

impl Alerts {
    /// The number of the next notice.
    #[must_use]
    pub const fn next_id(&self) -> u64 {
        self.last_id.saturating_add(1)
    }

    /// Is the cause told of, and not passed?
    #[must_use]
    pub fn is_raised(&self, cause: &Cause) -> bool {
        self.raised.contains_key(cause)
    }

    /// The causes that were told of and have not passed.
    pub fn raised(&self) -> impl Iterator<Item = &Notice> {
        self.raised.values()
    }

    /// The notice of a cause that is there, where it is to be told now.
    #[must_use]
    pub fn raise(&self, sign: Sign, now: Now) -> Option<Notice> {
        let limit = sign.money.map(|money| money.limit);
        if self.raised.get(&sign.cause).is_some_and(|notice| notice.limit() == limit) {
            return None;
        }
        let may_be_told = self.passed.get(&sign.cause).is_none_or(|passed| {
            if sign.cause.is_of_the_day() {
                passed.raised.wall.day() != now.wall.day() || passed.limit != limit
            } else {
                now.steady.since(passed.raised.steady) >= sign.cause.period()
            }
        });
        may_be_told.then(|| self.notice(sign.cause, AlertState::Raised, now.wall, sign.message, sign.money, now))
    }

    /// When a cause that is there again, and was told of not long ago, may be told of; none: it is told of, or may be.
    #[must_use]
    pub fn held_until(&self, cause: &Cause) -> Option<Steady> {
        let passed = self.passed.get(cause).filter(|_| !cause.is_of_the_day() && !self.is_raised(cause))?;
        Some(passed.raised.steady.after(cause.period()))
    }

    /// The notice that a cause has passed, where it was told of.
    #[must_use]
    pub fn recover(&self, cause: &Cause, money: Option<Money>, now: Now) -> Option<Notice> {
        let raised = self.raised.get(cause)?;
        Some(self.notice(cause.clone(), AlertState::Recovered, raised.since, cause.passed(), money, now))
    }

    /// A notice that nothing brought about.
    #[must_use]
    pub fn test(&self, now: Now) -> Notice {
        let message = "a test: alerts from this gollmd reach you".to_owned();
        self.notice(Cause::Test, AlertState::Raised, now.wall, message, None, now)
    }

    fn notice(&self, cause: Cause, state: AlertState, since: Timestamp, message: String, money: Option<Money>, at: Now) -> Notice {
        let posts = self.post.wanted_by(cause.kind());
        Notice { id: self.next_id(), cause, state, since, at, message, money, posts }
    }

    /// Takes note that a notice was told.
    pub fn apply(&mut self, notice: &Notice) {
        self.last_id = self.last_id.max(notice.id);
        self.post.put(notice);
        match (&notice.cause, notice.state) {
            (Cause::Test, _) => {}
            (cause, AlertState::Raised) => {
                self.raised.insert(cause.clone(), notice.clone());
            }
            (cause, AlertState::Recovered) => {
                if let Some(raised) = self.raised.remove(cause) {
                    self.passed.insert(cause.clone(), Passed { raised: raised.at, limit: raised.limit() });
                    self.forget();
                }
            }
        }
    }

    /// Keeps what is remembered within its bound.
    fn forget(&mut self) {
        while self.passed.len() > PASSED_MAX {
            let Some(oldest) = self.passed.iter().min_by_key(|(_, passed)| passed.raised.steady).map(|(cause, _)| cause.clone()) else { return };
            self.passed.remove(&oldest);
        }
    }

    /// When a cause may have passed, or may be told of again, that no event says so of; `last` is when that was looked at last.
    #[must_use]
    pub fn next_look(&self, last: Now) -> Option<Steady> {
        let of = |cause: &Cause| match cause {
            Cause::CostThreshold(_) | Cause::CostLimit(_) => Some(last.midnight()),
            Cause::StoreFailing | Cause::MasterInFile | Cause::Test => None,
            _ => Some(last.steady.after(LOOK_AFTER)),
        };
        self.raised.keys().filter_map(of).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Now {
        let start: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        Now { wall: start, steady: Steady::from_millis(1_000_000_000) }.after(Duration::from_secs(seconds))
    }

    fn unreachable() -> Sign {
        Sign { cause: Cause::ProviderUnreachable("openai".parse().unwrap()), message: "openai is not reached".to_owned(), money: None }
    }

    fn spent(limit: i64) -> Sign {
        let money = Money { cost: Usd::from_nanos(limit), limit: Usd::from_nanos(limit) };
        Sign { cause: Cause::CostLimit(Purse::All), message: "spent".to_owned(), money: Some(money) }
    }

    fn told(alerts: &mut Alerts, notice: Option<Notice>) -> bool {
        let Some(notice) = notice else { return false };
        alerts.apply(&notice);
        true
    }

    #[test]
    fn a_cause_is_told_once_and_once_that_it_has_passed() {
        let mut alerts = Alerts::default();
        let raised = alerts.raise(unreachable(), at(0));
        assert!(told(&mut alerts, raised));
        assert_eq!(alerts.raise(unreachable(), at(5000)), None);
        let cause = unreachable().cause;
        let recovered = alerts.recover(&cause, None, at(5100)).unwrap();
        assert_eq!((recovered.since, recovered.message.as_str(), recovered.id), (at(0).wall, "openai is reached again", 2));
        alerts.apply(&recovered);
        assert_eq!(alerts.recover(&cause, None, at(5200)), None);
        let again = alerts.raise(unreachable(), at(5200));
        assert!(told(&mut alerts, again));
    }

    #[test]
    fn a_cause_that_flaps_is_told_of_once_an_hour() {
        let mut alerts = Alerts::default();
        let mut count = 0;
        for minute in 0..180 {
            let now = at(minute * 60);
            let notice = if minute % 2 == 0 { alerts.raise(unreachable(), now) } else { alerts.recover(&unreachable().cause, None, now) };
            count += usize::from(told(&mut alerts, notice));
        }
        assert_eq!(count, 6);
    }

    #[test]
    fn a_limit_is_told_of_once_a_day_and_another_limit_anew() {
        let mut alerts = Alerts::default();
        let raised = alerts.raise(spent(10), at(0));
        assert!(told(&mut alerts, raised));
        let passed = alerts.recover(&spent(10).cause, None, at(10));
        assert!(told(&mut alerts, passed));
        assert_eq!(alerts.raise(spent(10), at(20)), None);
        let higher = alerts.raise(spent(20), at(20));
        assert!(told(&mut alerts, higher));
        let highest = alerts.raise(spent(30), at(30));
        assert!(told(&mut alerts, highest), "the limit was raised, and reached, before anybody looked");
        let passed = alerts.recover(&spent(30).cause, None, at(43_200));
        assert!(told(&mut alerts, passed));
        let next_day = alerts.raise(spent(30), at(50_000));
        assert!(told(&mut alerts, next_day));
    }

    #[test]
    fn what_passes_by_itself_is_looked_at_in_time_and_the_rest_costs_no_look() {
        let mut alerts = Alerts::default();
        let master = Sign { cause: Cause::MasterInFile, message: String::new(), money: None };
        let notice = alerts.raise(master, at(0));
        told(&mut alerts, notice);
        assert_eq!(alerts.next_look(at(0)), None);
        let notice = alerts.raise(spent(10), at(0));
        told(&mut alerts, notice);
        assert_eq!(alerts.next_look(at(0)), Some(at(43_200).steady));
        let notice = alerts.raise(unreachable(), at(0));
        told(&mut alerts, notice);
        assert_eq!(alerts.next_look(at(7)), Some(at(67).steady));
    }

    #[test]
    fn an_alert_names_what_it_concerns() {
        let alerts = Alerts::default();
        let told = |cause: Cause| alerts.raise(Sign { cause, message: "m".to_owned(), money: None }, at(0)).unwrap().told();
        let key: KeyId = "openai/a".parse().unwrap();
        let invalid = told(Cause::KeyInvalid(key.clone()));
        assert_eq!((invalid.provider, invalid.key_name, invalid.kind), (Some(key.provider.clone()), Some(key.key.clone()), AlertKind::KeyInvalid));
        let own = told(Cause::AccountExhausted(AccountKey::Own(key.provider.clone(), key.key.clone())));
        assert_eq!((own.key_name, own.account), (Some(key.key), None));
        let named = told(Cause::AccountExhausted(AccountKey::Named(key.provider.clone(), "org-1".parse().unwrap())));
        assert_eq!((named.provider, named.account), (Some(key.provider), Some("org-1".parse().unwrap())));
        assert_eq!(told(Cause::CostLimit(Purse::Caller(Uid(7)))).caller, Some(Uid(7)));
    }
}

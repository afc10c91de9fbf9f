//! What admins and probes do to keys.

use std::time::Duration;

use crate::broker::{Broker, KeyIx, Moment};
use crate::catalogue;
use crate::event::{AccountKey, Event};
use crate::health::KeyHealth;
use crate::health::account::AccountHealth;
use crate::health::checked::Checked;
use crate::health::left::ProviderLimits;
use crate::health::reach::{Missed, network_down};
use crate::id::{KeyId, ProviderName};
use crate::policy::is_here;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::outcome::Outcome;
use crate::protocol::reply::KeyVerdict;
use crate::time::{Now, Steady};

/// Longest time for which a key can be disabled.
const DISABLE_MAX: Duration = Duration::from_secs(365 * 86_400);

impl Broker {
    /// Keeps a key from being selected, for a time or until it is enabled.
    ///
    /// # Errors
    /// The key is not known, or the time is zero or longer than a year.
    pub fn key_disable(&mut self, id: &KeyId, span: Option<Duration>, moment: &Moment<'_>) -> Result<(), ErrorReply> {
        let key = self.known_key(id)?;
        if span.is_some_and(|span| span.is_zero() || span > DISABLE_MAX) {
            return Err(ErrorReply::new(ErrorCode::BadRequest, "a key is disabled for 1 ms to 365 days, or without `for_ms` until it is enabled"));
        }
        let mut health = self.keys[key].health.clone();
        health.disable(span, moment.now);
        self.put_health(key, health);
        Ok(())
    }

    /// Lifts a manual disable and every set-aside of a key and of its account.
    ///
    /// # Errors
    /// The key is not known, or the configuration disables it.
    pub fn key_enable(&mut self, id: &KeyId, moment: &Moment<'_>) -> Result<(), ErrorReply> {
        let key = self.known_key(id)?;
        if self.keys[key].policy.as_ref().is_some_and(|policy| !policy.enabled) {
            return Err(ErrorReply::new(ErrorCode::BadRequest, format!("the configuration disables `{id}`: set `enabled: true` there and reload")));
        }
        let mut health = self.keys[key].health.clone();
        health.enable(moment.now);
        self.put_health(key, health);
        self.keys[key].provider_limits = ProviderLimits::default();
        let account = self.keys[key].account;
        let mut shared = self.accounts[account].health.clone();
        shared.clear();
        if shared != self.accounts[account].health {
            self.emit(Event::Account { account: self.accounts[account].key.clone(), health: shared });
        }
        Ok(())
    }

    /// The key has another secret: what was learned of the old one is forgotten, its account too; what sets an account aside
    /// that the configuration names stays. Open leases settle as before.
    pub fn secret_replaced(&mut self, id: &KeyId, now: Now) {
        let key = self.key_ix(id);
        self.keys[key].trials.clear();
        self.keys[key].provider_limits = ProviderLimits::default();
        self.keys[key].balances.clear();
        let account = &mut self.accounts[self.keys[key].account];
        account.recent = account.recent.filter(|(other, ..)| *other != key);
        let mut health = self.keys[key].health.clone();
        health.renewed(now);
        self.put_health(key, health);
        if self.keys[key].learned.is_some() {
            self.emit(Event::AccountForgotten { key: id.clone() });
        }
        self.clear_own_account(key);
    }

    /// Lifts what sets aside the account that a key has for itself.
    fn clear_own_account(&mut self, key: KeyIx) {
        let account = &self.accounts[self.keys[key].account];
        if matches!(account.key, AccountKey::Own(..)) && account.health != AccountHealth::default() {
            self.emit(Event::Account { account: account.key.clone(), health: AccountHealth::default() });
        }
    }

    /// An admin removed the key: one of the same name starts without its health, and keeps its counters.
    pub fn key_removed(&mut self, id: &KeyId, now: Now) {
        let key = self.key_ix(id);
        let mut health = KeyHealth::default();
        health.enable(now);
        self.put_health(key, health);
        self.clear_own_account(key);
    }

    /// Says whether the key has a secret that can be opened.
    pub fn set_sealed(&mut self, id: &KeyId, sealed: bool) {
        let key = self.key_ix(id);
        self.keys[key].sealed = sealed;
        self.waiting.note_freed();
    }

    /// Takes note of a live check.
    pub fn probed(&mut self, id: &KeyId, checked: &Checked, moment: &mut Moment<'_>) {
        let Ok(key) = self.known_key(id) else { return };
        let interval = self.policy.health_check_interval;
        if let Some(provider) = self.providers.get_mut(&id.provider) {
            provider.reach.note(&checked.contact, interval, moment.now);
        }
        let mut health = self.keys[key].health.clone();
        health.probed(checked.verdict, interval, moment.now, moment.rng.f64());
        self.put_health(key, health);
        self.hear_of_account(key, checked.account.as_ref());
        if checked.outcome.is_some() {
            self.keys[key].balances.clone_from(&checked.balances);
        }
        if checked.verdict == KeyVerdict::NoQuota || checked.outcome == Some(Outcome::QuotaExhausted) {
            let interval = self.providers.get(&id.provider).map_or(Duration::from_secs(3600), |provider| provider.policy.interval);
            let account = self.keys[key].account;
            let mut shared = self.accounts[account].health.clone();
            shared.quota_exhausted(interval, moment.now);
            self.emit(Event::Account { account: self.accounts[account].key.clone(), health: shared });
        }
    }

    /// Why a provider is not reached; none: it is, or nothing is known.
    #[must_use]
    pub fn missed(&self, provider: &ProviderName) -> Option<&Missed> {
        self.providers.get(provider)?.reach.missed()
    }

    /// Since when and by what sign the network of this machine seems to be down.
    #[must_use]
    pub fn network_down(&self) -> Option<&Missed> {
        let elsewhere = self.providers.values().filter(|provider| {
            let probed = catalogue::find(provider.policy.kind).is_some_and(|api| api.probe.is_some());
            probed && !is_here(&provider.policy.base_url) && provider.keys.iter().any(|key| self.is_probed(*key, None))
        });
        network_down(elsewhere.map(|provider| &provider.reach))
    }

    /// Is it probed, as far as settings and secrets go, and (with a time) unless it is disabled by hand then?
    fn is_probed(&self, key: KeyIx, now: Option<Steady>) -> bool {
        let entry = &self.keys[key];
        let on = self.providers.get(&entry.id.provider).is_some_and(|provider| provider.policy.health_check);
        let enabled = entry.policy.as_ref().is_some_and(|policy| policy.enabled);
        on && enabled && !entry.sealed && now.is_none_or(|now| !entry.health.is_disabled(now))
    }

    /// The keys whose probe is due: first those that wait for one, then those that were neither used nor checked for
    /// `health_check_interval`. Of a provider that was not reached none is until it is to be tried again, and then every one.
    #[must_use]
    pub fn probes_due(&self, now: Now, last_round: Option<Steady>) -> Vec<KeyId> {
        let round = last_round.is_none_or(|last| last.after(self.policy.health_check_interval) <= now.steady);
        let probed = self.keys.all().filter(|key| {
            if !self.is_probed(*key, Some(now.steady)) {
                return false;
            }
            let entry = &self.keys[*key];
            let reach = self.providers.get(&entry.id.provider).map(|provider| &provider.reach);
            if let Some(reach) = reach.filter(|reach| reach.missed().is_some()) {
                return reach.again(now.steady).is_none();
            }
            match entry.health.probe_at {
                Some(at) => at <= now.steady,
                None => round && !self.used_lately(*key, now),
            }
        });
        let mut due: Vec<KeyIx> = probed.collect();
        due.sort_by_key(|key| self.keys[*key].health.probe_at.is_none());
        due.into_iter().map(|key| self.keys[key].id.clone()).collect()
    }

    fn used_lately(&self, key: KeyIx, now: Now) -> bool {
        let interval = self.policy.health_check_interval;
        let entry = &self.keys[key];
        entry.last_ok.is_some_and(|at| now.steady.since(at) < interval) || entry.health.checked.is_some_and(|at| now.wall.since(at) < interval)
    }

    /// When the next key that waits for a probe is due; none: no key waits.
    #[must_use]
    pub fn next_probe(&self, now: Steady) -> Option<Steady> {
        let next = |key: KeyIx| {
            let entry = &self.keys[key];
            let reach = &self.providers.get(&entry.id.provider)?.reach;
            if reach.missed().is_some() { Some(reach.again(now).unwrap_or(now)) } else { entry.health.probe_at }
        };
        self.keys.all().filter(|key| self.is_probed(*key, Some(now))).filter_map(next).min()
    }
}

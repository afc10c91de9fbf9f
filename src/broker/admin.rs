//! What admins and probes do to keys.

use std::time::Duration;

use crate::broker::{Broker, KeyIx, Moment, ProviderEntry};
use crate::catalogue;
use crate::catalogue::classify::Scope;
use crate::event::Event;
use crate::health::KeyHealth;
use crate::health::account::{AccountHealth, AccountKey};
use crate::health::checked::{Checked, Contact};
use crate::health::left::ProviderLimits;
use crate::health::reach::{Missed, network_down};
use crate::id::{KeyId, ProviderName};
use crate::money::Usd;
use crate::policy::{ProviderPolicy, is_here};
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::outcome::Outcome;
use crate::protocol::reply::{KeyState, KeyVerdict};
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
            provider.answered |= checked.contact == Contact::Reached;
            self.watch_soon();
        }
        let mut health = self.keys[key].health.clone();
        health.probed(checked.verdict, interval, moment.now, moment.rng.f64());
        let is_spent = checked.verdict == KeyVerdict::NoQuota || checked.outcome == Some(Outcome::QuotaExhausted);
        let pause = self.providers.get(&id.provider).map_or(Duration::from_secs(3600), |provider| provider.policy.interval);
        self.hear_of_account(key, checked.account.as_ref());
        let account = self.keys[key].account;
        let is_its_own = checked.scope == Scope::Key && self.is_shared(account);
        if is_spent && is_its_own {
            health.spent(moment.now.steady, pause, moment.now);
        }
        self.put_health(key, health);
        if let Some(balances) = &checked.balances {
            self.keys[key].balances.clone_from(balances);
        }
        if is_spent && !is_its_own {
            let mut shared = self.accounts[account].health.clone();
            shared.quota_exhausted(pause, moment.now);
            self.emit(Event::Account { account: self.accounts[account].key.clone(), health: shared });
        }
    }

    /// Why nothing may be spent with a key; none: it may.
    #[must_use]
    pub fn forbids_spending(&self, id: &KeyId, now: Now) -> Option<String> {
        let Ok(key) = self.known_key(id) else { return Some("it is not configured any more".to_owned()) };
        let row = self.key_row(key, now);
        let global = self.global_row(now);
        let reached = |limit: Option<Usd>, spent: Usd| limit.filter(|limit| spent >= *limit);
        if row.state == KeyState::Disabled {
            return Some("it is disabled".to_owned());
        }
        if let Some(limit) = reached(row.cost_limit, row.cost_today_usd.saturating_add(row.reserved_usd)) {
            return Some(format!("its cost_limit of {limit} is reached"));
        }
        reached(global.cost_limit, global.cost_today_usd.saturating_add(global.reserved_usd))
            .map(|limit| format!("the daily_cost_limit of {limit} is reached"))
    }

    /// Why a provider is not reached; none: it is, or nothing is known. Where no probes find out that it is again, that is soon
    /// out of date.
    #[must_use]
    pub fn missed(&self, provider: &ProviderName, now: Steady) -> Option<&Missed> {
        let entry = self.providers.get(provider)?;
        let is_news = entry.keys.iter().any(|key| self.is_probed(*key, now)) || entry.reach.again(now).is_some();
        entry.reach.missed().filter(|_| is_news)
    }

    /// Since when and by what sign the network of this machine seems to be down.
    #[must_use]
    pub fn network_down(&self, now: Steady) -> Option<&Missed> {
        let elsewhere = self
            .providers
            .values()
            .filter(|provider| !is_here(&provider.policy.base_url) && provider.keys.iter().any(|key| self.is_probed(*key, now)));
        network_down(elsewhere.map(|provider| &provider.reach))
    }

    /// Is it probed? Not where that is switched off, where there is no free request, and where it has no secret or is disabled.
    fn is_probed(&self, key: KeyIx, now: Steady) -> bool {
        let entry = &self.keys[key];
        let has_probe = |provider: &ProviderPolicy| catalogue::find(provider.kind).is_some_and(|api| api.probe.is_some());
        let on = self.providers.get(&entry.id.provider).is_some_and(|provider| provider.policy.health_check && has_probe(&provider.policy));
        let enabled = entry.policy.as_ref().is_some_and(|policy| policy.enabled);
        on && enabled && !entry.sealed && !entry.health.is_disabled(now)
    }

    /// Of a provider that was not reached, the key that is to try again, once that is due.
    fn scout(&self, provider: &ProviderEntry, now: Steady) -> Option<KeyIx> {
        let missed = provider.reach.missed().filter(|_| provider.reach.again(now).is_none())?;
        let probed: Vec<KeyIx> = provider.keys.iter().copied().filter(|key| self.is_probed(*key, now)).collect();
        probed.get(missed.turn(probed.len())).copied()
    }

    /// The keys whose probe is due: first those that wait for one, then those that were neither used nor checked for
    /// `health_check_interval`. Of a provider that was not reached none is until it is to be tried again, and then one.
    #[must_use]
    pub fn probes_due(&self, now: Now, last_round: Option<Steady>) -> Vec<KeyId> {
        let round = last_round.is_none_or(|last| last.after(self.policy.health_check_interval) <= now.steady);
        let probed = self.keys.all().filter(|key| {
            if !self.is_probed(*key, now.steady) {
                return false;
            }
            let entry = &self.keys[*key];
            let missed = self.providers.get(&entry.id.provider).filter(|provider| provider.reach.missed().is_some());
            if let Some(provider) = missed {
                return self.scout(provider, now.steady) == Some(*key);
            }
            match entry.health.probe_at {
                Some(at) => at <= now.steady,
                None => round && !self.used_lately(*key, now),
            }
        });
        let mut due: Vec<KeyIx> = probed.collect();
        // Of the others the one that was not looked at for longest: none is passed over for ever because another one hangs.
        due.sort_by_key(|key| (self.keys[*key].health.probe_at.is_none(), self.keys[*key].health.checked));
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
        self.keys.all().filter(|key| self.is_probed(*key, now)).filter_map(next).min()
    }
}

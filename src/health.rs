//! Health: what reports and probes say of a key and of its account, and what follows from it.

pub mod account;
pub mod aside;
pub mod breaker;
pub mod checked;
pub mod left;
pub mod reach;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::health::aside::{Aside, Standing};
use crate::id::ModelName;
use crate::protocol::error::Reason;
use crate::protocol::reply::{KeyState, KeyVerdict};
use crate::time::{Now, Steady, Timestamp, backoff};

/// First cool-down after a rate limit whose end the provider does not tell.
const COOL_FIRST: Duration = Duration::from_secs(30);

/// Longest cool-down of that kind.
const COOL_LONGEST: Duration = Duration::from_secs(600);

/// Longest wait that a provider is believed.
const BELIEVED: Duration = Duration::from_secs(31 * 86_400);

/// Longest pause between probes of an invalid key.
const PROBE_LONGEST: Duration = Duration::from_secs(3600);

/// Models whose set-asides one key remembers.
const MODELS_MAX: usize = 64;

/// What is known of a key itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Proven {
    /// Never checked.
    #[default]
    Unknown,
    /// Used or checked with success.
    Good,
    /// Its provider does not take it.
    Invalid,
}

/// What set-asides a model of a key has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
struct ModelHealth {
    aside: Aside,
    denied_until: Option<Steady>,
}

/// The health of one key.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct KeyHealth {
    /// What is known of the key itself.
    pub proven: Proven,
    /// When its state changed last.
    pub since: Option<Timestamp>,
    /// When it was checked live.
    pub checked: Option<Timestamp>,
    /// When it is to be probed next; none: when its turn comes.
    pub probe_at: Option<Steady>,
    aside: Aside,
    /// Its provider did not take it, which a probe is to confirm.
    suspect: Aside,
    /// When its provider did not take it last.
    refused: Option<Steady>,
    /// When it got its present secret: what leases of the one before say is not about this one.
    renewed: Option<Steady>,
    models: BTreeMap<ModelName, ModelHealth>,
    disabled: Option<Disabled>,
    probes_failed: u8,
}

/// Disabled by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Disabled {
    until: Option<Steady>,
}

/// Why a key may not be leased: the reason, and until when at most.
pub type Against = (Reason, Option<Steady>);

impl KeyHealth {
    /// A rate limit was met with a lease for `model` that was given at `given`; `asked` is how long the provider wants to be left alone. Where it does
    /// not say, `jitter` (0.0 to 1.0) spreads what comes back.
    pub fn rate_limited(&mut self, model: Option<&ModelName>, asked: Option<Duration>, given: Steady, now: Now, jitter: f64) -> Steady {
        let aside = match model {
            Some(model) => &mut self.model_entry(model, now).aside,
            None => &mut self.aside,
        };
        aside.count(given);
        let guessed = aside.doubled(COOL_FIRST, COOL_LONGEST).mul_f64(1.0 + jitter.clamp(0.0, 1.0) * 0.1).min(COOL_LONGEST);
        let until = now.steady.after(asked.map_or(guessed, |asked| asked.min(BELIEVED)));
        aside.put(until);
        if model.is_none() {
            self.since = Some(now.wall);
        }
        until
    }

    /// Its provider did not take it, with a lease that was given at `given`: set aside, and probed at once where probing
    /// is on; else it is invalid.
    pub fn auth_failed(&mut self, probing: Probing, given: Steady, now: Now) {
        self.since = Some(now.wall);
        self.refused = Some(now.steady);
        match probing {
            Probing::Off => self.proven = Proven::Invalid,
            Probing::Every(interval) => {
                self.suspect.count(given);
                self.suspect.put(now.steady.after(self.suspect.doubled(interval, PROBE_LONGEST.max(interval))));
                self.probe_at = Some(now.steady);
            }
        }
    }

    /// Its own quota is spent, as a lease says that was given at `given`: set aside for `interval`, and no longer than to the next UTC
    /// midnight.
    pub fn spent(&mut self, given: Steady, interval: Duration, now: Now) {
        self.aside.count(given);
        self.aside.put(now.steady.after(interval).min(now.midnight()));
        self.since = Some(now.wall);
    }

    /// Its account's quota of `model` is spent, as a lease says that was given at `given`: set aside for it for `interval`, and no
    /// longer than to the next UTC midnight.
    pub fn model_spent(&mut self, model: &ModelName, given: Steady, interval: Duration, now: Now) {
        let aside = &mut self.model_entry(model, now).aside;
        aside.count(given);
        aside.put(now.steady.after(interval).min(now.midnight()));
    }

    /// It may not use `model`: the key is skipped for it during `interval`.
    pub fn permission_denied(&mut self, model: &ModelName, interval: Duration, now: Now) {
        let until = now.steady.after(interval);
        let entry = self.model_entry(model, now);
        entry.denied_until = Some(entry.denied_until.map_or(until, |longer| longer.max(until)));
    }

    /// A lease that was given at `given` for `model` was `ok`.
    pub fn passed(&mut self, model: Option<&ModelName>, given: Steady, now: Now) {
        self.aside.passed(given);
        self.suspect.passed(given);
        if let Some(entry) = model.and_then(|model| self.models.get_mut(model)) {
            entry.aside.passed(given);
        }
        self.models.retain(|_, entry| *entry != ModelHealth::default());
        if self.refused.is_some_and(|refused| given < refused) {
            return;
        }
        self.refused = None;
        self.probe_at = None;
        self.probes_failed = 0;
        if self.proven != Proven::Good {
            self.proven = Proven::Good;
            self.since = Some(now.wall);
        }
    }

    /// A live check said `verdict`.
    pub fn probed(&mut self, verdict: KeyVerdict, interval: Duration, now: Now, jitter: f64) {
        let before = self.proven;
        match verdict {
            KeyVerdict::Valid | KeyVerdict::ValidRestricted | KeyVerdict::NoQuota => {
                self.proven = Proven::Good;
                self.probes_failed = 0;
                self.probe_at = None;
                self.suspect = Aside::default();
                self.refused = None;
            }
            KeyVerdict::Invalid => {
                self.proven = Proven::Invalid;
                self.refused = Some(now.steady);
                self.probe_again(interval, now, jitter);
            }
            KeyVerdict::Inconclusive => {
                if self.probe_at.is_some() {
                    self.probe_again(interval, now, jitter);
                }
            }
        }
        if verdict != KeyVerdict::Inconclusive {
            self.checked = Some(now.wall);
        }
        if before != self.proven {
            self.since = Some(now.wall);
        }
    }

    fn probe_again(&mut self, interval: Duration, now: Now, jitter: f64) {
        let pause = backoff(interval, PROBE_LONGEST.max(interval), u32::from(self.probes_failed), jitter);
        self.probes_failed = self.probes_failed.saturating_add(1).min(16);
        self.probe_at = Some(now.steady.after(pause));
    }

    /// An admin keeps it from being selected, for a time or until it is enabled.
    pub fn disable(&mut self, span: Option<Duration>, now: Now) {
        self.disabled = Some(Disabled { until: span.map(|span| now.steady.after(span)) });
        self.since = Some(now.wall);
    }

    /// An admin lifts the manual disable and every set-aside.
    pub fn enable(&mut self, now: Now) {
        let proven = if self.proven == Proven::Invalid { Proven::Unknown } else { self.proven };
        *self = Self { proven, checked: self.checked, renewed: self.renewed, since: Some(now.wall), ..Self::default() };
    }

    /// It has another secret: what was learned of the old one is forgotten, a manual disable stays.
    pub fn renewed(&mut self, now: Now) {
        *self = Self { disabled: self.disabled, renewed: Some(now.steady), since: Some(now.wall), ..Self::default() };
    }

    /// Does what a lease says that was given at `given` concern the present secret? One of the same millisecond may have either.
    #[must_use]
    pub fn concerns(&self, given: Steady) -> bool {
        self.renewed.is_none_or(|renewed| given > renewed)
    }

    /// Is it disabled by hand?
    #[must_use]
    pub fn is_disabled(&self, now: Steady) -> bool {
        self.disabled.is_some_and(|disabled| disabled.until.is_none_or(|until| until > now))
    }

    /// What is against leasing it for `model`, as far as the key itself goes. A trial is not against it.
    ///
    /// # Errors
    /// The reason, and until when at most.
    pub fn check(&self, model: Option<&ModelName>, now: Steady) -> Result<Trial, Against> {
        if self.is_disabled(now) {
            return Err((Reason::Disabled, self.disabled.and_then(|disabled| disabled.until)));
        }
        if self.proven == Proven::Invalid {
            return Err((Reason::Invalid, self.probe_at.filter(|at| *at > now)));
        }
        let whole = match self.standing(now) {
            Standing::Aside(until) => return Err((Reason::CoolingDown, Some(until))),
            Standing::Trial => true,
            Standing::Clear => false,
        };
        let Some(entry) = model.and_then(|model| self.models.get(model)) else {
            return Ok(Trial { whole, model: false });
        };
        if let Some(until) = entry.denied_until.filter(|until| *until > now) {
            return Err((Reason::ModelDenied, Some(until)));
        }
        match entry.aside.standing(now) {
            Standing::Aside(until) => Err((Reason::CoolingDown, Some(until))),
            Standing::Trial => Ok(Trial { whole, model: true }),
            Standing::Clear => Ok(Trial { whole, model: false }),
        }
    }

    /// Its state as far as the key itself goes, until when, and why.
    #[must_use]
    pub fn state(&self, now: Now) -> (KeyState, Option<Steady>, Option<String>) {
        if self.is_disabled(now.steady) {
            return (KeyState::Disabled, self.disabled.and_then(|disabled| disabled.until), Some("disabled by an admin".to_owned()));
        }
        if self.proven == Proven::Invalid {
            return (KeyState::Invalid, self.probe_at, Some("its provider refuses it".to_owned()));
        }
        let good = if self.proven == Proven::Good { KeyState::Healthy } else { KeyState::Unknown };
        match self.standing(now.steady) {
            Standing::Aside(until) => {
                let suspect = matches!(self.suspect.standing(now.steady), Standing::Aside(_));
                let why = if suspect { "its provider refused it; a probe is to confirm that" } else { "its provider limits it for now" };
                (KeyState::CoolingDown, Some(until), Some(why.to_owned()))
            }
            Standing::Trial => (good, None, Some("on trial after a set-aside: one lease at a time until one is ok".to_owned())),
            Standing::Clear => (good, None, self.models_aside(now)),
        }
    }

    /// How the key stands for every model: the longer of its set-asides.
    fn standing(&self, now: Steady) -> Standing {
        match (self.aside.standing(now), self.suspect.standing(now)) {
            (Standing::Aside(one), Standing::Aside(other)) => Standing::Aside(one.max(other)),
            (Standing::Aside(until), _) | (_, Standing::Aside(until)) => Standing::Aside(until),
            (Standing::Trial, _) | (_, Standing::Trial) => Standing::Trial,
            (Standing::Clear, Standing::Clear) => Standing::Clear,
        }
    }

    fn models_aside(&self, now: Now) -> Option<String> {
        let aside = |entry: &ModelHealth| {
            matches!(entry.aside.standing(now.steady), Standing::Aside(_)) || entry.denied_until.is_some_and(|until| until > now.steady)
        };
        let names: Vec<&str> = self.models.iter().filter(|(_, entry)| aside(entry)).map(|(name, _)| name.as_str()).collect();
        (!names.is_empty()).then(|| format!("set aside for {}", names.join(", ")))
    }

    fn model_entry(&mut self, model: &ModelName, now: Now) -> &mut ModelHealth {
        if self.models.len() >= MODELS_MAX && !self.models.contains_key(model) {
            self.models.retain(|_, entry| {
                matches!(entry.aside.standing(now.steady), Standing::Aside(_)) || entry.denied_until.is_some_and(|until| until > now.steady)
            });
            if self.models.len() >= MODELS_MAX {
                self.models.pop_first();
            }
        }
        self.models.entry(model.clone()).or_default()
    }
}

/// Is the key on trial, so that it has one lease at a time?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[must_use]
pub struct Trial {
    /// For every model.
    pub whole: bool,
    /// For the model that was asked for.
    pub model: bool,
}

/// May a key be probed?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probing {
    /// No: `health_check` is off.
    Off,
    /// Yes, with this pause, doubling.
    Every(Duration),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Now {
        let start: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        Now { wall: start, steady: Steady::from_millis(1_000_000_000) }.after(Duration::from_secs(seconds))
    }

    fn until(health: &KeyHealth, now: Now) -> Option<Steady> {
        health.check(None, now.steady).err().and_then(|(_, until)| until)
    }

    #[test]
    fn a_set_aside_never_shortens_a_longer_one() {
        let mut health = KeyHealth::default();
        health.rate_limited(None, Some(Duration::from_secs(300)), at(0).steady, at(0), 0.0);
        health.rate_limited(None, Some(Duration::from_secs(5)), at(1).steady, at(1), 0.0);
        assert_eq!(until(&health, at(2)), Some(at(300).steady));
    }

    #[test]
    fn a_cool_down_doubles_to_ten_minutes_and_ok_brings_it_back() {
        let mut health = KeyHealth::default();
        let mut lengths = Vec::new();
        let mut second = 0;
        for _ in 0..7 {
            let end = health.rate_limited(None, None, at(second).steady, at(second), 0.0);
            lengths.push(end.since(at(second).steady).as_secs());
            second += 1000;
        }
        assert_eq!(lengths, [30, 60, 120, 240, 480, 600, 600]);
        health.passed(None, at(second).steady, at(second));
        assert_eq!(health.rate_limited(None, None, at(second).steady, at(second), 0.0), at(second + 30).steady);
    }

    #[test]
    fn an_answer_from_before_the_set_aside_does_not_end_it() {
        let mut health = KeyHealth::default();
        health.rate_limited(None, None, at(10).steady, at(10), 0.0);
        health.passed(None, at(0).steady, at(11));
        assert_eq!(until(&health, at(12)), Some(at(40).steady));
        assert_eq!(health.check(None, at(41).steady), Ok(Trial { whole: true, model: false }));
        health.passed(None, at(41).steady, at(42));
        assert_eq!(health.check(None, at(43).steady), Ok(Trial::default()));
    }

    #[test]
    fn a_models_set_aside_leaves_other_models_alone() {
        let mut health = KeyHealth::default();
        let model: ModelName = "gpt-4".parse().unwrap();
        health.rate_limited(Some(&model), None, at(0).steady, at(0), 0.0);
        assert!(health.check(Some(&model), at(1).steady).is_err());
        assert_eq!(health.check(None, at(1).steady), Ok(Trial::default()));
        health.permission_denied(&model, Duration::from_secs(3600), at(0));
        assert_eq!(health.check(Some(&model), at(3000).steady).err().map(|(reason, _)| reason), Some(Reason::ModelDenied));
        assert_eq!(health.state(at(1)).2.as_deref(), Some("set aside for gpt-4"));
    }

    #[test]
    fn only_a_probe_makes_a_key_invalid_where_probing_is_on() {
        let every = Probing::Every(Duration::from_secs(300));
        let mut health = KeyHealth::default();
        health.auth_failed(every, at(0).steady, at(0));
        assert_eq!(health.state(at(1)).0, KeyState::CoolingDown);
        assert_eq!(health.probe_at, Some(at(0).steady));
        health.probed(KeyVerdict::Inconclusive, Duration::from_secs(300), at(2), 0.0);
        assert_eq!(health.state(at(3)).0, KeyState::CoolingDown);
        health.probed(KeyVerdict::Invalid, Duration::from_secs(300), at(4), 0.0);
        assert_eq!(health.state(at(5)).0, KeyState::Invalid);
        health.probed(KeyVerdict::Valid, Duration::from_secs(300), at(6), 0.0);
        assert_eq!(health.check(None, at(7).steady), Ok(Trial::default()));

        let mut unprobed = KeyHealth::default();
        unprobed.auth_failed(Probing::Off, at(0).steady, at(0));
        assert_eq!(unprobed.state(at(1)).0, KeyState::Invalid);
    }

    #[test]
    fn a_manual_disable_outlives_probes_and_ends_by_itself() {
        let mut health = KeyHealth::default();
        health.disable(Some(Duration::from_secs(7200)), at(0));
        health.probed(KeyVerdict::Valid, Duration::from_secs(300), at(1), 0.0);
        assert_eq!(health.state(at(2)).0, KeyState::Disabled);
        assert_eq!(health.check(None, at(7200).steady), Ok(Trial::default()));
    }

    #[test]
    fn leases_that_were_out_together_are_one_failure() {
        let mut health = KeyHealth::default();
        for _ in 0..8 {
            health.rate_limited(None, None, at(0).steady, at(1), 1.0);
        }
        assert_eq!(until(&health, at(2)), Some(at(34).steady));
        let longest = (0..9)
            .map(|turn| health.rate_limited(None, None, at(turn * 1000 + 100).steady, at(turn * 1000 + 100), 1.0).since(at(turn * 1000 + 100).steady))
            .max();
        assert_eq!(longest, Some(COOL_LONGEST));
    }

    #[test]
    fn a_probe_that_passes_lifts_the_suspicion_and_no_other_set_aside() {
        let mut health = KeyHealth::default();
        health.rate_limited(None, Some(Duration::from_secs(3600)), at(0).steady, at(0), 0.0);
        health.auth_failed(Probing::Every(Duration::from_secs(300)), at(0).steady, at(1));
        health.probed(KeyVerdict::Valid, Duration::from_secs(300), at(2), 0.0);
        assert_eq!(until(&health, at(3)), Some(at(3600).steady));
    }

    #[test]
    fn an_ok_from_before_the_refusal_does_not_make_a_key_valid() {
        let mut health = KeyHealth::default();
        health.auth_failed(Probing::Off, at(0).steady, at(5));
        health.passed(None, at(1).steady, at(6));
        assert_eq!(health.state(at(7)).0, KeyState::Invalid);
        health.passed(None, at(6).steady, at(8));
        assert_eq!(health.state(at(9)).0, KeyState::Healthy);
    }
}

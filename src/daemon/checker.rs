//! Checks of keys: on demand, and the round of health probes.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::catalogue;
use crate::catalogue::shape::{self, Fit};
use crate::daemon::admin;
use crate::daemon::answer::Asker;
use crate::daemon::state::{Core, Shared};
use crate::id::{KeyId, ProviderName};
use crate::policy::ProviderPolicy;
use crate::probe::Checked;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::reply::{KeyVerdict, Reply, Validation};
use crate::protocol::request::{KeySet, Validate};
use crate::secret::Secret;
use crate::time::Steady;
use crate::time::clock::Clock;

/// Keys that one `validate` looks at.
const KEYS_MAX: usize = 10_000;

/// Answers `validate`.
pub(crate) async fn validate(shared: Arc<Shared>, request: Validate) -> Reply {
    match chosen(&shared, &request) {
        Ok(keys) => Reply::Validations(check_all(&shared, keys, request.format_only == Some(true)).await),
        Err(refused) => Reply::Error(refused),
    }
}

/// Asks the provider about a secret, and keeps it unless the provider refuses it.
pub(crate) async fn set_checked(shared: Arc<Shared>, asker: Asker, request: KeySet) -> Reply {
    let id = request.id();
    let checked = accepted(&shared, &request, &id).await;
    let answer = admin::act(&shared, asker, "key_set", &id, |core| {
        let checked = checked?;
        admin::key_set(&shared, core, &request)?;
        // Nothing was learned of the key where its provider could not be asked.
        if checked.verdict != KeyVerdict::Inconclusive {
            note(&shared, core, &id, checked);
        }
        Ok(())
    });
    answer.settled().await.reply
}

/// What its provider says of a secret that may be set; refused where the provider refuses it.
async fn accepted(shared: &Shared, request: &KeySet, id: &KeyId) -> Result<Checked, ErrorReply> {
    // A secret of another provider is shown to nobody.
    let provider = admin::may_be_set(&shared.live().settings, request, id)?;
    // The semaphore is never closed; without a place the check is made all the same.
    let _place = shared.checks.acquire().await.ok();
    let checked = ask(shared, &provider, &request.secret).await;
    if checked.verdict == KeyVerdict::Invalid {
        return Err(ErrorReply::new(
            ErrorCode::BadRequest,
            format!("the secret was not kept: {} says: {}; `gollmctl key set --no-validate` keeps it all the same", provider.name, checked.message),
        ));
    }
    Ok(checked)
}

async fn ask(shared: &Shared, provider: &ProviderPolicy, secret: &Secret) -> Checked {
    let Some(kind) = catalogue::find(provider.kind) else {
        return Checked::unproven(None, format!("The API `{}` is not in the catalogue", provider.kind));
    };
    let prober = Arc::clone(&shared.live().prober);
    prober.check(kind, &provider.base_url, secret).await
}

/// What a check found is the broker's to know.
fn note(shared: &Shared, core: &mut Core, id: &KeyId, checked: Checked) {
    core.at_once(shared, |broker, moment| broker.probed(id, checked.verdict, checked.outcome, checked.account, moment));
}

fn chosen(shared: &Shared, request: &Validate) -> Result<Vec<(ProviderPolicy, KeyId)>, ErrorReply> {
    let core = shared.lock();
    let policy = core.broker.policy();
    if let Some(name) = request.provider.as_ref().filter(|name| policy.provider(name).is_none()) {
        return Err(ErrorReply::new(ErrorCode::UnknownProvider, format!("no provider `{name}` is configured")));
    }
    if request.key_name.is_some() && request.provider.is_none() {
        return Err(ErrorReply::new(ErrorCode::BadRequest, "`key_name` needs `provider`"));
    }
    let wanted = |id: &KeyId| {
        request.provider.as_ref().is_none_or(|name| *name == id.provider) && request.key_name.as_ref().is_none_or(|name| *name == id.key)
    };
    let keys: Vec<(ProviderPolicy, KeyId)> =
        policy.keys().filter(wanted).take(KEYS_MAX).filter_map(|id| Some((policy.provider(&id.provider)?.clone(), id))).collect();
    match (&request.key_name, keys.is_empty()) {
        (Some(name), true) => Err(ErrorReply::new(ErrorCode::UnknownKey, format!("no key `{name}` of that provider is configured"))),
        _ => Ok(keys),
    }
}

async fn check_all(shared: &Arc<Shared>, keys: Vec<(ProviderPolicy, KeyId)>, format_only: bool) -> Vec<Validation> {
    let mut checks = JoinSet::new();
    for (number, (provider, id)) in keys.into_iter().enumerate() {
        let shared = Arc::clone(shared);
        checks.spawn(async move {
            // The semaphore is never closed; without a place the check is made all the same.
            let _place = shared.checks.acquire().await.ok();
            (number, check(&shared, &provider, id, format_only).await)
        });
    }
    let mut done: Vec<(usize, Validation)> = Vec::new();
    while let Some(check) = checks.join_next().await {
        done.extend(check.ok());
    }
    done.sort_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, validation)| validation).collect()
}

fn validation(id: KeyId, verdict: KeyVerdict, message: String) -> Validation {
    let valid = matches!(verdict, KeyVerdict::Valid | KeyVerdict::ValidRestricted);
    Validation { provider: id.provider, key_name: id.key, valid, verdict, message }
}

async fn check(shared: &Shared, provider: &ProviderPolicy, id: KeyId, format_only: bool) -> Validation {
    let Some(entry) = shared.secret_of(&id) else {
        return validation(id, KeyVerdict::Invalid, "It has no secret; set it with `gollmctl key set`".to_owned());
    };
    let Ok(secret) = entry.open(&shared.vault) else {
        return validation(id, KeyVerdict::Invalid, "Its secret can't be opened; set it again".to_owned());
    };
    if format_only {
        let fit = shape::check(provider.kind, &secret);
        return validation(id, verdict_of(fit), shape::message(provider.kind, fit));
    }
    probe(shared, provider, id, &entry.fingerprint, &secret).await
}

/// Providers change their shapes: one that is not documented proves nothing.
const fn verdict_of(fit: Fit) -> KeyVerdict {
    match fit {
        Fit::Fits | Fit::Undocumented => KeyVerdict::Valid,
        Fit::Unusual => KeyVerdict::Inconclusive,
        Fit::Foreign(_) => KeyVerdict::Invalid,
    }
}

/// One live check, which the broker takes note of while the key still has the secret of that fingerprint.
async fn probe(shared: &Shared, provider: &ProviderPolicy, id: KeyId, fingerprint: &str, secret: &Secret) -> Validation {
    let checked = ask(shared, provider, secret).await;
    let mut core = shared.lock();
    if core.safe.entry(&id).is_none_or(|entry| entry.fingerprint != fingerprint) {
        return validation(id, KeyVerdict::Inconclusive, "Its secret was changed meanwhile; validate it again".to_owned());
    }
    let (verdict, message) = (checked.verdict, checked.message.clone());
    note(shared, &mut core, &id, checked);
    core.serve(shared);
    core.wake_journal(shared);
    drop(core);
    tracing::debug!(key = %id, ?verdict, "checked");
    validation(id, verdict, message)
}

/// Probes keys in the background, one at a time a provider, until the daemon ends.
///
/// Keys that wait for a probe come first and when they are due, the others once in `health_check_interval`; those that
/// were used with success since are passed over. No provider waits for another one's answer.
pub(crate) async fn rounds(shared: Arc<Shared>) {
    let mut last_round = if shared.live().settings.key_validation { None } else { Some(shared.clock.now().steady) };
    let mut queue = Queue::default();
    let mut probes = JoinSet::new();
    loop {
        let now = shared.clock.now();
        let (due, interval) = {
            let core = shared.lock();
            (core.broker.probes_due(now, last_round), core.broker.policy().health_check_interval)
        };
        if last_round.is_none_or(|last| last.after(interval) <= now.steady) {
            last_round = Some(now.steady);
        }
        queue.put_first(due);
        let mut pause = pin!(tokio::time::sleep(pause(&shared, last_round.unwrap_or(now.steady).after(interval))));
        loop {
            while let Some(id) = queue.next() {
                probes.spawn(probe_in_round(Arc::clone(&shared), id));
            }
            tokio::select! {
                () = &mut pause => break,
                () = shared.suspect.notified() => break,
                Some(done) = probes.join_next() => queue.done(done.as_ref().ok()),
            }
        }
    }
}

async fn probe_in_round(shared: Arc<Shared>, id: KeyId) -> ProviderName {
    let name = id.provider.clone();
    let provider = shared.lock().broker.policy().provider(&name).cloned();
    let entry = shared.secret_of(&id);
    let secret = entry.as_ref().and_then(|entry| entry.open(&shared.vault).ok());
    if let (Some(provider), Some(entry), Some(secret)) = (provider, entry, secret) {
        probe(&shared, &provider, id, &entry.fingerprint, &secret).await;
    }
    name
}

/// Keys to probe, in order, and the one of each provider that is being probed.
#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<KeyId>,
    under_way: BTreeMap<ProviderName, KeyId>,
}

impl Queue {
    /// Puts keys before those that wait already, each once.
    fn put_first(&mut self, mut due: Vec<KeyId>) {
        due.retain(|id| self.under_way.get(&id.provider) != Some(id));
        let known: HashSet<&KeyId> = due.iter().collect();
        self.waiting.retain(|id| !known.contains(id));
        self.waiting = due.into_iter().chain(self.waiting.drain(..)).collect();
    }

    /// The next key whose provider is not being asked.
    fn next(&mut self) -> Option<KeyId> {
        let place = self.waiting.iter().position(|id| !self.under_way.contains_key(&id.provider))?;
        let id = self.waiting.remove(place)?;
        self.under_way.insert(id.provider.clone(), id.clone());
        Some(id)
    }

    /// The provider has answered.
    fn done(&mut self, provider: Option<&ProviderName>) {
        if let Some(provider) = provider {
            self.under_way.remove(provider);
        }
    }
}

/// How long until the next probe is due, with a little chance in it, so that rounds of many machines spread.
fn pause(shared: &Shared, next_round: Steady) -> Duration {
    let now = shared.clock.now().steady;
    let next = shared.lock().broker.next_probe().map_or(next_round, |next| next.min(next_round));
    next.since(now).max(Duration::from_secs(1)).mul_f64(1.0 + fastrand::f64() * 0.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(names: &[&str]) -> Vec<KeyId> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    #[test]
    fn no_provider_waits_for_another_and_suspects_come_first() {
        let mut queue = Queue::default();
        let next = |queue: &mut Queue| queue.next().map(|id| id.to_string());
        queue.put_first(ids(&["slow/a", "slow/b", "slow/c", "fast/a"]));
        assert_eq!(next(&mut queue).as_deref(), Some("slow/a"));
        assert_eq!(next(&mut queue).as_deref(), Some("fast/a"));
        assert_eq!(next(&mut queue), None);
        // A suspect, and the key that is being probed, which is due for as long as that takes.
        queue.put_first(ids(&["slow/c", "slow/a", "fast/b"]));
        assert_eq!(next(&mut queue), None);
        queue.done(Some(&"fast".parse().unwrap()));
        assert_eq!(next(&mut queue).as_deref(), Some("fast/b"));
        queue.done(Some(&"slow".parse().unwrap()));
        assert_eq!(next(&mut queue).as_deref(), Some("slow/c"));
        queue.done(Some(&"slow".parse().unwrap()));
        assert_eq!(next(&mut queue).as_deref(), Some("slow/b"));
        assert!(queue.waiting.is_empty());
    }
}

//! Checks of keys: on demand, and the round of health probes.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::catalogue;
use crate::catalogue::shape::{self, Fit};
use crate::daemon::state::Shared;
use crate::id::KeyId;
use crate::policy::ProviderPolicy;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::reply::{KeyVerdict, Reply, Validation};
use crate::protocol::request::Validate;
use crate::secret::Secret;
use crate::time::{Clock, Steady};

/// Checks that `validate` makes at a time.
const AT_ONCE: usize = 4;

/// Keys that one `validate` looks at.
const KEYS_MAX: usize = 10_000;

/// Answers `validate`.
pub(crate) async fn validate(shared: Arc<Shared>, request: Validate) -> Reply {
    match chosen(&shared, &request) {
        Ok(keys) => Reply::Validations(check_all(&shared, keys, request.format_only == Some(true)).await),
        Err(refused) => Reply::Error(refused),
    }
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
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut checks = JoinSet::new();
    for (number, (provider, id)) in keys.into_iter().enumerate() {
        let (shared, places) = (Arc::clone(shared), Arc::clone(&places));
        checks.spawn(async move {
            // The semaphore is never closed; without a place the check is made all the same.
            let _place = places.acquire().await.ok();
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
    let secret = shared.secret_of(&id).map(|entry| entry.open(&shared.vault));
    let secret = match secret {
        Some(Ok(secret)) => secret,
        Some(Err(_)) => return validation(id, KeyVerdict::Invalid, "Its secret can't be opened; set it again".to_owned()),
        None => return validation(id, KeyVerdict::Invalid, "It has no secret; set it with `gollmctl key set`".to_owned()),
    };
    if format_only {
        let fit = shape::check(provider.kind, &secret);
        return validation(id, verdict_of(fit), shape::message(provider.kind, fit));
    }
    probe(shared, provider, id, &secret).await
}

/// Providers change their shapes: one that is not documented proves nothing.
const fn verdict_of(fit: Fit) -> KeyVerdict {
    match fit {
        Fit::Fits | Fit::Undocumented => KeyVerdict::Valid,
        Fit::Unusual => KeyVerdict::Inconclusive,
        Fit::Foreign(_) => KeyVerdict::Invalid,
    }
}

/// One live check, which the broker takes note of.
async fn probe(shared: &Shared, provider: &ProviderPolicy, id: KeyId, secret: &Secret) -> Validation {
    let Some(kind) = catalogue::find(provider.kind) else {
        return validation(id, KeyVerdict::Inconclusive, format!("The API `{}` is not in the catalogue", provider.kind));
    };
    let prober = Arc::clone(&shared.live().prober);
    let checked = prober.check(kind, &provider.base_url, secret).await;
    let mut core = shared.lock();
    core.decide(shared, |broker, moment| broker.probed(&id, checked.verdict, checked.outcome, checked.account, moment));
    core.wake_journal(shared);
    drop(core);
    tracing::debug!(key = %id, verdict = ?checked.verdict, "checked");
    validation(id, checked.verdict, checked.message)
}

/// Probes keys in the background, one at a time a provider, until the daemon ends.
///
/// Keys that wait for a probe come when they are due, the others once in `health_check_interval`; those that were used
/// with success since are passed over.
pub(crate) async fn rounds(shared: Arc<Shared>) {
    let mut last_round = if shared.live().settings.key_validation { None } else { Some(shared.clock.now().steady) };
    loop {
        let now = shared.clock.now();
        let due = shared.lock().broker.probes_due(now, last_round);
        let interval = shared.lock().broker.policy().health_check_interval;
        if last_round.is_none_or(|last| last.after(interval) <= now.steady) {
            last_round = Some(now.steady);
        }
        probe_each(&shared, due).await;
        let pause = pause(&shared, last_round.unwrap_or(now.steady).after(interval));
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shared.suspect.notified() => {}
        }
    }
}

async fn probe_each(shared: &Arc<Shared>, due: Vec<KeyId>) {
    let mut providers: std::collections::BTreeMap<crate::id::ProviderName, Vec<KeyId>> = std::collections::BTreeMap::new();
    for id in due {
        providers.entry(id.provider.clone()).or_default().push(id);
    }
    let mut checks = JoinSet::new();
    for (name, keys) in providers {
        let shared = Arc::clone(shared);
        checks.spawn(async move {
            for id in keys {
                let provider = shared.lock().broker.policy().provider(&name).cloned();
                let secret = shared.secret_of(&id).and_then(|entry| entry.open(&shared.vault).ok());
                if let (Some(provider), Some(secret)) = (provider, secret) {
                    probe(&shared, &provider, id, &secret).await;
                }
            }
        });
    }
    while checks.join_next().await.is_some() {}
}

/// How long until the next probe is due, with a little chance in it, so that rounds of many machines spread.
fn pause(shared: &Shared, next_round: Steady) -> Duration {
    let now = shared.clock.now().steady;
    let next = shared.lock().broker.next_probe().map_or(next_round, |next| next.min(next_round));
    next.since(now).max(Duration::from_secs(1)).mul_f64(1.0 + fastrand::f64() * 0.1)
}

//! Checks of keys: on demand, and the round of health probes.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;

use crate::access::Caller;
use crate::catalogue;
use crate::catalogue::shape::{self, Fit};
use crate::daemon::admin;
use crate::daemon::answer::Asker;
use crate::daemon::state::{Core, Durable, Shared};
use crate::health::checked::{Checked, Contact};
use crate::id::{KeyId, ModelName, ProviderName};
use crate::money::Usd;
use crate::policy::{Policy, ProviderPolicy};
use crate::probe::Spent;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::outcome::Outcome;
use crate::protocol::reply::{KeyVerdict, Reply, Reported, Validation};
use crate::protocol::request::{KeySet, Record, Validate};
use crate::secret::Secret;
use crate::time::Steady;
use crate::time::clock::Clock;

/// Keys that one `validate` looks at.
const KEYS_MAX: usize = 10_000;

/// How far a validation goes.
#[derive(Debug, Clone)]
enum Depth {
    /// The shape of the key alone.
    Shape,
    /// The provider's free check.
    Free,
    /// Besides, the smallest completion, which is booked to the key and to this caller.
    Spending(Caller),
}

/// Answers `validate`.
pub(crate) async fn validate(shared: Arc<Shared>, asker: Asker, request: Validate) -> Reply {
    let depth = match (request.format_only == Some(true), request.spend == Some(true)) {
        (true, true) => {
            return Reply::Error(ErrorReply::new(
                ErrorCode::BadRequest,
                "`format_only` asks no provider, and `spend` asks for a completion: choose one",
            ));
        }
        (true, false) => Depth::Shape,
        (false, true) => Depth::Spending(asker.caller.clone()),
        (false, false) => Depth::Free,
    };
    let chosen = chosen(&shared, &request);
    let act = if let Depth::Spending(_) = depth { "validate_spending" } else { "validate" };
    let only = chosen.as_ref().ok().and_then(|keys| if let [(_, id)] = keys.as_slice() { Some(id) } else { None });
    admin::audit(&shared, &asker, act, only, &chosen.as_ref().map(|_| ()).map_err(Clone::clone));
    match chosen {
        Ok(keys) => Reply::Validations(check_all(&shared, keys, depth).await),
        Err(refused) => Reply::Error(refused),
    }
}

/// Asks the provider about a secret, and keeps it unless the provider refuses it.
pub(crate) async fn set_checked(shared: Arc<Shared>, asker: Asker, request: KeySet) -> Reply {
    let id = request.id();
    let checked = accepted(&shared, &request, &id).await;
    let answer = admin::act(&shared, &asker, "key_set", &id, |core| {
        let checked = checked?;
        admin::key_set(&shared, core, &request)?;
        // Nothing was learned of the key where its provider could not be asked.
        if checked.verdict != KeyVerdict::Inconclusive {
            note(&shared, core, &id, &checked);
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
        return Checked::unproven(None, Contact::Untried, &format!("The API `{}` is not in the catalogue", provider.kind));
    };
    let fit = shape::check(provider.kind, &provider.base_url, secret);
    if let Fit::Foreign(owner) = fit {
        let why = format!("it begins as keys of {owner} do, and is not shown to {}", provider.name);
        return Checked::unproven(None, Contact::Untried, &why);
    }
    let prober = Arc::clone(&shared.live().prober);
    prober.check(kind, &provider.base_url, secret).await
}

/// What a check found is the broker's to know; the log is told where a provider, or all of them, can no longer be reached, or can again.
fn note(shared: &Shared, core: &mut Core, id: &KeyId, checked: &Checked) {
    let provider = &id.provider;
    let now = shared.clock.now().steady;
    let before = (core.broker.missed(provider, now).is_some(), core.broker.network_down(now).is_some());
    core.at_once(shared, |broker, moment| broker.probed(id, checked, moment));
    let missed = core.broker.missed(provider, now).map(|missed| missed.why.as_str());
    match (before.0, missed) {
        (false, Some(why)) => tracing::warn!(provider = %provider, why, "the provider is not reached"),
        (true, None) => tracing::info!(provider = %provider, "the provider is reached again"),
        _ => {}
    }
    match (before.1, core.broker.network_down(now).is_some()) {
        (false, true) => tracing::warn!("no provider is reached: the network of this machine seems to be down"),
        (true, false) => tracing::info!("a provider is reached again: the network of this machine is back"),
        _ => {}
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

async fn check_all(shared: &Arc<Shared>, keys: Vec<(ProviderPolicy, KeyId)>, depth: Depth) -> Vec<Validation> {
    let mut checks = JoinSet::new();
    for (number, (provider, id)) in keys.into_iter().enumerate() {
        let (shared, depth) = (Arc::clone(shared), depth.clone());
        checks.spawn(async move {
            // The semaphore is never closed; without a place the check is made all the same.
            let place = Arc::clone(&shared.checks).acquire_owned().await.ok();
            (number, check(&shared, provider, id, &depth, place).await)
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
    Validation { provider: id.provider, key_name: id.key, valid, verdict, message, cost_usd: None }
}

/// Checks one key; the check has `place` until it is over.
async fn check(shared: &Arc<Shared>, provider: ProviderPolicy, id: KeyId, depth: &Depth, place: Option<OwnedSemaphorePermit>) -> Validation {
    let Some(entry) = shared.secret_of(&id) else {
        return validation(id, KeyVerdict::Invalid, "It has no secret; set it with `gollmctl key set`".to_owned());
    };
    let Ok(secret) = entry.open(&shared.vault) else {
        return validation(id, KeyVerdict::Invalid, "Its secret can't be opened; set it again".to_owned());
    };
    if let Depth::Shape = depth {
        let fit = shape::check(provider.kind, &provider.base_url, &secret);
        return validation(id, verdict_of(fit), shape::message(provider.kind, fit));
    }
    let free = probe(shared, &provider, id.clone(), &entry.fingerprint, &secret).await;
    match depth {
        // What is known to be refused needs no completion.
        Depth::Spending(caller) if !matches!(free.verdict, KeyVerdict::Invalid | KeyVerdict::NoQuota) => {
            // What is paid for is booked, even if nobody waits for it any more.
            let spending = spend(Arc::clone(shared), caller.clone(), provider, id, entry.fingerprint.clone(), secret);
            let spending = tokio::spawn(async move {
                let spent = spending.await;
                drop(place);
                spent
            });
            spending.await.unwrap_or(free)
        }
        _ => free,
    }
}

/// Asks for the smallest completion, and books what it used.
async fn spend(shared: Arc<Shared>, caller: Caller, provider: ProviderPolicy, id: KeyId, fingerprint: String, secret: Secret) -> Validation {
    let live = shared.live();
    if let Some(why) = forbidden(&shared, &id, &fingerprint) {
        return validation(id, KeyVerdict::Inconclusive, format!("Nothing was spent: {why}"));
    }
    let (Some(api), Some(model)) = (catalogue::find(provider.kind), cheapest(&provider, &live.settings.policy)) else {
        let name = &provider.name;
        let why = format!(
            "Nothing was spent: gollm knows no model of {name} that every key can use; name a cheap one under `models` of {name} in the configuration"
        );
        return validation(id, KeyVerdict::Inconclusive, why);
    };
    let spent = live.prober.spend(api, &provider.base_url, &secret, model.as_str()).await;
    let (booked, durable) = book(&shared, &caller, &id, &fingerprint, &model, &spent);
    // A store that does not take it is told of everywhere else.
    drop(durable.await);
    let Spent { checked, usage } = spent;
    let cost_usd = booked.filter(|booked| booked.priced).map(|booked| booked.cost_usd);
    let cost = cost_usd.map_or_else(|| "a price that is not known".to_owned(), |cost| cost.to_string());
    let message = match (checked.outcome, usage) {
        (Some(Outcome::Ok), Some(usage)) => {
            format!("{}; a completion of {model} was answered: {} tokens for {cost}", checked.message, usage.input.saturating_add(usage.output))
        }
        (Some(Outcome::Ok), None) => format!("{}; a completion of {model} was answered, without saying its tokens", checked.message),
        _ => format!("{} (a completion of {model})", checked.message),
    };
    Validation { cost_usd, ..validation(id, checked.verdict, message) }
}

/// Why nothing may be spent with a key that had the secret of that fingerprint.
fn forbidden(shared: &Shared, id: &KeyId, fingerprint: &str) -> Option<String> {
    let core = shared.lock();
    match core.safe.entry(id) {
        Some(entry) if entry.fingerprint == fingerprint => core.broker.forbids_spending(id, shared.clock.now()),
        _ => Some("its secret was changed meanwhile".to_owned()),
    }
}

/// Books what a completion used, and takes note of what it found while the key still has the secret of that fingerprint.
fn book(shared: &Shared, caller: &Caller, id: &KeyId, fingerprint: &str, model: &ModelName, spent: &Spent) -> (Option<Reported>, Durable) {
    let mut core = shared.lock();
    let policy = core.broker.policy();
    let price = policy.provider(&id.provider).and_then(|provider| policy.price(provider, model));
    let cost = spent.usage.and_then(|usage| usage.cost.or_else(|| Some(price?.cost(&usage))));
    let record = Record {
        provider: id.provider.clone(),
        key_name: id.key.clone(),
        outcome: Some(Outcome::Ok),
        model: Some(model.clone()),
        input_tokens: spent.usage.map(|usage| usage.input),
        output_tokens: spent.usage.map(|usage| usage.output),
        cached_tokens: spent.usage.map(|usage| usage.cached),
        cost_usd: cost,
    };
    // What was answered was paid for, whether it says its tokens or not.
    let answered = spent.checked.outcome == Some(Outcome::Ok);
    let booked = answered.then(|| core.at_once(shared, |broker, moment| broker.book(caller, &record, moment)).ok()).flatten();
    if core.safe.entry(id).is_some_and(|entry| entry.fingerprint == fingerprint) {
        note(shared, &mut core, id, &spent.checked);
    }
    core.serve(shared);
    let durable = core.until_durable(shared);
    (booked, durable)
}

/// The model for the smallest completion: the cheapest of the configuration's, else the catalogue's.
fn cheapest(provider: &ProviderPolicy, policy: &Policy) -> Option<ModelName> {
    let rates = |model: &ModelName| policy.price(provider, model).map(|price| price.rates);
    // What costs nothing to answer answers nothing: embeddings.
    let answers = |model: &&ModelName| rates(model).is_none_or(|rates| rates.output > Usd::ZERO || rates.input == Usd::ZERO);
    let usable = provider.models.iter().filter(|model| model.enabled).map(|model| &model.name).filter(answers);
    let price = |model: &ModelName| rates(model).map(|rates| rates.input.saturating_add(rates.output));
    let configured = usable.min_by_key(|model| price(model).map_or((1, None), |price| (0, Some(price))));
    let usual = || catalogue::find(provider.kind)?.completion.model?.parse::<ModelName>().ok();
    let allowed = |model: &ModelName| match provider.models.iter().find(|known| known.name == *model) {
        Some(known) => known.enabled,
        None => !provider.strict_models,
    };
    configured.cloned().or_else(|| usual().filter(allowed))
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
    note(shared, &mut core, &id, &checked);
    core.serve(shared);
    core.wake_journal(shared);
    drop(core);
    tracing::debug!(key = %id, ?verdict, "checked");
    validation(id, verdict, message)
}

/// Probes keys in the background, one at a time a provider, until the daemon ends.
///
/// Keys that wait for a probe come first and when they are due, the others once in `health_check_interval`; those that
/// were used with success since are passed over. No provider waits for another one's answer, and of one that is not reached one key
/// at a time finds out whether it is again.
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
                Some(done) = probes.join_next() => {
                    if let Ok(provider) = done {
                        let missed = shared.lock().broker.missed(&provider, shared.clock.now().steady).is_some();
                        queue.done(&provider, missed);
                        // When it is tried again decides the pause.
                        if missed {
                            break;
                        }
                    }
                }
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

    /// A probe of the provider is done; where that was not reached, its other keys need not try.
    fn done(&mut self, provider: &ProviderName, missed: bool) {
        self.under_way.remove(provider);
        if missed {
            self.waiting.retain(|id| id.provider != *provider);
        }
    }
}

/// How long until the next probe is due, with a little chance in it, so that rounds of many machines spread.
fn pause(shared: &Shared, next_round: Steady) -> Duration {
    let now = shared.clock.now().steady;
    let next = shared.lock().broker.next_probe(now).map_or(next_round, |next| next.min(next_round));
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
        queue.done(&"fast".parse().unwrap(), false);
        assert_eq!(next(&mut queue).as_deref(), Some("fast/b"));
        queue.done(&"slow".parse().unwrap(), false);
        assert_eq!(next(&mut queue).as_deref(), Some("slow/c"));
        queue.done(&"slow".parse().unwrap(), false);
        assert_eq!(next(&mut queue).as_deref(), Some("slow/b"));
        assert!(queue.waiting.is_empty());
        // Where one key did not reach its provider, no other tries.
        queue.done(&"fast".parse().unwrap(), false);
        queue.put_first(ids(&["slow/a", "slow/c", "fast/a"]));
        queue.done(&"slow".parse().unwrap(), true);
        assert_eq!(next(&mut queue).as_deref(), Some("fast/a"));
        assert_eq!(next(&mut queue), None);
    }
}

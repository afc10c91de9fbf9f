//! Admins' acts: keys that are set and removed, and the configuration read again.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use crate::catalogue::{self, shape};
use crate::config::secrets::Fetched;
use crate::config::{self, Settings};
use crate::daemon::answer::{Answer, Asker, when_durable};
use crate::daemon::front::Front;
use crate::daemon::locking;
use crate::daemon::logging as log;
use crate::daemon::metrics;
use crate::daemon::safe::{KeySettings, Origin, Safe, seal};
use crate::daemon::state::{Core, Live, Shared};
use crate::daemon::trail::{self, Noted};
use crate::daemon::webhooks;
use crate::http::Http;
use crate::id::{KeyId, ProviderName};
use crate::money::{USD_MAX, Usd};
use crate::notify::Notifier;
use crate::platform::{self, Phase, notify};
use crate::policy::{ChoicePer, Policy, ProviderPolicy, RATES, WEIGHTS};
use crate::probe::Prober;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::reply::Reply;
use crate::protocol::request::KeySet;
use crate::time::clock::Clock;

/// Does an act that must be durable, and tells the audit log of it.
pub(crate) fn act(shared: &Arc<Shared>, asker: &Asker, name: &str, key: &KeyId, act: impl FnOnce(&mut Core) -> Result<(), ErrorReply>) -> Answer {
    let mut entry = trail::entry(shared, asker, name, Some(key.to_string()), &Ok(()));
    let mut core = shared.lock();
    let result = core.writable().and_then(|()| act(&mut core));
    entry.result = trail::result_of(&result);
    core.note(shared, &entry);
    core.serve(shared);
    let answer = match &result {
        Ok(()) => Answer::Durable(Reply::Done, core.until_durable(shared)),
        Err(refused) => Answer::Now(Reply::Error(refused.clone())),
    };
    drop(core);
    trail::tell(shared, &entry);
    answer
}

fn refused(message: String) -> ErrorReply {
    ErrorReply::new(ErrorCode::BadRequest, message)
}

/// The provider of a key that may be set as asked, else why it may not.
pub(crate) fn may_be_set(settings: &Settings, request: &KeySet, id: &KeyId) -> Result<ProviderPolicy, ErrorReply> {
    let provider = provider_of(settings, &id.provider)?;
    let fit = shape::check(provider.kind, &provider.base_url, &request.secret);
    if matches!(fit, shape::Fit::Foreign(_)) {
        return Err(refused(format!("the secret was not kept: {}", shape::message(provider.kind, fit))));
    }
    let has_settings = request.rate_limit.is_some()
        || request.cost_limit.is_some()
        || request.enabled.is_some()
        || request.weight.is_some()
        || request.account.is_some();
    if is_configured(settings, id) && has_settings {
        return Err(refused(format!("`{id}` stands in the configuration: change its limits there and reload; its secret can be set without them")));
    }
    within_bounds(request)?;
    Ok(provider)
}

/// Adds a key, or replaces its secret.
pub(crate) fn key_set(shared: &Shared, core: &mut Core, request: &KeySet) -> Result<(), ErrorReply> {
    let id = request.id();
    let live = shared.live();
    may_be_set(&live.settings, request, &id)?;
    let configured = is_configured(&live.settings, &id);
    let over = core.safe.entry(&id).and_then(|entry| entry.configured_fingerprint()).map(str::to_owned);
    let kept = core.safe.entry(&id).and_then(|entry| settings_of(&entry.origin));
    let settings = if configured { None } else { Some(KeySettings::of(request, kept)) };
    let sealed = seal(&shared.vault(), &id, &request.secret, &Origin::Set { over, settings }).map_err(|why| failed(&id, &why))?;
    core.keep_secret(shared, &id, sealed).map_err(|why| failed(&id, &why))?;
    let policy = whole_policy(&live.settings, &core.safe);
    core.broker.reconfigure(policy);
    let now = shared.clock.now();
    core.broker.secret_replaced(&id, now);
    Ok(())
}

/// The bounds of a configuration file hold here too.
fn within_bounds(request: &KeySet) -> Result<(), ErrorReply> {
    let out_of = |field: &str, bounds: &RangeInclusive<u64>| {
        Err(refused(format!("`{field}` is a whole number from {} to {}; to keep a key from being used, disable it", bounds.start(), bounds.end())))
    };
    if request.rate_limit.is_some_and(|limit| !RATES.contains(&limit)) {
        return out_of("rate_limit", &RATES);
    }
    if request.weight.is_some_and(|weight| !WEIGHTS.contains(&u64::from(weight))) {
        return out_of("weight", &WEIGHTS);
    }
    if request.cost_limit.is_some_and(|limit| limit < Usd::ZERO || limit > USD_MAX) {
        return Err(refused(format!("`cost_limit` is from 0 to {} dollars", USD_MAX.dollars())));
    }
    Ok(())
}

fn is_configured(settings: &Settings, id: &KeyId) -> bool {
    settings.policy.provider(&id.provider).is_some_and(|provider| provider.key(&id.key).is_some())
}

fn failed(id: &KeyId, why: &crate::daemon::safe::SafeError) -> ErrorReply {
    tracing::error!(target: log::STORE, provider = %id.provider, key = %id.key, error = %why, "a secret can't be kept");
    ErrorReply::new(ErrorCode::Internal, format!("the secret of `{id}` can't be sealed; the daemon's log says why"))
}

fn settings_of(origin: &Origin) -> Option<KeySettings> {
    match origin {
        Origin::Set { settings, .. } => settings.clone(),
        Origin::Configured => None,
    }
}

/// Retires a key that `key_set` added.
pub(crate) fn key_remove(shared: &Shared, core: &mut Core, id: &KeyId) -> Result<(), ErrorReply> {
    let live = shared.live();
    if is_configured(&live.settings, id) {
        return Err(refused(format!(
            "`{id}` stands in the configuration: remove it there and reload; `gollmctl key disable {id}` keeps it from being used"
        )));
    }
    if core.safe.entry(id).is_none() {
        return Err(ErrorReply::new(ErrorCode::UnknownKey, format!("no key `{id}` was set")));
    }
    core.erase_secret(id);
    let policy = whole_policy(&live.settings, &core.safe);
    core.broker.reconfigure(policy);
    core.broker.key_removed(id, shared.clock.now());
    Ok(())
}

/// Lets a key be used again: enables one that `key_set` added, and lifts what sets the key aside.
pub(crate) fn key_enable(shared: &Shared, core: &mut Core, id: &KeyId) -> Result<(), ErrorReply> {
    let live = shared.live();
    let entry = core.safe.entry(id).filter(|_| !is_configured(&live.settings, id)).cloned();
    let changed = entry.as_ref().and_then(|entry| settings_of(&entry.origin)).and_then(KeySettings::enabled);
    if let (Some(entry), Some(settings)) = (entry, changed) {
        let origin = Origin::Set { over: entry.configured_fingerprint().map(str::to_owned), settings: Some(settings) };
        let sealed = entry.open(&shared.vault()).and_then(|secret| seal(&shared.vault(), id, &secret, &origin)).map_err(|why| failed(id, &why))?;
        core.keep_secret(shared, id, sealed).map_err(|why| failed(id, &why))?;
        let policy = whole_policy(&live.settings, &core.safe);
        core.broker.reconfigure(policy);
    }
    core.decide(shared, |broker, moment| broker.key_enable(id, moment))
}

/// The provider as configured, or as the catalogue knows it.
fn provider_of(settings: &Settings, name: &ProviderName) -> Result<ProviderPolicy, ErrorReply> {
    let configured = settings.policy.provider(name).cloned();
    configured.or_else(|| from_catalogue(settings, name)).ok_or_else(|| {
        ErrorReply::new(
            ErrorCode::UnknownProvider,
            format!("no provider `{name}` is configured, and the catalogue does not know it: add it to the configuration with `base_url` and `kind`"),
        )
    })
}

fn from_catalogue(settings: &Settings, name: &ProviderName) -> Option<ProviderPolicy> {
    let known = catalogue::find(name.as_str())?;
    Some(ProviderPolicy {
        name: name.clone(),
        kind: known.name,
        base_url: known.base_url?.to_owned(),
        keys: Vec::new(),
        models: Vec::new(),
        strict_models: false,
        strategy: settings.default_strategy,
        interval: Duration::from_secs(3600),
        per: ChoicePer::Request,
        health_check: true,
        fallback_enabled: true,
    })
}

/// The configured policy, and behind it the keys that `key_set` added.
pub(crate) fn whole_policy(settings: &Settings, safe: &Safe) -> Policy {
    let mut policy = settings.policy.clone();
    let added: BTreeMap<&KeyId, KeySettings> = safe.entries().filter_map(|(id, entry)| Some((id, settings_of(&entry.origin)?))).collect();
    for (id, key) in added {
        if policy.provider(&id.provider).is_none()
            && let Some(provider) = from_catalogue(settings, &id.provider)
        {
            policy.providers.push(provider);
        }
        if let Some(provider) = policy.providers.iter_mut().find(|provider| provider.name == id.provider)
            && provider.key(&id.key).is_none()
        {
            provider.keys.push(key.policy(id));
        }
    }
    policy
}

/// Brings the secrets in line with the configuration: takes up those that it gives, retires those that left. Returns what
/// an admin should know.
pub(crate) fn take_secrets(shared: &Shared, core: &mut Core, settings: &Settings, fetched: &Fetched) -> Vec<String> {
    let mut warnings = Vec::new();
    let now = shared.clock.now();
    for (id, secret) in fetched.iter() {
        let known = core.safe.entry(id).cloned();
        let secret = match secret {
            Ok(secret) => secret,
            Err(why) if known.is_some() => {
                warnings.push(format!("{id}: {why}; the secret that was kept before is used"));
                continue;
            }
            Err(why) => {
                warnings.push(format!("{id}: {why}; the key can't be used"));
                continue;
            }
        };
        let fingerprint = shared.vault().fingerprint(secret);
        match known {
            Some(entry) if entry.fingerprint == fingerprint && entry.origin == Origin::Configured => continue,
            Some(entry) if matches!(&entry.origin, Origin::Set { over: Some(over), .. } if *over == fingerprint) => {
                if entry.fingerprint != fingerprint {
                    warnings.push(format!("{id}: the secret that was set by hand is used; the configuration still gives the older one"));
                }
                continue;
            }
            _ => {}
        }
        let kept = seal(&shared.vault(), id, secret, &Origin::Configured).and_then(|sealed| core.keep_secret(shared, id, sealed));
        match kept {
            Ok(()) => core.broker.secret_replaced(id, now),
            Err(why) => warnings.push(format!("{id}: {why}; the key can't be used")),
        }
    }
    retire(core, settings);
    seal_off(core);
    warnings
}

/// Erases the secrets of keys that left the configuration.
fn retire(core: &mut Core, settings: &Settings) {
    let left: Vec<KeyId> = core
        .safe
        .entries()
        .filter(|(id, entry)| !is_configured(settings, id) && settings_of(&entry.origin).is_none())
        .map(|(id, _)| id.clone())
        .collect();
    for id in left {
        core.erase_secret(&id);
    }
}

/// Tells the broker which keys have a secret.
fn seal_off(core: &mut Core) {
    let ids: Vec<KeyId> = core.broker.policy().keys().collect();
    for id in ids {
        let sealed = core.safe.entry(&id).is_none();
        core.broker.set_sealed(&id, sealed);
    }
}

/// Applies settings: secrets, policy, and then what hangs on both. Returns what an admin should know.
pub(crate) fn apply(shared: &Shared, core: &mut Core, settings: &Settings, fetched: &mut Fetched) -> Vec<String> {
    let policy = whole_policy(settings, &core.safe);
    core.broker.reconfigure(policy);
    let mut warnings = take_secrets(shared, core, settings, fetched);
    warnings.extend(webhooks::take_up(shared, core, settings, fetched));
    let policy = whole_policy(settings, &core.safe);
    core.broker.reconfigure(policy);
    seal_off(core);
    warnings
}

/// Reads the configuration again. A file that does not load changes nothing.
pub(crate) async fn reload(front: Arc<Front>, asker: Option<Asker>) -> Reply {
    let _one_at_a_time = front.changing.lock().await;
    let shared = front.serving();
    if let Some(why) = &shared.locked {
        tracing::warn!(target: log::CONFIG, "the configuration is read when the store is unlocked");
        return Reply::Error(locking::locked(why));
    }
    report(notify(&Phase::Reloading));
    let was_on = shared.live().settings.audit_logging;
    let reading = Arc::clone(&shared);
    let read = tokio::task::spawn_blocking(move || {
        let settings = config::load(reading.desk.file.as_deref(), &reading.desk.environment).map_err(|why| why.to_string())?;
        let http = Http::new(&reading.desk.environment).map_err(|why| why.to_string())?;
        Ok::<_, String>((settings, http))
    });
    let result = match read.await {
        Ok(Ok((settings, http))) => {
            let refused = metrics::take_up(&front, settings.metrics.as_ref()).err();
            Ok(take_up(&shared, settings, http, refused))
        }
        Ok(Err(why)) => Err(why),
        Err(_) => Err("reading the configuration failed in the daemon".to_owned()),
    };
    report(notify(&Phase::Ready { status: "serving".to_owned() }));
    let reply = match result {
        Ok(durable) => when_durable(Reply::Done, durable).await,
        Err(why) => {
            tracing::error!(target: log::CONFIG, error = %why, "the configuration was not reloaded: nothing was changed");
            let live = shared.live();
            shared.set_live(Live { refused: Some(why.clone()), ..Live::clone(&live) });
            Reply::Error(refused(format!("the configuration does not load, nothing was changed:\n{why}")))
        }
    };
    // That the trail was switched off is the last that it says, and that it was switched on the first.
    let is_on = shared.live().settings.audit_logging;
    let detail = (was_on != is_on).then(|| format!("audit_logging is {is_on} from now on"));
    let noted = Noted { act: "reload", detail, always: was_on || is_on, ..Noted::default() };
    trail::noted_first(&shared, asker.as_ref(), noted, reply).await
}

fn take_up(shared: &Shared, mut settings: Settings, http: Http, refused: Option<String>) -> tokio::sync::oneshot::Receiver<Result<(), String>> {
    let mut fetched = std::mem::take(&mut settings.fetched);
    let mut core = shared.lock();
    let mut warnings = apply(shared, &mut core, &settings, &mut fetched);
    warnings.extend(refused);
    let before = shared.live();
    if before.settings.encrypt_keys != settings.encrypt_keys || before.settings.master != settings.master {
        warnings.push("`encrypt_keys` and `master` take effect when gollmd is restarted".to_owned());
    }
    let (access, unknown) = platform::access(settings.access.as_ref(), shared.desk.socket_group);
    warnings.extend(unknown);
    for warning in &warnings {
        tracing::warn!(target: log::CONFIG, "{warning}");
    }
    // Who waits was let in by the rules of before.
    if before.settings.access != settings.access {
        core.broker.dismiss_all(&ErrorReply::new(ErrorCode::Overloaded, "who is served was changed while this select waited: ask again"));
    }
    let of_store = Arc::clone(&before.of_store);
    let prober = Arc::new(Prober::new(settings.key_timeout, http.clone()));
    let (settings, access, notifier) = (Arc::new(settings), Arc::new(access), Arc::new(Notifier::new(http)));
    shared.set_live(Live { settings, access, prober, notifier, warnings, of_store, refused: None });
    tracing::info!(target: log::CONFIG, "the configuration was reloaded");
    core.serve(shared);
    core.until_durable(shared)
}

fn report(told: std::io::Result<()>) {
    if let Err(why) = told {
        tracing::debug!(error = %why, "the service manager can't be told");
    }
}

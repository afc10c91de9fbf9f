//! Checks of keys: on demand, and (in `rounds`) of themselves.

mod rounds;
mod spending;

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;

use crate::access::Caller;
use crate::catalogue;
use crate::catalogue::shape::{self, Fit};
use crate::daemon::answer::Asker;
use crate::daemon::state::{Core, Shared};
use crate::daemon::trail::Noted;
use crate::daemon::{admin, trail};
use crate::health::checked::{Checked, Contact};
use crate::id::KeyId;
use crate::policy::ProviderPolicy;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::reply::{KeyVerdict, Reply, Validation};
use crate::protocol::request::{KeySet, Validate};
use crate::secret::Secret;

pub(crate) use rounds::rounds;

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
    let noted = Noted { act, target: only.map(ToString::to_string), ..Noted::default() };
    // Before the keys are used.
    let may =
        trail::noted_first(&shared, Some(&asker), noted, chosen.as_ref().map_or_else(|refused| Reply::Error(refused.clone()), |_| Reply::Done)).await;
    match (may, chosen) {
        (Reply::Done, Ok(keys)) => Reply::Validations(check_all(&shared, keys, depth).await),
        (refused, _) => refused,
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
    let began = shared.desk.metrics.now();
    let checked = prober.check(kind, &provider.base_url, secret).await;
    shared.desk.metrics.probed(&provider.name, began);
    checked
}

/// What a check found is the broker's to know.
fn note(shared: &Shared, core: &mut Core, id: &KeyId, checked: &Checked) {
    core.decide(shared, |broker, moment| broker.probed(id, checked, moment));
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
    if shared.lock().is_over() {
        return validation(id, KeyVerdict::Inconclusive, "The store was locked before it could be asked".to_owned());
    }
    let Some(entry) = shared.secret_of(&id) else {
        return validation(id, KeyVerdict::Invalid, "It has no secret; set it with `gollmctl key set`".to_owned());
    };
    let Ok(secret) = entry.open(&shared.vault()) else {
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
            let spending = spending::spend(Arc::clone(shared), caller.clone(), provider, id, entry.fingerprint.clone(), secret);
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

//! The smallest completion that a person asked for: what it found, and what it cost.

use std::sync::Arc;

use super::{note, validation};
use crate::access::Caller;
use crate::catalogue;
use crate::daemon::state::{Durable, Shared};
use crate::id::{KeyId, ModelName};
use crate::money::Usd;
use crate::policy::{Policy, ProviderPolicy};
use crate::probe::Spent;
use crate::protocol::outcome::Outcome;
use crate::protocol::reply::{KeyVerdict, Reported, Validation};
use crate::protocol::request::Record;
use crate::secret::Secret;
use crate::time::clock::Clock;

/// Asks for the smallest completion, and books what it used.
pub(super) async fn spend(
    shared: Arc<Shared>,
    caller: Caller,
    provider: ProviderPolicy,
    id: KeyId,
    fingerprint: String,
    secret: Secret,
) -> Validation {
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

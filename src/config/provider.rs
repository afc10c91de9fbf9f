//! One provider of the configuration: where it is, its keys, models and rotation.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::fields::{self, Fields, KEY, LONG_CONTEXT, MODEL, PROVIDER, ROTATION};
use super::problem::Findings;
use super::secrets::{self, SecretSource};
use super::suggest::suggestion;
use super::tree::{Entry, Node};
use super::value::{BaseUrl, TOKENS, Wrong, base_url, dollars, flag, name, quoted, span, strategy, whole, word};
use crate::catalogue;
use crate::catalogue::prices::{self, LongPrompts, Price, Rates};
use crate::id::{KeyId, ModelName, ProviderName};
use crate::policy::{ChoicePer, KeyPolicy, ModelPolicy, ProviderPolicy, RATES, WEIGHTS};
use crate::protocol::strategy::Strategy;

/// A checked provider, and the sources of its secrets.
pub(super) struct Provider {
    pub(super) policy: ProviderPolicy,
    pub(super) secrets: BTreeMap<KeyId, SecretSource>,
}

/// When a new choice is made, by name.
pub(super) const PER: [(&str, ChoicePer); 2] = [("request", ChoicePer::Request), ("interval", ChoicePer::Interval)];

/// Checks one entry of `providers`. None if it lacks what can't be filled in; that is noted.
pub(super) fn read(entry: &Entry, base: &Path, default_strategy: Strategy, findings: &mut Findings) -> Option<Provider> {
    let path = fields::join("providers", &entry.name);
    let provider: Option<ProviderName> = match entry.name.parse() {
        Ok(provider) => Some(provider),
        Err(why) => {
            findings.add(&entry.at, path.clone(), Wrong::new(format!("{} is no name", quoted(&entry.name)), format!("{why}")));
            None
        }
    };
    let provider_fields = Fields::open(&entry.node, &path, &PROVIDER, findings);
    let api = api(entry, &provider_fields, findings);
    let models = models(&provider_fields, findings);
    let mut secrets = BTreeMap::new();
    let mut keys: Vec<KeyPolicy> = Vec::new();
    for (path, item) in fields::items(provider_fields.child("api_keys"), &provider_fields.path("api_keys"), findings) {
        let Some((key, source)) = key(item, &path, base, findings) else {
            continue;
        };
        if keys.iter().any(|earlier| earlier.name == key.name) {
            let at = item.child("name").map_or(&item.at, |name| &name.at);
            let wrong = Wrong::new(format!("there is another key {}", quoted(key.name.as_str())), "give each key of a provider its own name");
            findings.add(at, fields::join(&path, "name"), wrong);
            continue;
        }
        if let (Some(provider), Some(source)) = (&provider, source) {
            secrets.insert(KeyId { provider: provider.clone(), key: key.name.clone() }, source);
        }
        keys.push(key);
    }
    let mut policy = ProviderPolicy {
        name: provider?,
        kind: api.as_ref().map_or("", |api| api.0),
        base_url: api.as_ref().map(|api| api.1.clone()).unwrap_or_default(),
        keys,
        models,
        strict_models: provider_fields.read("strict_models", flag, findings).unwrap_or(false),
        strategy: default_strategy,
        interval: Duration::from_secs(3600),
        per: ChoicePer::Request,
        health_check: true,
        fallback_enabled: true,
    };
    if let Some(node) = provider_fields.child("rotation") {
        rotation(&Fields::open(node, &provider_fields.path("rotation"), &ROTATION, findings), &mut policy, findings);
    }
    api.map(|_| Provider { policy, secrets })
}

/// Whose API the provider speaks, and where it is.
fn api(entry: &Entry, provider: &Fields<'_>, findings: &mut Findings) -> Option<(&'static str, String)> {
    let kinds: Vec<(&'static str, &'static str)> = catalogue::all().iter().map(|known| (known.name, known.name)).collect();
    let known = catalogue::find(&entry.name);
    let kind = match provider.child("kind") {
        Some(_) => Some(provider.read("kind", word(&kinds), findings)?),
        None => known.map(|known| known.name),
    };
    let url = match provider.child("base_url") {
        Some(_) => Some(provider.read("base_url", base_url, findings)?),
        None => known.and_then(|known| known.base_url).map(|url| BaseUrl { url: url.to_owned(), open: false }),
    };
    let missing = match (kind, &url) {
        (Some(_), Some(_)) => None,
        (None, None) => Some("`base_url: https://…` and `kind: openai` (whose API it speaks)"),
        (None, Some(_)) => Some("`kind: openai` (whose API it speaks)"),
        (Some(_), None) => Some("`base_url: https://…`"),
    };
    if let Some(missing) = missing {
        let what = if known.is_some() { "has no address of its own" } else { "is not in the catalogue" };
        let names: Vec<&str> = kinds.iter().map(|(name, _)| *name).collect();
        let hint = format!("write {missing}; known providers: {}", suggestion(&entry.name, &names));
        findings.add(&entry.at, fields::join("providers", &entry.name), Wrong::new(format!("{} {what}", quoted(&entry.name)), hint));
    }
    if url.as_ref().is_some_and(|url| url.open) {
        findings.warn(&provider.path("base_url"), "keys go to another machine without TLS and can be read on the way; write `https://`");
    }
    kind.zip(url.map(|url| url.url))
}

fn key(node: &Node, path: &str, base: &Path, findings: &mut Findings) -> Option<(KeyPolicy, Option<SecretSource>)> {
    let fields = Fields::open(node, path, &KEY, findings);
    let source = fields.read("key", |node| secrets::source(node, base), findings);
    let rate_limit = fields.read("rate_limit", whole(RATES), findings);
    let cost_limit = fields.read("cost_limit", dollars, findings);
    let enabled = fields.read("enabled", flag, findings).unwrap_or(true);
    let weight = fields.read("weight", whole(WEIGHTS), findings).and_then(|weight| u32::try_from(weight).ok()).unwrap_or(1);
    let account = fields.read("account", name, findings);
    let name = fields.require("name", name, findings)?;
    Some((KeyPolicy { name, rate_limit, cost_limit, enabled, weight, account }, source))
}

fn models(provider: &Fields<'_>, findings: &mut Findings) -> Vec<ModelPolicy> {
    let mut models: Vec<ModelPolicy> = Vec::new();
    for (path, item) in fields::items(provider.child("models"), &provider.path("models"), findings) {
        let fields = Fields::open(item, &path, &MODEL, findings);
        let price = price(&fields, findings);
        let max_tokens = fields.read("max_tokens", whole(TOKENS), findings);
        let enabled = fields.read("enabled", flag, findings).unwrap_or(true);
        let Some(name) = fields.require("name", name::<ModelName>, findings) else {
            continue;
        };
        if models.iter().any(|earlier| earlier.name == name) {
            let at = fields.child("name").map_or(fields.at(), |name| &name.at);
            findings.add(at, fields.path("name"), Wrong::new(format!("there is another model {}", quoted(name.as_str())), "write each model once"));
            continue;
        }
        models.push(ModelPolicy { name, price, max_tokens, enabled });
    }
    models
}

/// The field of a model's prices for long prompts.
const LONG: &str = "long_context";

/// A price needs both sides; a model may have none.
pub(super) fn price(model: &Fields<'_>, findings: &mut Findings) -> Option<Price> {
    let some = [prices::INPUT, prices::OUTPUT, prices::CACHED_INPUT, prices::CACHE_WRITE, LONG].iter().any(|field| model.child(field).is_some());
    if !some {
        return None;
    }
    let rates = rates(model, findings);
    let long = match model.child(LONG) {
        None => None,
        Some(node) => {
            let fields = Fields::open(node, &model.path(LONG), &LONG_CONTEXT, findings);
            let above = fields.require("above_input_tokens", whole(TOKENS), findings);
            let rates = self::rates(&fields, findings);
            Some(LongPrompts { above: above?, rates: rates? })
        }
    };
    Some(Price { rates: rates?, long })
}

fn rates(fields: &Fields<'_>, findings: &mut Findings) -> Option<Rates> {
    let input = fields.require(prices::INPUT, dollars, findings);
    let output = fields.require(prices::OUTPUT, dollars, findings);
    let cached_input = fields.read(prices::CACHED_INPUT, dollars, findings);
    let cache_write = fields.read(prices::CACHE_WRITE, dollars, findings);
    Some(Rates { input: input?, output: output?, cached_input, cache_write })
}

fn rotation(fields: &Fields<'_>, policy: &mut ProviderPolicy, findings: &mut Findings) {
    if let Some(strategy) = fields.read("strategy", strategy, findings) {
        policy.strategy = strategy;
    }
    if let Some(interval) = fields.read("interval", span, findings) {
        policy.interval = interval;
    }
    if let Some(per) = fields.read("per", word(&PER), findings) {
        policy.per = per;
    }
    policy.health_check = fields.read("health_check", flag, findings).unwrap_or(true);
    policy.fallback_enabled = fields.read("fallback_enabled", flag, findings).unwrap_or(true);
}

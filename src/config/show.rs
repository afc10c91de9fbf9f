//! Writes a configuration as it is in effect: defaults filled in, secrets left out.

use std::fmt::{self, Display, Write as _};
use std::time::Duration;

use super::secrets::SecretSource;
use super::webhook::Webhook;
use super::{Settings, provider};
use crate::id::KeyId;
use crate::money::Usd;
use crate::policy::{AccessPolicy, KeyPolicy, ModelPolicy, Policy, ProviderPolicy, Who};
use crate::time::span::Span;

/// The effective configuration as YAML, every default filled in. It can be loaded again; a secret that stands as text in the
/// file is left out, with a comment that shows its last four characters, so such a key then counts as one whose secret is in the store.
#[must_use]
pub fn show(settings: &Settings) -> String {
    show_with(settings, &settings.policy)
}

/// As [`show`], with the providers and keys of another policy: those that were set by hand among them.
#[must_use]
pub fn show_with(settings: &Settings, policy: &Policy) -> String {
    let mut out = Out(String::new());
    let providers = &policy.providers;
    out.line(0, format_args!("providers:{}", if providers.is_empty() { " {}" } else { "" }));
    for provider in providers {
        show_provider(&mut out, provider, settings);
    }
    show_global(&mut out, settings);
    if let Some(access) = &settings.access {
        show_access(&mut out, access);
    }
    out.line(0, format_args!("master:"));
    out.field(2, "source", settings.master.name());
    out.line(0, format_args!("audit:"));
    out.field(2, "selects", settings.audit.selects.name());
    out.span(2, "keep", settings.audit.keep);
    out.field(2, "max_entries", settings.audit.max_entries);
    if !settings.webhooks.is_empty() {
        let shown = settings.webhooks.iter().any(|webhook| !matches!(webhook.url, SecretSource::File(_)));
        out.line(0, format_args!("webhooks:{}", if shown { "" } else { " []" }));
        settings.webhooks.iter().for_each(|webhook| show_webhook(&mut out, webhook));
    }
    if let Some(address) = &settings.metrics {
        out.line(0, format_args!("metrics:"));
        out.field(2, "listen", quote(&address.to_string()));
    }
    out.0
}

fn show_global(out: &mut Out, settings: &Settings) {
    let policy = &settings.policy;
    let chain: Vec<String> = policy.fallback_chain.iter().map(|name| quote(name.as_str())).collect();
    out.line(0, format_args!("global:"));
    out.field(2, "fallback_chain", format_args!("[{}]", chain.join(", ")));
    out.line(2, format_args!("equivalent_models:{}", if policy.equivalent_models.is_empty() { " []" } else { "" }));
    for list in &policy.equivalent_models {
        let models: Vec<String> = list.iter().map(|id| quote(&id.to_string())).collect();
        out.line(4, format_args!("- [{}]", models.join(", ")));
    }
    out.limit(2, "global_rate_limit", policy.global_rate_limit);
    out.limit(2, "daily_cost_limit", policy.daily_cost_limit.map(Usd::dollars));
    out.field(2, "cost_alert_threshold", policy.cost_alert_threshold);
    out.field(2, "encrypt_keys", settings.encrypt_keys);
    out.field(2, "key_validation", settings.key_validation);
    out.field(2, "audit_logging", settings.audit_logging);
    out.field(2, "default_rotation_strategy", settings.default_strategy.name());
    out.span(2, "health_check_interval", policy.health_check_interval);
    out.span(2, "key_timeout", settings.key_timeout);
    out.span(2, "lease_ttl", policy.lease_ttl);
}

fn show_webhook(out: &mut Out, webhook: &Webhook) {
    // A URL may hold a token: without its path it is none that can be sent to.
    let (mark, url) = match &webhook.url {
        SecretSource::File(url) => ("# ", quote(&format!("{}/…", origin(url.expose())))),
        source => ("", quote(&reference(source))),
    };
    let hidden = if mark.is_empty() { "" } else { " (text in the file, its path hidden)" };
    out.line(2, format_args!("{mark}- url: {url}{hidden}"));
    match &webhook.secret {
        Some(SecretSource::File(_)) => out.line(2, format_args!("{mark}  # secret: text in the file, hidden")),
        Some(source) => out.line(2, format_args!("{mark}  secret: {}", quote(&reference(source)))),
        None => {}
    }
    if let Some(kinds) = &webhook.kinds {
        let kinds: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
        out.line(2, format_args!("{mark}  kinds: [{}]", kinds.join(", ")));
    }
    out.line(2, format_args!("{mark}  format: {}", webhook.format.name()));
}

/// A URL without its path.
fn origin(url: &str) -> &str {
    let start = url.find("://").map_or(0, |at| at + 3);
    let end = url.get(start..).and_then(|rest| rest.find(['/', '?', '#'])).map_or(url.len(), |at| start + at);
    url.get(..end).unwrap_or_default()
}

/// Where a secret comes from, as it is written.
fn reference(source: &SecretSource) -> String {
    match source {
        SecretSource::File(_) => String::new(),
        SecretSource::Variable(name) => format!("env:{name}"),
        SecretSource::Path(path) => format!("file:{}", path.display()),
        SecretSource::Credential(name) => format!("credential:{name}"),
    }
}

fn show_access(out: &mut Out, access: &AccessPolicy) {
    let names = |names: &[Who]| names.iter().map(|who| quote(&who.0)).collect::<Vec<_>>().join(", ");
    out.line(0, format_args!("access:"));
    out.line(2, format_args!("admins:"));
    out.field(4, "users", format_args!("[{}]", names(&access.admin_users)));
    out.field(4, "groups", format_args!("[{}]", names(&access.admin_groups)));
    out.line(2, format_args!("clients:{}", if access.clients.is_empty() { " []" } else { "" }));
    for rule in &access.clients {
        out.line(4, format_args!("- match:"));
        let matches = [
            ("user", rule.user.as_ref().map(|who| who.0.as_str())),
            ("group", rule.group.as_ref().map(|who| who.0.as_str())),
            ("unit", rule.unit.as_deref()),
        ];
        for (name, value) in matches.into_iter().filter_map(|(name, value)| Some((name, value?))) {
            out.field(10, name, quote(value));
        }
        if let Some(providers) = &rule.providers {
            let providers: Vec<String> = providers.iter().map(|name| quote(name.as_str())).collect();
            out.field(6, "providers", format_args!("[{}]", providers.join(", ")));
        }
        out.limit(6, "rate_limit", rule.rate_limit);
        out.limit(6, "cost_limit", rule.cost_limit.map(Usd::dollars));
        out.field(6, "reveal", rule.reveal);
    }
}

fn show_provider(out: &mut Out, provider: &ProviderPolicy, settings: &Settings) {
    out.line(2, format_args!("{}:", quote(provider.name.as_str())));
    out.field(4, "kind", quote(provider.kind));
    out.field(4, "base_url", quote(&provider.base_url));
    out.line(4, format_args!("api_keys:{}", if provider.keys.is_empty() { " []" } else { "" }));
    for key in &provider.keys {
        let id = KeyId { provider: provider.name.clone(), key: key.name.clone() };
        show_key(out, key, settings.secrets.get(&id));
    }
    out.line(4, format_args!("models:{}", if provider.models.is_empty() { " []" } else { "" }));
    for model in &provider.models {
        show_model(out, model);
    }
    out.field(4, "strict_models", provider.strict_models);
    out.line(4, format_args!("rotation:"));
    out.field(6, "strategy", provider.strategy.name());
    out.span(6, "interval", provider.interval);
    let per = provider::PER.iter().find(|(_, per)| *per == provider.per).map_or("", |(name, _)| name);
    out.field(6, "per", per);
    out.field(6, "health_check", provider.health_check);
    out.field(6, "fallback_enabled", provider.fallback_enabled);
}

fn show_key(out: &mut Out, key: &KeyPolicy, source: Option<&SecretSource>) {
    out.line(6, format_args!("- name: {}", quote(key.name.as_str())));
    match source {
        Some(SecretSource::File(secret)) => {
            out.line(8, format_args!("# key: {} (text in the file, hidden)", quote(&format!("…{}", secret.last_four()))))
        }
        Some(source) => out.field(8, "key", quote(&reference(source))),
        None => out.line(8, format_args!("# key: in the store")),
    }
    out.limit(8, "rate_limit", key.rate_limit);
    out.limit(8, "cost_limit", key.cost_limit.map(Usd::dollars));
    out.field(8, "enabled", key.enabled);
    out.field(8, "weight", key.weight);
    match &key.account {
        Some(account) => out.field(8, "account", quote(account.as_str())),
        None => out.line(8, format_args!("# account: learned")),
    }
}

fn show_model(out: &mut Out, model: &ModelPolicy) {
    out.line(6, format_args!("- name: {}", quote(model.name.as_str())));
    if let Some(price) = model.price {
        for (name, rate) in price.rates.named() {
            out.field(8, name, rate.dollars());
        }
        if let Some(long) = price.long {
            out.line(8, format_args!("long_context:"));
            out.field(10, "above_input_tokens", long.above);
            for (name, rate) in long.rates.named() {
                out.field(10, name, rate.dollars());
            }
        }
    }
    if let Some(tokens) = model.max_tokens {
        out.field(8, "max_tokens", tokens);
    }
    out.field(8, "enabled", model.enabled);
}

/// Lines of YAML.
struct Out(String);

impl Out {
    fn line(&mut self, indent: usize, text: fmt::Arguments<'_>) {
        // Writing to a String can't fail.
        writeln!(self.0, "{:indent$}{text}", "").unwrap_or_default();
    }

    fn field(&mut self, indent: usize, name: &str, value: impl Display) {
        self.line(indent, format_args!("{name}: {value}"));
    }

    fn span(&mut self, indent: usize, name: &str, span: Duration) {
        match Span::new(span) {
            Ok(span) => self.field(indent, name, span),
            Err(why) => self.line(indent, format_args!("# {name}: {why}")),
        }
    }

    /// A limit, or a comment that says that there is none.
    fn limit(&mut self, indent: usize, name: &str, limit: Option<impl Display>) {
        match limit {
            Some(limit) => self.field(indent, name, limit),
            None => self.line(indent, format_args!("# {name}: no limit")),
        }
    }
}

/// A double-quoted YAML scalar (YAML 1.2, section 7.3.1): names such as `null` or `1` stay texts.
fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.extend(format!("\\u{:04x}", u32::from(c)).chars()),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::parse;
    use super::*;
    use crate::environment::Environment;

    fn read(text: &str) -> Settings {
        parse(text, Path::new("/etc/gollm/f.yaml"), &Environment::default()).unwrap_or_else(|why| panic!("{why}"))
    }

    #[test]
    fn what_is_shown_loads_again_and_means_the_same() {
        let sources = "{name: a, key: env:A}, {name: b, key: file:k}, {name: c, key: credential:c, account: x, weight: 3, cost_limit: 0.000000001}";
        let written = format!(
            "providers: {{openai: {{api_keys: [{sources}], rotation: {{per: interval}}}}}}\nmaster: {{source: file}}\nmetrics: {{listen: '[::1]:9464'}}"
        );
        for text in [written.as_str(), "", include_str!("../../gollm-config.yaml.example")] {
            let settings = read(text);
            let again = read(&show(&settings));
            assert_eq!(again.policy, settings.policy);
            assert_eq!(format!("{:?}", again.secrets), format!("{:?}", settings.secrets));
            assert_eq!(show(&again), show(&settings));
        }
    }

    #[test]
    fn a_secret_in_the_file_is_hidden_but_for_its_end() {
        let shown = show(&read("providers: {openai: {api_keys: [{name: a, key: sk-proj-PLANTEDplanted-wxyz}]}}"));
        assert!(!shown.to_lowercase().contains("planted"));
        assert!(shown.contains("        # key: \"…wxyz\" (text in the file, hidden)\n"), "{shown}");
        assert!(read(&shown).secrets.is_empty());
    }

    #[test]
    fn a_quoted_text_reads_back_the_same() {
        for text in ["null", "1e5", "a\"b\\c", "line\nbreak", "…ä", "- x: {"] {
            assert_eq!(super::super::file::scalar(&quote(text)).as_deref(), Some(text));
        }
    }
}

//! From the tree to checked settings. Everything that is wrong is noted; where it is, a harmless value stands in its place.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::access;
use super::fields::{self, AUDIT, Fields, GLOBAL, MASTER, METRICS, TOP};
use super::metrics;
use super::problem::Findings;
use super::provider::{self, Provider};
use super::secrets::Fetched;
use super::tree::Node;
use super::value::{Wrong, dollars, flag, name, quoted, share, span, strategy, whole, word};
use super::webhook;
use super::{AuditSettings, AuditedSelects, MasterSetting, Settings};
use crate::catalogue::prices::PriceList;
use crate::id::ProviderName;
use crate::policy::{ModelId, Policy, RATES};
use crate::protocol::strategy::Strategy;

/// Entries that the audit trail may be bounded to: all of them are in memory.
const AUDIT_ENTRIES: std::ops::RangeInclusive<u64> = 100..=1_000_000;

/// Checks the whole tree. `base` is where relative paths start.
pub(super) fn settings(root: &Node, base: &Path, findings: &mut Findings) -> Settings {
    let top = Fields::open(root, "", &TOP, findings);
    let mut settings = defaults();
    if let Some(node) = top.child("global") {
        global(&Fields::open(node, "global", &GLOBAL, findings), &mut settings, findings);
    }
    if let Some(node) = top.child("access") {
        settings.access = Some(access::read(node, findings));
    }
    if let Some(node) = top.child("master") {
        let master = Fields::open(node, "master", &MASTER, findings);
        settings.master = master.read("source", word(&MasterSetting::ALL), findings).unwrap_or_default();
    }
    if let Some(node) = top.child("audit") {
        let fields = Fields::open(node, "audit", &AUDIT, findings);
        let audit = &mut settings.audit;
        set(&mut audit.selects, fields.read("selects", word(&AuditedSelects::ALL), findings));
        set(&mut audit.keep, fields.read("keep", span, findings));
        set(&mut audit.max_entries, fields.read("max_entries", whole(AUDIT_ENTRIES), findings).and_then(|most| usize::try_from(most).ok()));
    }
    if let Some(node) = top.child("webhooks") {
        settings.webhooks = webhook::read(node, base, findings);
    }
    if let Some(node) = top.child("metrics") {
        settings.metrics = Fields::open(node, "metrics", &METRICS, findings).require("listen", metrics::address, findings);
    }
    if let Some(node) = top.child("providers") {
        for entry in fields::entries(node, "providers", findings) {
            let Provider { policy, secrets } = match provider::read(entry, base, settings.default_strategy, findings) {
                Some(provider) => provider,
                None => continue,
            };
            settings.secrets.extend(secrets);
            settings.policy.providers.push(policy);
        }
    }
    for (number, unknown) in settings.access.iter().flat_map(|access| access.unknown_providers(&settings.policy)) {
        findings.warn(
            &format!("access.clients[{number}].providers"),
            format_args!("there is no provider {}; it is passed over", quoted(unknown.as_str())),
        );
    }
    let chain = top.child("global").and_then(|global| global.child("fallback_chain"));
    settings.policy.fallback_chain = fallback_chain(chain, &settings.policy, findings);
    let lists = top.child("global").and_then(|global| global.child("equivalent_models"));
    settings.policy.equivalent_models = equivalent_models(lists, &settings.policy, findings);
    settings
}

/// The settings of an empty configuration.
fn defaults() -> Settings {
    Settings {
        policy: Policy {
            providers: Vec::new(),
            fallback_chain: Vec::new(),
            equivalent_models: Vec::new(),
            prices: PriceList::default(),
            global_rate_limit: None,
            daily_cost_limit: None,
            cost_alert_threshold: 0.8,
            lease_ttl: Duration::from_secs(600),
            health_check_interval: Duration::from_secs(300),
        },
        secrets: BTreeMap::new(),
        webhooks: Vec::new(),
        fetched: Fetched::default(),
        file: None,
        master: MasterSetting::Auto,
        default_strategy: Strategy::RoundRobin,
        encrypt_keys: true,
        key_validation: true,
        audit_logging: true,
        audit: AuditSettings { selects: AuditedSelects::None, keep: Duration::from_secs(90 * 86_400), max_entries: 50_000 },
        metrics: None,
        key_timeout: Duration::from_secs(30),
        access: None,
        misplaced: Vec::new(),
        warnings: Vec::new(),
    }
}

fn global(fields: &Fields<'_>, settings: &mut Settings, findings: &mut Findings) {
    let policy = &mut settings.policy;
    policy.global_rate_limit = fields.read("global_rate_limit", whole(RATES), findings);
    policy.daily_cost_limit = fields.read("daily_cost_limit", dollars, findings);
    set(&mut policy.cost_alert_threshold, fields.read("cost_alert_threshold", share, findings));
    set(&mut policy.lease_ttl, fields.read("lease_ttl", span, findings));
    set(&mut policy.health_check_interval, fields.read("health_check_interval", span, findings));
    set(&mut settings.key_timeout, fields.read("key_timeout", span, findings));
    set(&mut settings.encrypt_keys, fields.read("encrypt_keys", flag, findings));
    set(&mut settings.key_validation, fields.read("key_validation", flag, findings));
    set(&mut settings.audit_logging, fields.read("audit_logging", flag, findings));
    set(&mut settings.default_strategy, fields.read("default_rotation_strategy", strategy, findings));
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

fn fallback_chain(node: Option<&Node>, policy: &Policy, findings: &mut Findings) -> Vec<ProviderName> {
    let mut chain: Vec<ProviderName> = Vec::new();
    for (path, item) in fields::items(node, "global.fallback_chain", findings) {
        match name::<ProviderName>(item) {
            Err(Wrong { what, .. }) => findings.warn(&path, format_args!("{what}; it is passed over")),
            Ok(name) if chain.contains(&name) => {
                findings.warn(&path, format_args!("{} stands here a second time; it is passed over", quoted(name.as_str())));
            }
            Ok(name) if policy.provider(&name).is_none() => {
                findings.warn(&path, format_args!("there is no provider {}; it is passed over", quoted(name.as_str())));
            }
            Ok(name) => chain.push(name),
        }
    }
    chain
}

fn equivalent_models(node: Option<&Node>, policy: &Policy, findings: &mut Findings) -> Vec<Vec<ModelId>> {
    let mut lists = Vec::new();
    for (path, list) in fields::items(node, "global.equivalent_models", findings) {
        let mut models: Vec<ModelId> = Vec::new();
        for (path, item) in fields::items(Some(list), &path, findings) {
            let id = match name::<ModelId>(item) {
                Ok(id) => id,
                Err(wrong) => {
                    findings.add(&item.at, path, wrong);
                    continue;
                }
            };
            if policy.provider(&id.provider).is_none() {
                findings.warn(&path, format_args!("there is no provider {}; it is passed over", quoted(id.provider.as_str())));
            }
            models.push(id);
        }
        lists.push(models);
    }
    lists
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;
    use crate::environment::Environment;
    use crate::policy::ChoicePer;

    fn read(text: &str) -> Result<Settings, String> {
        parse(text, Path::new("f.yaml"), &Environment::default()).map_err(|why| why.to_string())
    }

    fn errors(text: &str) -> String {
        read(text).err().unwrap_or_default()
    }

    #[test]
    fn nothing_configured_is_a_configuration() {
        let settings = read("").unwrap();
        assert_eq!(settings.policy, defaults().policy);
        assert!(read("providers:\nglobal:\nmaster:\n").is_ok());
    }

    #[test]
    fn the_complete_example_of_the_users_loads_unchanged() {
        let settings = read(include_str!("../../tests/data/config/complete.yaml")).unwrap();
        let openai = &settings.policy.providers[0];
        assert_eq!((openai.name.as_str(), openai.kind, openai.base_url.as_str()), ("openai", "openai", "https://api.openai.com/v1"));
        assert_eq!((openai.keys[0].rate_limit, openai.keys[0].cost_limit.map(|usd| usd.dollars())), (Some(1000), Some(100.0)));
        assert_eq!(openai.models[0].price.map(|price| (price.rates.input.dollars(), price.rates.output.dollars())), Some((0.03, 0.06)));
        assert_eq!((openai.models[0].max_tokens, openai.per), (Some(8192), ChoicePer::Request));
        let anthropic = &settings.policy.providers[1];
        assert_eq!((anthropic.strategy, anthropic.interval), (Strategy::LeastUsed, Duration::from_secs(1800)));
        assert_eq!(settings.policy.global_rate_limit, Some(2000));
        assert_eq!(settings.policy.fallback_chain.len(), 2);
        assert_eq!(settings.warnings, ["global.fallback_chain[2]: there is no provider `gemini`; it is passed over"]);
        assert_eq!(settings.secrets.len(), 2);
    }

    #[test]
    fn the_quick_start_example_loads_unchanged() {
        let settings = read(include_str!("../../tests/data/config/quick-start.yaml")).unwrap();
        assert_eq!(settings.policy.keys().map(|id| id.to_string()).collect::<Vec<_>>(), ["openai/primary", "openai/secondary"]);
        assert!(settings.warnings.is_empty());
    }

    #[test]
    fn a_fallback_chain_is_never_an_error() {
        let settings = read("providers: {openai: {}}\nglobal: {fallback_chain: [openai, openai, 'A B', 7]}").unwrap();
        assert_eq!(settings.policy.fallback_chain.len(), 1);
        assert_eq!(
            settings.warnings,
            [
                "global.fallback_chain[1]: `openai` stands here a second time; it is passed over",
                "global.fallback_chain[2]: `A B` is no name; it is passed over",
                "global.fallback_chain[3]: found `7`; it is passed over",
            ]
        );
    }

    #[test]
    fn every_problem_is_listed_with_its_place() {
        let text = include_str!("../../tests/data/config/wrong.yaml");
        let expected = include_str!("../../tests/data/config/wrong.txt");
        assert_eq!(errors(text), expected.trim_end());
    }

    #[test]
    fn a_section_that_is_no_map_or_list_is_refused() {
        assert!(errors("[]").contains("f.yaml:1:1: found a list; write a map"));
        assert!(errors("providers: [a]").contains("f.yaml:1:12: providers: found a list; write a map"));
        assert!(errors("providers: {openai: {api_keys: {primary: x}}}").contains("providers.openai.api_keys: found a map; write a list"));
        assert!(errors("providers: {openai: {api_keys: [x]}}").contains("providers.openai.api_keys[0]: found the text `x`; write a map"));
    }

    #[test]
    fn metrics_are_for_this_machine_alone() {
        assert_eq!(read("").unwrap().metrics, None);
        assert!(read("metrics:").unwrap().metrics.is_none());
        assert_eq!(read("metrics: {listen: '127.0.0.1:9464'}").unwrap().metrics.map(|place| place.to_string()).as_deref(), Some("127.0.0.1:9464"));
        assert!(errors("metrics: {}").contains("f.yaml:1:10: metrics.listen: it is missing"));
        assert!(errors("metrics:\n  listen: 0.0.0.0:9464\n").starts_with("f.yaml:2:11: metrics.listen: `0.0.0.0:9464` is no loopback address"));
        assert!(errors("metrics: {listen: 9464}").contains("metrics.listen: found `9464`"));
        assert!(errors("metrics: {port: 1}").contains("metrics.port: there is no field `port`"));
    }

    #[test]
    fn a_place_is_right_in_every_way_of_writing_yaml() {
        assert!(errors("\u{feff}# x\r\nglobal:\r\n  lease_ttl: 0s\r\n").starts_with("f.yaml:3:14: global.lease_ttl: "));
        assert!(errors("{\"global\":\n  {\"lease_ttl\": \"0s\"}}").starts_with("f.yaml:2:17: global.lease_ttl: "));
        assert!(errors("global:\n  key_timeout: &t 1s\n  lease_ttl: *t\n  health_check_interval: |\n    0s\n").starts_with("f.yaml:4:26: "));
        assert!(errors("# [{'\n---\nglobal: {default_rotation_strategy: 'it''s'}\n").starts_with("f.yaml:3:37: "));
        assert!(errors("global: {<<: {lease_ttl: 5m}}").contains("f.yaml:1:10: global.<<: there is no field `<<`"));
        assert!(errors("global:\n\tlease_ttl: 5m\n").starts_with("f.yaml:2:1: this is not YAML: found character that cannot start any token"));
    }

    #[test]
    fn a_long_file_with_many_problems_is_refused_soon() {
        let key = |n: usize| format!("{{name: k{n}, rate_limit: -{n}, cost_limit: no, key: env:A}}");
        let keys: Vec<String> = (1..500).map(key).collect();
        assert!(errors(&format!("providers: {{openai: {{api_keys: [{}]}}}}", keys.join(",\n"))).ends_with("problems more"));
    }

    #[test]
    fn more_problems_than_are_listed_are_counted() {
        let text: String = (0..60).map(|n| format!("wrong{n}: 1\n")).collect();
        assert!(errors(&text).ends_with("\nf.yaml: and 10 problems more"));
    }

    #[test]
    fn an_unknown_provider_needs_an_address_and_a_kind() {
        let openia = errors("providers: {openia: {}}");
        assert!(
            openia.starts_with("f.yaml:1:13: providers.openia: `openia` is not in the catalogue; write `base_url: https://…` and `kind: openai`")
        );
        assert!(openia.contains("did you mean `openai`?"));
        assert!(errors("providers: {mine: {base_url: 'https://h/v1'}}").contains("write `kind: openai`"));
        assert!(errors("providers: {mine: {kind: openai}}").contains("write `base_url: https://…`;"));
        let settings = read("providers: {mine: {kind: openai, base_url: 'http://10.0.0.1/v1/'}}").unwrap();
        assert_eq!((settings.policy.providers[0].kind, settings.policy.providers[0].base_url.as_str()), ("openai", "http://10.0.0.1/v1"));
        assert!(settings.warnings[0].starts_with("providers.mine.base_url: keys go to another machine without TLS"));
    }

    #[test]
    fn a_secret_in_the_wrong_place_is_in_no_message() {
        let planted = "sk-proj-PLANTEDplantedPLANTED0123456789";
        let places = [
            "SECRET",
            "SECRET: 1",
            "providers: SECRET",
            "providers: {SECRET: {}}",
            "providers: {openai: SECRET}",
            "providers: {openai: {SECRET: 1}}",
            "providers: {openai: {api_keys: SECRET}}",
            "providers: {openai: {api_keys: [SECRET]}}",
            "providers: {openai: {api_keys: [{SECRET: primary}]}}",
            "providers: {openai: {api_keys: [{name: SECRET}]}}",
            "providers: {openai: {api_keys: [{name: a, key: [SECRET]}]}}",
            "providers: {openai: {api_keys: [{name: a, key: {SECRET: SECRET}}]}}",
            "providers: {openai: {api_keys: [{name: a, key: 'SECRET x'}]}}",
            "providers: {openai: {api_keys: [{name: a, key: SECRET, key: SECRET}]}}",
            "providers: {openai: {api_keys: [{name: a, key: SECRET, rate_limit: SECRET, cost_limit: SECRET, enabled: SECRET, weight: SECRET}]}}",
            "providers: {openai: {api_keys: [{name: a, key: SECRET}, {name: a, key: SECRET}]}}",
            "providers: {openai: {api_keys: [{key: SECRET}]}}",
            "providers: {openai: {api_keys: [{name: a, key: !x SECRET}]}}",
            "providers: {openai: {api_keys: [{name: a, key: !!int SECRET}]}}",
            "providers: {openai: {api_keys: [{name: a, key: '${SECRET}'}]}}",
            "providers: {openai: {api_keys: [{name: a, key: 'credential:/SECRET'}]}}",
            "providers: {openai: {api_keys: [{name: a, key: \"SECRET}]}}",
            "providers: {openai: {api_keys: [{name: a, key: *SECRET}]}}",
            "providers: {openai: {base_url: SECRET}}",
            "providers: {openai: {base_url: 'https://SECRET@h'}}",
            "providers: {openai: {kind: SECRET}}",
            "providers: {openai: {rotation: {strategy: SECRET, interval: SECRET, per: SECRET}}}",
            "providers: {openai: {models: [{name: 'a SECRET'}]}}",
            "global: {fallback_chain: [SECRET], key_timeout: SECRET, daily_cost_limit: SECRET, SECRET: SECRET}",
            "master: {source: SECRET}",
            "metrics: {listen: SECRET}",
            "metrics: {listen: 'unix:SECRET'}",
        ];
        for place in places {
            let text = place.replace("SECRET", planted);
            let why = parse(&text, Path::new("f.yaml"), &Environment::default()).err().unwrap_or_else(|| panic!("{place} was accepted"));
            assert!(!why.to_string().to_lowercase().contains("planted") && !format!("{why:?}").to_lowercase().contains("planted"), "{place}: {why}");
        }
    }
}

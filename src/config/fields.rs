//! The fields that a configuration may have, and reading the maps that hold them.

use super::problem::Findings;
use super::suggest::suggestion;
use super::tree::{At, Entry, Node, Value};
use super::value::{Wrong, found, quoted};

/// A field's name and what it is when left out; none: nothing, or what its meaning says.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    #[cfg_attr(not(test), expect(dead_code, reason = "tests hold the code and the example file to it"))]
    default: Option<&'static str>,
}

/// A map with fixed fields.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) fields: &'static [Field],
}

const fn field(name: &'static str) -> Field {
    Field { name, default: None }
}

const fn field_or(name: &'static str, default: &'static str) -> Field {
    Field { name, default: Some(default) }
}

/// The whole file.
pub(super) const TOP: Section =
    Section { fields: &[field("providers"), field("global"), field("access"), field("master"), field("audit"), field("webhooks"), field("metrics")] };

/// `providers.P`
pub(super) const PROVIDER: Section = Section {
    fields: &[field("kind"), field("base_url"), field("api_keys"), field("models"), field_or("strict_models", "false"), field("rotation")],
};

/// `providers.P.api_keys[]`
pub(super) const KEY: Section = Section {
    fields: &[
        field("name"),
        field("key"),
        field("rate_limit"),
        field("cost_limit"),
        field_or("enabled", "true"),
        field_or("weight", "1"),
        field("account"),
    ],
};

/// `providers.P.models[]`
pub(super) const MODEL: Section = Section {
    fields: &[
        field("name"),
        field("input_cost_per_1k_tokens"),
        field("output_cost_per_1k_tokens"),
        field("cached_input_cost_per_1k_tokens"),
        field("cache_write_cost_per_1k_tokens"),
        field("long_context"),
        field("max_tokens"),
        field_or("enabled", "true"),
    ],
};

/// `providers.P.rotation`
pub(super) const ROTATION: Section = Section {
    fields: &[
        field("strategy"),
        field_or("interval", "1h"),
        field_or("per", "request"),
        field_or("health_check", "true"),
        field_or("fallback_enabled", "true"),
    ],
};

/// `global`
pub(super) const GLOBAL: Section = Section {
    fields: &[
        field("fallback_chain"),
        field("equivalent_models"),
        field("global_rate_limit"),
        field("daily_cost_limit"),
        field_or("cost_alert_threshold", "0.8"),
        field_or("encrypt_keys", "true"),
        field_or("key_validation", "true"),
        field_or("audit_logging", "true"),
        field_or("default_rotation_strategy", "round_robin"),
        field_or("health_check_interval", "5m"),
        field_or("key_timeout", "30s"),
        field_or("lease_ttl", "10m"),
    ],
};

/// A model in a file of prices.
pub(super) const PRICE: Section = Section {
    fields: &[
        field("input_cost_per_1k_tokens"),
        field("output_cost_per_1k_tokens"),
        field("cached_input_cost_per_1k_tokens"),
        field("cache_write_cost_per_1k_tokens"),
        field("long_context"),
    ],
};

/// `long_context` of a model
pub(super) const LONG_CONTEXT: Section = Section {
    fields: &[
        field("above_input_tokens"),
        field("input_cost_per_1k_tokens"),
        field("output_cost_per_1k_tokens"),
        field("cached_input_cost_per_1k_tokens"),
        field("cache_write_cost_per_1k_tokens"),
    ],
};

/// `access`
pub(super) const ACCESS: Section = Section { fields: &[field("admins"), field("clients")] };

/// `access.admins`
pub(super) const ADMINS: Section = Section { fields: &[field("users"), field("groups")] };

/// `access.clients[]`
pub(super) const CLIENT: Section =
    Section { fields: &[field("match"), field("providers"), field("rate_limit"), field("cost_limit"), field_or("reveal", "true")] };

/// `access.clients[].match`
pub(super) const MATCH: Section = Section { fields: &[field("user"), field("group"), field("unit")] };

/// `master`
pub(super) const MASTER: Section = Section { fields: &[field_or("source", "auto")] };

/// `audit`
pub(super) const AUDIT: Section = Section { fields: &[field_or("selects", "none"), field_or("keep", "90d"), field_or("max_entries", "50000")] };

/// `webhooks[]`
pub(super) const WEBHOOK: Section = Section { fields: &[field("url"), field("secret"), field("kinds"), field_or("format", "json")] };

/// `metrics`
pub(super) const METRICS: Section = Section { fields: &[field("listen")] };

impl Section {
    /// Is there a field of that name?
    pub(super) fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|field| field.name == name)
    }

    /// Their names, for a message.
    pub(super) fn names(&self) -> Vec<&'static str> {
        self.fields.iter().map(|field| field.name).collect()
    }
}

/// The entries of a map, unless it is another value, which is noted. Nothing counts as an empty map; names that stand twice are noted.
pub(super) fn entries<'a>(node: &'a Node, path: &str, findings: &mut Findings) -> &'a [Entry] {
    match &node.value {
        Value::Map(entries) => {
            for (index, entry) in entries.iter().enumerate() {
                if entries.iter().take(index).any(|earlier| earlier.name == entry.name) {
                    let wrong = Wrong::new(format!("{} stands here a second time", quoted(&entry.name)), "write it once");
                    findings.add(&entry.at, join(path, &entry.name), wrong);
                }
            }
            entries
        }
        Value::Null => &[],
        _ => {
            findings.add(&node.at, path.to_owned(), Wrong::new(format!("found {}", found(node)), "write a map: `name: value`, a line each"));
            &[]
        }
    }
}

/// The items of a list, with their paths. Nothing counts as an empty list.
pub(super) fn items<'a>(node: Option<&'a Node>, path: &str, findings: &mut Findings) -> Vec<(String, &'a Node)> {
    let Some(node) = node else {
        return Vec::new();
    };
    if !matches!(node.value, Value::List(_) | Value::Null) {
        findings.add(&node.at, path.to_owned(), Wrong::new(format!("found {}", found(node)), "write a list: `- …`, a line each"));
    }
    node.items().iter().enumerate().map(|(index, item)| (format!("{path}[{index}]"), item)).collect()
}

/// The path of a field. A name that may be a misplaced secret is not repeated.
pub(super) fn join(path: &str, name: &str) -> String {
    let name = if super::value::harmless(name) { name } else { "…" };
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// A map of which the fields are known.
pub(super) struct Fields<'a> {
    path: String,
    node: &'a Node,
}

impl<'a> Fields<'a> {
    /// Takes a map; what it is not, and fields that the section does not have, are noted.
    pub(super) fn open(node: &'a Node, path: &str, section: &Section, findings: &mut Findings) -> Self {
        for entry in entries(node, path, findings) {
            if !section.has(&entry.name) {
                let wrong = Wrong::new(format!("there is no field {}", quoted(&entry.name)), suggestion(&entry.name, &section.names()));
                findings.add(&entry.at, join(path, &entry.name), wrong);
            }
        }
        Self { path: path.to_owned(), node }
    }

    /// Where the map stands.
    pub(super) const fn at(&self) -> &At {
        &self.node.at
    }

    /// The path of one of its fields.
    pub(super) fn path(&self, field: &str) -> String {
        join(&self.path, field)
    }

    /// The value of a field, if there is one.
    pub(super) fn child(&self, field: &str) -> Option<&'a Node> {
        self.node.child(field).filter(|node| !matches!(node.value, Value::Null))
    }

    /// The parsed value of a field; none where it is left out, and where it is wrong, which is noted.
    pub(super) fn read<T>(&self, field: &str, parse: impl FnOnce(&Node) -> Result<T, Wrong>, findings: &mut Findings) -> Option<T> {
        let node = self.child(field)?;
        parse(node).map_err(|wrong| findings.add(&node.at, self.path(field), wrong)).ok()
    }

    /// As `read`, of a field that must be there.
    pub(super) fn require<T>(&self, field: &str, parse: impl FnOnce(&Node) -> Result<T, Wrong>, findings: &mut Findings) -> Option<T> {
        if self.child(field).is_none() {
            findings.add(self.at(), self.path(field), Wrong::new("it is missing", format!("write `{field}: …`")));
        }
        self.read(field, parse, findings)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{Settings, parse, show::show};
    use super::*;
    use crate::environment::Environment;

    const EXAMPLE: &str = include_str!("../../gollm-config.yaml.example");

    fn read(text: &str) -> Settings {
        parse(text, Path::new("f.yaml"), &Environment::default()).unwrap_or_else(|why| panic!("{why}"))
    }

    /// A configuration with one field of a section in it, or none.
    fn with(section: &str, field: &str) -> String {
        let comma = if section == "provider" && !field.is_empty() { "," } else { "" };
        let field = |of: &str| if section == of { field.to_owned() } else { String::new() };
        format!(
            "providers: {{openai: {{{}{} api_keys: [{{name: a, {}}}], models: [{{name: m, {}}}], rotation: {{{}}}}}}}\nglobal: {{{}}}\naccess: {{admins: {{{}}}, clients: [{{match: {{user: bob}}, {}}}]}}\nmaster: {{{}}}\nwebhooks: [{{url: env:HOOK, {}}}]",
            field("provider"),
            comma,
            field("key"),
            field("model"),
            field("rotation"),
            field("global"),
            field("admins"),
            field("client"),
            field("master"),
            field("webhook"),
        )
    }

    const SECTIONS: [(&str, Section); 13] = [
        ("top", TOP),
        ("provider", PROVIDER),
        ("key", KEY),
        ("model", MODEL),
        ("rotation", ROTATION),
        ("global", GLOBAL),
        ("access", ACCESS),
        ("admins", ADMINS),
        ("client", CLIENT),
        ("match", MATCH),
        ("master", MASTER),
        ("webhook", WEBHOOK),
        ("metrics", METRICS),
    ];

    #[test]
    fn a_default_written_out_changes_nothing() {
        for (section, fields) in &SECTIONS {
            for field in fields.fields {
                if let Some(default) = field.default {
                    let written = with(section, &format!("{}: {default}", field.name));
                    assert_eq!(show(&read(&written)), show(&read(&with(section, ""))), "{section}.{}", field.name);
                }
            }
        }
    }

    #[test]
    fn the_example_loads_without_a_warning_and_holds_no_secret() {
        let settings = read(EXAMPLE);
        assert!(settings.warnings.is_empty(), "{:?}", settings.warnings);
        assert!(!super::super::secrets::stand_as_text(&super::super::file::read(EXAMPLE).unwrap()));
        assert!(!settings.secrets.is_empty());
    }

    #[test]
    fn the_example_with_every_option_switched_on_loads() {
        let on: String = EXAMPLE.lines().map(|line| line.replacen("#~", "", 1) + "\n").collect();
        read(&on);
        for (section, fields) in &SECTIONS {
            for field in fields.fields {
                let name = format!("{}:", field.name);
                assert!(
                    on.lines().any(|line| line.trim_start_matches([' ', '-']).starts_with(&name)),
                    "{section}.{} is not in the example",
                    field.name
                );
            }
        }
    }

    #[test]
    fn the_example_says_every_default_as_it_is() {
        let on: Vec<String> = EXAMPLE.lines().map(|line| line.replacen("#~", "", 1)).collect();
        for (section, fields) in &SECTIONS {
            for field in fields.fields {
                let Some(default) = field.default else { continue };
                let written = format!("{}: {default}", field.name);
                assert!(on.iter().any(|line| line.trim_start().starts_with(&written)), "{section}: the example lacks `{written}`");
            }
        }
    }
}

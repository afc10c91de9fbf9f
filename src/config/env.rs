//! What environment variables put into a configuration: `GOLLM_<PROVIDER>_API_KEY_<NAME>`, `GOLLM_GLOBAL_<FIELD>`,
//! and the providers' own variables where there is no file.

use std::rc::Rc;

use super::fields::GLOBAL;
use super::problem::Findings;
use super::suggest::suggestion;
use super::tree::{At, Node, Value};
use super::value::{Wrong, quoted};
use crate::catalogue;
use crate::environment::Environment;

/// Puts the values of `GOLLM_…` variables into the tree. They are checked there with the rest.
pub(super) fn overlay(root: &mut Node, env: &Environment, findings: &mut Findings) {
    for (variable, value) in env.iter() {
        let Some(rest) = variable.strip_prefix("GOLLM_") else {
            continue;
        };
        let at = At::Variable(Rc::from(variable));
        let wrong = if let Some(field) = rest.strip_prefix("GLOBAL_") {
            set_global(root, field, value, &at)
        } else if rest.contains("_API_KEY") {
            set_key(root, rest, variable, &at)
        } else {
            Ok(())
        };
        if let Err(wrong) = wrong {
            findings.add(&at, String::new(), wrong);
        }
    }
}

/// Takes the variables that each provider's own tools read, as key `default`. A variable of two providers goes to the first.
pub(super) fn take_providers_own(root: &mut Node, env: &Environment) {
    let mut taken = Vec::new();
    for provider in catalogue::all().iter().filter(|provider| provider.base_url.is_some()) {
        let variable = provider.variables.iter().find(|variable| env.value(variable).is_some() && !taken.contains(*variable));
        if let Some(variable) = variable {
            taken.push(*variable);
            add_key(root, provider.name, "default", variable, &At::Variable(Rc::from(*variable)));
        }
    }
}

fn set_global(root: &mut Node, field: &str, value: &str, at: &At) -> Result<(), Wrong> {
    let field = field.to_ascii_lowercase();
    if !GLOBAL.has(&field) {
        return Err(Wrong::new(format!("there is no global field {}", quoted(&field)), suggestion(&field, &GLOBAL.names())));
    }
    let node = root.child_or_insert("global", at).and_then(|global| global.child_or_insert(&field, at));
    if let Some(node) = node {
        *node = match field.as_str() {
            "fallback_chain" => list(value, at),
            "equivalent_models" => Node { at: at.clone(), value: Value::List(value.split(';').map(|models| list(models, at)).collect()) },
            _ => Node { at: at.clone(), value: scalar(value) },
        };
    }
    Ok(())
}

fn list(value: &str, at: &At) -> Node {
    let names = value.split(',').map(str::trim).filter(|name| !name.is_empty());
    Node { at: at.clone(), value: Value::List(names.map(|name| Node::text(at.clone(), name)).collect()) }
}

/// The value that the text would be in YAML, as far as global fields need it.
fn scalar(text: &str) -> Value {
    let text = text.trim();
    if let Ok(flag) = text.parse() {
        return Value::Bool(flag);
    }
    if let Ok(number) = text.parse() {
        return Value::Integer(number);
    }
    match text.parse() {
        Ok(number) => Value::Float(number),
        Err(_) => Value::Text(text.to_owned().into()),
    }
}

/// `rest` is the variable's name without `GOLLM_`.
fn set_key(root: &mut Node, rest: &str, variable: &str, at: &At) -> Result<(), Wrong> {
    let form = "write GOLLM_<PROVIDER>_API_KEY_<NAME>";
    let (provider, name) = provider_and_name(root, rest).ok_or_else(|| Wrong::new("it names no provider that is configured or known", form))??;
    if name.is_empty() {
        return Err(Wrong::new("it names no key", form));
    }
    let keys = root.child("providers").and_then(|providers| providers.child(&provider)).and_then(|provider| provider.child("api_keys"));
    let names = keys.map(Node::items).unwrap_or_default().iter().filter_map(|key| key.child("name").and_then(Node::as_text));
    let matching: Vec<&str> = names.filter(|configured| normal(configured) == normal(name)).collect();
    match matching.as_slice() {
        [] => add_key(root, &provider, &name.to_ascii_lowercase(), variable, at),
        [one] => {
            let one = (*one).to_owned();
            override_key(root, &provider, &one, variable, at);
        }
        // A name that stands twice is reported where it stands.
        [first, others @ ..] if others.iter().all(|other| other == first) => {}
        [first, second, ..] => {
            let wrong = format!("it could mean key {} or key {} of {provider}", quoted(first), quoted(second));
            return Err(Wrong::new(wrong, "rename one of them in the file"));
        }
    }
    Ok(())
}

/// Which provider a variable means, by the longest name that fits, and the rest, which names the key. None: no provider fits.
fn provider_and_name<'a>(root: &Node, rest: &'a str) -> Option<Result<(String, &'a str), Wrong>> {
    let configured = root.child("providers").map(Node::entries).unwrap_or_default().iter().map(|entry| entry.name.as_str());
    let rest_after = |provider: &str| -> Option<&'a str> {
        let rest = rest.strip_prefix(normal(provider).as_str())?.strip_prefix("_API_KEY")?;
        if rest.is_empty() { Some(rest) } else { rest.strip_prefix('_') }
    };
    let fitting = |names: &mut dyn Iterator<Item = &str>| -> Vec<(String, &'a str)> {
        let mut fitting: Vec<_> = names.filter_map(|name| rest_after(name).map(|rest| (name.to_owned(), rest))).collect();
        fitting.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        fitting
    };
    let of_file = fitting(&mut configured.into_iter());
    let known = fitting(&mut catalogue::all().iter().map(|provider| provider.name));
    match (of_file.as_slice(), known.as_slice()) {
        ([(one, _), (other, _), ..], _) if one != other && normal(one) == normal(other) => {
            let wrong = format!("it could mean provider {} or provider {}", quoted(one), quoted(other));
            Some(Err(Wrong::new(wrong, "rename one of them in the file")))
        }
        // The longest name wins; where both are as long, the file's own.
        ([ours, ..], [theirs, ..]) if theirs.0.len() > ours.0.len() => Some(Ok(theirs.clone())),
        ([ours, ..], _) => Some(Ok(ours.clone())),
        ([], [theirs, ..]) => Some(Ok(theirs.clone())),
        ([], []) => None,
    }
}

/// As names stand in variables: upper case, other characters `_`.
fn normal(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}

fn keys_of<'a>(root: &'a mut Node, provider: &str, at: &At) -> Option<&'a mut Vec<Node>> {
    root.child_or_insert("providers", at)?.child_or_insert(provider, at)?.child_or_insert("api_keys", at)?.items_mut()
}

fn add_key(root: &mut Node, provider: &str, name: &str, variable: &str, at: &At) {
    let mut key = Node::empty_map(at.clone());
    for (field, text) in [("name", name.to_owned()), ("key", format!("env:{variable}"))] {
        if let Some(node) = key.child_or_insert(field, at) {
            *node = Node::text(at.clone(), &text);
        }
    }
    if let Some(keys) = keys_of(root, provider, at) {
        keys.push(key);
    }
}

fn override_key(root: &mut Node, provider: &str, name: &str, variable: &str, at: &At) {
    let keys = keys_of(root, provider, at).map(Vec::as_mut_slice).unwrap_or_default();
    let key = keys.iter_mut().find(|key| key.child("name").and_then(Node::as_text) == Some(name));
    if let Some(secret) = key.and_then(|key| key.child_or_insert("key", at)) {
        *secret = Node::text(at.clone(), &format!("env:{variable}"));
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{Settings, load, parse};
    use super::*;

    const FILE: &str = "providers: {openai: {api_keys: [{name: my-key, key: env:A}, {name: other}]}}";

    fn read(text: &str, variables: &[(&str, &str)]) -> Result<Settings, String> {
        let env = variables.iter().copied().collect();
        parse(text, Path::new("f.yaml"), &env).map_err(|why| why.to_string())
    }

    fn sources(settings: &Settings) -> Vec<String> {
        settings.secrets.iter().map(|(id, source)| format!("{id} {}", source.describe())).collect()
    }

    #[test]
    fn a_variable_overrides_the_secret_of_its_key() {
        let settings = read(FILE, &[("GOLLM_OPENAI_API_KEY_MY_KEY", "sk-1"), ("GOLLM_OPENAI_API_KEY_OTHER", "sk-2")]).unwrap();
        assert_eq!(
            sources(&settings),
            ["openai/my-key environment variable GOLLM_OPENAI_API_KEY_MY_KEY", "openai/other environment variable GOLLM_OPENAI_API_KEY_OTHER"]
        );
        assert_eq!(settings.policy.keys().count(), 2);
    }

    #[test]
    fn a_variable_adds_a_key_or_a_provider_that_the_file_lacks() {
        let variables = [("GOLLM_OPENAI_API_KEY_THIRD", "sk-1"), ("GOLLM_AZURE_OPENAI_API_KEY_X", "sk-2"), ("GOLLM_NVIDIA_NIM_API_KEY_A_B", "sk-3")];
        let file = format!("{FILE}\n").replace("{openai:", "{azure_openai: {base_url: 'https://h'}, openai:");
        let settings = read(&file, &variables).unwrap();
        let keys: Vec<String> = settings.policy.keys().map(|id| id.to_string()).collect();
        assert_eq!(keys, ["azure_openai/x", "openai/my-key", "openai/other", "openai/third", "nvidia_nim/a_b"]);
        assert_eq!(read("", &[("GOLLM_GROQ_API_KEY_A", "k")]).unwrap().policy.providers[0].base_url, "https://api.groq.com/openai/v1");
    }

    #[test]
    fn a_variable_that_could_mean_two_things_is_refused() {
        let keys = "providers: {openai: {api_keys: [{name: a-b}, {name: a.b}]}}";
        let why = read(keys, &[("GOLLM_OPENAI_API_KEY_A_B", "PLANTED")]).unwrap_err();
        assert_eq!(why, "GOLLM_OPENAI_API_KEY_A_B: it could mean key `a-b` or key `a.b` of openai; rename one of them in the file");
        let providers = "providers: {m-y: {kind: openai, base_url: 'https://h'}, m.y: {kind: openai, base_url: 'https://h'}}";
        let why = read(providers, &[("GOLLM_M_Y_API_KEY_A", "PLANTED")]).unwrap_err();
        assert_eq!(why, "GOLLM_M_Y_API_KEY_A: it could mean provider `m-y` or provider `m.y`; rename one of them in the file");
    }

    #[test]
    fn a_variable_that_means_nothing_is_refused_by_its_name() {
        let wrong = |name: &str, value: &str| read(FILE, &[(name, value)]).unwrap_err();
        assert!(wrong("GOLLM_OPENIA_API_KEY_A", "PLANTED").starts_with("GOLLM_OPENIA_API_KEY_A: it names no provider that is configured or known"));
        assert!(wrong("GOLLM_OPENAI_API_KEY", "PLANTED").starts_with("GOLLM_OPENAI_API_KEY: it names no key"));
        assert!(wrong("GOLLM_OPENAI_API_KEY_", "PLANTED").starts_with("GOLLM_OPENAI_API_KEY_: it names no key"));
        assert!(wrong("GOLLM_OPENAI_API_KEY__A", "PLANTED").starts_with("GOLLM_OPENAI_API_KEY__A: `_a` is no name"));
        assert!(wrong("GOLLM_AZURE_OPENAI_API_KEY_A", "PLANTED").contains("GOLLM_AZURE_OPENAI_API_KEY_A: `azure_openai` has no address of its own"));
        assert!(
            wrong("GOLLM_GLOBAL_LEASE_TLL", "1h").contains("GOLLM_GLOBAL_LEASE_TLL: there is no global field `lease_tll`; did you mean `lease_ttl`?")
        );
        assert!(wrong("GOLLM_GLOBAL_DAILY_COST_LIMIT", "-1").starts_with("GOLLM_GLOBAL_DAILY_COST_LIMIT: found `-1`; write a number"));
        assert_eq!(
            wrong("GOLLM_GLOBAL_KEY_TIMEOUT", "sk-proj-PLANTED"),
            "GOLLM_GLOBAL_KEY_TIMEOUT: found a text of 15 characters; write a duration as `30s`, `5m`, `1h30m` or `1d`"
        );
    }

    #[test]
    fn a_variable_overrides_a_global_field() {
        let variables = [
            ("GOLLM_GLOBAL_DAILY_COST_LIMIT", "10"),
            ("GOLLM_GLOBAL_LEASE_TTL", "1h"),
            ("GOLLM_GLOBAL_ENCRYPT_KEYS", "false"),
            ("GOLLM_GLOBAL_FALLBACK_CHAIN", "openai, gemini"),
            ("GOLLM_GLOBAL_DEFAULT_ROTATION_STRATEGY", "random"),
            ("GOLLM_SOCKET", "/run/x"),
        ];
        let settings = read(&format!("{FILE}\nglobal: {{daily_cost_limit: 5, lease_ttl: 5m}}"), &variables).unwrap();
        assert_eq!(settings.policy.daily_cost_limit.map(|usd| usd.dollars()), Some(10.0));
        assert_eq!(settings.policy.lease_ttl.as_secs(), 3600);
        assert!(!settings.encrypt_keys);
        assert_eq!(settings.policy.fallback_chain.len(), 1);
        assert_eq!(settings.policy.providers[0].strategy.name(), "random");
    }

    #[test]
    fn without_a_file_the_providers_own_variables_are_taken() {
        let env: Environment =
            [("OPENAI_API_KEY", "sk-1"), ("GOOGLE_API_KEY", "k2"), ("AZURE_API_KEY", "k3"), ("GOLLM_OPENAI_API_KEY_B", "sk-4")].into_iter().collect();
        let settings = load(None, &env).unwrap();
        let expected = [
            "gemini/default environment variable GOOGLE_API_KEY",
            "openai/b environment variable GOLLM_OPENAI_API_KEY_B",
            "openai/default environment variable OPENAI_API_KEY",
        ];
        assert_eq!(sources(&settings), expected);
        assert!(parse("", Path::new("f.yaml"), &env).is_ok_and(|settings| settings.secrets.len() == 1));
    }
}

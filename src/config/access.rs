//! `access`: who may do what.

use super::fields::{self, ACCESS, ADMINS, CLIENT, Fields, MATCH};
use super::problem::Findings;
use super::tree::{Node, Value};
use super::value::{Wrong, dollars, flag, found, name, text, whole};
use crate::id::ProviderName;
use crate::policy::{AccessPolicy, ClientRule, RATES, Who};

/// Longest name of a user, a group or a unit.
const NAME_MAX: usize = 256;

/// Reads the section.
pub(super) fn read(node: &Node, findings: &mut Findings) -> AccessPolicy {
    no_nulls(node, "access", findings);
    let access = Fields::open(node, "access", &ACCESS, findings);
    let mut policy = AccessPolicy::default();
    if let Some(node) = access.child("admins") {
        let admins = Fields::open(node, "access.admins", &ADMINS, findings);
        policy.admin_users = names(&admins, "users", findings);
        policy.admin_groups = names(&admins, "groups", findings);
    }
    for (path, item) in fields::items(access.child("clients"), "access.clients", findings) {
        policy.clients.push(client(item, &path, findings));
    }
    policy
}

/// A field with nothing behind it would be as if it were not there, and let in more than was meant.
fn no_nulls(node: &Node, path: &str, findings: &mut Findings) {
    match &node.value {
        Value::Map(entries) => {
            for entry in entries {
                let path = fields::join(path, &entry.name);
                if let Value::Null = entry.node.value {
                    findings.add(&entry.at, path, Wrong::new("it says nothing", "write what it is, or leave the whole line out"));
                } else {
                    no_nulls(&entry.node, &path, findings);
                }
            }
        }
        Value::List(items) => items.iter().enumerate().for_each(|(number, item)| no_nulls(item, &format!("{path}[{number}]"), findings)),
        _ => {}
    }
}

fn names(fields: &Fields<'_>, field: &str, findings: &mut Findings) -> Vec<Who> {
    let mut names = Vec::new();
    for (path, item) in fields::items(fields.child(field), &fields.path(field), findings) {
        match who(item) {
            Ok(name) => names.push(name),
            Err(wrong) => findings.add(&item.at, path, wrong),
        }
    }
    names
}

fn client(node: &Node, path: &str, findings: &mut Findings) -> ClientRule {
    let fields = Fields::open(node, path, &CLIENT, findings);
    let mut rule = ClientRule {
        rate_limit: fields.read("rate_limit", whole(RATES), findings),
        cost_limit: fields.read("cost_limit", dollars, findings),
        reveal: fields.read("reveal", flag, findings).unwrap_or(true),
        ..ClientRule::default()
    };
    let mut is_for_somebody = false;
    if let Some(node) = fields.child("match") {
        let matches = Fields::open(node, &fields.path("match"), &MATCH, findings);
        rule.user = matches.read("user", who, findings);
        rule.group = matches.read("group", who, findings);
        rule.unit = matches.read("unit", unit, findings);
        is_for_somebody = ["user", "group", "unit"].iter().any(|field| matches.child(field).is_some());
    }
    // A rule that asks for nothing would let in everybody: nobody should write that by leaving something out.
    if !is_for_somebody {
        let wrong = Wrong::new("it does not say who it is for", "write `match: {user: …}`, `{group: …}` or `{unit: …}`; `user: \"*\"` is everybody");
        findings.add(fields.at(), fields.path("match"), wrong);
    }
    if let Some(list) = fields.child("providers") {
        let mut providers: Vec<ProviderName> = Vec::new();
        for (path, item) in fields::items(Some(list), &fields.path("providers"), findings) {
            match name::<ProviderName>(item) {
                Ok(name) => providers.push(name),
                Err(wrong) => findings.add(&item.at, path, wrong),
            }
        }
        rule.providers = Some(providers);
    }
    rule
}

/// A user or a group: its name or its number.
fn who(node: &Node) -> Result<Who, Wrong> {
    let text = match &node.value {
        Value::Integer(number) => number.to_string(),
        _ => text(node)?.to_owned(),
    };
    let fits = !text.is_empty() && text.len() <= NAME_MAX && text.bytes().all(|b| b.is_ascii_graphic() && b != b':' && b != b'/');
    if fits { Ok(Who(text)) } else { Err(Wrong::new(format!("found {}", found(node)), "write a name or a number")) }
}

/// A unit of the system's manager by its name, or the whole path of a control group.
fn unit(node: &Node) -> Result<String, Wrong> {
    let text = text(node)?;
    let is_path = text.starts_with('/') && text.len() > 1 && !text.split('/').any(|step| step == ".." || step == ".");
    let is_unit = !text.contains('/') && text.strip_suffix(".service").is_some_and(|name| !name.is_empty() && !name.ends_with('@'));
    if (is_path || is_unit) && text.len() <= 4 * NAME_MAX && text.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(text.trim_end_matches('/').to_owned())
    } else {
        Err(Wrong::new(
            format!("found {}", found(node)),
            "write a unit of the system, as in `app.service`, or the path of a control group, which begins with `/`",
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config;
    use crate::environment::Environment;
    use crate::policy::AccessPolicy;

    fn read(text: &str) -> Result<AccessPolicy, String> {
        let settings = config::parse(text, Path::new("f.yaml"), &Environment::default()).map_err(|why| why.to_string())?;
        Ok(settings.access.unwrap_or_default())
    }

    #[test]
    fn people_and_rules_are_read_in_their_order() {
        let access = read("access:\n  admins: {users: [alice, 1000], groups: [ops]}\n  clients:\n    - {match: {user: bob}, providers: [openai], rate_limit: 10, cost_limit: 2.5, reveal: false}\n    - match: {group: staff, unit: app.service}\n").unwrap();
        assert_eq!(access.admin_users.iter().map(|who| who.0.as_str()).collect::<Vec<_>>(), ["alice", "1000"]);
        assert_eq!(access.admin_groups[0].0, "ops");
        let [bob, staff] = access.clients.as_slice() else { panic!("{access:?}") };
        assert_eq!((bob.user.as_ref().unwrap().0.as_str(), bob.rate_limit, bob.reveal), ("bob", Some(10), false));
        assert_eq!(bob.providers.as_ref().unwrap()[0].as_str(), "openai");
        assert_eq!((staff.unit.as_deref(), staff.reveal, staff.providers.is_none()), (Some("app.service"), true, true));
    }

    #[test]
    fn a_rule_for_nobody_in_particular_is_a_mistake() {
        for text in [
            "access: {clients: [{providers: [openai]}]}",
            "access: {clients: [{match: {}}]}",
            "access: {clients: [{match: {unit: app}}]}",
            "access: {clients: [{match: {unit: /a/../b}}]}",
            "access: {admins: {users: ['a:b']}}",
            "access: {client: []}",
            "access: {clients: [{match: {unit: a.slice}}]}",
            "access: {clients: [{match: {user: a}, providers: }]}",
            "access: {clients: [{match: {user: a, group: }}]}",
        ] {
            let why = read(text).unwrap_err();
            assert!(why.starts_with("f.yaml:1:"), "{text}: {why}");
        }
        assert!(read("access: {clients: [{match: {user: '*'}}]}").is_ok());
    }
}

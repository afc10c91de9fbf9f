//! The documents say what the code does: every field of the configuration, every message of the wire.

use std::collections::BTreeSet;

use gollm::protocol::json;
use gollm::protocol::reply::Response;

const README: &str = include_str!("../../README.md");
const EXAMPLE: &str = include_str!("../../gollm-config.yaml.example");
const MAP: &str = include_str!("../../src/lib.rs");
const ARCHITECTURE: &str = include_str!("../../docs/architecture.md");
const PROTOCOL: &str = include_str!("../../docs/protocol.md");

/// The fields of the example, which a test beside the code holds to the code.
fn fields() -> BTreeSet<&'static str> {
    let active = EXAMPLE.lines().map(|line| line.trim_start().trim_start_matches("#~").trim_start_matches("- "));
    let names = active.filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(':')).map(|(name, _)| name.trim());
    let sections = [
        "providers",
        "openai",
        "anthropic",
        "api_keys",
        "models",
        "rotation",
        "global",
        "access",
        "admins",
        "clients",
        "match",
        "master",
        "audit",
        "webhooks",
        "metrics",
    ];
    names.filter(|name| !sections.contains(name)).collect()
}

/// What can be asked.
const OPS: &str = "
    whoami select explain report renew record status keys statistics validate
    health key_set key_remove key_enable key_disable reload access lock unlock change_password
    slots slot_add slot_remove rekey audit backup backup_part restore_part restore export
    subscribe alerts alert_test
";

#[test]
fn the_readme_has_a_row_for_every_field() {
    let rows: Vec<&str> = README.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    assert!(fields().len() > 25, "{:?}", fields());
    for field in fields() {
        assert!(rows.iter().any(|row| row.rsplit('.').next() == Some(field)), "README.md has no row for `{field}`");
    }
}

#[test]
fn every_message_of_the_protocols_page_is_one() {
    let (mut requests, mut replies) = (BTreeSet::new(), BTreeSet::new());
    for line in PROTOCOL.lines() {
        if let Some(request) = line.strip_prefix("→ ") {
            let request = json::decode_request(request.as_bytes()).unwrap_or_else(|why| panic!("{line}: {why}"));
            requests.insert(request.op.name());
        } else if let Some(reply) = line.strip_prefix("← ") {
            let response: Response = serde_json::from_str(reply).unwrap_or_else(|why| panic!("{line}: {why}"));
            let mut again = Vec::new();
            json::encode_response(&response, &mut again).unwrap();
            assert_eq!(
                serde_json::from_str::<serde_json::Value>(reply).unwrap(),
                serde_json::from_slice::<serde_json::Value>(&again).unwrap(),
                "{line}"
            );
            let value: serde_json::Value = serde_json::from_str(reply).unwrap();
            let name = value["reply"].as_object().map_or_else(|| "done".to_owned(), |reply| reply.keys().next().unwrap().clone());
            replies.insert(name);
        }
    }
    assert_eq!(requests, OPS.split_whitespace().collect());
    let kinds = [
        "you",
        "lease",
        "explanation",
        "reported",
        "status",
        "keys",
        "statistics",
        "validations",
        "health",
        "access",
        "slots",
        "slot_added",
        "audit",
        "backup",
        "backup_part",
        "restored",
        "export",
        "event",
        "alerts",
        "deliveries",
        "done",
        "error",
    ];
    assert_eq!(replies, BTreeSet::from(kinds.map(str::to_owned)));
}

#[test]
fn the_protocols_page_has_the_error_of_a_wrong_request_as_it_is() {
    let bad = json::decode_request(br#"{"id":18,"op":{"select":{"provder":"openai"}}}"#).err().unwrap();
    assert!(PROTOCOL.contains(&format!("\"message\":\"{}\"", bad.message)), "{}", bad.message);
}

#[test]
fn the_architectures_table_has_the_modules_in_their_order() {
    let modules: Vec<&str> = MAP.lines().filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod ")?.strip_suffix(';')).collect();
    let rows: Vec<&str> = ARCHITECTURE.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |")).map(|(name, _)| name).collect();
    assert!(modules.len() > 20, "{modules:?}");
    assert_eq!(rows.into_iter().filter(|name| modules.contains(name)).collect::<Vec<_>>(), modules);
}

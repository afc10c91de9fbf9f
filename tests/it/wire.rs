//! The wire as it is documented: the shape of every reply, both codecs, and what becomes of what is not understood.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};

use gollm::protocol::error::ErrorCode;
use gollm::protocol::reply::Reply;
use gollm::protocol::request::{Op, Select};
use gollm::protocol::{MESSAGE_MAX, PREAMBLE};
use gollm::time::Timestamp;
use serde_json::{Value, json};

use crate::harness::Site;
use crate::harness::binary;
use crate::harness::lines::{Lines, fields, nanos, text};

const CONFIG: &str = "
providers:
  openai:
    api_keys:
      - {key: sk-proj-the-secret-of-primary, name: primary, rate_limit: 1000, cost_limit: 100.0, account: org-1}
      - {key: sk-proj-the-secret-of-secondary, name: secondary}
    models: [{name: gpt-4, input_cost_per_1k_tokens: 0.03, output_cost_per_1k_tokens: 0.06}, {name: off, enabled: false}]
    rotation: {health_check: false}
global: {key_validation: false, global_rate_limit: 100000, daily_cost_limit: 1000}
";

fn has_fields(value: &Value, expected: &str) {
    let found: BTreeSet<&str> = fields(value).into_iter().collect();
    assert_eq!(found, expected.split_whitespace().collect(), "{value}");
}

fn time(value: &Value) -> Timestamp {
    let time = text(value);
    assert!(time.ends_with('Z'), "{time}");
    time.parse().unwrap()
}

#[test]
fn replies_have_every_documented_field() {
    let site = Site::new(CONFIG);
    let daemon = site.start();
    let mut lines = site.lines();
    let you = lines.expect("you", &json!("whoami"));
    has_fields(&you, "uid gid pid unit role rule version");
    assert_eq!((&you["pid"], &you["role"], &you["version"]), (&json!(std::process::id()), &json!("admin"), &json!(env!("CARGO_PKG_VERSION"))));
    lease_and_report(&mut lines);
    status_and_keys(&mut lines, &site, daemon.pid());
    let health = lines.expect("health", &json!("health"));
    assert_eq!(fields(&health), ["openai"]);
    has_fields(&health["openai"]["primary"], "state healthy since until last_checked message balance");
    assert_eq!(health["openai"]["primary"]["healthy"], true);
    let statistics = lines.expect("statistics", &json!("statistics"));
    has_fields(&statistics, "rows total");
    let row = "provider key_name model caller unit bucket requests input_tokens output_tokens cached_tokens cost_usd errors unpriced";
    has_fields(&statistics["rows"][0], row);
    has_fields(&statistics["total"], row);
    assert_eq!((&statistics["rows"][0]["model"], &statistics["total"]["provider"]), (&Value::Null, &Value::Null));
    let validations = lines.expect("validations", &json!({"validate": {"format_only": true}}));
    assert_eq!(validations.as_array().unwrap().len(), 2);
    has_fields(&validations[0], "provider key_name valid verdict message cost_usd");
    for act in [json!({"key_disable": {"provider": "openai", "key_name": "secondary", "for_ms": 60000}}), json!("reload")] {
        assert_eq!(lines.ask(&act), "done");
    }
}

fn lease_and_report(lines: &mut Lines) {
    let lease = lines.lease(&json!({"provider": "openai", "model": "gpt-4", "key_name": "primary", "estimate": {"cost_usd": 0.5}}));
    has_fields(&lease, "lease provider key_name secret base_url strategy fallback_from model last_used expires");
    assert!(text(&lease["lease"]).starts_with("gl_"));
    assert_eq!((&lease["secret"], &lease["base_url"]), (&json!("sk-proj-the-secret-of-primary"), &json!("https://api.openai.com/v1")));
    assert_eq!((&lease["strategy"], &lease["last_used"], &lease["fallback_from"]), (&json!("round_robin"), &Value::Null, &Value::Null));
    time(&lease["expires"]);
    assert_eq!(nanos(&lines.row("openai", "primary")["reserved_usd"]), 500_000_000);
    let renewed = lines.expect("lease", &json!({"renew": {"lease": lease["lease"]}}));
    assert_eq!(renewed["lease"], lease["lease"]);
    assert_eq!(fields(&renewed), fields(&lease));
    assert!(time(&renewed["expires"]) >= time(&lease["expires"]));
    let report = json!({"report": {"lease": lease["lease"], "outcome": "ok", "input_tokens": 1000, "output_tokens": 500}});
    let reported = lines.expect("reported", &report);
    has_fields(&reported, "provider key_name cost_usd priced duplicate state");
    assert_eq!(
        reported,
        json!({"provider": "openai", "key_name": "primary", "cost_usd": 0.06, "priced": true, "duplicate": false, "state": "healthy"})
    );
    assert_eq!(
        lines.expect("reported", &report),
        json!({"provider": "openai", "key_name": "primary", "cost_usd": 0.06, "priced": true, "duplicate": true, "state": "healthy"})
    );
    lines.refused("unknown_lease", &json!({"renew": {"lease": lease["lease"]}}));
    let again = lines.lease(&json!({"provider": "openai", "key_name": "primary"}));
    time(&again["last_used"]);
    lines.report(&again, "cancelled");
    let record = json!({"record": {"provider": "openai", "key_name": "secondary", "model": "gpt-4", "input_tokens": 100}});
    assert_eq!(nanos(&lines.expect("reported", &record)["cost_usd"]), 3_000_000);
}

fn status_and_keys(lines: &mut Lines, site: &Site, pid: u32) {
    let status = lines.expect("status", &json!("status"));
    has_fields(&status, "version pid uptime_s started locked master_source socket config counts providers global warnings");
    assert_eq!((&status["pid"], &status["locked"], &status["master_source"]), (&json!(pid), &json!(false), &json!("environment")));
    assert_eq!((text(&status["socket"]), text(&status["config"])), (site.socket().display().to_string(), site.config().display().to_string()));
    has_fields(&status["counts"], "leases_open connections selects reports");
    assert_eq!(status["counts"], json!({"leases_open": 0, "connections": 1, "selects": 2, "reports": 3}));
    let provider = "provider strategy keys_total keys_healthy requests_last_hour rate_limit cost_today_usd cost_limit reachable next_free waiting";
    has_fields(&status["providers"][0], provider);
    let global = "keys_total keys_healthy requests_last_hour rate_limit cost_today_usd reserved_usd cost_limit unpriced_today";
    has_fields(&status["global"], global);
    assert_eq!((&status["global"]["requests_last_hour"], nanos(&status["global"]["cost_today_usd"])), (&json!(1), 63_000_000));
    time(&status["started"]);
    let row = lines.row("openai", "primary");
    let columns = "provider key_name enabled state until reason last_four fingerprint rate_limit requests_last_hour cost_limit cost_today_usd \
                   reserved_usd requests_total last_used account weight provider_left";
    has_fields(&row, columns);
    assert_eq!((&row["last_four"], &row["account"], &row["weight"], &row["until"]), (&json!("mary"), &json!("org-1"), &json!(1), &Value::Null));
    assert_eq!((nanos(&row["cost_today_usd"]), nanos(&row["reserved_usd"]), &row["requests_last_hour"]), (60_000_000, 0, &json!(1)));
    assert_ne!(row["fingerprint"], lines.row("openai", "secondary")["fingerprint"]);
    assert_eq!(lines.expect("keys", &json!("keys")).as_array().unwrap().len(), 2);
}

#[test]
fn lines_are_pipelined_spelled_in_two_ways_and_refused_with_a_code() {
    let site = Site::new(CONFIG);
    let _daemon = site.start();
    let mut lines = site.lines();
    lines.send(b"\n \r\n\t\n").unwrap();
    let mut sent = BTreeSet::new();
    for _ in 0..300 {
        sent.insert(lines.request(&json!("whoami")).unwrap());
        sent.insert(lines.request(&json!({"statistics": {}})).unwrap());
        sent.insert(lines.request(&json!({"record": {"provider": "openai", "key_name": "primary"}})).unwrap());
    }
    let heard: BTreeSet<u64> = (0..sent.len()).map(|_| lines.reply()["id"].as_u64().unwrap()).collect();
    assert_eq!(heard, sent);
    for spelling in [json!("keys"), json!({"keys": {}}), json!({"keys": {"provider": null}})] {
        lines.expect("keys", &spelling);
    }
    for spelling in [json!("status"), json!({"status": {}}), json!({"status": null})] {
        lines.expect("status", &spelling);
    }
    refusals(&mut lines);
    malformed(&mut lines);
}

fn refusals(lines: &mut Lines) {
    for (code, op) in [
        ("unknown_provider", json!({"select": {"provider": "nobody"}})),
        ("unknown_provider", json!({"keys": {"provider": "nobody"}})),
        ("unknown_key", json!({"select": {"provider": "openai", "key_name": "nobody"}})),
        ("unknown_key", json!({"record": {"provider": "openai", "key_name": "nobody"}})),
        ("unknown_key", json!({"key_enable": {"provider": "openai", "key_name": "nobody"}})),
        ("unknown_model", json!({"select": {"provider": "openai", "model": "off"}})),
        ("unknown_lease", json!({"report": {"lease": "gl_made-up", "outcome": "ok"}})),
        ("bad_request", json!({"select": {"provider": "openai", "colour": "red"}})),
        ("bad_request", json!({"select": {"provider": "OpenAI"}})),
        ("bad_request", json!({"select": {}})),
        ("bad_request", json!({"dance": {}})),
        ("bad_request", json!({"report": {"lease": "gl_x", "outcome": "splendid"}})),
        ("bad_request", json!({"select": {"provider": "openai", "estimate": {"cost_usd": 1, "input_tokens": 1}}})),
        ("bad_request", json!({"select": {"provider": "openai", "estimate": {"cost_usd": -1}}})),
        ("bad_request", json!({"record": {"provider": "openai", "key_name": "primary", "outcome": "cancelled"}})),
        ("bad_request", json!({"validate": {"key_name": "primary"}})),
    ] {
        let error = lines.refused(code, &op);
        has_fields(&error, "code message retry_after_ms keys");
        assert!(!text(&error["message"]).is_empty());
    }
    // Of a token that was changed in one place, nothing is believed.
    let lease = lines.lease(&json!({"provider": "openai"}));
    let token = text(&lease["lease"]);
    let other = if token.ends_with('A') { "B" } else { "A" };
    lines.refused("unknown_lease", &json!({"report": {"lease": format!("{}{other}", &token[..token.len() - 1]), "outcome": "ok"}}));
    assert_eq!(lines.report(&lease, "ok")["duplicate"], false);
}

fn malformed(lines: &mut Lines) {
    for (line, id) in [
        (r#"{"id":77,"op":"#, Value::Null),
        (r#"{"id":78,"op":"nothing"}"#, json!(78)),
        (r#"{"id":-1,"op":"status"}"#, Value::Null),
        (r#"{"id":79,"op":"status","more":1}"#, json!(79)),
        ("nonsense", Value::Null),
        ("\u{0}\u{1}", Value::Null),
    ] {
        lines.send(format!("{line}\n").as_bytes()).unwrap();
        let reply = lines.reply();
        assert_eq!((&reply["id"], &reply["reply"]["error"]["code"]), (&id, &json!("bad_request")), "{line}");
    }
    lines.send(&[&b"{\"id\":1,\"op\":\"\xff\""[..], b"\n"].concat()).unwrap();
    assert_eq!(lines.reply()["reply"]["error"]["code"], "bad_request");
    lines.expect("status", &json!("status"));
}

#[test]
fn a_caller_that_sends_no_more_hears_every_answer() {
    let site = Site::new(CONFIG);
    let _daemon = site.start();
    let mut lines = site.lines();
    let record = json!({"record": {"provider": "openai", "key_name": "primary"}});
    let sent: BTreeSet<u64> = [json!({"statistics": {}}), record, json!("whoami")].iter().map(|op| lines.request(op).unwrap()).collect();
    lines.finish();
    let heard: BTreeSet<u64> = (0..sent.len()).map(|_| lines.reply()["id"].as_u64().unwrap()).collect();
    assert_eq!(heard, sent);
    assert!(lines.read().unwrap().is_none());
}

#[test]
fn what_is_over_long_or_of_no_codec_is_answered_and_closed() {
    let site = Site::new(CONFIG);
    let _daemon = site.start();
    let mut lines = site.lines();
    lines.send(b"{").unwrap();
    // The daemon may close while the rest is on its way.
    lines.send(&vec![b' '; MESSAGE_MAX + 1]).ok();
    assert_eq!(lines.reply()["reply"]["error"]["code"], "too_large");
    assert!(matches!(lines.read(), Ok(None) | Err(_)));
    let mut lines = site.lines();
    lines.send(b"hello\n").unwrap();
    assert_eq!(lines.reply()["reply"]["error"]["code"], "bad_request");
    assert!(matches!(lines.read(), Ok(None) | Err(_)));
    for (hello, code) in [(*b"GLLM\x02", ErrorCode::UnsupportedVersion), (*b"GARB\x01", ErrorCode::BadRequest)] {
        let mut stream = binary::connect(&site.socket(), &hello);
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(answer, PREAMBLE);
        let Some(Reply::Error(error)) = binary::response(&mut stream).map(|response| response.reply) else { panic!("no error") };
        assert_eq!(error.code, code);
        assert!(binary::response(&mut stream).is_none());
    }
    let mut stream = binary::greeted(&site.socket());
    stream.write_all(&u32::try_from(MESSAGE_MAX + 1).unwrap().to_le_bytes()).unwrap();
    let response = binary::response(&mut stream).unwrap();
    assert!(matches!(response.reply, Reply::Error(error) if error.code == ErrorCode::TooLarge));
    assert!(binary::response(&mut stream).is_none());
    largest_line(&mut site.lines());
}

/// A line of the largest size is read.
fn largest_line(lines: &mut Lines) {
    let request = br#"{"id":5,"op":"whoami"}"#;
    let mut line = vec![b' '; MESSAGE_MAX - request.len()];
    line.extend_from_slice(request);
    line.push(b'\n');
    lines.send(&line).unwrap();
    assert_eq!(lines.reply()["id"], 5);
}

#[test]
fn frames_are_pipelined_and_one_that_is_malformed_leaves_the_connection() {
    let site = Site::new(CONFIG);
    let _daemon = site.start();
    let mut stream = binary::greeted(&site.socket());
    let mut bytes = Vec::new();
    for id in 1..=200 {
        bytes.extend(binary::framed(id, Op::Select(Select::any("openai".parse().unwrap()))));
    }
    stream.write_all(&bytes).unwrap();
    let mut heard = BTreeSet::new();
    for _ in 0..200 {
        let response = binary::response(&mut stream).unwrap();
        assert!(matches!(response.reply, Reply::Lease(_)));
        heard.insert(response.id.unwrap());
    }
    assert_eq!(heard, (1..=200).collect());
    let mut malformed = 12_u32.to_le_bytes().to_vec();
    malformed.extend_from_slice(&7_u64.to_le_bytes());
    malformed.extend_from_slice(&999_u32.to_le_bytes());
    stream.write_all(&malformed).unwrap();
    let response = binary::response(&mut stream).unwrap();
    assert_eq!(response.id, Some(7));
    assert!(matches!(response.reply, Reply::Error(error) if error.code == ErrorCode::BadRequest));
    // Bytes behind the message make the frame malformed too.
    let mut longer = binary::framed(8, Op::Status);
    longer.push(0);
    longer[0] += 1;
    stream.write_all(&longer).unwrap();
    assert!(matches!(binary::response(&mut stream).unwrap().reply, Reply::Error(_)));
    stream.write_all(&binary::framed(9, Op::Whoami)).unwrap();
    assert!(matches!(binary::response(&mut stream).unwrap().reply, Reply::You(_)));
}

#[test]
fn a_lease_that_runs_out_is_charged_its_estimate_and_a_late_report_replaces_it() {
    let site = Site::new(&CONFIG.replace("key_validation: false", "key_validation: false, lease_ttl: 1s"));
    let _daemon = site.start();
    let mut lines = site.lines();
    let lease = lines.lease(&json!({"provider": "openai", "key_name": "primary", "estimate": {"cost_usd": 0.25}}));
    let renewed = lines.lease(&json!({"provider": "openai", "key_name": "secondary"}));
    crate::harness::until("the end of the lease", || {
        lines.expect("lease", &json!({"renew": {"lease": renewed["lease"]}}));
        (nanos(&lines.row("openai", "primary")["cost_today_usd"]) == 250_000_000).then_some(())
    });
    assert_eq!(nanos(&lines.row("openai", "primary")["reserved_usd"]), 0);
    lines.refused("unknown_lease", &json!({"renew": {"lease": lease["lease"]}}));
    let report = json!({"report": {"lease": lease["lease"], "outcome": "ok", "cost_usd": 0.1}});
    assert_eq!(lines.expect("reported", &report)["duplicate"], false);
    assert_eq!(lines.expect("reported", &report)["duplicate"], true);
    assert_eq!(nanos(&lines.row("openai", "primary")["cost_today_usd"]), 100_000_000);
    let total = lines.expect("statistics", &json!("statistics"))["total"].clone();
    assert_eq!((&total["requests"], nanos(&total["cost_usd"])), (&json!(1), 100_000_000));
    lines.report(&renewed, "cancelled");
}

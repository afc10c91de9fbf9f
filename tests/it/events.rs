//! What happens is told to who subscribed: in order, as far as each may hear it, and to slow ones how much they missed.

use serde_json::{Value, json};

use crate::harness::lines::Lines;
use crate::harness::{Site, until};

const CONFIG: &str = "
providers:
  openai:
    base_url: http://127.0.0.1:9/v1
    api_keys: [{name: a, key: sk-proj-0123456789abcdefghij}]
    rotation: {health_check: false}
global: {key_validation: false}
";

/// Subscribes, and knows that it did.
fn subscribed(site: &Site, subscribe: &Value) -> Lines {
    let mut lines = site.lines();
    lines.request(&json!({"subscribe": subscribe})).unwrap();
    lines.request(&json!("whoami")).unwrap();
    assert_eq!(lines.reply()["id"], 2);
    lines
}

/// The next event, by its kind and what it says.
fn event(lines: &mut Lines) -> (String, Value) {
    let line = lines.reply();
    assert_eq!(line["id"], 1, "{line}");
    let event = line["reply"]["event"].as_object().unwrap_or_else(|| panic!("{line}"));
    let (kind, said) = event.iter().next().unwrap();
    (kind.clone(), said.clone())
}

#[test]
fn what_becomes_of_a_lease_is_told_in_order_and_by_kind() {
    let site = Site::new(CONFIG);
    let _daemon = site.start();
    let mut all = subscribed(&site, &json!({}));
    let mut settled = subscribed(&site, &json!({"kinds": ["settled", "refused"]}));
    let mut lines = site.lines();
    let lease = lines.lease(&json!({"provider": "openai", "model": "gpt-4.1", "estimate": {"cost_usd": 0.5}}));
    lines.expect("reported", &json!({"report": {"lease": lease["lease"], "outcome": "ok", "input_tokens": 1000, "output_tokens": 500}}));
    lines.done(&json!({"key_disable": {"provider": "openai", "key_name": "a"}}));
    lines.refused("no_key_available", &json!({"select": {"provider": "openai"}}));
    let (kind, said) = event(&mut settled);
    assert_eq!((kind.as_str(), &said["outcome"], &said["cost_usd"], &said["model"]), ("settled", &json!("ok"), &json!(0.006), &json!("gpt-4.1")));
    let (kind, said) = event(&mut settled);
    assert!(kind == "refused" && said["message"].as_str().unwrap().contains("openai/a: disabled"), "{kind} {said}");
    let mut heard = Vec::new();
    until("every kind", || {
        let (kind, said) = event(&mut all);
        assert!(!said.to_string().contains("gl_") && !said.to_string().contains("sk-proj"), "{said}");
        heard.push(kind);
        let needed = ["granted", "settled", "key_state", "audit", "refused"];
        needed.iter().all(|kind| heard.iter().any(|other| other == kind)).then_some(())
    });
    let place = |kind: &str| heard.iter().position(|other| other == kind).unwrap();
    assert!(place("granted") < place("settled"), "{heard:?}");
}

#[test]
fn a_subscriber_that_does_not_read_hears_how_much_it_missed_and_holds_up_nobody() {
    let site = Site::new(CONFIG);
    let _daemon = site.start();
    let mut slow = subscribed(&site, &json!({"kinds": ["granted"]}));
    let mut lines = site.lines();
    let given = 20_000_u64;
    for _ in 0..given / 200 {
        for _ in 0..200 {
            lines.request(&json!({"select": {"provider": "openai"}})).unwrap();
        }
        for _ in 0..200 {
            assert!(lines.reply()["reply"].get("lease").is_some());
        }
    }
    let (mut heard, mut missed) = (0, 0);
    while heard + missed < given {
        match event(&mut slow) {
            (kind, said) if kind == "lagged" => missed += said["missed"].as_u64().unwrap(),
            _ => heard += 1,
        }
    }
    assert!(missed > 0 && heard + missed == given, "{heard} heard, {missed} missed");
}

#[test]
fn gollmctl_tells_events_a_line_each() {
    let site = Site::new(CONFIG);
    let _daemon = site.start();
    let mut command = site.gollmctl(&["events", "--kind", "granted,settled", "--count", "2", "--json"]);
    let child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut lines = site.lines();
    // It is not known from outside when it has subscribed.
    let ended = std::thread::spawn(move || child.wait_with_output().unwrap());
    until("two events", || {
        let lease = lines.lease(&json!({"provider": "openai"}));
        lines.report(&lease, "ok");
        ended.is_finished().then_some(())
    });
    let out = String::from_utf8(ended.join().unwrap().stdout).unwrap();
    let kinds: Vec<String> =
        out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap().as_object().unwrap().keys().next().unwrap().clone()).collect();
    assert!(kinds.len() == 2 && kinds.iter().all(|kind| kind == "granted" || kind == "settled"), "{out}");
    let wrong = site.ctl(&["events", "--kind", "nonsense"]);
    assert!(wrong.status == 2 && wrong.err.contains("granted"), "{wrong:?}");
}

#[test]
fn a_subscription_goes_on_though_its_caller_sends_no_more_and_has_its_bounds() {
    let site = Site::new(CONFIG);
    let daemon = site.start();
    let mut half = subscribed(&site, &json!({"kinds": ["granted"]}));
    half.finish();
    std::thread::sleep(std::time::Duration::from_millis(400));
    let mut lines = site.lines();
    lines.lease(&json!({"provider": "openai"}));
    assert_eq!(event(&mut half).0, "granted");
    lines.refused("bad_request", &json!({"subscribe": {"kinds": ["nonsense"]}}));
    let mut many = site.lines();
    for _ in 0..9 {
        many.request(&json!({"subscribe": {"kinds": ["alert"]}})).unwrap();
    }
    let refused = many.reply();
    assert_eq!((&refused["id"], &refused["reply"]["error"]["code"]), (&json!(9), &json!("overloaded")));
    // A subscriber does not hold up the end.
    assert!(daemon.terminate().success());
    assert!(half.read().unwrap().is_none());
}

#[test]
fn a_program_hears_events_through_either_client() {
    let site = Site::new(CONFIG);
    let _daemon = site.start();
    let endpoint = gollm::endpoint::Endpoint::at(site.socket());
    let kinds = [gollm::protocol::live::EventKind::Granted];
    let blocking = gollm::blocking::Client::connect(&endpoint).unwrap();
    let mut heard = blocking.subscribe(&kinds).unwrap();
    assert!(heard.next_within(std::time::Duration::from_millis(50)).unwrap().is_none());
    drop(blocking.lease("openai").unwrap());
    let event = heard.next().unwrap().unwrap();
    assert_eq!(event.provider().map(|provider| provider.as_str()), Some("openai"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = gollm::Client::connect(&endpoint).await.unwrap();
        let mut heard = client.subscribe(&kinds).await.unwrap();
        client.whoami().await.unwrap();
        let mut lease = None;
        let event = loop {
            // The subscription may be a moment later than the first lease.
            lease = Some(client.lease("openai").await.unwrap()).or(lease);
            if let Ok(event) = tokio::time::timeout(std::time::Duration::from_millis(200), heard.next()).await {
                break event.unwrap();
            }
        };
        assert_eq!(event.kind(), Some(kinds[0]));
    });
}

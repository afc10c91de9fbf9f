//! Backups, their restoration onto another machine, and another data key, of a daemon that serves.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use crate::harness::Site;
use crate::harness::lines::Lines;

const CONFIG: &str = "
providers:
  openai: {api_keys: [{key: sk-of-the-file, name: a, rate_limit: 5}], rotation: {health_check: false}}
global: {key_validation: false}
";

/// A store with a key that was set by hand, usage, and an open lease.
fn used(lines: &mut Lines) -> Value {
    lines.done(&json!({"key_set": {"provider": "openai", "key_name": "by-hand", "secret": "sk-planted-by-hand", "rate_limit": 9}}));
    for _ in 0..2 {
        let lease = lines.lease(&json!({"provider": "openai", "key_name": "by-hand"}));
        lines.done_report(&lease);
    }
    lines.lease(&json!({"provider": "openai", "key_name": "a"}))
}

impl Lines {
    fn done_report(&mut self, lease: &Value) {
        let report = json!({"report": {"lease": lease["lease"], "outcome": "ok", "cost_usd": 0.25}});
        assert_eq!(self.expect("reported", &report)["duplicate"], false);
    }
}

/// What was done and what came of it, from the older to the newer.
fn acts(audit: &Value) -> Vec<(String, String)> {
    let word = |entry: &Value, field: &str| entry[field].as_str().unwrap().to_owned();
    audit["entries"].as_array().unwrap().iter().map(|entry| (word(entry, "act"), word(entry, "result"))).collect()
}

#[test]
fn a_backup_is_restored_onto_another_machine_with_its_own_master_secret() {
    let site = Site::new(CONFIG);
    let _daemon = site.start();
    let lease = used(&mut site.lines());
    let file = site.path("gollm.backup");
    let made = site.ctl(&["backup", file.to_str().unwrap()]);
    assert_eq!(made.status, 0, "{}", made.err);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let content = std::fs::read(&file).unwrap();
    assert!(!content.windows(10).any(|at| at == b"sk-planted"));
    assert_eq!(site.ctl(&["backup", file.to_str().unwrap()]).status, 1, "none is overwritten");
    // The daemon goes on.
    site.lines().done_report(&lease);

    let mut other = Site::new(CONFIG);
    other.set("GOLLM_MASTER_PASSWORD", "of the other machine");
    let daemon = other.start();
    let file = file.to_str().unwrap();
    assert_eq!(other.ctl_with(&["restore", file], "of the other machine\n").status, 4);
    let checked = other.ctl_with(&["restore", file, "--check"], "a password for tests\n");
    assert_eq!((checked.status, checked.out.contains("2 of them secrets")), (0, true), "{}{}", checked.out, checked.err);
    let mut lines = other.lines();
    assert_eq!(lines.expect("keys", &json!({"keys": {}})).as_array().unwrap().len(), 1);
    let restored = other.ctl_with(&["restore", file], "a password for tests\n");
    assert_eq!(restored.status, 0, "{}", restored.err);
    let row = lines.row("openai", "by-hand");
    // As after a crash, a limit may lose a place.
    assert!([2, 3].contains(&row["requests_total"].as_u64().unwrap()), "{row}");
    assert_eq!((&row["cost_today_usd"], &row["rate_limit"]), (&json!(0.5), &json!(9)));
    assert_eq!(lines.lease(&json!({"provider": "openai", "key_name": "by-hand"}))["secret"], "sk-planted-by-hand");
    let verified = lines.expect("audit", &json!({"audit": {"verify": true}}));
    assert_eq!(verified["verified"]["ok"], true);
    // What this machine's own trail says was done, what the backup's says, and the restoration.
    let acts = acts(&verified);
    let place = |act: &str, result: &str| acts.iter().position(|(of, came)| (of.as_str(), came.as_str()) == (act, result));
    let (wrong, set, done) = (place("restore", "denied"), place("key_set", "done"), place("restore", "done"));
    assert!(wrong.is_some() && wrong < set && set < done, "{acts:?}");
    let last = verified["entries"].as_array().unwrap().iter().rfind(|entry| entry["act"] == "restore").unwrap().clone();
    assert!(last["detail"].as_str().unwrap().contains("from a backup of the store"), "{last}");
    assert!(daemon.terminate().success());
    // What opens it at the next start is its own master secret.
    let _daemon = other.start();
    assert_eq!(other.lines().row("openai", "by-hand")["cost_today_usd"], 0.5);
}

#[test]
fn a_store_whose_secret_nobody_knows_is_backed_up_with_a_passphrase() {
    let mut site = Site::new(CONFIG);
    site.unset("GOLLM_MASTER_PASSWORD");
    let _daemon = site.start();
    used(&mut site.lines());
    let file = site.path("gollm.backup");
    let file = file.to_str().unwrap();
    let refused = site.ctl(&["backup", file]);
    assert_eq!((refused.status, refused.err.contains("passphrase")), (1, true), "{}", refused.err);
    assert_eq!(site.ctl_with(&["backup", "--passphrase", file], "a phrase\n").status, 0);
    assert_eq!(site.ctl_with(&["restore", file, "--check"], "another\n").status, 4);
    let mut bytes = std::fs::read(file).unwrap();
    let at = bytes.len() - 100;
    bytes[at] ^= 1;
    let damaged = site.path("damaged");
    std::fs::write(&damaged, &bytes).unwrap();
    let refused = site.ctl_with(&["restore", damaged.to_str().unwrap()], "a phrase\n");
    assert_eq!((refused.status, refused.err.contains("damaged")), (1, true), "{}", refused.err);
    // Nothing was changed by what was refused.
    assert_eq!(site.lines().row("openai", "by-hand")["cost_today_usd"], 0.5);
    let mut lines = site.lines();
    lines.done(&json!({"key_remove": {"provider": "openai", "key_name": "by-hand"}}));
    let anchor = lines.expect("audit", &json!({"audit": {"verify": true}}))["verified"]["anchor"].clone();
    let since = lines.lease(&json!({"provider": "openai", "key_name": "a"}));
    assert_eq!(site.ctl_with(&["restore", file], "a phrase\n").status, 0);
    assert_eq!(lines.row("openai", "by-hand")["cost_today_usd"], 0.5);
    // A lease that was given since can be reported, and its number is no other lease's.
    let next = lines.lease(&json!({"provider": "openai", "key_name": "by-hand"}));
    lines.done_report(&next);
    lines.done_report(&since);
    assert_eq!(lines.row("openai", "a")["cost_today_usd"], 0.25);
    // What was done since the backup is known still, and the chain is the one that it was.
    let verified = lines.expect("audit", &json!({"audit": {"verify": true, "anchor": anchor}}));
    assert_eq!((&verified["verified"]["ok"], &verified["verified"]["anchored"]), (&json!(true), &json!(true)));
    assert!(acts(&verified).contains(&("key_remove".to_owned(), "done".to_owned())));
}

#[test]
fn pieces_are_handed_in_in_order_and_bounded() {
    let site = Site::new(CONFIG);
    let _daemon = site.start();
    let mut lines = site.lines();
    lines.refused("bad_request", &json!({"restore": {"password": "x"}}));
    lines.refused("bad_request", &json!({"restore_part": {"offset": 1, "data": "00"}}));
    lines.done(&json!({"restore_part": {"offset": 0, "data": "0a0b"}}));
    lines.refused("bad_request", &json!({"restore_part": {"offset": 1, "data": "00"}}));
    lines.refused("too_large", &json!({"restore_part": {"offset": 2, "data": ""}}));
    lines.refused("bad_request", &json!({"restore_part": {"offset": 2, "data": "0g"}}));
    lines.refused("bad_request", &json!({"restore": {"password": "x"}}));
    lines.refused("bad_request", &json!({"backup_part": {"backup": 1, "offset": 0}}));
}

#[test]
fn the_data_key_is_rotated_under_load_and_leases_and_counts_stand() {
    let site = Site::new(&CONFIG.replace("rate_limit: 5", "rate_limit: 100000"));
    let daemon = site.start();
    let mut lines = site.lines();
    let lease = used(&mut lines);
    let stop = std::sync::atomic::AtomicBool::new(false);
    let done = std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            let (mut lines, mut count) = (site.lines(), 0);
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let lease = lines.lease(&json!({"provider": "openai", "key_name": "a"}));
                lines.done_report(&lease);
                count += 1;
            }
            count
        });
        for _ in 0..3 {
            assert_eq!(site.ctl(&["rekey"]).status, 0);
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        load.join().unwrap()
    });
    assert!(site.state().join("generation-3").exists() && !site.state().join("sled").exists());
    // A lease outlives all rotations.
    lines.done_report(&lease);
    let lease = lines.lease(&json!({"provider": "openai", "key_name": "by-hand"}));
    assert_eq!(site.ctl(&["rekey"]).status, 0);
    assert!(daemon.terminate().success());
    let _daemon = site.start();
    let mut lines = site.lines();
    lines.done_report(&lease);
    assert_eq!(lines.row("openai", "a")["requests_total"], done + 1);
    assert_eq!(lines.row("openai", "by-hand")["requests_total"], 3);
    assert_eq!(lines.expect("audit", &json!({"audit": {"verify": true}}))["verified"]["ok"], true);
}

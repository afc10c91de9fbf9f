//! The end of a daemon: what was sent before SIGTERM is answered, and nobody can hold it up.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::Site;
use crate::harness::lines::Lines;
use crate::programs::CONFIG;

/// Longest time from SIGTERM to the end.
const LONGEST_END: Duration = Duration::from_secs(5);

fn record() -> Value {
    json!({"record": {"provider": "openai", "key_name": "a"}})
}

/// Reads to the end; every request must have its answer, and none an error.
fn all_answered(mut lines: Lines, mut sent: BTreeSet<u64>) {
    while let Some(line) = lines.read().unwrap() {
        assert!(line["reply"].get("error").is_none(), "{line}");
        assert!(sent.remove(&line["id"].as_u64().unwrap()), "{line}");
    }
    assert!(sent.is_empty(), "{} requests were not answered", sent.len());
}

#[test]
fn sigterm_answers_everything_that_was_sent_before_it() {
    let site = Site::new(CONFIG);
    let daemon = site.start();
    let statistics = json!({"statistics": {"by": ["model", "caller"]}});
    let kinds = [vec![json!("whoami"), record(), statistics.clone()], vec![statistics], vec![record()]];
    let clients: Vec<(Lines, BTreeSet<u64>)> = kinds
        .iter()
        .map(|ops| {
            let mut lines = site.lines();
            lines.expect("you", &json!("whoami"));
            let sent = (0..400).map(|turn| lines.request(&ops[turn % ops.len()]).unwrap()).collect();
            (lines, sent)
        })
        .collect();
    daemon.signal(Signal::TERM);
    for (lines, sent) in clients {
        all_answered(lines, sent);
    }
    assert!(daemon.terminate().success());
}

#[test]
fn who_connected_before_sigterm_is_answered_though_nobody_had_time_for_it() {
    let site = Site::new(CONFIG);
    let daemon = site.start();
    daemon.signal(Signal::STOP);
    let clients: Vec<(Lines, BTreeSet<u64>)> = (0..20)
        .map(|_| {
            let mut lines = site.lines();
            let id = lines.request(&json!("whoami")).unwrap();
            (lines, BTreeSet::from([id]))
        })
        .collect();
    daemon.signal(Signal::TERM);
    daemon.signal(Signal::CONT);
    for (lines, sent) in clients {
        all_answered(lines, sent);
    }
    assert!(daemon.terminate().success());
}

#[test]
fn callers_that_never_pause_do_not_hold_up_the_end() {
    let site = Site::new(CONFIG);
    let mut daemon = site.start();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..40 {
            let lines = site.lines();
            scope.spawn(|| flood(lines, &over));
        }
        std::thread::sleep(Duration::from_millis(500));
        let began = Instant::now();
        daemon.signal(Signal::TERM);
        assert!(daemon.ended().success());
        over.store(true, Ordering::Relaxed);
        assert!(began.elapsed() < LONGEST_END, "the end took {:?}", began.elapsed());
    });
    assert!(site.log().contains("stopped"), "{}", site.log());
}

/// Asks again and again without waiting for each answer, until the daemon is gone.
fn flood(mut lines: Lines, over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        let sent = (0..50).try_for_each(|_| lines.request(&record()).map(drop));
        if sent.is_err() || (0..50).any(|_| !matches!(lines.read(), Ok(Some(_)))) {
            return;
        }
    }
}

#[test]
fn a_lease_that_nobody_heard_of_is_given_back_before_the_end() {
    let site = Site::new(CONFIG);
    let daemon = site.start();
    let mut waiting = site.lines();
    let mut lines = site.lines();
    let leases: Vec<Value> = (0..2).map(|_| lines.lease(&json!({"provider": "openai"}))).collect();
    waiting.request(&json!({"select": {"provider": "openai", "wait_ms": 60_000}})).unwrap();
    crate::harness::until("the wait", || (lines.expect("status", &json!("status"))["providers"][0]["waiting"] == 1).then_some(()));
    let began = Instant::now();
    daemon.signal(Signal::TERM);
    // Who waits is told why there is none, and does not hold up the end.
    let reply = waiting.reply();
    assert_eq!(reply["reply"]["error"]["code"], "no_key_available", "{reply}");
    assert!(daemon.terminate().success() && began.elapsed() < LONGEST_END);
    let _daemon = site.start();
    let mut lines = site.lines();
    assert_eq!(lines.expect("status", &json!("status"))["counts"]["leases_open"], 2);
    for lease in leases {
        lines.report(&lease, "ok");
    }
}

//! A store that an earlier gollmd wrote is opened and goes on.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::harness::Site;
use crate::harness::lines::nanos;

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/store-1")
}

/// Puts the store where a daemon finds it, each file as long as it was.
fn restore(site: &Site) {
    for line in std::fs::read_to_string(fixture().join("sizes")).unwrap().lines() {
        let (size, name) = line.split_once(' ').unwrap();
        let path = site.state().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::copy(fixture().join(name), &path).unwrap();
        std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(size.parse().unwrap()).unwrap();
    }
}

#[test]
fn the_store_of_an_earlier_build_is_opened_and_goes_on() {
    let site = Site::new(&std::fs::read_to_string(fixture().join("config.yaml")).unwrap());
    restore(&site);
    let daemon = site.start();
    let mut lines = site.lines();
    let statistics = json!({"statistics": {"by": ["key"]}});
    let check = |lines: &mut crate::harness::lines::Lines| {
        let total = lines.expect("statistics", &statistics)["total"].clone();
        assert_eq!(
            (nanos(&total["cost_usd"]), &total["errors"]),
            (480_000_000, &json!({"permission_denied": 1, "quota_exhausted": 1, "rate_limited": 1}))
        );
        assert_eq!(lines.row("openai", "disabled")["state"], "disabled");
        assert_eq!(lines.row("anthropic", "spent")["state"], "exhausted");
        assert_eq!(lines.row("openai", "added")["rate_limit"], 7);
        assert_eq!(lines.row("openai", "primary")["account"], "org-1");
    };
    check(&mut lines);
    let lease = lines.lease(&json!({"provider": "openai", "key_name": "secondary", "session": "new"}));
    assert_eq!(lease["secret"], "sk-proj-fixture-secondary-02");
    lines.report(&lease, "cancelled");
    // What is written now is read with what was written then.
    assert!(daemon.terminate().success());
    let _daemon = site.start();
    let mut lines = site.lines();
    check(&mut lines);
    assert!(!site.log().contains("ERROR"), "{}", site.log());
}

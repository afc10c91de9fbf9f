//! Admins' acts and what the configuration gives them to do.

use serde_json::json;

use crate::harness::lines::Lines;
use crate::harness::provider::Provider;
use crate::harness::{Site, until};

const CONFIG: &str = "
providers:
  openai:
    api_keys: [{key: 'file:secret', name: a}, {key: sk-b, name: b}]
    rotation: {health_check: false}
global: {key_validation: false}
";

#[cfg(target_os = "linux")]
#[test]
fn a_secret_behind_a_pipe_holds_nothing_up() {
    let site = Site::new(CONFIG);
    let file = site.path("secret");
    std::fs::write(&file, "sk-of-the-file").unwrap();
    let _daemon = site.start();
    let mut lines = site.lines();
    std::fs::remove_file(&file).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &file, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
    lines.done(&json!("reload"));
    let warnings = lines.expect("status", &json!("status"))["warnings"].to_string();
    assert!(warnings.contains("is no regular file"), "{warnings}");
    assert_eq!(lines.lease(&json!({"provider": "openai", "key_name": "a"}))["secret"], "sk-of-the-file");
    lines.done(&json!({"key_set": {"provider": "openai", "key_name": "a", "secret": "sk-by-hand"}}));
    assert_eq!(lines.lease(&json!({"provider": "openai", "key_name": "a"}))["secret"], "sk-by-hand");
    // The file gives the older secret again: what was set by hand stays.
    std::fs::remove_file(&file).unwrap();
    std::fs::write(&file, "sk-of-the-file").unwrap();
    lines.done(&json!("reload"));
    assert_eq!(lines.lease(&json!({"provider": "openai", "key_name": "a"}))["secret"], "sk-by-hand");
}

#[test]
fn what_key_set_does_not_name_stays() {
    let site = Site::new(&CONFIG.replace("file:secret", "sk-a"));
    let daemon = site.start();
    let mut lines = site.lines();
    let set = |fields: serde_json::Value| {
        let mut request = json!({"provider": "openai", "key_name": "c", "secret": "sk-c"});
        request.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        json!({"key_set": request})
    };
    lines.done(&set(json!({"rate_limit": 7, "weight": 3, "enabled": false})));
    lines.done(&set(json!({"cost_limit": 5})));
    let row = lines.row("openai", "c");
    assert_eq!([&row["rate_limit"], &row["weight"], &row["cost_limit"], &row["enabled"]], [&json!(7), &json!(3), &json!(5.0), &json!(false)]);
    assert!(!row["reason"].to_string().contains("configuration"), "{row}");
    lines.done(&json!({"key_enable": {"provider": "openai", "key_name": "c"}}));
    assert_eq!(lines.lease(&json!({"provider": "openai", "key_name": "c"}))["secret"], "sk-c");
    for wrong in [json!({"rate_limit": 0}), json!({"rate_limit": u64::MAX}), json!({"weight": 1_000_001}), json!({"cost_limit": 1e10})] {
        lines.refused("bad_request", &set(wrong));
    }
    // Of a key that was removed, one that is set anew has the name alone.
    lines.done(&json!({"key_disable": {"provider": "openai", "key_name": "c"}}));
    lines.done(&json!({"key_remove": {"provider": "openai", "key_name": "c"}}));
    lines.done(&set(json!({})));
    assert_eq!(lines.lease(&json!({"provider": "openai", "key_name": "c"}))["secret"], "sk-c");
    assert!(daemon.terminate().success());
    let _daemon = site.start();
    let row = site.lines().row("openai", "c");
    assert_eq!((&row["rate_limit"], &row["enabled"]), (&json!(null), &json!(true)));
    let audited = |act: &str| site.log().lines().any(|line| line.contains(act) && line.contains("openai/c") && line.contains("done"));
    assert!(["key_set", "key_enable", "key_disable", "key_remove"].into_iter().all(audited), "{}", site.log());
}

#[test]
fn a_cost_warning_goes_with_its_limit_and_an_unusual_shape_proves_nothing() {
    let limited = CONFIG.replace("file:secret", "sk-a").replace("name: b", "name: b, cost_limit: 1");
    let site = Site::new(&limited);
    let _daemon = site.start();
    let mut lines = site.lines();
    lines.expect("reported", &json!({"record": {"provider": "openai", "key_name": "b", "outcome": "ok", "cost_usd": 0.9}}));
    let mut warned = || lines.expect("status", &json!("status"))["warnings"].to_string().contains("cost_limit");
    assert!(warned());
    site.configure(&limited.replace("cost_limit: 1", "cost_limit: 2"));
    assert_eq!(site.ctl(&["reload"]).status, 0);
    assert!(!warned());
    let validations = site.lines().expect("validations", &json!({"validate": {"format_only": true}}));
    assert_eq!((&validations[0]["verdict"], &validations[0]["valid"]), (&json!("inconclusive"), &json!(false)));
}

#[cfg(target_os = "linux")]
#[test]
fn the_password_leaves_the_environment_that_others_can_see() {
    let site = Site::new(&CONFIG.replace("file:secret", "sk-a"));
    let daemon = site.start();
    let shown = |name: &str| std::fs::read(format!("/proc/{}/{name}", daemon.pid())).unwrap();
    let environ = String::from_utf8(shown("environ")).unwrap();
    assert!(!environ.contains("a password for tests") && environ.contains("HOME="), "{environ}");
    assert_eq!(String::from_utf8(shown("comm")).unwrap(), "gollmd\n");
    assert_eq!(site.lines().expect("status", &json!("status"))["master_source"], "environment");
    let mut long = Site::new(CONFIG);
    long.set("GOLLM_MASTER_PASSWORD", "x".repeat(5000));
    let ran = crate::harness::run(long.gollmd(&[]), "");
    assert!(ran.status == 1 && ran.err.contains("longer than 4096 bytes"), "{ran:?}");
}

#[test]
fn a_log_level_that_is_none_is_said_and_info_is_used() {
    let mut site = Site::new(&CONFIG.replace("file:secret", "sk-a"));
    site.set("GOLLM_LOG", "debgu");
    let _daemon = site.start();
    until("a log at `info`", || site.log().contains("serving").then_some(()));
    assert!(site.log().contains("GOLLM_LOG can't be read"), "{}", site.log());
}

#[test]
fn a_secret_that_its_provider_refuses_is_not_kept() {
    let provider = Provider::start(|head| {
        let (known, spent) = (head.contains("sk-that-is-known"), head.contains("sk-that-is-spent"));
        let refused = r#"{"error":{"code":"invalid_api_key","message":"Incorrect API key"}}"#;
        let quota = r#"{"error":{"code":"insufficient_quota"}}"#;
        if known {
            (200, r#"{"data":[]}"#.to_owned())
        } else if spent {
            (429, quota.to_owned())
        } else {
            (401, refused.to_owned())
        }
    });
    let keys = "[{name: known}, {name: spent}, {name: refused}, {name: elsewhere}]";
    let config = format!("providers: {{openai: {{base_url: '{}', api_keys: {keys}, rotation: {{health_check: false}}}}}}", provider.base_url);
    let site = Site::new(&config);
    let _daemon = site.start();
    let set = |key: &str, secret: &str, more: &[&str]| site.ctl_with(&[&["key", "set", key], more].concat(), secret);
    let ran = set("openai/known", "sk-that-is-known", &[]);
    assert_eq!((ran.status, ran.out.as_str()), (0, "openai/known is set, and its provider takes it\n"));
    let ran = set("openai/spent", "sk-that-is-spent", &[]);
    assert!(ran.status == 0 && ran.out.contains("credit or quota is spent"), "{ran:?}");
    let ran = set("openai/refused", "sk-that-is-wrong", &[]);
    assert!(ran.status == 1 && ran.err.contains("was not kept") && ran.err.contains("--no-validate") && !ran.err.contains("sk-that"), "{ran:?}");
    let mut lines = site.lines();
    let states = |lines: &mut Lines| ["known", "spent", "refused"].map(|key| lines.row("openai", key)["state"].clone());
    assert_eq!(states(&mut lines), [json!("healthy"), json!("exhausted"), json!("sealed")]);
    // The secret that serves stays where its successor is refused.
    lines.refused("bad_request", &json!({"key_set": {"provider": "openai", "key_name": "known", "secret": "sk-that-is-wrong", "validate": true}}));
    assert_eq!(lines.lease(&json!({"provider": "openai", "key_name": "known"}))["secret"], "sk-that-is-known");
    let ran = set("openai/refused", "sk-that-is-wrong", &["--no-validate"]);
    assert!(ran.status == 0 && ran.out.contains("is not known"), "{ran:?}");
    assert_eq!(lines.lease(&json!({"provider": "openai", "key_name": "refused"}))["secret"], "sk-that-is-wrong");
    // All are validated, each under its name, in the order that `keys` has.
    let ran = site.ctl(&["validate", "openai"]);
    let verdicts: Vec<&str> = ran.out.lines().map(|line| line.split(" - ").next().unwrap_or(line)).collect();
    let expected = ["Provider: openai", "  known: ✓ Valid", "  spent: ✗ No quota", "  refused: ✗ Invalid", "  elsewhere: ✗ Invalid"];
    assert_eq!((ran.status, verdicts.as_slice(), ran.err.as_str()), (1, &expected[..], ""));
    let listed = lines.expect("validations", &json!({"validate": {"provider": "openai"}}));
    let ran = site.ctl(&["--json", "validate"]);
    assert_eq!((ran.status, serde_json::from_str::<serde_json::Value>(&ran.out).unwrap()), (1, listed));
    lines.done(&json!({"key_enable": {"provider": "openai", "key_name": "refused"}}));
    // A secret of another provider is shown to nobody, and so is what the request gets wrong.
    let asked = provider.seen().len();
    lines.refused(
        "bad_request",
        &json!({"key_set": {"provider": "openai", "key_name": "known", "secret": "sk-ant-that-is-foreign", "validate": true}}),
    );
    let wrong = json!({"key_set": {"provider": "openai", "key_name": "known", "secret": "sk-that-is-known", "validate": true, "weight": 2}});
    lines.refused("bad_request", &wrong);
    assert_eq!(provider.seen().len(), asked);
    // Where nobody answers, a secret is kept, and nothing is held against it.
    drop(provider);
    let ran = set("openai/elsewhere", "sk-that-is-known", &[]);
    assert!(ran.status == 0 && ran.out.contains("is not known"), "{ran:?}");
    assert_eq!(lines.lease(&json!({"provider": "openai", "key_name": "elsewhere"}))["secret"], "sk-that-is-known");
    assert!(!site.log().contains("sk-that"), "{}", site.log());
}

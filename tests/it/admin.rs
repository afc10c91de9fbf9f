//! Admins' acts and what the configuration gives them to do.

use serde_json::json;

use crate::harness::Site;

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

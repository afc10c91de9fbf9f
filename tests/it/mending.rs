//! What an admin does when something is wrong: doctor, repair, export.

use serde_json::{Value, json};

use crate::harness::{Site, run};

const CONFIG: &str = "
providers:
  openai: {api_keys: [{key: sk-a, name: a}], rotation: {health_check: false}}
global: {key_validation: false}
";

fn findings(site: &Site) -> (i32, Vec<Value>) {
    let mut command = site.gollmctl(&["doctor", "--json"]);
    command.env("GOLLM_CONFIG", site.config());
    let ran = run(command, "");
    (ran.status, serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{}{}", ran.out, ran.err)))
}

fn mends(findings: &[Value], about: &str) -> Vec<String> {
    findings.iter().filter(|finding| finding["about"] == about).filter_map(|finding| finding["mend"].as_str().map(str::to_owned)).collect()
}

#[test]
fn the_doctor_names_the_command_that_mends_each_thing() {
    let mut site = Site::new(CONFIG);
    let (status, found) = findings(&site);
    assert_eq!(status, 1);
    assert!(mends(&found, "daemon")[0].contains("systemctl start gollmd"), "{found:?}");

    site.unset("GOLLM_MASTER_PASSWORD");
    let _daemon = site.start();
    let (status, found) = findings(&site);
    assert_eq!(status, 0, "{found:?}");
    assert!(mends(&found, "status").iter().any(|mend| mend.contains("gollmctl passwd --to")), "{found:?}");
    assert_eq!(mends(&found, "master secret"), ["gollmctl slot add recovery"]);
    assert_eq!(site.ctl(&["slot", "add", "recovery"]).status, 0);

    site.configure(&format!("{CONFIG}nonsense: 1\n"));
    let mut lines = site.lines();
    lines.refused("bad_request", &json!("reload"));
    lines.done(&json!("lock"));
    let (status, found) = findings(&site);
    assert_eq!(status, 1);
    assert!(mends(&found, "configuration")[0].starts_with("gollmctl config check /"), "{found:?}");
    assert_eq!(mends(&found, "store"), ["gollmctl unlock"]);
    assert!(mends(&found, "master secret").is_empty());
}

#[test]
fn a_damaged_store_is_refused_repaired_and_served_from() {
    let site = Site::new(CONFIG);
    let daemon = site.start();
    let mut lines = site.lines();
    lines.done(&json!({"key_set": {"provider": "openai", "key_name": "b", "secret": "sk-by-hand"}}));
    assert!(daemon.terminate().success());
    std::fs::remove_file(site.state().join("manifest")).unwrap();
    let refused = run(site.gollmd(&[]), "");
    assert_eq!((refused.status, refused.err.contains("gollmd --repair")), (1, true), "{}", refused.err);
    let repaired = run(site.gollmd(&["--repair"]), "");
    assert_eq!(repaired.status, 0, "{}", repaired.err);
    assert!(
        repaired.out.contains("repaired") && repaired.out.contains("lost: the manifest") && repaired.out.contains("damaged-0"),
        "{}",
        repaired.out
    );
    // A password that is not in the environment is read from standard input.
    let mut typed = site.gollmd(&["--repair"]);
    typed.env_remove("GOLLM_MASTER_PASSWORD");
    let again = run(typed, "a password for tests\n");
    assert!(again.out.contains("nothing was changed"), "{}{}", again.out, again.err);
    let _daemon = site.start();
    assert_eq!(site.lines().lease(&json!({"provider": "openai", "key_name": "b"}))["secret"], "sk-by-hand");
    let audit = site.lines().expect("audit", &json!({"audit": {"verify": true}}));
    let told = audit["entries"].as_array().unwrap().iter().find(|entry| entry["act"] == "repair").unwrap().clone();
    assert!(audit["verified"]["ok"] == true && told["detail"].as_str().unwrap().contains("lost: the manifest"), "{told}");
    let busy = run(site.gollmd(&["--repair"]), "");
    assert_eq!((busy.status, busy.err.contains("another gollmd uses")), (1, true), "{}", busy.err);
}

#[test]
fn an_export_has_keys_of_the_file_and_by_hand_and_no_secret_and_loads() {
    let site = Site::new(CONFIG);
    let _daemon = site.start();
    let mut lines = site.lines();
    lines.done(&json!({"key_set": {"provider": "mistral", "key_name": "by-hand", "secret": "planted-secret-0123456789", "rate_limit": 7}}));
    let exported = site.ctl(&["export"]);
    assert_eq!(exported.status, 0, "{}", exported.err);
    assert!(
        exported.out.contains("by-hand") && exported.out.contains("rate_limit: 7") && !exported.out.contains("planted-secret"),
        "{}",
        exported.out
    );
    let file = site.path("exported.yaml");
    std::fs::write(&file, exported.out).unwrap();
    let checked = site.ctl(&["config", "check", file.to_str().unwrap()]);
    assert_eq!((checked.status, checked.out.contains("2 providers, 2 keys")), (0, true), "{}{}", checked.out, checked.err);
}

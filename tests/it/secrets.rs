//! No secret leaves but in a lease: not by a file, a log, a reply, an error, an argument, whatever is done with it.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::lines::Lines;
use crate::harness::provider::Provider;
use crate::harness::{Site, until};

/// Where each secret is planted. All begin as keys of openai do, where nothing is said to the contrary.
const IN_FILE: &str = "sk-proj-PlantedInTheFile0123456789abcdefghijkl";
const IN_VARIABLE: &str = "sk-proj-PlantedInAVariable0123456789abcdefgh";
const IN_OVERRIDE: &str = "sk-proj-PlantedInAnOverride0123456789abcdefg";
const BY_HAND: &str = "sk-proj-PlantedByHand0123456789abcdefghijklmn";
const FOREIGN: &str = "sk-ant-api03-PlantedForeign0123456789abcdefghijkl";
const MISPLACED: &str = "sk-proj-PlantedInAWrongField0123456789abcdefg";
const PASSWORD: &str = "PlantedMasterPassword0123456789";

const NEW_PASSWORD: &str = "PlantedOtherPassword9876543210";
const WRONG_PASSWORD: &str = "PlantedWrongPassword5678901234";
const PASSPHRASE: &str = "PlantedPassphrase0123456789012";

const SECRETS: [&str; 10] = [IN_FILE, IN_VARIABLE, IN_OVERRIDE, BY_HAND, FOREIGN, MISPLACED, PASSWORD, NEW_PASSWORD, WRONG_PASSWORD, PASSPHRASE];

fn config(base_url: &str) -> String {
    format!(
        "
providers:
  openai:
    base_url: {base_url}
    api_keys: [{{key: {IN_FILE}, name: in-file}}, {{key: env:PLANTED, name: in-variable}}, {{name: overridden, key: env:UNSET}}, {{name: by-hand}}]
    rotation: {{health_check: false}}
global: {{key_validation: false, key_timeout: 5s}}
"
    )
}

/// A secret as it might be written: as it is, in hexadecimal, in base64 at each of the three places that it can begin at,
/// and each of these the other way round, escaped for JSON or a URL.
fn forms(secret: &str) -> Vec<Vec<u8>> {
    let middle = &secret.as_bytes()[8..secret.len() - 5];
    let hex: String = middle.iter().map(|byte| format!("{byte:02x}")).collect();
    let bytes = middle.iter().map(u8::to_string).collect::<Vec<_>>();
    let mut forms =
        vec![middle.to_vec(), hex.to_uppercase().into_bytes(), hex.into_bytes(), bytes.join(", ").into_bytes(), bytes.join(",").into_bytes()];
    forms.push(middle.iter().rev().copied().collect());
    for skipped in 0..3 {
        // Of the text behind `skipped` bytes, whole groups of three stand as four characters, wherever it is.
        let whole = (middle.len() - skipped) / 3 * 3;
        forms.extend(base64(&middle[skipped..skipped + whole]).map(String::into_bytes));
    }
    forms
}

/// Whole groups of three bytes in base64, with both alphabets (RFC 4648, sections 4 and 5).
fn base64(bytes: &[u8]) -> [String; 2] {
    let write = |alphabet: &[u8]| {
        let groups = bytes.chunks_exact(3).map(|group| u32::from_be_bytes([0, group[0], group[1], group[2]]));
        groups.flat_map(|group| [18, 12, 6, 0].map(|shift| char::from(alphabet[(group >> shift) as usize & 63]))).collect()
    };
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    [write(&[letters, b"+/".as_slice()].concat()), write(&[letters, b"-_".as_slice()].concat())]
}

/// The forms of secrets by their first byte, so that a text is looked through once.
struct Finder(Vec<Vec<(&'static str, Vec<u8>)>>);

impl Finder {
    fn of(secrets: &[&'static str]) -> Self {
        let mut forms_of = vec![Vec::new(); 256];
        for secret in secrets {
            for form in forms(secret) {
                forms_of[usize::from(form[0])].push((*secret, form));
            }
        }
        Self(forms_of)
    }

    /// The first secret that stands in the text, in whatever form.
    fn find(&self, text: &[u8]) -> Option<&'static str> {
        text.iter().enumerate().find_map(|(at, first)| {
            let forms = &self.0[usize::from(*first)];
            forms.iter().find(|(_, form)| text[at..].starts_with(form)).map(|(secret, _)| *secret)
        })
    }
}

/// Everything that was heard, with where it came from.
#[derive(Default)]
struct Heard(Vec<(String, Vec<u8>)>);

impl Heard {
    fn note(&mut self, place: impl Into<String>, text: impl Into<Vec<u8>>) {
        self.0.push((place.into(), text.into()));
    }

    fn ask(&mut self, lines: &mut Lines, op: &Value) -> Value {
        let reply = lines.ask(op);
        self.note(format!("the reply to {op}"), reply.to_string());
        reply
    }

    fn ctl(&mut self, site: &Site, arguments: &[&str], input: &str) -> i32 {
        let ran = site.ctl_with(arguments, input);
        self.note(format!("gollmctl {arguments:?}"), format!("{}{}", ran.out, ran.err));
        ran.status
    }

    fn holds_none(&self) {
        let finder = Finder::of(&SECRETS);
        for (place, text) in &self.0 {
            let found = finder.find(text);
            assert_eq!(found, None, "it stands in {place}: {}", String::from_utf8_lossy(text));
        }
    }
}

#[test]
fn a_planted_secret_is_found_in_each_form() {
    assert_eq!(base64(b"Man"), ["TWFu", "TWFu"]);
    let finder = Finder::of(&[IN_FILE]);
    let written = |text: &str| finder.find(text.as_bytes()).is_some();
    assert!(written(&format!("key={IN_FILE}")) && !written("sk-proj-"));
    for before in ["", "a", "ab"] {
        let padded = format!("{before}{IN_FILE}xx");
        let whole = padded.len() / 3 * 3;
        assert!(base64(&padded.as_bytes()[..whole]).iter().all(|text| written(text)), "{before}");
    }
}

#[test]
fn no_secret_leaves_but_in_a_lease() {
    // It echoes what it was sent, as some providers do.
    let provider = Provider::start(|head| {
        let key = head.lines().find_map(|line| line.strip_prefix("authorization: Bearer ")).unwrap_or("none").to_owned();
        (401, json!({"error": {"message": format!("Incorrect API key provided: {key}"), "code": key, "type": "invalid_request_error"}}).to_string())
    });
    let mut site = Site::new(&config(&provider.base_url));
    site.set("GOLLM_MASTER_PASSWORD", PASSWORD);
    site.set("PLANTED", IN_VARIABLE);
    site.set("GOLLM_OPENAI_API_KEY_OVERRIDDEN", IN_OVERRIDE);
    site.set("GOLLM_LOG", "trace,reqwest=trace,hyper=trace,gollm=trace");
    let mut heard = Heard::default();
    let daemon = site.start();
    let mut lines = site.lines();
    by_stdin(&site, &mut heard);
    in_leases(&mut lines, &mut heard);
    in_wrong_places(&site, &mut lines, &mut heard);
    live(&mut lines, &mut heard, &provider);
    broken_file(&site, &daemon, &mut lines, &mut heard);
    safe_keeping(&site, &mut heard);
    for what in ["cmdline", "comm", "cgroup"] {
        heard.note(what, std::fs::read(format!("/proc/{}/{what}", daemon.pid())).unwrap());
    }
    for arguments in
        [&["status"] as &[&str], &["keys"], &["health"], &["stats"], &["validate", "--format-only"], &["--json", "status"], &["--json", "keys"]]
    {
        heard.ctl(&site, arguments, "");
    }
    daemon.kill();
    let daemon = site.start();
    assert_eq!(site.lines().lease(&json!({"provider": "openai", "key_name": "by-hand"}))["secret"], BY_HAND);
    assert!(daemon.terminate().success());
    assert!(site.log().contains("leased"), "the log is not at `trace`");
    for (path, bytes) in site.every_file().into_iter().filter(|(path, _)| *path != site.config()) {
        heard.note(path.display().to_string(), bytes);
    }
    heard.holds_none();
}

/// Whatever is done with the store as a whole.
fn safe_keeping(site: &Site, heard: &mut Heard) {
    let file = site.path("gollm.backup");
    let file = file.to_str().unwrap();
    assert_eq!(heard.ctl(site, &["backup", "--passphrase", file], &format!("{PASSPHRASE}\n")), 0);
    assert_eq!(heard.ctl(site, &["restore", file], &format!("{WRONG_PASSWORD}\n")), 4);
    assert_eq!(heard.ctl(site, &["restore", file], &format!("{PASSPHRASE}\n")), 0);
    heard.note("the backup", std::fs::read(file).unwrap());
    assert_eq!(heard.ctl(site, &["rekey"], ""), 0);
    assert_eq!(heard.ctl(site, &["slot", "add", "password"], &format!("{NEW_PASSWORD}\n")), 0);
    assert_eq!(heard.ctl(site, &["passwd"], &format!("{WRONG_PASSWORD}\n{NEW_PASSWORD}\n")), 4);
    assert_eq!(heard.ctl(site, &["lock"], ""), 0);
    assert_eq!(heard.ctl(site, &["unlock"], &format!("{WRONG_PASSWORD}\n")), 4);
    assert_eq!(heard.ctl(site, &["unlock"], &format!("{NEW_PASSWORD}\n")), 0);
    for arguments in
        [&["audit", "--verify"] as &[&str], &["audit", "--limit", "2000"], &["--json", "audit"], &["export"], &["doctor"], &["slot", "list"]]
    {
        assert_ne!(heard.ctl(site, arguments, ""), 3);
    }
}

fn by_stdin(site: &Site, heard: &mut Heard) {
    assert_eq!(heard.ctl(site, &["key", "set", "openai/by-hand"], &format!("{BY_HAND}\n")), 0);
    assert_eq!(heard.ctl(site, &["key", "set", "openai/foreign"], FOREIGN), 1);
    assert_eq!(heard.ctl(site, &["key", "set", "openai/by-hand", MISPLACED], ""), 2);
    assert_eq!(heard.ctl(site, &["key", "enable", MISPLACED], ""), 2);
    assert_eq!(heard.ctl(site, &["select", MISPLACED], ""), 2);
    assert_eq!(heard.ctl(site, &["key", "set", "openai/two"], &format!("{MISPLACED} {MISPLACED}")), 1);
    assert_ne!(heard.ctl(site, &["config", "show", &site.config().display().to_string()], ""), 3);
    assert_ne!(heard.ctl(site, &["config", "check", &site.config().display().to_string()], ""), 3);
}

/// The one place: a lease holds the secret, and nothing else of the reply does.
fn in_leases(lines: &mut Lines, heard: &mut Heard) {
    for (key, secret) in [("in-file", IN_FILE), ("in-variable", IN_VARIABLE), ("overridden", IN_OVERRIDE), ("by-hand", BY_HAND)] {
        let mut lease = lines.lease(&json!({"provider": "openai", "key_name": key}));
        assert_eq!(lease["secret"].take(), secret);
        heard.note("a lease but its secret", lease.to_string());
        let mut renewed = lines.expect("lease", &json!({"renew": {"lease": lease["lease"]}}));
        assert_eq!(renewed["secret"].take(), secret);
        heard.note("a lease but its secret", renewed.to_string());
        heard.ask(lines, &json!({"report": {"lease": lease["lease"], "outcome": "ok", "input_tokens": 3}}));
    }
}

fn in_wrong_places(site: &Site, lines: &mut Lines, heard: &mut Heard) {
    for op in [
        json!({"select": {"provider": MISPLACED}}),
        json!({"select": {"provider": "openai", MISPLACED: 1}}),
        json!({"select": {"provider": "openai", "strategy": MISPLACED}}),
        json!({"select": {"provider": "openai", "key_name": MISPLACED}}),
        json!({"select": {"provider": "openai", "estimate": MISPLACED}}),
        json!({"report": {"lease": MISPLACED, "outcome": "ok"}}),
        json!({"report": {"lease": "gl_x", "outcome": MISPLACED}}),
        json!({"key_set": {"provider": "openai", "key_name": MISPLACED, "secret": MISPLACED}}),
        json!({"key_set": {"provider": "openai", "key_name": "x", "secret": MISPLACED, "rate_limit": MISPLACED}}),
        json!({"key_set": {"provider": "openai", "key_name": "x", "secret": MISPLACED, "weight": 0}}),
        json!({"key_set": {"provider": "openai", "key_name": "x", "secret": FOREIGN}}),
        json!({"key_set": {"provider": "openai", "key_name": "x", "secret": [MISPLACED]}}),
        json!({"key_set": {"provider": "openai", "key_name": "x", "secret": format!("{MISPLACED} with spaces")}}),
        json!({"key_set": MISPLACED}),
        json!({MISPLACED: {}}),
        json!(MISPLACED),
    ] {
        let reply = lines.ask(&op);
        // What was asked is the test's own text: of it the place is noted, and not the secret.
        heard.note("the reply to a request with a secret in a wrong place", reply.to_string());
        assert!(reply["error"]["code"].is_string(), "{reply}");
    }
    for bytes in [format!("{{\"id\":1,\"op\":{{\"key_set\":{{\"secret\":\"{MISPLACED}\n"), format!("{{\"{MISPLACED}\n"), format!("{{{MISPLACED}\n")] {
        lines.send(bytes.as_bytes()).unwrap();
        heard.note("the reply to half a request", lines.reply().to_string());
    }
    let mut other = site.lines();
    other.send(format!("{MISPLACED}\n").as_bytes()).unwrap();
    heard.note("the reply to a secret alone", other.reply().to_string());
}

/// Live checks, of a provider that sends the key back.
fn live(lines: &mut Lines, heard: &mut Heard, provider: &Provider) {
    let reply = heard.ask(lines, &json!({"validate": {"provider": "openai"}}));
    let rows = reply["validations"].as_array().unwrap();
    assert!(rows.iter().all(|row| row["verdict"] == "invalid"), "{reply}");
    for secret in [IN_FILE, IN_VARIABLE, IN_OVERRIDE, BY_HAND] {
        assert!(provider.seen().iter().any(|head| head.contains(secret)), "each key was asked about");
    }
    for key in ["in-file", "in-variable", "overridden", "by-hand"] {
        heard.ask(lines, &json!({"key_enable": {"provider": "openai", "key_name": key}}));
    }
    for op in ["status", "keys", "health", "statistics", "whoami"] {
        heard.ask(lines, &json!(op));
    }
}

fn broken_file(site: &Site, daemon: &crate::harness::daemon::Daemon, lines: &mut Lines, heard: &mut Heard) {
    let whole = config("http://127.0.0.1:1/v1");
    let broken = [
        whole.replace("name: in-file", &format!("name: {MISPLACED}")),
        whole.replace("health_check: false", &format!("strategy: {MISPLACED}")),
        whole.replace("key_timeout: 5s", &format!("key_timeout: {MISPLACED}")),
        whole.replace("global:", &format!("{MISPLACED}:")),
        whole.replace("in-file}", &format!("in-file, rate_limit: {MISPLACED}}}")),
        whole.replace("in-file}", &format!("in-file, {MISPLACED}: 1}}")),
        whole.replace(&format!("key: {IN_FILE}"), &format!("key: [{IN_FILE}]")),
        whole.replace(&format!("key: {IN_FILE}"), &format!("key: {IN_FILE} {MISPLACED}")),
        whole.replace(&format!("key: {IN_FILE},"), &format!("key: *{MISPLACED},")),
        whole.replace("providers:", &format!("providers: {MISPLACED}")),
        format!("{whole}\n  {MISPLACED}: [\n"),
        MISPLACED.to_owned(),
    ];
    for text in &broken {
        site.configure(text);
        let reply = heard.ask(lines, &json!("reload"));
        assert_eq!(reply["error"]["code"], "bad_request", "{text}: {reply}");
        heard.ctl(site, &["config", "check", "config.yaml"], "");
        heard.ask(lines, &json!("status"));
    }
    let before = site.log().matches("was not reloaded").count();
    daemon.signal(Signal::HUP);
    until("the refusal of a reload", || (site.log().matches("was not reloaded").count() > before).then_some(()));
    site.configure(&whole);
    assert_eq!(heard.ask(lines, &json!("reload")), "done");
}

/// Or `status` says why they are not.
#[test]
fn the_stores_keys_lie_on_locked_pages() {
    let site = Site::new(&config("http://127.0.0.1:9"));
    let daemon = site.start();
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let locked = status.lines().find_map(|line| line.strip_prefix("VmLck:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok()).unwrap();
    let warned = site.lines().expect("status", &json!("status"))["warnings"].to_string().contains("may be written to the swap");
    assert_eq!(locked >= 16, !warned, "{locked} kB are locked");
}

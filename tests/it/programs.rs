//! The programs themselves: how they start, end, refuse, and what their exit status says.

mod ctl;

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use crate::harness::binary;
use crate::harness::daemon::{self, Daemon};
use crate::harness::{LONGEST, Ran, Site, run, until};

pub(crate) const CONFIG: &str = "
providers:
  openai:
    api_keys: [{key: sk-a, name: a, rate_limit: 2}]
    rotation: {health_check: false}
global: {key_validation: false}
";

/// Runs `gollmd`, which is to end by itself.
fn gollmd(site: &Site, arguments: &[&str]) -> Ran {
    run(site.gollmd(arguments), "")
}

/// Runs `gollmd`, which is to refuse with exit status 1 and one line that holds all of `parts`.
fn refuses(site: &Site, parts: &[&str]) {
    let ran = gollmd(site, &[]);
    assert_eq!(ran.status, 1, "{ran:?}");
    let line = ran.err.lines().find(|line| line.starts_with("gollmd: ")).unwrap_or_else(|| panic!("{ran:?}"));
    for part in parts {
        assert!(line.contains(part), "{part}: {line}");
    }
}

#[test]
fn a_check_tells_what_would_start_and_starts_nothing() {
    let site = Site::new(CONFIG);
    let ran = gollmd(&site, &["--check"]);
    assert_eq!((ran.status, ran.err.as_str()), (0, ""));
    assert!(ran.out.contains("ok (1 provider, 1 key)"), "{}", ran.out);
    assert!(ran.out.contains(&site.socket().display().to_string()) && !site.state().exists() && !site.socket().exists());
    site.configure(&CONFIG.replace("rate_limit: 2", "rate_limit: two"));
    let ran = gollmd(&site, &["--check"]);
    assert_eq!((ran.status, ran.out.as_str()), (1, ""));
    assert!(ran.err.contains("config.yaml:4:") && ran.err.contains("providers.openai.api_keys[0].rate_limit"), "{}", ran.err);
    assert_eq!(gollmd(&site, &["--colour"]).status, 2);
    assert_eq!(gollmd(&site, &["--version"]).out, format!("gollmd {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn sigterm_ends_it_in_order_and_a_stale_socket_is_replaced() {
    let site = Site::new(CONFIG);
    let daemon = site.start();
    let mut lines = site.lines();
    let lease = lines.lease(&json!({"provider": "openai"}));
    // Clients that say nothing, or half of it, hold it up no longer than it allows them.
    let _idle = [b"".as_slice(), b"{", b"GLLM\x01\x01"].map(|hello| binary::connect(&site.socket(), hello));
    let began = Instant::now();
    assert!(daemon.terminate().success());
    assert!(began.elapsed() < Duration::from_secs(5));
    assert!(!site.socket().exists());
    // After a clean stop the exact counts stand: one lease is left, not less.
    let daemon = site.start();
    let mut lines = site.lines();
    assert_eq!(lines.row("openai", "a")["requests_last_hour"], 1);
    assert_eq!(lines.report(&lease, "ok")["duplicate"], false);
    daemon.kill();
    assert!(site.socket().exists());
    let daemon = site.start();
    assert_eq!(site.lines().report(&lease, "ok")["duplicate"], true);
    daemon.signal(Signal::INT);
    let mut daemon = daemon;
    assert!(daemon.ended().success());
    let log = site.log();
    assert!(log.contains("serving") && log.contains("stopped") && !log.contains("ERROR"), "{log}");
}

#[test]
fn a_second_daemon_is_refused_by_state_and_by_socket() {
    let site = Site::new(CONFIG);
    let _daemon = site.start();
    refuses(&site, &["another daemon answers on", &site.socket().display().to_string()]);
    let same_state = Site::new(CONFIG);
    std::os::unix::fs::symlink(site.state(), same_state.state()).unwrap();
    refuses(&same_state, &["another", &same_state.state().display().to_string()]);
    let other = Site::new(CONFIG);
    std::fs::create_dir_all(other.path("run")).unwrap();
    let listener = UnixListener::bind(other.socket()).unwrap();
    refuses(&other, &["another daemon answers on", &other.socket().display().to_string()]);
    assert!(!other.state().exists());
    drop(listener);
    std::fs::remove_file(other.socket()).unwrap();
    std::fs::write(other.socket(), "a file").unwrap();
    refuses(&other, &[&other.socket().display().to_string()]);
    assert_eq!(std::fs::read_to_string(other.socket()).unwrap(), "a file");
    site.lines().expect("status", &json!("status"));
}

#[test]
fn a_wrong_password_says_so_and_changes_nothing() {
    let mut site = Site::new(CONFIG);
    assert!(site.start().terminate().success());
    let before = site.every_file();
    site.set("GOLLM_MASTER_PASSWORD", "another password");
    refuses(&site, &["password", "wrong"]);
    let sealed =
        |files: &[(std::path::PathBuf, Vec<u8>)]| files.iter().filter(|(path, _)| path.starts_with(site.state())).cloned().collect::<Vec<_>>();
    assert_eq!(sealed(&before).len(), sealed(&site.every_file()).len());
    for ((path, then), (_, now)) in sealed(&before).iter().zip(sealed(&site.every_file()).iter()) {
        assert!(then == now, "{} was changed", path.display());
    }
    site.set("GOLLM_MASTER_PASSWORD", "a password for tests");
    assert!(site.start().terminate().success());
}

#[test]
fn files_and_directories_are_the_owners_alone() {
    let site = Site::new(CONFIG);
    let daemon = site.start();
    let mode = |path: &std::path::Path| std::fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(&site.state()), mode(&site.socket()) & 0o077), (0o700, 0));
    for (path, _) in site.every_file().iter().filter(|(path, _)| path.starts_with(site.state())) {
        // A file that the store has replaced meanwhile has no mode any more.
        let others = std::fs::symlink_metadata(path).map_or(0, |file| file.permissions().mode() & 0o077);
        assert_eq!(others, 0, "{}", path.display());
    }
    let exposed = Site::new(CONFIG);
    std::fs::set_permissions(exposed.config(), PermissionsExt::from_mode(0o640)).unwrap();
    refuses(&exposed, &["chmod 600", "config.yaml"]);
    assert!(!exposed.state().exists());
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", daemon.pid())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"]);
}

#[test]
fn the_environment_alone_is_enough_and_wins_over_the_file() {
    let mut site = Site::bare();
    site.set("OPENAI_API_KEY", "sk-of-the-environment");
    site.set("GOLLM_GLOBAL_KEY_VALIDATION", "false");
    let daemon = site.start();
    let mut lines = site.lines();
    let lease = lines.lease(&json!({"provider": "openai"}));
    assert_eq!((&lease["key_name"], &lease["secret"]), (&json!("default"), &json!("sk-of-the-environment")));
    assert!(lines.expect("status", &json!("status"))["config"].is_null());
    drop(daemon);
    let mut site = Site::new(CONFIG);
    site.set("OPENAI_API_KEY", "sk-not-taken-beside-a-file");
    site.set("GOLLM_OPENAI_API_KEY_A", "sk-over-the-file");
    site.set("GOLLM_OPENAI_API_KEY_MORE", "sk-one-more");
    site.set("GOLLM_GLOBAL_DAILY_COST_LIMIT", "12.5");
    let _daemon = site.start();
    let mut lines = site.lines();
    let secret = |lines: &mut crate::harness::lines::Lines, key: &str| lines.lease(&json!({"provider": "openai", "key_name": key}))["secret"].clone();
    assert_eq!((secret(&mut lines, "a"), secret(&mut lines, "more")), (json!("sk-over-the-file"), json!("sk-one-more")));
    assert_eq!(lines.expect("keys", &json!("keys")).as_array().unwrap().len(), 2);
    assert_eq!(lines.expect("status", &json!("status"))["global"]["cost_limit"], 12.5);
}

#[test]
fn the_service_manager_is_told_when_it_serves_and_when_it_stops() {
    let mut site = Site::new(CONFIG);
    let manager = UnixDatagram::bind(site.path("notify")).unwrap();
    manager.set_read_timeout(Some(LONGEST)).unwrap();
    site.set("NOTIFY_SOCKET", site.path("notify"));
    let daemon = Daemon::spawn(&site, &[]);
    let heard = || {
        let mut bytes = [0; 4096];
        let length = manager.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    };
    assert!(heard().contains("READY=1"));
    // Who is told that it serves finds it serving.
    site.lines().done(&json!("reload"));
    let reloading = heard();
    assert!(reloading.contains("RELOADING=1") && reloading.contains("MONOTONIC_USEC="), "{reloading}");
    assert!(heard().contains("READY=1"));
    assert!(daemon.terminate().success());
    assert!(heard().contains("STOPPING=1"));
    let ran = gollmd(&site, &["--daemonize"]);
    assert!(ran.status == 1 && ran.err.contains("--daemonize is not for systemd"), "{ran:?}");
}

/// A daemon that is no child of this test: it is killed where a check of the test fails.
struct Background(Option<u32>);

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            daemon::signal(pid, Signal::KILL);
        }
    }
}

#[test]
fn in_the_background_it_returns_when_it_serves() {
    let site = Site::new(CONFIG);
    // Standard error of a daemon in the background is no pipe of this test's: such a pipe would never close.
    let background = || {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(site.path("log")).unwrap();
        let mut child = site.gollmd(&["--daemonize"]).stdout(std::process::Stdio::null()).stderr(log).spawn().unwrap();
        until("the return of --daemonize", || child.try_wait().unwrap())
    };
    let status = background();
    assert!(status.success(), "{}", site.log());
    let mut lines = site.lines();
    let pid = lines.expect("status", &json!("status"))["pid"].as_u64().unwrap();
    let pid = u32::try_from(pid).unwrap();
    let mut owned = Background(Some(pid));
    let pid_file = site.socket().with_extension("pid");
    assert_eq!(std::fs::read_to_string(&pid_file).unwrap().trim(), pid.to_string());
    let second = background();
    assert_eq!(second.code(), Some(1));
    let line = format!("gollmd: another gollmd runs here (process id {pid}, from {})", pid_file.display());
    assert_eq!(site.log().lines().filter(|logged| logged.contains("another")).collect::<Vec<_>>(), [line]);
    assert_eq!(std::fs::read_to_string(&pid_file).unwrap().trim(), pid.to_string());
    lines.expect("status", &json!("status"));
    daemon::signal(pid, Signal::TERM);
    owned.0 = None;
    until("the end of the daemon", || (!pid_file.exists() && !site.socket().exists()).then_some(()));
    until("the end of the process", || (!std::path::Path::new(&format!("/proc/{pid}/fd")).exists()).then_some(()));
    // One that can't start says why where it was called, and leaves no pid file.
    site.configure("providers: [");
    assert_eq!(background().code(), Some(1));
    assert!(site.log().contains("config.yaml") && !pid_file.exists());
}

//! `gollmctl exec`: the command's environment, its signals, its exit status, and its lease.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use crate::harness::daemon::signal;
use crate::harness::lines::nanos;
use crate::harness::{Site, run, until};

const CONFIG: &str = "
providers:
  openai:
    api_keys: [{key: sk-the-secret, name: a}]
    rotation: {health_check: false}
  my-gateway:
    kind: openai
    base_url: http://127.0.0.1:9/v1
    api_keys: [{key: sk-gateway, name: g}]
    rotation: {health_check: false}
global: {key_validation: false, lease_ttl: 1s, fallback_chain: [openai, my-gateway]}
";

#[test]
fn the_secret_is_in_the_commands_environment_and_nowhere_else() {
    let site = Site::new(CONFIG);
    let _daemon = site.start();
    let script = "echo \"$OPENAI_API_KEY $URL\"; case $GOLLM_LEASE in gl_*) echo lease;; esac; tr '\\0' ' ' < /proc/$PPID/cmdline";
    let ran = site.ctl(&["exec", "openai", "--base-url-env", "URL", "--", "sh", "-c", script]);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(ran.out.starts_with("sk-the-secret https://api.openai.com/v1\nlease\n"), "{}", ran.out);
    assert_eq!(ran.out.matches("sk-the-secret").count(), 1, "an argument shows the secret: {}", ran.out);
    let ran = site.ctl(&["exec", "my-gateway", "--env", "KEY", "--", "sh", "-c", "echo $KEY"]);
    assert_eq!((ran.status, ran.out.as_str()), (0, "sk-gateway\n"));
    let ran = site.ctl(&["exec", "my-gateway", "--", "true"]);
    assert_eq!(ran.status, 2);
    assert!(ran.err.contains("--env"), "{}", ran.err);
    // With the provider's own keys disabled there is a fallback only where it is asked for.
    site.lines().done(&json!({"key_disable": {"provider": "openai", "key_name": "a"}}));
    assert_eq!(site.ctl(&["exec", "openai", "--", "true"]).status, 5);
    let ran = site.ctl(&["exec", "openai", "--fallback", "--env", "KEY", "--", "sh", "-c", "echo $KEY"]);
    assert_eq!(ran.out, "sk-gateway\n");
}

#[test]
fn the_commands_exit_status_is_gollmctls_and_settles_the_lease() {
    let site = Site::new(CONFIG);
    let _daemon = site.start();
    let mut lines = site.lines();
    let run = |command: &[&str]| site.ctl(&[&["exec", "openai", "--estimate-cost", "0.25", "--"], command].concat()).status;
    assert_eq!(run(&["true"]), 0);
    assert_eq!(run(&["sh", "-c", "exit 3"]), 3);
    assert_eq!(run(&["sh", "-c", "kill -9 $$"]), 137);
    assert_eq!(run(&["/no/such/program"]), 127);
    assert_eq!(run(&["/"]), 126);
    let row = lines.row("openai", "a");
    assert_eq!((nanos(&row["cost_today_usd"]), &row["requests_last_hour"]), (750_000_000, &json!(3)));
    assert_eq!(lines.expect("status", &json!("status"))["counts"]["leases_open"], 0);
    let total = lines.expect("statistics", &json!("statistics"))["total"].clone();
    assert_eq!(total["errors"], json!({"bad_request": 2}));
    // A command that knows what it used reports that, and it counts once.
    let gollmctl = env!("CARGO_BIN_EXE_gollmctl");
    let report = format!("{gollmctl} --socket {} report $GOLLM_LEASE --outcome ok --cost 0.01", site.socket().display());
    assert_eq!(run(&["sh", "-c", &report]), 0);
    assert_eq!(nanos(&lines.row("openai", "a")["cost_today_usd"]), 760_000_000);
}

#[test]
fn a_lease_is_renewed_while_the_command_runs_also_over_a_restart() {
    let site = Site::new(&CONFIG.replace("lease_ttl: 1s", "lease_ttl: 4s"));
    let daemon = site.start();
    let mut command = site.gollmctl(&["exec", "openai", "--", "sh", "-c", "echo ready; read line; exit 4"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    // Far longer than the lease lasts by itself.
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(site.lines().expect("status", &json!("status"))["counts"]["leases_open"], 1);
    daemon.kill();
    let _daemon = site.start();
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(site.lines().expect("status", &json!("status"))["counts"]["leases_open"], 1);
    drop(child.stdin.take());
    assert_eq!(until("the end of the command", || child.try_wait().unwrap()).code(), Some(4));
    assert_eq!(site.lines().expect("status", &json!("status"))["counts"]["leases_open"], 0);
}

#[test]
fn a_signal_that_was_ignored_stays_ignored() {
    let site = Site::new(CONFIG);
    let _daemon = site.start();
    let gollmctl = format!("{} --socket {}", env!("CARGO_BIN_EXE_gollmctl"), site.socket().display());
    let script = format!("trap '' HUP; exec {gollmctl} exec openai -- bash -c 'echo ready; sleep 0.5; exit 5'");
    let mut child = std::process::Command::new("bash").args(["-c", &script]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    signal(child.id(), Signal::HUP);
    assert_eq!(until("the end of the command", || child.try_wait().unwrap()).code(), Some(5));
}

#[test]
fn a_daemon_that_hangs_holds_up_nobody_whose_command_has_ended() {
    let site = Site::new(&CONFIG.replace("lease_ttl: 1s", "lease_ttl: 2s"));
    let daemon = site.start();
    let mut command = site.gollmctl(&["exec", "openai", "--", "bash", "-c", "trap : USR1; echo ready; while read line; do :; done; exit 6"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    daemon.signal(Signal::STOP);
    std::thread::sleep(Duration::from_millis(1500));
    for _ in 0..5 {
        signal(child.id(), Signal::USR1);
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(child.stdin.take());
    // One report on a connection of its own is all that it waits for.
    assert_eq!(until("the end of gollmctl", || child.try_wait().unwrap()).code(), Some(6));
    daemon.signal(Signal::CONT);
}

#[test]
fn signals_reach_the_command() {
    let site = Site::new(CONFIG);
    let _daemon = site.start();
    for (which, name) in [(Signal::TERM, "TERM"), (Signal::HUP, "HUP"), (Signal::USR1, "USR1"), (Signal::INT, "INT")] {
        let script = format!("trap 'echo got {name}; exit 9' {name}; echo ready; while :; do sleep 0.05; done");
        let mut command = site.gollmctl(&["exec", "openai", "--", "bash", "-c", &script]);
        // Out of the terminal's foreground, in which Ctrl-C would reach the command by itself.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        signal(child.id(), which);
        let status = until("the end of the command", || child.try_wait().unwrap());
        line.clear();
        out.read_line(&mut line).unwrap();
        assert_eq!((status.code(), line), (Some(9), format!("got {name}\n")));
    }
}

/// It has what was given to gollmctl, and nothing of gollmctl's own.
#[test]
fn the_command_gets_no_descriptor_of_gollmctls_own() {
    let site = Site::new(CONFIG);
    let _daemon = site.start();
    let script = ["sh", "-c", "for fd in /proc/$$/fd/*; do echo ${fd##*/}; done"];
    let mut without = std::process::Command::new(script[0]);
    without.args(&script[1..]);
    let with = site.ctl(&[&["exec", "openai", "--"], script.as_slice()].concat());
    assert_eq!((with.status, with.out), (0, run(without, "").out));
}

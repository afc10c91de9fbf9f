//! What a service manager does with the daemon: a socket that it made, its watchdog, its notifications.

use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;
use serde_json::json;

use crate::harness::daemon::{Daemon, signal};
use crate::harness::lines::{Lines, text};
use crate::harness::users::{connect, is_root};
use crate::harness::{LONGEST, Site, until};

const CONFIG: &str = "
providers: {openai: {api_keys: [{name: a, key: sk-the-secret-of-a}], rotation: {health_check: false}}}
global: {key_validation: false}
";

/// A daemon that gets this socket as its service manager's.
fn activated(site: &Site, socket: &UnixListener, count: u32) -> Child {
    let handed: OwnedFd = socket.try_clone().unwrap().into();
    let passed = if count == 1 { "3<&0" } else { "3<&0 4<&0" };
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("exec {passed} 0</dev/null; LISTEN_PID=$$ LISTEN_FDS={count} exec \"$@\"")).arg("sh");
    let daemon = site.gollmd(&[]);
    command.arg(daemon.get_program()).args(daemon.get_args()).env_clear();
    command.envs(daemon.get_envs().filter_map(|(name, value)| Some((name, value?)))).env("PATH", "/usr/bin:/bin");
    let log = std::fs::File::options().create(true).append(true).open(site.path("log")).unwrap();
    command.stdin(handed).stdout(Stdio::null()).stderr(log).spawn().unwrap()
}

#[test]
fn whoever_waits_in_a_socket_that_was_passed_on_is_served_and_it_outlives_the_daemon() {
    let site = Site::new(CONFIG);
    let path = site.path("handed.sock");
    let socket = UnixListener::bind(&path).unwrap();
    // Before there is a daemon.
    let mut early = Lines::of(UnixStream::connect(&path).unwrap());
    early.request(&json!("whoami")).unwrap();
    for _ in 0..2 {
        let mut daemon = activated(&site, &socket, 1);
        assert_eq!(early.reply()["reply"]["you"]["role"], "admin");
        let status = early.expect("status", &json!("status"));
        assert_eq!(text(&status["socket"]), path.display().to_string());
        assert!(!site.socket().exists());
        drop(early);
        signal(daemon.id(), Signal::TERM);
        assert!(until("the end of a daemon", || daemon.try_wait().unwrap()).success(), "{}", site.log());
        // Who comes while there is none is served by the next one.
        early = Lines::of(UnixStream::connect(&path).unwrap());
        early.request(&json!("whoami")).unwrap();
    }
}

#[test]
fn a_socket_that_was_made_for_a_group_is_for_its_members() {
    let site = Site::new(CONFIG);
    let path = site.path("handed.sock");
    let socket = UnixListener::bind(&path).unwrap();
    if !is_root() {
        return;
    }
    std::fs::set_permissions(site.root(), PermissionsExt::from_mode(0o711)).unwrap();
    std::os::unix::fs::chown(&path, None, Some(4700)).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o660)).unwrap();
    let mut daemon = activated(&site, &socket, 1);
    let mut member = Lines::of(connect(&path, 4711, 1, &[4700]).unwrap());
    let you = member.expect("you", &json!("whoami"));
    assert_eq!((&you["role"], &you["rule"]), (&json!("client"), &json!("a member of the socket's group")));
    member.lease(&json!({"provider": "openai"}));
    member.refused("denied", &json!("reload"));
    // Who can connect and is no member is nobody.
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o666)).unwrap();
    let mut stranger = Lines::of(connect(&path, 4711, 1, &[]).unwrap());
    stranger.refused("denied", &json!({"select": {"provider": "openai"}}));
    drop((member, stranger));
    signal(daemon.id(), Signal::TERM);
    assert!(until("the end of a daemon", || daemon.try_wait().unwrap()).success());
}

#[test]
fn several_sockets_are_one_too_many() {
    let site = Site::new(CONFIG);
    let socket = UnixListener::bind(site.path("handed.sock")).unwrap();
    let mut daemon = activated(&site, &socket, 2);
    assert!(!until("the end of a daemon", || daemon.try_wait().unwrap()).success());
    assert!(site.log().contains("the socket that was passed on can't be listened on: there are several"), "{}", site.log());
}

#[test]
fn the_watchdog_is_fed_while_the_daemon_answers_and_not_while_it_hangs() {
    let mut site = Site::new(CONFIG);
    let manager = UnixDatagram::bind(site.path("notify")).unwrap();
    manager.set_read_timeout(Some(LONGEST)).unwrap();
    site.set("NOTIFY_SOCKET", site.path("notify"));
    site.set("WATCHDOG_USEC", "300000");
    let daemon = Daemon::spawn(&site, &[]);
    let told = || {
        let mut buffer = [0; 512];
        let length = manager.recv(&mut buffer)?;
        std::io::Result::Ok(String::from_utf8(buffer[..length].to_vec()).unwrap())
    };
    assert!(told().unwrap().contains("READY=1"));
    for _ in 0..3 {
        assert_eq!(told().unwrap().trim(), "WATCHDOG=1");
    }
    daemon.signal(Signal::STOP);
    manager.set_read_timeout(Some(std::time::Duration::from_millis(700))).unwrap();
    // What was on its way comes; then nothing does.
    until("silence", || told().is_err().then_some(()));
    daemon.signal(Signal::CONT);
    manager.set_read_timeout(Some(LONGEST)).unwrap();
    assert_eq!(told().unwrap().trim(), "WATCHDOG=1");
    daemon.signal(Signal::TERM);
    until("the word that it stops", || told().unwrap().contains("STOPPING=1").then_some(()));
}

//! What the machine says: the unit, the state directory, the clock, the keyring.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::Finding;
use crate::environment::Environment;

/// Looks at what is there on this system; what is not is passed over.
pub(super) fn look(environment: &Environment, is_served: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(unit(is_served));
    findings.extend(state(environment));
    findings.extend(clock());
    findings
}

/// Standard output of a program that is there and succeeds.
fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let ran = Command::new(program).args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).output().ok().filter(|ran| ran.status.success())?;
    String::from_utf8(ran.stdout).ok().map(|text| text.trim().to_owned())
}

fn unit(is_served: bool) -> Option<Finding> {
    let shown = output("systemctl", &["show", "gollmd.service", "--property=LoadState,ActiveState,UnitFileState,Result"])?;
    let value = |name: &str| shown.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default();
    if value("LoadState") != "loaded" {
        return None;
    }
    Some(match (value("ActiveState"), value("UnitFileState")) {
        ("failed", _) => {
            Finding::bad("unit", format!("gollmd.service has failed ({})", value("Result")), "journalctl -u gollmd, then systemctl restart gollmd")
        }
        ("active", "enabled" | "static" | "indirect") => Finding::good("unit", "gollmd.service runs, and is started at boot"),
        ("active", _) => Finding::warning("unit", "gollmd.service runs, and is not started at boot", "systemctl enable gollmd.socket gollmd.service"),
        // Another one serves.
        _ if is_served => return None,
        (state, _) => Finding::warning("unit", format!("gollmd.service is {state}"), "systemctl enable --now gollmd.socket gollmd.service"),
    })
}

/// The state directories that this user can look into.
fn state(environment: &Environment) -> Vec<Finding> {
    let own = environment.path("XDG_STATE_HOME").or_else(|| environment.path("HOME").map(|home| home.join(".local/state")));
    let candidates = own.into_iter().map(|home| home.join("gollm")).chain([PathBuf::from("/var/lib/gollm")]);
    candidates.filter(|directory| directory.join("header").exists()).flat_map(|directory| of_directory(&directory)).collect()
}

fn of_directory(directory: &std::path::Path) -> Vec<Finding> {
    let mut findings = Vec::new();
    #[cfg(unix)]
    if let Ok(metadata) = std::fs::metadata(directory) {
        let shown = directory.display();
        let mode = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o7777;
        findings.push(if mode & 0o077 == 0 {
            Finding::good("state", format!("{shown} is its owner's alone"))
        } else {
            Finding::bad("state", format!("{shown} has mode {mode:04o}: others can look into it"), format!("chmod 700 {shown}"))
        });
        if let Ok(free) = rustix::fs::statvfs(directory) {
            let bytes = free.f_bavail.saturating_mul(free.f_frsize);
            if bytes < 256 << 20 {
                findings.push(Finding::bad("disk", format!("{} MiB are free below {shown}", bytes >> 20), format!("make room: df -h {shown}")));
            }
        }
    }
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    for damaged in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("damaged-")) {
        let path = damaged.path();
        let mend = format!("once nothing is missed: rm -r {}", path.display());
        findings.push(Finding::warning("state", format!("{} is what a repair left", path.display()), mend));
    }
    findings
}

fn clock() -> Option<Finding> {
    match output("timedatectl", &["show", "--property=NTPSynchronized", "--value"])?.as_str() {
        "yes" => Some(Finding::good("clock", "it is synchronised")),
        "no" => Some(Finding::warning("clock", "nothing sets it: a day's limit begins when it says so", "timedatectl set-ntp true")),
        _ => None,
    }
}

//! `gollmctl doctor`: looks at everything round the daemon, and names the command that mends what is wrong.

mod machine;

use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;

use crate::ctl::console::Console;
use crate::ctl::daemon::Link;
use crate::ctl::failure::Failure;
use crate::ctl::print::{Style, Tone, clean_lines, counted};
use crate::ctl::{config, print};
use crate::protocol::reply::{KeyState, Reply, Role, Status};
use crate::protocol::request::{self, Op};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Level {
    Good,
    Warning,
    Bad,
}

/// One thing that was looked at.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Finding {
    /// What was looked at.
    about: &'static str,
    level: Level,
    /// What was found.
    message: String,
    /// The command that mends it, or what a person has to do.
    mend: Option<String>,
}

impl Finding {
    fn good(about: &'static str, message: impl Into<String>) -> Self {
        Self { about, level: Level::Good, message: message.into(), mend: None }
    }

    fn warning(about: &'static str, message: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { about, level: Level::Warning, message: message.into(), mend: Some(mend.into()) }
    }

    fn bad(about: &'static str, message: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { about, level: Level::Bad, message: message.into(), mend: Some(mend.into()) }
    }
}

/// Looks at all of it; fails where anything is bad.
pub(crate) fn run(console: &mut Console<'_>) -> Result<(), Failure> {
    let link = console.connect();
    let status = link.as_ref().ok().and_then(|link| if let Ok(Reply::Status(status)) = link.call(Op::Status) { Some(status) } else { None });
    let mut findings = Vec::new();
    findings.extend(match (&status, &link) {
        (Some(status), _) => Some(of_daemon(console, status.config.as_deref())),
        // One of whose configuration nothing is told.
        (None, Ok(_)) => None,
        (None, Err(_)) => Some(configuration(console, None)),
    });
    match &link {
        Err(why) => findings.push(unreachable(why)),
        Ok(link) => daemon(link, status.as_deref(), &mut findings),
    }
    findings.extend(machine::look(console.environment, link.is_ok()));
    console.show(&findings, |findings, style, out| render(findings, style, out))?;
    if findings.iter().any(|finding| finding.level == Level::Bad) { Err(Failure::Negative) } else { Ok(()) }
}

fn unreachable(why: &Failure) -> Finding {
    let mend = match why {
        Failure::Refused { .. } => "ask an admin: `gollmctl access USER` says what a user may do",
        _ => "systemctl start gollmd, or `gollmd` in a terminal; `journalctl -u gollmd` says why it ended",
    };
    Finding::bad("daemon", why.to_string(), mend)
}

/// The configuration that the daemon reads.
fn of_daemon(console: &Console<'_>, file: Option<&str>) -> Finding {
    match file.map(Path::new) {
        None => Finding::good("configuration", "gollmd has no file, and takes its keys from its environment"),
        Some(file) => match std::fs::File::open(file) {
            Err(why) if why.kind() == io::ErrorKind::PermissionDenied => {
                Finding::warning("configuration", format!("you may not read {}", file.display()), "sudo gollmctl doctor")
            }
            _ => configuration(console, Some(file)),
        },
    }
}

/// The configuration in `file`, or where it is looked for.
fn configuration(console: &Console<'_>, file: Option<&Path>) -> Finding {
    let mend = file.map_or_else(|| "gollmctl config check".to_owned(), |file| format!("gollmctl config check {}", file.display()));
    match config::load(file, console) {
        Err(why) => Finding::bad("configuration", why.to_string(), mend),
        Ok(settings) => {
            let file = settings.file.as_ref().map_or_else(|| "the environment alone".to_owned(), |file| file.display().to_string());
            match settings.warnings.as_slice() {
                [] => Finding::good("configuration", format!("{file}: {}", counted(settings.policy.keys().count(), "key"))),
                warnings => Finding::warning("configuration", format!("{file}: {}", warnings.join("; ")), mend),
            }
        }
    }
}

/// What the daemon says of itself.
fn daemon(link: &Link, status: Option<&Status>, findings: &mut Vec<Finding>) {
    let role = match link.call(Op::Whoami) {
        Ok(Reply::You(you)) => {
            let version = env!("CARGO_PKG_VERSION");
            findings.push(if you.version == version {
                Finding::good("daemon", format!("gollmd {version} answers"))
            } else {
                Finding::warning("daemon", format!("gollmd is {}, gollmctl is {version}", you.version), "systemctl restart gollmd")
            });
            you.role
        }
        Ok(_) => Role::None,
        Err(why) => return findings.push(unreachable(&why)),
    };
    if role != Role::Admin {
        return findings.push(Finding::warning("access", "you are no admin: the rest is theirs to look at", "sudo gollmctl doctor"));
    }
    let Some(status) = status else { return };
    of_status(status, findings);
    if status.locked {
        return;
    }
    if let Ok(Reply::Slots(rows)) = link.call(Op::Slots)
        && !rows.is_empty()
    {
        let typed = rows.iter().filter(|row| row.source == "recovery" || row.source == "prompt").count();
        let sources = rows.iter().map(|row| row.source.as_str()).collect::<Vec<_>>().join(", ");
        if typed == 0 {
            let message = format!("the store opens with {sources} alone: lost, every key is");
            findings.push(Finding::warning("master secret", message, "gollmctl slot add recovery"));
        } else if typed == rows.len() {
            let message = format!("only a person opens the store ({sources}): after each start gollmd is locked");
            findings.push(Finding::warning("master secret", message, "gollmctl passwd --to file, or another place, if that is not meant"));
        }
    }
    keys(link, findings);
    let verify = request::Audit { limit: Some(1), verify: Some(true), ..request::Audit::default() };
    if let Ok(Reply::Audit(told)) = link.call(Op::Audit(verify))
        && let Some(verified) = told.verified
    {
        findings.push(match verified.broken_at {
            None => Finding::good("audit trail", format!("whole, entries {} to {}", verified.first, verified.last)),
            // It keeps no program from its keys, and nothing mends it.
            Some(seq) => {
                let mend = "gollmctl audit: an entry `repair` says what was lost; if there is none, somebody changed it";
                Finding::warning("audit trail", format!("broken at entry {seq}"), mend)
            }
        });
    }
}

fn of_status(status: &Status, findings: &mut Vec<Finding>) {
    if status.locked {
        findings.push(Finding::bad("store", "it is locked", "gollmctl unlock"));
    }
    for warning in
        status.warnings.iter().filter(|warning| !["the store is locked", "the audit trail is broken"].iter().any(|told| warning.starts_with(told)))
    {
        findings.push(match known(warning) {
            Some((Level::Bad, mend)) => Finding::bad("status", warning.clone(), mend),
            Some((_, mend)) => Finding::warning("status", warning.clone(), mend),
            None => Finding { about: "status", level: Level::Warning, message: warning.clone(), mend: None },
        });
    }
    if status.warnings.is_empty() && !status.locked {
        findings.push(Finding::good("status", "no warnings"));
    }
}

/// How bad a warning of the daemon is, and what mends it.
fn known(warning: &str) -> Option<(Level, &'static str)> {
    let starts = [
        ("the master secret lies in", Level::Warning, "gollmctl passwd --to credential, or --to keyring, or --to prompt"),
        ("the key of this store lay bare", Level::Warning, "gollmctl backup FILE, then gollmctl restore FILE into an empty --state-dir"),
        ("`encrypt_keys` is false", Level::Warning, "set `encrypt_keys: true`, then systemctl restart gollmd"),
        ("the store can't be written", Level::Bad, "make room on its disk: df -h"),
        ("the last reload was refused", Level::Bad, "gollmctl config check && gollmctl reload"),
        ("the secret of", Level::Bad, "gollmctl key set PROVIDER/KEY"),
    ];
    starts.into_iter().find(|(start, ..)| warning.starts_with(start)).map(|(_, level, mend)| (level, mend))
}

fn keys(link: &Link, findings: &mut Vec<Finding>) {
    let Ok(Reply::Keys(rows)) = link.call(Op::Keys(request::Keys { provider: None })) else { return };
    if rows.is_empty() {
        return findings.push(Finding::warning("keys", "there are none", "gollmctl key set openai/primary"));
    }
    let before = findings.len();
    for row in &rows {
        let key = row.id();
        let why = row.reason.clone().unwrap_or_default();
        findings.extend(match row.state {
            KeyState::Invalid => Some(Finding::bad("keys", format!("{key} is invalid: {why}"), format!("gollmctl key set {key}"))),
            KeyState::Sealed => Some(Finding::bad("keys", format!("{key} has no secret: {why}"), format!("gollmctl key set {key}"))),
            KeyState::Exhausted => {
                Some(Finding::warning("keys", format!("{key}: {why}"), format!("fill up its account, then gollmctl key enable {key}")))
            }
            _ => None,
        });
    }
    if findings.len() == before {
        findings.push(Finding::good("keys", format!("{} can be used, or will be by themselves", counted(rows.len(), "key"))));
    }
}

fn render(findings: &[Finding], style: Style, out: &mut dyn Write) -> io::Result<()> {
    for Finding { about, level, message, mend } in findings {
        let mark = match level {
            Level::Good => style.paint(Tone::Good, "✓"),
            Level::Warning => style.paint(Tone::Warning, "!"),
            Level::Bad => style.paint(Tone::Bad, "✗"),
        };
        writeln!(out, "{mark} {about}: {}", clean_lines(message))?;
        if let Some(mend) = mend {
            writeln!(out, "    {} {}", style.paint(Tone::Faint, "→"), print::clean(mend))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_told_with_what_mends_it() {
        let findings = [Finding::good("status", "no warnings"), Finding::bad("store", "it is locked", "gollmctl unlock")];
        let mut out = Vec::new();
        render(&findings, Style::Plain, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "✓ status: no warnings\n✗ store: it is locked\n    → gollmctl unlock\n");
    }
}

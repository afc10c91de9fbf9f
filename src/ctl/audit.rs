//! `gollmctl audit`: who did what, and whether the trail is whole.

use std::io::{self, Write};
use std::time::Duration;

use clap::Args;

use crate::ctl::console::Console;
use crate::ctl::daemon::Link;
use crate::ctl::failure::Failure;
use crate::ctl::print::{Style, Tone, clean, moment};
use crate::ctl::when::When;
use crate::id::Uid;
use crate::protocol::reply::{Audit as Told, AuditEntry, AuditVerified, Reply};
use crate::protocol::request::{self, AUDIT_MAX, Op};

const HELP: &str = "\
Every act of an admin is an entry, and so are refusals and changes of keys' states,
so many an hour that nobody drives the rest out; each is chained to the one before. --verify walks the whole chain: what was removed, changed
or moved is found. That its end was cut off shows against an anchor, of which gollmd
writes one into the system's log from time to time.

Examples:
  gollmctl audit --since 7d
  gollmctl audit --who alice --limit 20
  gollmctl audit --follow
  gollmctl audit --verify
  gollmctl audit --verify --anchor 4711:0123456789abcdef0123456789abcdef";

/// Entries that are asked for at a time while they are followed: they fit into an answer, however long they are.
const FOLLOWED: u64 = 200;

/// How often a trail that is followed is asked for.
const PAUSE: Duration = Duration::from_secs(1);

/// Show who did what, and whether the trail is whole
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Audit {
    /// None older: 12h or 7d for so long ago, or a date, or a moment
    #[arg(long, value_name = "WHEN")]
    since: Option<When>,
    /// What this user asked for, by name or number
    #[arg(long, value_name = "USER")]
    who: Option<String>,
    /// The newest so many [default: 200]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=AUDIT_MAX))]
    limit: Option<u64>,
    /// Go on with what comes, until interrupted
    #[arg(long, conflicts_with = "verify")]
    follow: bool,
    /// Walk the chain and say whether it is whole; fail if it is not
    #[arg(long, conflicts_with_all = ["since", "who", "limit"])]
    verify: bool,
    /// An end of the chain that was written down: is it in it still?
    #[arg(long, value_name = "SEQ:HASH", requires = "verify")]
    anchor: Option<String>,
}

impl Audit {
    pub(crate) fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        let link = console.connect()?;
        if self.verify {
            return verify(console, &link, self.anchor);
        }
        let uid = self.who.as_deref().map(|who| uid_of(&link, who)).transpose()?;
        let since = self.since.map(|since| since.before(console.now()));
        let mut told = ask(&link, request::Audit { since, limit: self.limit, uid, ..request::Audit::default() })?;
        if !self.follow {
            return console.show(&told, |told, style, out| told.entries.iter().try_for_each(|entry| writeln!(out, "{}", line(entry, style))));
        }
        let mut after = 0;
        loop {
            for entry in &told.entries {
                after = after.max(entry.seq);
                // An entry a line, in either form.
                console.show(entry, |entry, style, out| writeln!(out, "{}", line(entry, style)))?;
            }
            console.out.flush().map_err(Failure::Output)?;
            std::thread::sleep(PAUSE);
            told = ask(&link, request::Audit { after: Some(after), since, limit: Some(FOLLOWED), uid, ..request::Audit::default() })?;
        }
    }
}

fn ask(link: &Link, request: request::Audit) -> Result<Told, Failure> {
    match link.call(Op::Audit(request))? {
        Reply::Audit(told) => Ok(told),
        _ => Err(Failure::unexpected("audit")),
    }
}

/// A number stands for itself; the daemon knows the machine's names.
fn uid_of(link: &Link, who: &str) -> Result<Uid, Failure> {
    if let Ok(uid) = who.parse() {
        return Ok(Uid(uid));
    }
    match link.call(Op::Access(request::Access { user: who.to_owned(), unit: None }))? {
        Reply::Access(access) => Ok(access.uid),
        _ => Err(Failure::unexpected("access")),
    }
}

fn verify(console: &mut Console<'_>, link: &Link, anchor: Option<String>) -> Result<(), Failure> {
    let given = anchor.is_some();
    let request = request::Audit { limit: Some(1), verify: Some(true), anchor, ..request::Audit::default() };
    let Told { verified: Some(verified), .. } = ask(link, request)? else { return Err(Failure::unexpected("audit")) };
    console.show(&verified, |verified, style, out| render(verified, given, style, out))?;
    if verified.ok { Ok(()) } else { Err(Failure::Negative) }
}

fn render(verified: &AuditVerified, given: bool, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let AuditVerified { ok, broken_at, first, last, anchor, anchored } = verified;
    let mark = if *ok { style.paint(Tone::Good, "✓") } else { style.paint(Tone::Bad, "✗") };
    match broken_at {
        Some(seq) => writeln!(out, "{mark} Broken - entry {seq} is missing, or not what was written; {first} to {last} were looked at")?,
        None if last < first => writeln!(out, "{mark} Whole - no entry yet")?,
        None if *ok => writeln!(out, "{mark} Whole - entries {first} to {last}")?,
        None => writeln!(out, "{mark} Not the trail of the anchor - entries {first} to {last}, whole in themselves")?,
    }
    match anchored {
        Some(true) => writeln!(out, "  the anchor is in it")?,
        Some(false) => {
            writeln!(out, "  the entry of the anchor is missing, or another one: the end was cut off, or this is an older or another store")?
        }
        None if given => writeln!(out, "  the entry of the anchor has left by age: nothing can be said of it")?,
        None => {}
    }
    writeln!(out, "  anchor: {anchor}")
}

fn line(entry: &AuditEntry, style: Style) -> String {
    let AuditEntry { seq, time, uid, pid, unit, act, target, result, detail } = entry;
    let who = match (uid, unit) {
        (None, _) => "gollmd".to_owned(),
        (Some(uid), Some(unit)) => format!("uid {uid} ({unit})"),
        (Some(uid), None) => format!("uid {uid}"),
    };
    let pid = pid.map(|pid| format!(" pid {pid}")).unwrap_or_default();
    let target = target.as_deref().map(|target| format!(" {}", clean(target))).unwrap_or_default();
    let detail = detail.as_deref().map(|detail| format!(" ({})", clean(detail))).unwrap_or_default();
    let tone = match result.as_str() {
        "done" | "healthy" => Tone::Normal,
        "denied" | "invalid" => Tone::Bad,
        _ => Tone::Warning,
    };
    format!("{seq:>6}  {}  {}{pid}  {act}{target}: {}{detail}", moment(*time), clean(&who), style.paint(tone, result))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    #[test]
    fn an_entry_is_a_line_that_says_who_did_what() {
        let mut entry = AuditEntry {
            seq: 7,
            time: Timestamp::from_unix_millis(1_767_225_600_000),
            uid: Some(Uid(1000)),
            pid: Some(42),
            unit: Some("app.service".to_owned()),
            act: "key_set".to_owned(),
            target: Some("openai/a".to_owned()),
            result: "done".to_owned(),
            detail: None,
        };
        assert_eq!(line(&entry, Style::Plain), "     7  2026-01-01T00:00:00Z  uid 1000 (app.service) pid 42  key_set openai/a: done");
        (entry.uid, entry.pid, entry.act, entry.result) = (None, None, "key_state".to_owned(), "invalid".to_owned());
        entry.detail = Some("its provider\nrefuses it".to_owned());
        assert_eq!(line(&entry, Style::Plain), "     7  2026-01-01T00:00:00Z  gollmd  key_state openai/a: invalid (its provider?refuses it)");
    }
}

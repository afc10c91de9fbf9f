//! `gollmctl lock|unlock|passwd|slot`: the master secret of the daemon's store.

mod credential;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};

use crate::ctl::console::{Console, Form};
use crate::ctl::daemon::Link;
use crate::ctl::failure::Failure;
use crate::protocol::reply::{Reply, SlotAdded, SlotRow};
use crate::protocol::request::{ChangePassword, Op, SlotAdd, SlotRemove, SlotSource, Unlock};
use crate::secret::{PASSWORD_MAX, Password};
use crate::typed;

const PASSWD_HELP: &str = "\
Without --to, the password is changed where it is: the old one and the new one are
asked for, or read from standard input, a line each. Where the daemon keeps the
secret itself, in a keyring or a file, it makes a new one there.

With --to, the master secret moves to another place (for a prompt the new password is
asked for, or read, one line), and the others open the store
no more; recovery codes stay. While it moves, both the old one and the new one do.

Examples:
  gollmctl passwd                   another password
  gollmctl passwd --to keyring      from a file to the keyring of the session
  gollmctl passwd --to prompt       from now on a person unlocks the daemon
  gollmctl passwd --to credential   sealed for systemd, and its TPM if it has one";

/// Change the master password, or move it to another place
#[derive(Args)]
#[command(after_help = PASSWD_HELP)]
pub(crate) struct Passwd {
    /// Where the master secret shall be
    #[arg(long, value_enum, value_name = "PLACE")]
    to: Option<Place>,
    /// Where systemd finds the sealed credential [default: /etc/credstore.encrypted/gollm-master]
    #[arg(long, value_name = "PATH")]
    file: Option<PathBuf>,
}

/// Where a master secret may be moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Place {
    /// The keyring of the operating system
    Keyring,
    /// A credential that systemd unseals for the daemon
    Credential,
    /// `master.key` in the state directory
    File,
    /// A person, by `gollmctl unlock`
    Prompt,
}

const SLOT_HELP: &str = "\
Every slot has a master secret that opens the store by itself. A recovery code is
shown once, when it is made: write it on paper. `gollmctl unlock` takes it like a
password.

Examples:
  gollmctl slot list
  gollmctl slot add recovery
  gollmctl slot remove 2";

/// Show, add or remove the master secrets that open the store
#[derive(Args)]
#[command(after_help = SLOT_HELP)]
pub(crate) struct Slot {
    #[command(subcommand)]
    act: Act,
}

#[derive(Subcommand)]
enum Act {
    /// Show which master secrets open the store
    List,
    /// Let another one open it, beside those that are there
    Add {
        /// Where it is; a password is asked for, the others are made
        #[arg(value_enum, value_name = "KIND")]
        kind: Kind,
    },
    /// Let one open it no more; the last one stays
    Remove {
        /// Its number, as `slot list` shows it
        #[arg(value_name = "N")]
        number: u32,
    },
}

/// Which secret a new slot gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// A code to be written on paper
    Recovery,
    /// One that a person types
    Password,
    /// One that the keyring of the operating system keeps
    Keyring,
    /// One in `master.key` in the state directory
    File,
}

/// `gollmctl lock`.
pub(crate) fn lock(console: &mut Console<'_>) -> Result<(), Failure> {
    let done = console.ask(Op::Lock)?;
    tell(console, &done, "locked: no key can be leased until `gollmctl unlock`, or until gollmd is restarted with its master secret at hand")
}

/// `gollmctl unlock`.
pub(crate) fn unlock(console: &mut Console<'_>) -> Result<(), Failure> {
    let link = console.connect()?;
    let is_new = slots(&link)?.is_empty() && locked(&link)?;
    let password = if is_new { new_password("Master password of the new store")? } else { password("Master password")? };
    let done = link.call(Op::Unlock(Unlock { password }))?;
    tell(console, &done, "unlocked")
}

fn locked(link: &Link) -> Result<bool, Failure> {
    match link.call(Op::Status)? {
        Reply::Status(status) => Ok(status.locked),
        _ => Err(Failure::unexpected("status")),
    }
}

fn slots(link: &Link) -> Result<Vec<SlotRow>, Failure> {
    match link.call(Op::Slots)? {
        Reply::Slots(rows) => Ok(rows),
        _ => Err(Failure::unexpected("slots")),
    }
}

fn tell(console: &mut Console<'_>, reply: &Reply, done: &str) -> Result<(), Failure> {
    match reply {
        reply if console.form == Form::Json => console.write_json(reply),
        Reply::Done => writeln!(console.out, "{done}").map_err(Failure::Output),
        _ => Err(Failure::unexpected("the request")),
    }
}

impl Passwd {
    pub(crate) fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        if self.file.is_some() && self.to != Some(Place::Credential) {
            return Err(Failure::Usage("--file is for `--to credential`: it says where that is".to_owned()));
        }
        let link = console.connect()?;
        let Some(place) = self.to else { return change(console, &link) };
        match place {
            Place::Keyring => move_to(console, &link, SlotSource::Keyring, None, "the master secret is in the keyring now"),
            Place::File => move_to(console, &link, SlotSource::File, None, "the master secret is in `master.key` in the state directory now"),
            Place::Prompt => {
                let password = new_password("New master password")?;
                let done = "from its next start on gollmd is locked until `gollmctl unlock`";
                move_to(console, &link, SlotSource::Password, Some(password), done)
            }
            Place::Credential => credential::seal(console, &link, self.file.as_deref().unwrap_or(Path::new(credential::FILE))),
        }
    }
}

/// Another password, or another secret, in the same place.
fn change(console: &mut Console<'_>, link: &Link) -> Result<(), Failure> {
    let rows = slots(link)?;
    let mut sources: Vec<&str> = rows.iter().map(|row| row.source.as_str()).filter(|source| *source != "recovery").collect();
    sources.dedup();
    match sources.as_slice() {
        ["keyring"] => return move_to(console, link, SlotSource::Keyring, None, "another master secret is in the keyring"),
        ["file"] => return move_to(console, link, SlotSource::File, None, "another master secret is in `master.key` in the state directory"),
        _ => {}
    }
    let old = password("Old master password")?;
    let new = new_password("New master password")?;
    let done = link.call(Op::ChangePassword(ChangePassword { old, new }))?;
    let mut text = "the master password is changed".to_owned();
    let after = slots(link)?;
    let changed = rows.iter().filter(|row| !after.iter().any(|other| other.slot == row.slot)).map(|row| row.source.as_str());
    let changed: Vec<&str> = changed.collect();
    for (source, how) in [("environment", "in GOLLM_MASTER_PASSWORD"), ("credential", "as the systemd credential `gollm-master`")] {
        if changed.contains(&source) {
            text.push_str(&format!("\ngive gollmd the new one {how} before it is started again: the old one opens the store no more"));
        }
    }
    tell(console, &done, &text)
}

/// Adds a slot, instead of the others.
fn move_to(console: &mut Console<'_>, link: &Link, source: SlotSource, secret: Option<Password>, done: &str) -> Result<(), Failure> {
    let added = add(link, SlotAdd { source, secret, instead: Some(true) })?;
    if console.form == Form::Json {
        return console.write_json(&added);
    }
    writeln!(console.out, "{done}").map_err(Failure::Output)
}

fn add(link: &Link, request: SlotAdd) -> Result<SlotAdded, Failure> {
    match link.call(Op::SlotAdd(request))? {
        Reply::SlotAdded(added) => Ok(added),
        _ => Err(Failure::unexpected("slot_add")),
    }
}

impl Slot {
    pub(crate) fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        let link = console.connect()?;
        match self.act {
            Act::List => {
                let rows = slots(&link)?;
                console.show(&rows, |rows, _, out| {
                    if rows.is_empty() {
                        return writeln!(out, "none: the store is not encrypted, or not made yet");
                    }
                    rows.iter().try_for_each(|row| writeln!(out, "{}", line(row)))
                })
            }
            Act::Add { kind } => kind.add(console, &link),
            Act::Remove { number } => {
                let done = link.call(Op::SlotRemove(SlotRemove { slot: number }))?;
                let mut text = format!("slot {number} is removed: its secret opens the store no more");
                let left = slots(&link)?;
                if left.iter().all(|row| row.source == "prompt" || row.source == "recovery") {
                    text.push_str(
                        "\nfrom its next start on gollmd is locked until `gollmctl unlock`: `gollmctl passwd --to file`, or another place, ends that",
                    );
                }
                tell(console, &done, &text)
            }
        }
    }
}

fn line(row: &SlotRow) -> String {
    let what = match row.source.as_str() {
        "prompt" => "a password that a person types",
        "environment" => "GOLLM_MASTER_PASSWORD",
        "credential" => "the systemd credential gollm-master",
        "keyring" => "the keyring of the operating system",
        "file" => "master.key in the state directory",
        "recovery" => "a recovery code on paper",
        other => other,
    };
    let until = row.until.map(|slot| format!(" (until slot {slot} has opened the store)")).unwrap_or_default();
    format!("{}  {:<11}  {what}{until}", row.slot, row.source)
}

impl Kind {
    fn add(self, console: &mut Console<'_>, link: &Link) -> Result<(), Failure> {
        let (source, secret) = match self {
            Kind::Recovery => (SlotSource::Recovery, None),
            Kind::Keyring => (SlotSource::Keyring, None),
            Kind::File => (SlotSource::File, None),
            Kind::Password => (SlotSource::Password, Some(new_password("Another master password")?)),
        };
        let added = add(link, SlotAdd { source, secret, instead: None })?;
        if console.form == Form::Json {
            return console.write_json(&added);
        }
        let Some(code) = added.recovery_code else {
            return writeln!(console.out, "slot {} is added", added.slot).map_err(Failure::Output);
        };
        let code = code.into_text();
        writeln!(
            console.out,
            "slot {} is added. Its recovery code, which nobody can show again:\n\n    {}\n\nWrite it down, and keep it where the machine is not.",
            added.slot, *code
        )
        .map_err(Failure::Output)
    }
}

/// A password that is there.
pub(crate) fn password(what: &str) -> Result<Password, Failure> {
    let mut text = typed::line(what, PASSWORD_MAX).map_err(|why| mistake(&why))?;
    Password::new(std::mem::take(&mut *text)).ok_or_else(|| mistake(&format!("it is empty, or longer than {PASSWORD_MAX} bytes")))
}

/// A new one, which a person types twice.
pub(crate) fn new_password(what: &str) -> Result<Password, Failure> {
    let first = password(what)?.into_text();
    if typed::is_asked() && first != password(&format!("{what}, again"))?.into_text() {
        return Err(mistake(&"the two are not the same"));
    }
    Ok(Password::of_text(first))
}

fn mistake(why: &dyn std::fmt::Display) -> Failure {
    Failure::Input { what: "the password was not taken".to_owned(), why: why.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_that_waits_to_be_replaced_says_so() {
        let row = SlotRow { slot: 1, source: "file".to_owned(), until: Some(2) };
        assert_eq!(line(&row), "1  file         master.key in the state directory (until slot 2 has opened the store)");
    }
}

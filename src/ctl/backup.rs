//! `gollmctl backup|restore|rekey`: all that the daemon keeps, in a file that opens with a password.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;

use crate::ctl::console::{Console, Form};
use crate::ctl::daemon::Link;
use crate::ctl::failure::Failure;
use crate::ctl::master;
use crate::protocol::bytes::Bytes;
use crate::protocol::reply::{BackupMade, BackupPiece, Reply, Restored};
use crate::protocol::request::{self, BackupPart, Op, PART_MAX, RestorePart};

const BACKUP_HELP: &str = "\
The daemon goes on meanwhile. The file has keys, usage, limits, health and the audit
trail as they are at one moment, sealed. Without --passphrase it opens with every
master secret of the store that a person may know: its password, or a recovery code.

Examples:
  gollmctl backup gollm.backup
  gollmctl backup --passphrase gollm.backup < passphrase.txt";

/// Write all that the daemon keeps into a sealed file
#[derive(Args)]
#[command(after_help = BACKUP_HELP)]
pub(crate) struct Backup {
    /// The file; none may be there
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Seal it with a passphrase of its own, which is asked for, or read from standard input
    #[arg(long)]
    passphrase: bool,
}

const RESTORE_HELP: &str = "\
The daemon takes keys, usage, limits and health as they were when the backup was
made, in the place of what it has. Its own master secret and its audit trail stay, and
what was leased since can still be reported; what was spent since is not known any more.

Examples:
  gollmctl restore gollm.backup --check    does it open, and what is in it
  gollmctl restore gollm.backup";

/// Put a backup in the place of all that the daemon keeps
#[derive(Args)]
#[command(after_help = RESTORE_HELP)]
pub(crate) struct Restore {
    /// The file that `gollmctl backup` wrote
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Only say whether it opens, and what is in it
    #[arg(long)]
    check: bool,
}

/// `gollmctl rekey`.
pub(crate) fn rekey(console: &mut Console<'_>) -> Result<(), Failure> {
    match console.ask(Op::Rekey)? {
        reply @ Reply::Done if console.form == Form::Json => console.write_json(&reply),
        Reply::Done => writeln!(console.out, "everything is sealed under a new data key; passwords and slots stay").map_err(Failure::Output),
        _ => Err(Failure::unexpected("rekey")),
    }
}

/// `gollmctl export`.
pub(crate) fn export(console: &mut Console<'_>) -> Result<(), Failure> {
    let Reply::Export(text) = console.ask(Op::Export)? else { return Err(Failure::unexpected("export")) };
    match console.form {
        Form::Json => console.write_json(&text),
        Form::Text => write!(console.out, "{text}").map_err(Failure::Output),
    }
}

impl Backup {
    pub(crate) fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        if self.file.try_exists().map_err(|why| not_written(&self.file, &why))? {
            return Err(not_written(&self.file, &"it is there already; name another file, or remove it"));
        }
        let link = console.connect()?;
        let passphrase = self.passphrase.then(|| master::new_password("Passphrase of the backup")).transpose()?;
        let Reply::Backup(made) = link.call(Op::Backup(request::Backup { passphrase }))? else { return Err(Failure::unexpected("backup")) };
        write(&link, made, &self.file)?;
        if console.form == Form::Json {
            return console.write_json(&made);
        }
        writeln!(console.out, "{}: {} bytes; `gollmctl restore {} --check` shows that it opens", self.file.display(), made.bytes, self.file.display())
            .map_err(Failure::Output)
    }
}

fn not_written(file: &Path, why: &dyn std::fmt::Display) -> Failure {
    Failure::Input { what: format!("{} was not written", file.display()), why: why.to_string() }
}

fn write(link: &Link, made: BackupMade, file: &Path) -> Result<(), Failure> {
    let mut name = file.as_os_str().to_owned();
    name.push(format!(".{}", std::process::id()));
    let draft = PathBuf::from(name);
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let out = options.open(&draft).map_err(|why| not_written(file, &why))?;
    let written = fetch(link, made, out, file).and_then(|()| put(&draft, file).map_err(|why| not_written(file, &why)));
    if written.is_err() {
        // What is there of it is no backup.
        drop(std::fs::remove_file(&draft));
    }
    written
}

fn fetch(link: &Link, made: BackupMade, mut out: File, file: &Path) -> Result<(), Failure> {
    let failed = |why: io::Error| not_written(file, &why);
    let mut offset = 0;
    loop {
        let Reply::BackupPart(BackupPiece { data, last }) = link.call(Op::BackupPart(BackupPart { backup: made.backup, offset }))? else {
            return Err(Failure::unexpected("backup_part"));
        };
        out.write_all(&data.0).map_err(failed)?;
        offset += u64::try_from(data.0.len()).unwrap_or(0);
        if last {
            break;
        }
    }
    out.sync_all().map_err(failed)
}

fn put(draft: &Path, file: &Path) -> io::Result<()> {
    match std::fs::hard_link(draft, file) {
        Ok(()) => std::fs::remove_file(draft),
        // Not over one that came meanwhile.
        Err(why) if why.kind() == io::ErrorKind::AlreadyExists => Err(why),
        // The file system has no such links.
        Err(_) => std::fs::rename(draft, file),
    }
}

impl Restore {
    pub(crate) fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        let link = console.connect()?;
        hand_in(&link, &self.file)?;
        if io::stdin().is_terminal() && !self.check {
            writeln!(io::stderr(), "All that the daemon keeps is replaced by {}.", self.file.display()).map_err(Failure::Output)?;
        }
        let password = master::password("Password of the backup")?;
        let Reply::Restored(restored) = link.call(Op::Restore(request::Restore { password, check: Some(self.check) }))? else {
            return Err(Failure::unexpected("restore"));
        };
        console.show(&restored, |restored, _, out| render(restored, out))
    }
}

fn hand_in(link: &Link, file: &Path) -> Result<(), Failure> {
    let failed = |why: io::Error| Failure::Input { what: format!("{} can't be read", file.display()), why: why.to_string() };
    let mut input = File::open(file).map_err(failed)?;
    let mut offset = 0;
    loop {
        let mut data = Vec::with_capacity(PART_MAX);
        io::Read::by_ref(&mut input).take(u64::try_from(PART_MAX).unwrap_or(u64::MAX)).read_to_end(&mut data).map_err(failed)?;
        if data.is_empty() && offset > 0 {
            return Ok(());
        }
        if data.is_empty() {
            return Err(failed(io::Error::other("it is empty")));
        }
        let length = u64::try_from(data.len()).unwrap_or(0);
        let Reply::Done = link.call(Op::RestorePart(RestorePart { offset, data: Bytes(data) }))? else {
            return Err(Failure::unexpected("restore_part"));
        };
        offset += length;
    }
}

fn render(restored: &Restored, out: &mut dyn io::Write) -> io::Result<()> {
    let Restored { store, created, version, records, secrets, replaced } = restored;
    let what = if *replaced { "restored" } else { "it opens" };
    writeln!(out, "{what}: {records} records, {secrets} of them secrets of keys, of the store {store}\nmade {created} by gollm {version}")
}

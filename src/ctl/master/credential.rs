//! `gollmctl passwd --to credential`: a new master secret, sealed by systemd to this machine, and to its TPM if it has one.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use zeroize::Zeroizing;

use super::add;
use crate::ctl::console::{Console, Form};
use crate::ctl::daemon::Link;
use crate::ctl::failure::Failure;
use crate::protocol::bytes::hex;
use crate::protocol::request::{Op, SlotAdd, SlotRemove, SlotSource};
use crate::secret::Password;

/// Where systemd looks for the sealed credential that the unit asks for by its name (systemd.exec(5)).
pub(super) const FILE: &str = "/etc/credstore.encrypted/gollm-master";

/// Seals it into a file beside, lets it open the store, and puts the file in its place: whatever fails, the old secret still opens the store.
pub(super) fn seal(console: &mut Console<'_>, link: &Link, file: &Path) -> Result<(), Failure> {
    let file = &std::path::absolute(file).map_err(|why| failed("where the credential is to be is not known", &why))?;
    let what = format!("the credential {} was not made, nothing was changed", file.display());
    let secret = fresh().map_err(|why| failed("no random bytes", &why))?;
    let draft = systemd_creds(&secret, &what).and_then(|sealed| draft(file, &sealed).map_err(|why| failed(&what, &why)))?;
    let added = add(link, SlotAdd { source: SlotSource::Credential, secret: Some(Password::of_text(secret)), instead: Some(true) });
    let added = added.inspect_err(|_| drop(std::fs::remove_file(&draft)))?;
    if let Err(why) = std::fs::rename(&draft, file) {
        link.call(Op::SlotRemove(SlotRemove { slot: added.slot }))?;
        return Err(failed(&what, &why));
    }
    if console.form == Form::Json {
        return console.write_json(&added);
    }
    writeln!(
        console.out,
        "the master secret is sealed in {}: `systemctl restart gollmd` takes it up, and then the other places are emptied\n(the unit loads it by `LoadCredentialEncrypted=gollm-master{}`)",
        file.display(),
        if file == Path::new(FILE) { String::new() } else { format!(":{}", file.display()) },
    )
    .map_err(Failure::Output)
}

/// 256 random bits in hexadecimal.
fn fresh() -> io::Result<Zeroizing<String>> {
    let mut bytes = Zeroizing::new([0_u8; 32]);
    File::open("/dev/urandom")?.read_exact(bytes.as_mut_slice())?;
    Ok(Zeroizing::new(hex(bytes.as_slice())))
}

fn systemd_creds(secret: &str, what: &str) -> Result<Vec<u8>, Failure> {
    let mut command = Command::new("systemd-creds");
    command.args(["encrypt", "--name=gollm-master", "-", "-"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|why| failed(what, &format!("systemd-creds can't be run: {why}")))?;
    let given = child.stdin.take().map_or(Ok(()), |mut input| input.write_all(secret.as_bytes()));
    let ended = child.wait_with_output().map_err(|why| failed(what, &why))?;
    if !ended.status.success() {
        return Err(failed(what, &String::from_utf8_lossy(&ended.stderr).trim()));
    }
    given.map(|()| ended.stdout).map_err(|why| failed(what, &why))
}

/// A file beside the one that is meant, on the disk: renamed into its place it is there as a whole, or not at all.
fn draft(file: &Path, sealed: &[u8]) -> io::Result<PathBuf> {
    if let Some(directory) = file.parent() {
        let mut make = std::fs::DirBuilder::new();
        make.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut make, 0o700);
        make.create(directory)?;
    }
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", std::process::id()));
    let draft = file.with_file_name(name);
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut out = options.open(&draft)?;
    match out.write_all(sealed).and_then(|()| out.sync_all()) {
        Ok(()) => Ok(draft),
        Err(why) => {
            drop(std::fs::remove_file(&draft));
            Err(why)
        }
    }
}

fn failed(what: &str, why: &dyn std::fmt::Display) -> Failure {
    Failure::Input { what: what.to_owned(), why: why.to_string() }
}

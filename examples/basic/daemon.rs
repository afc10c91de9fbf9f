//! A real gollmd, as a process of its own, on a directory that is thrown away with it.

use std::ffi::OsString;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use gollm::environment::Environment;
use gollm::{Client, Error};

/// As the first argument of this program, it makes it gollmd.
const SERVE: &str = "__gollmd";

/// How long gollmd may take until it serves: deriving the key takes most of it.
const START_TIME: Duration = Duration::from_secs(30);

/// How long it may take to end.
const END_TIME: Duration = Duration::from_secs(6);

const PAUSE: Duration = Duration::from_millis(20);

/// What the daemon runs on.
pub(crate) enum Source<'a> {
    /// A configuration that is written for the example; the environment of this process is left out.
    Own(&'a str),
    /// The user's own, with the environment of this process.
    File(&'a Path),
}

/// The running daemon; dropped, it is killed and its directory removed.
pub(crate) struct Daemon {
    process: Child,
    socket: PathBuf,
    directory: tempfile::TempDir,
}

/// Why there is no daemon.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DaemonError {
    #[error("gollmd can't be started: {0}")]
    System(#[from] io::Error),
    #[error("gollmd ended before it served ({status}):\n{log}")]
    Ended { status: std::process::ExitStatus, log: String },
    #[error("gollmd did not serve within {START_TIME:?}: {why}\n{log}")]
    Mute { why: Error, log: String },
    #[error("gollmd did not end in order ({status}):\n{log}")]
    BadEnd { status: String, log: String },
}

/// Runs this process as gollmd, if its arguments say so.
pub(crate) fn run_if_asked(arguments: &[OsString]) -> Option<ExitCode> {
    let (first, rest) = arguments.split_first()?;
    (first == SERVE).then(|| gollm::daemon::main_with([OsString::from("gollmd")].into_iter().chain(rest.iter().cloned())))
}

impl Daemon {
    /// Starts gollmd and waits until it serves.
    pub(crate) async fn start(source: Source<'_>) -> Result<Self, DaemonError> {
        let directory = tempfile::Builder::new().prefix("gollm-example-").tempdir()?;
        let socket = directory.path().join("gollmd.sock");
        let mut command = Command::new(std::env::current_exe()?);
        let config = match source {
            Source::Own(text) => {
                command.env_clear();
                let file = directory.path().join("gollm-config.yaml");
                std::fs::write(&file, text)?;
                restrict(&file)?;
                file
            }
            Source::File(file) => file.to_owned(),
        };
        let log = std::fs::File::create(directory.path().join("gollmd.log"))?;
        command.arg(SERVE).arg("--config").arg(config).arg("--socket").arg(&socket).arg("--state-dir").arg(directory.path().join("state"));
        // A password of its own: nothing of the example is left in the user's keyring.
        command.env("GOLLM_MASTER_PASSWORD", made_up_password()).env_remove("NOTIFY_SOCKET").env_remove("JOURNAL_STREAM");
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()?;
        let mut daemon = Self { process, socket, directory };
        daemon.until_it_serves().await?;
        Ok(daemon)
    }

    async fn until_it_serves(&mut self) -> Result<(), DaemonError> {
        let mut waited = Duration::ZERO;
        loop {
            if let Some(status) = self.process.try_wait()? {
                return Err(DaemonError::Ended { status, log: self.log() });
            }
            match self.client().await {
                Ok(_) => return Ok(()),
                Err(why) if waited >= START_TIME => return Err(DaemonError::Mute { why, log: self.log() }),
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
            waited += PAUSE;
        }
    }

    /// Connects to it.
    pub(crate) async fn client(&self) -> Result<Client, Error> {
        Client::builder().socket(&self.socket).connect(&Environment::default()).await
    }

    /// Ends it in order, as a service manager does.
    pub(crate) async fn end(mut self) -> Result<(), DaemonError> {
        terminate(&self.process)?;
        let mut waited = Duration::ZERO;
        loop {
            match self.process.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(DaemonError::BadEnd { status: status.to_string(), log: self.log() }),
                None if waited >= END_TIME => {
                    return Err(DaemonError::BadEnd { status: format!("it still ran after {END_TIME:?}"), log: self.log() });
                }
                None => tokio::time::sleep(PAUSE).await,
            }
            waited += PAUSE;
        }
    }

    fn log(&self) -> String {
        let mut text = String::new();
        let read = std::fs::File::open(self.directory.path().join("gollmd.log")).and_then(|mut file| file.read_to_string(&mut text));
        read.map_or_else(|why| format!("(its log can't be read: {why})"), |_| text)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // One that has ended already can't be killed, and that is well.
        drop(self.process.kill().and_then(|()| self.process.wait()));
    }
}

#[cfg(unix)]
fn restrict(file: &Path) -> io::Result<()> {
    std::fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(0o600))
}

#[cfg(not(unix))]
fn restrict(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn terminate(process: &Child) -> io::Result<()> {
    let id = i32::try_from(process.id()).ok().and_then(rustix::process::Pid::from_raw);
    let id = id.ok_or_else(|| io::Error::other("the process id is out of range"))?;
    Ok(rustix::process::kill_process(id, rustix::process::Signal::TERM)?)
}

#[cfg(not(unix))]
fn terminate(_: &Child) -> io::Result<()> {
    Err(io::Error::other("gollmd can't be asked to end on this system"))
}

fn made_up_password() -> String {
    format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..))
}

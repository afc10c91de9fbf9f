//! A throw-away place with a configuration, a state directory and a socket, and the programs that run in it.

pub(crate) mod binary;
pub(crate) mod daemon;
pub(crate) mod lines;
pub(crate) mod hook;
pub(crate) mod provider;
pub(crate) mod users;

use std::ffi::OsString;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use daemon::Daemon;
use lines::Lines;

/// What nothing may take: a generous bound that only a hang passes.
pub(crate) const LONGEST: Duration = Duration::from_secs(30);

/// A place for one daemon at a time. All that is in it goes when it is dropped.
pub(crate) struct Site {
    directory: tempfile::TempDir,
    environment: Vec<(String, OsString)>,
}

impl Site {
    /// A place with this configuration, which only its owner can read.
    pub(crate) fn new(config: &str) -> Self {
        let site = Self::bare();
        site.configure(config);
        site
    }

    /// A place without a configuration file.
    pub(crate) fn bare() -> Self {
        let directory = tempfile::Builder::new().prefix("gollm-").tempdir().unwrap();
        let mut site = Self { directory, environment: Vec::new() };
        site.set("GOLLM_MASTER_PASSWORD", "a password for tests");
        site.set("HOME", site.path("home"));
        site
    }

    /// Writes the configuration anew.
    pub(crate) fn configure(&self, config: &str) {
        std::fs::write(self.config(), config).unwrap();
        std::fs::set_permissions(self.config(), PermissionsExt::from_mode(0o600)).unwrap();
    }

    /// Sets a variable of every program that is started here.
    pub(crate) fn set(&mut self, name: &str, value: impl Into<OsString>) {
        self.unset(name);
        self.environment.push((name.to_owned(), value.into()));
    }

    /// The opposite of [`Site::set`].
    pub(crate) fn unset(&mut self, name: &str) {
        self.environment.retain(|(other, _)| other != name);
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn root(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.path("config.yaml")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path("run/gollmd.sock")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.path("state")
    }

    /// Everything that daemons wrote to standard error here.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// `gollmd` with this place's configuration, socket and state, not started yet.
    pub(crate) fn gollmd(&self, arguments: &[&str]) -> Command {
        let mut command = self.program(env!("CARGO_BIN_EXE_gollmd"));
        if self.config().exists() {
            command.arg("--config").arg(self.config());
        }
        command.arg("--socket").arg(self.socket()).arg("--state-dir").arg(self.state()).args(arguments);
        command
    }

    /// `gollmctl` at this place's socket, not started yet.
    pub(crate) fn gollmctl(&self, arguments: &[&str]) -> Command {
        let mut command = self.program(env!("CARGO_BIN_EXE_gollmctl"));
        command.arg("--socket").arg(self.socket()).args(arguments);
        command
    }

    fn program(&self, path: &str) -> Command {
        let mut command = Command::new(path);
        command.env_clear().envs(self.environment.iter().map(|(name, value)| (name, value))).current_dir(self.root()).stdin(Stdio::null());
        command
    }

    /// A daemon that serves.
    pub(crate) fn start(&self) -> Daemon {
        Daemon::start(self)
    }

    /// Runs `gollmctl` to its end.
    pub(crate) fn ctl(&self, arguments: &[&str]) -> Ran {
        self.ctl_with(arguments, "")
    }

    /// Runs `gollmctl` to its end, with this on its standard input.
    pub(crate) fn ctl_with(&self, arguments: &[&str], input: &str) -> Ran {
        run(self.gollmctl(arguments), input)
    }

    /// A client that speaks JSON lines.
    pub(crate) fn lines(&self) -> Lines {
        Lines::connect(&self.socket())
    }

    /// The text of every file below this place, and of none that is a socket.
    pub(crate) fn every_file(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut found = Vec::new();
        let mut left = vec![self.root().to_owned()];
        while let Some(directory) = left.pop() {
            for entry in std::fs::read_dir(directory).unwrap() {
                let entry = entry.unwrap();
                let Ok(kind) = entry.file_type() else { continue };
                if kind.is_dir() {
                    left.push(entry.path());
                } else if kind.is_file() {
                    // A running daemon replaces files: one that is gone has no content.
                    found.extend(std::fs::read(entry.path()).ok().map(|content| (entry.path(), content)));
                }
            }
        }
        found
    }
}

/// What a program that ended left.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs a program to its end.
pub(crate) fn run(mut command: Command, input: &str) -> Ran {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A program that does not read its input has closed it.
    child.stdin.take().unwrap().write_all(input.as_bytes()).ok();
    let id = child.id();
    let (done, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || done.send(child.wait_with_output().unwrap()));
    let Ok(Output { status, stdout, stderr }) = ended.recv_timeout(LONGEST) else {
        daemon::signal(id, rustix::process::Signal::KILL);
        panic!("{command:?} did not end");
    };
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { status: status.code().unwrap_or(-1), out: text(stdout), err: text(stderr) }
}

/// Waits until `done` gives something; what is awaited is named in the panic of a hang.
pub(crate) fn until<T>(what: &str, mut done: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = done() {
            return found;
        }
        assert!(began.elapsed() < LONGEST, "{what}: not within {LONGEST:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

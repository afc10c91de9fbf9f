//! The servers under measurement, each a process of its own that stays on one processor.

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use std::io::Write;

use crate::ask::PROVIDER;
use crate::echo;
use crate::{Failure, load::Target};

/// Where servers run.
pub(crate) const SERVER_CPU: usize = 0;

/// How long a server may take until it serves; gollmd derives a key and fills a journal first.
const START: Duration = Duration::from_secs(30);

/// A running server; killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) target: Target,
}

impl Server {
    /// gollmd with a few keys, limits that are counted and never reached, and nothing that uses the network.
    pub(crate) fn gollmd(dir: &Path) -> Result<Self, Failure> {
        let config = dir.join("gollm-config.yaml");
        let mut text = format!("providers:\n  {PROVIDER}:\n    rotation: {{health_check: false}}\n    api_keys:\n");
        for key in ["first", "second", "third", "fourth"] {
            let secret = format!("sk-proj-{key}-0123456789abcdefghijklmnopqrstuvwxyz0123456789");
            text.push_str(&format!("      - {{name: {key}, key: {secret}, rate_limit: 100000000, cost_limit: 1000000.0}}\n"));
        }
        text.push_str("global: {key_validation: false}\n");
        fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&config)?.write_all(text.as_bytes())?;
        let socket = dir.join("gollmd.sock");
        let mut command = pinned(Path::new(env!("CARGO_BIN_EXE_gollmd")));
        command.arg("--config").arg(&config).arg("--state-dir").arg(dir.join("state")).arg("--socket").arg(&socket);
        command.env("GOLLM_MASTER_PASSWORD", "a password for measuring").env("GOLLM_LOG", "warn").env("RUST_LOG", "warn");
        Self::start(&mut command, Target { socket, greets: true })
    }

    /// An echo server that answers with `replies` in turn.
    pub(crate) fn echo(dir: &Path, name: &str, replies: &[Vec<u8>]) -> Result<Self, Failure> {
        let socket = dir.join(format!("{name}.sock"));
        let mut command = pinned(&std::env::current_exe()?);
        command.arg(echo::ROLE).arg(&socket);
        for (place, reply) in replies.iter().enumerate() {
            let file = dir.join(format!("{name}.{place}"));
            fs::write(&file, reply)?;
            command.arg(file);
        }
        Self::start(&mut command, Target { socket, greets: false })
    }

    fn start(command: &mut Command, target: Target) -> Result<Self, Failure> {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().map_err(|why| format!("taskset, of util-linux, is needed: {why}"))?;
        let mut server = Self { child, target };
        let begun = Instant::now();
        while UnixStream::connect(&server.target.socket).is_err() {
            if let Some(status) = server.child.try_wait()? {
                return Err(format!("{} ended before it served: {status}", server.target.socket.display()).into());
            }
            if begun.elapsed() > START {
                return Err(format!("{} is not served after {START:?}", server.target.socket.display()).into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn pinned(program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.arg("-c").arg(SERVER_CPU.to_string()).arg(program);
    command
}

/// Keeps this thread, and those that it starts from now on, on one processor.
pub(crate) fn pin(cpu: usize) -> Result<(), Failure> {
    let own = std::process::id().to_string();
    let done = Command::new("taskset").args(["-cp", &cpu.to_string(), &own]).stdout(Stdio::null()).status()?;
    if done.success() { Ok(()) } else { Err(format!("taskset can't use processor {cpu}").into()) }
}

/// A directory for one run, removed afterwards. It lies beside the build, so that it is on a disk and not in memory.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new() -> Result<Self, Failure> {
        let dir = tempfile::Builder::new().prefix("wire-").tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        Ok(Self(dir.keep()))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What stays behind lies in the build's own directory.
        drop(fs::remove_dir_all(&self.0));
    }
}

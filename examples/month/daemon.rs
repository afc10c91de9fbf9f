//! A gollmd within this process, on a clock that is moved.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;

use gollm::Client;
use gollm::daemon::{Options, StartError, serve};
use gollm::environment::Environment;
use gollm::time::shift::Shift;

use crate::{Failure, make_directory};

/// The files of one daemon.
pub(crate) struct Place {
    pub(crate) config: PathBuf,
    pub(crate) socket: PathBuf,
    pub(crate) state: PathBuf,
}

/// The running daemon.
pub(crate) struct Daemon(JoinHandle<Result<(), StartError>>);

impl Place {
    /// In `dir`, which is made if it is missing. What is there already is not added to.
    pub(crate) fn new(dir: &Path) -> Result<Self, Failure> {
        make_directory(dir)?;
        let dir = std::path::absolute(dir)?;
        let place = Self { config: dir.join("gollm-config.yaml"), socket: dir.join("gollmd.sock"), state: dir.join("state") };
        for file in [&place.config, &place.state] {
            if file.exists() {
                return Err(format!("{} is there already: give another directory", file.display()).into());
            }
        }
        Ok(place)
    }

    /// Connects to the daemon.
    pub(crate) async fn client(&self) -> Result<Client, gollm::Error> {
        Client::builder().socket(&self.socket).connect(&Environment::default()).await
    }
}

impl Daemon {
    /// Starts it, and waits until it serves.
    pub(crate) fn start(place: &Place, shift: &Shift) -> Result<Self, Failure> {
        let options = Options {
            config: Some(place.config.clone()),
            socket: Some(place.socket.clone()),
            state_dir: Some(place.state.clone()),
            clock: shift.clone(),
        };
        let (tell, told) = mpsc::channel();
        let thread = std::thread::Builder::new().name("gollmd".to_owned()).spawn(move || {
            serve(&options, Environment::default(), &mut |_| {
                // Who started it waits for this.
                tell.send(()).ok();
            })
        })?;
        let daemon = Self(thread);
        match told.recv() {
            Ok(()) => Ok(daemon),
            Err(_) => daemon.joined().and(Err("gollmd ended before it served".into())),
        }
    }

    /// Ends it in order, as a service manager does.
    pub(crate) fn end(self) -> Result<(), Failure> {
        terminate()?;
        self.joined()
    }

    fn joined(self) -> Result<(), Failure> {
        match self.0.join() {
            Ok(ended) => Ok(ended?),
            Err(_) => Err("gollmd failed".into()),
        }
    }
}

/// While the daemon runs, it is the daemon that hears of it.
#[cfg(unix)]
fn terminate() -> io::Result<()> {
    Ok(rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TERM)?)
}

#[cfg(not(unix))]
fn terminate() -> io::Result<()> {
    Err(io::Error::other("gollmd can't be asked to end on this system"))
}

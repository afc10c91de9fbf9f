//! `--daemonize`: the parent returns when the daemon serves, or says why it does not.

use std::io::{Read, Write};
use std::path::Path;

use daemonize::{Daemonize, Outcome};

use crate::daemon::start::{self, StartError};
use crate::daemon::{Options, logging, serve};
use crate::endpoint::listen::{ListenError, Listener};
use crate::environment::Environment;

/// What the child writes when it serves.
const READY: &str = "ready";

/// Goes into the background before any thread is started, and serves there.
pub(super) fn run(options: &Options, environment: &Environment) -> Result<(), StartError> {
    if environment.value("NOTIFY_SOCKET").is_some() || environment.value("LISTEN_FDS").is_some() {
        return Err(StartError::Supervised);
    }
    let options = absolute(options, environment)?;
    let endpoint = start::endpoint(&options, environment)?;
    let pid_file = endpoint.path().with_extension("pid");
    Listener::probe(&endpoint).map_err(|why| match why {
        ListenError::InUse { .. } => running(&pid_file).unwrap_or(StartError::Listen(why)),
        why => StartError::Listen(why),
    })?;
    let directory = endpoint.path().parent().unwrap_or(Path::new("/")).to_path_buf();
    start::make_directory(&directory)?;
    let state = start::state_dir(&options, environment)?;
    start::make_directory(&state)?;
    let (mut told, mut tell) = std::io::pipe().map_err(StartError::Runtime)?;
    match Daemonize::new().pid_file(&pid_file).working_directory("/").umask(0o077).execute() {
        Outcome::Parent(Err(why)) => Err(StartError::Background(why.to_string())),
        Outcome::Parent(Ok(_)) => {
            drop(tell);
            let mut word = String::new();
            told.read_to_string(&mut word).map_err(StartError::Runtime)?;
            if word == READY { Ok(()) } else { Err(StartError::Child(word)) }
        }
        Outcome::Child(Err(why)) => {
            let why = running(&pid_file).unwrap_or_else(|| StartError::Background(why.to_string()));
            // The parent waits for a word, and says it: this process still has the same standard error.
            drop(tell.write_all(why.to_string().as_bytes()));
            Ok(())
        }
        Outcome::Child(Ok(_)) => {
            drop(told);
            logging::begin_in_background(&state, environment);
            in_child(&options, environment.clone(), &pid_file, tell)
        }
    }
}

/// The daemon that the pid file names: it is locked and not overwritten while that one lives.
fn running(pid_file: &Path) -> Option<StartError> {
    let pid = std::fs::read_to_string(pid_file).ok()?.trim().parse().ok()?;
    Some(StartError::Running { pid, file: pid_file.to_path_buf() })
}

fn in_child(options: &Options, environment: Environment, pid_file: &Path, tell: std::io::PipeWriter) -> Result<(), StartError> {
    let mut tell = Some(tell);
    let result = serve(options, environment, &mut |_| {
        if let Some(mut tell) = tell.take() {
            drop(tell.write_all(READY.as_bytes()));
        }
    });
    // The file named a process that is ending; one that is gone already names none. It goes before the parent is told:
    // who then starts another daemon finds none of this one.
    drop(std::fs::remove_file(pid_file));
    if let (Err(why), Some(mut tell)) = (&result, tell) {
        tracing::error!("{why}");
        drop(tell.write_all(why.to_string().as_bytes()));
    }
    result
}

/// The same options where the working directory is another.
fn absolute(options: &Options, environment: &Environment) -> Result<Options, StartError> {
    let config = crate::config::locate(options.config.as_deref(), environment)?;
    let fixed = |path: Option<&Path>| path.map(std::path::absolute).transpose().map_err(StartError::Runtime);
    Ok(Options {
        config: fixed(config.as_deref())?,
        socket: fixed(options.socket.as_deref())?,
        state_dir: fixed(options.state_dir.as_deref())?,
        clock: options.clock.clone(),
    })
}

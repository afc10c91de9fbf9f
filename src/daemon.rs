//! gollmd: puts the parts together, serves, and ends in order.
//!
//! Start: arguments → into the background, before any thread → logging → hardening → configuration → master secret →
//! store, rebuilt → socket → ready.

mod accept;
mod admin;
mod answer;
mod arguments;
#[cfg(unix)]
mod background;
mod bounds;
mod checker;
mod connection;
mod copies;
mod front;
mod journal;
mod leasing;
mod locking;
mod logging;
mod metrics;
mod news;
mod observe;
#[cfg(unix)]
mod password;
mod rebuild;
mod safe;
mod signals;
mod start;
mod state;
mod status;
mod trail;
mod watchdog;
mod webhooks;

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, PoisonError};

use tokio::sync::watch;

use crate::config;
use crate::daemon::arguments::Arguments;
use crate::daemon::signals::Signals;
use crate::daemon::start::Started;
use crate::daemon::state::{Phase, Shared};
use crate::environment::Environment;
use crate::platform;
use crate::secret::PASSWORD_MAX;
use crate::store;
use crate::store::error::OpenError;
use crate::time::shift::Shift;
use crate::typed;
use crate::vault::VaultError;
use crate::vault::master::MasterSetting;

pub use crate::daemon::arguments::command;
pub use crate::daemon::start::StartError;

/// What `gollmd` is told.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The configuration; none: where it is looked for.
    pub config: Option<PathBuf>,
    /// The socket; none: where it usually is.
    pub socket: Option<PathBuf>,
    /// The state directory; none: where it usually is.
    pub state_dir: Option<PathBuf>,
    /// What moves the daemon's clocks, in simulations and tests. `gollmd` leaves the default, which moves none.
    pub clock: Shift,
}

/// The whole of `gollmd`, with the arguments of this process.
#[must_use]
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    match environment(&arguments) {
        Ok(environment) => run(arguments, environment),
        Err(why) => {
            complain(&why);
            ExitCode::FAILURE
        }
    }
}

/// `gollmd` within another program, with arguments; the first is the program's name. Unlike [`main`] it does not start the
/// process anew to take a master password out of its environment.
#[must_use]
pub fn main_with(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    run(arguments, Environment::of_process())
}

fn run(arguments: impl IntoIterator<Item = OsString>, environment: Environment) -> ExitCode {
    let arguments = match Arguments::read(arguments) {
        Ok(arguments) => arguments,
        Err(page) => {
            // Help and version end with 0, wrong arguments with 2; a closed pipe is nothing to tell of.
            drop(page.print());
            return ExitCode::from(u8::try_from(page.exit_code()).unwrap_or(2));
        }
    };
    let result = if arguments.check {
        check(&arguments.options, &environment)
    } else if arguments.repair {
        repair(&arguments.options, &environment)
    } else if arguments.daemonize {
        in_background(&arguments.options, &environment)
    } else {
        logging::begin(&environment);
        serve(&arguments.options, environment, &mut |_| {})
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            complain(&why);
            ExitCode::FAILURE
        }
    }
}

/// The variables of this process, which shows no password after this.
#[cfg(unix)]
fn environment(arguments: &[OsString]) -> Result<Environment, StartError> {
    password::hide(Environment::of_process(), arguments).map_err(StartError::Password)
}

#[cfg(not(unix))]
fn environment(_: &[OsString]) -> Result<Environment, StartError> {
    Ok(Environment::of_process())
}

fn complain(why: &StartError) {
    // With nobody to hear it, the exit status says it.
    drop(writeln!(std::io::stderr(), "gollmd: {why}"));
}

/// `--check`: does the configuration load?
fn check(options: &Options, environment: &Environment) -> Result<(), StartError> {
    let file = config::locate(options.config.as_deref(), environment)?;
    let settings = config::load(file.as_deref(), environment)?;
    let endpoint = start::endpoint(options, environment)?;
    let state = start::state_dir(options, environment)?;
    let mut out = std::io::stdout().lock();
    let keys = settings.policy.keys().count();
    let from = file.map_or_else(|| "the environment alone".to_owned(), |file| file.display().to_string());
    let counted = |count: usize, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
    let (providers, keys) = (counted(settings.policy.providers.len(), "provider"), counted(keys, "key"));
    let lines = format!("{from}: ok ({providers}, {keys})\nsocket: {endpoint}\nstate:  {}\n", state.display());
    let warnings: String = settings.warnings.iter().map(|warning| format!("warning: {warning}\n")).collect();
    write!(out, "{warnings}{lines}").map_err(StartError::Output)
}

/// `--repair`: saves what can be opened of a damaged store.
fn repair(options: &Options, environment: &Environment) -> Result<(), StartError> {
    let file = config::locate(options.config.as_deref(), environment)?;
    let settings = config::load(file.as_deref(), environment)?;
    let directory = start::state_dir(options, environment)?;
    start::is_ours(&directory)?;
    let mut master = start::master_of_person(settings.master, environment);
    let found = match store::repair::repair(&directory, &master, environment) {
        Err(OpenError::Vault(VaultError::Locked { .. } | VaultError::NoMaster { .. })) => {
            let typed = typed::line("Master password, or a recovery code", PASSWORD_MAX).map_err(StartError::Input)?;
            master = MasterSetting::Password(typed.trim_end_matches(['\r', '\n']).to_owned().into());
            store::repair::repair(&directory, &master, environment)?
        }
        found => found?,
    };
    if found.was_damaged {
        rebuild::note_repair(store::open(&directory, &master, settings.encrypt_keys, environment)?, &found)?;
    }
    let mut text = String::new();
    if found.was_damaged {
        text.push_str(&format!("{}: repaired\n", directory.display()));
    } else {
        text.push_str(&format!("{}: it opens; nothing was changed\n", directory.display()));
    }
    let kept: Vec<String> = found.kept.iter().map(|(tree, count)| format!("{count} {tree}")).collect();
    text.push_str(&format!("kept: {}\n", if kept.is_empty() { "no record".to_owned() } else { kept.join(", ") }));
    found.lost.iter().for_each(|lost| text.push_str(&format!("lost: {lost}\n")));
    found.damaged.iter().for_each(|damaged| text.push_str(&format!("the damaged files are in {}\n", damaged.display())));
    write!(std::io::stdout(), "{text}").map_err(StartError::Output)
}

#[cfg(unix)]
fn in_background(options: &Options, environment: &Environment) -> Result<(), StartError> {
    background::run(options, environment)
}

#[cfg(not(unix))]
fn in_background(_: &Options, _: &Environment) -> Result<(), StartError> {
    Err(StartError::NoBackground)
}

/// Starts, serves until a signal ends it, and stops in order. `ready` hears of the moment from which it serves.
///
/// # Errors
/// It can't start, or what was decided last could not be written at the end.
pub fn serve(options: &Options, environment: Environment, ready: &mut dyn FnMut(&str)) -> Result<(), StartError> {
    for refused in platform::harden() {
        tracing::warn!("{refused}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StartError::Runtime)?;
    let result = runtime.block_on(async {
        let signals = Signals::take().map_err(StartError::Runtime)?;
        let Started { front, listener } = start::start(options, environment)?;
        let (phase, _) = watch::channel(Phase::Serving);
        let accepting = tokio::spawn(accept::accept(Arc::clone(&front), listener, phase.clone()));
        metrics::serve(&front);
        let socket = front.desk.socket.clone();
        tracing::info!(target: logging::SERVICE, version = env!("CARGO_PKG_VERSION"), %socket, "serving");
        start::tell_phase(&front.serving());
        watchdog::begin(socket.path().to_path_buf()).map_err(StartError::Runtime)?;
        ready(&socket.to_string());
        signals.until_the_end(&front).await;
        tracing::info!(target: logging::SERVICE, "stopping");
        tell(&platform::Phase::Stopping);
        let shared = front.serving();
        trail::note_of_daemon(&shared, "stop", None);
        shared.lock().close(&shared);
        phase.send_replace(Phase::Ending);
        drop(front.metrics.lock().unwrap_or_else(PoisonError::into_inner).take());
        drop(accepting.await);
        // A lock, an unlock or a restore that is under way comes to its end first.
        drop(tokio::time::timeout(std::time::Duration::from_secs(2), front.changing.lock()).await);
        front.close(&front.serving()).await?;
        tracing::info!(target: logging::SERVICE, "stopped");
        Ok(())
    });
    // What is still being computed or looked up must not hold up the end.
    runtime.shutdown_timeout(std::time::Duration::from_millis(500));
    result
}

fn tell(phase: &platform::Phase) {
    if let Err(why) = platform::notify(phase) {
        tracing::warn!(error = %why, "the service manager can't be told");
    }
}

/// Ends leases when their time is up: sleeps until the next deadline, or until there is an earlier one, or the clock was moved.
async fn tick(shared: Arc<Shared>) {
    loop {
        let pause = answer::tick(&shared);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shared.sooner.notified() => {}
            () = shared.clock.jumped() => {}
        }
    }
}

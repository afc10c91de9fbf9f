//! From nothing to a daemon that can serve: configuration, store, rebuilt state, secrets, socket.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::broker::DamagedRecord;
use crate::config::problem::ConfigError;
use crate::config::secrets::Fetched;
use crate::config::{self, Settings};
use crate::daemon::Options;
use crate::daemon::front::{Desk, Front};
use crate::daemon::logging as log;
use crate::daemon::rebuild::rebuild;
use crate::daemon::state::{Live, Shared};
use crate::daemon::{admin, status, trail};
use crate::endpoint::listen::{ListenError, Listener};
use crate::endpoint::{self, Endpoint, NoPlace};
use crate::environment::Environment;
use crate::event::{Event, UnknownEvents};
use crate::http::{Http, HttpError};
use crate::id::Uid;
use crate::notify::Notifier;
use crate::platform;
use crate::probe::Prober;
use crate::store::error::OpenError;
use crate::store::{self, Opened, Store};
use crate::vault::VaultError;
use crate::vault::master::{MasterSetting, MasterSource};

/// Why gollmd does not serve.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration does not load.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The environment shows the master password.
    #[error("GOLLM_MASTER_PASSWORD can't be taken out of the environment: {0}; give the systemd credential `gollm-master` instead")]
    Password(std::io::Error),
    /// There is no place for the socket.
    #[error(transparent)]
    NoSocket(#[from] NoPlace),
    /// There is no place for the state.
    #[error("there is no place for the state: give --state-dir, or set {}", if cfg!(windows) { "LOCALAPPDATA" } else { "XDG_STATE_HOME or HOME" })]
    NoState,
    /// A directory can't be made.
    #[error("the directory {path} can't be made: {why}")]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        why: std::io::Error,
    },
    /// The store can't be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The store's records are none of this version.
    #[error("the store was opened, but {0}; run the gollmd that wrote it, or restore a backup")]
    Records(#[from] DamagedRecord),
    /// The journal's events are none of this version.
    #[error("{0}; run the gollmd that wrote them")]
    Events(#[from] UnknownEvents),
    /// What the service manager passed on is no socket to listen on.
    #[error("the socket that was passed on can't be listened on: {0}")]
    Handed(std::io::Error),
    /// The socket can't be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Nothing can be sent over HTTP.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The system refused what every program needs.
    #[error("the system refused a thread, a pipe or a signal handler: {0}")]
    Runtime(std::io::Error),
    /// What was decided last could not be written.
    #[error("the store could not be closed: {0}; what was acknowledged is in the journal, the next start takes it up")]
    End(String),
    /// It can't go into the background.
    #[error("gollmd can't go into the background: {0}")]
    Background(String),
    /// Another one is there already.
    #[error("another gollmd runs here (process id {pid}, from {})", file.display())]
    Running {
        /// Its process.
        pid: u32,
        /// The file that says so.
        file: PathBuf,
    },
    /// It was started by a service manager.
    #[error("--daemonize is not for systemd, which needs the process it started: leave it out of the unit")]
    Supervised,
    /// There is no background on this system.
    #[error("--daemonize does not exist on this system: start gollmd in the foreground, or let the system's task scheduler start it at logon")]
    NoBackground,
    /// The daemon in the background ended before it served.
    #[error("{}", if .0.is_empty() { "the daemon ended before it served" } else { .0 })]
    Child(String),
    /// The state directory is another user's.
    #[error("{} belongs to the user {owner}: run this as that user, as with `sudo -u \\#{owner} gollmd …`", path.display())]
    Owner {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        owner: Uid,
    },
    /// Standard input can't be read.
    #[error("the password can't be read: {0}")]
    Input(std::io::Error),
    /// Standard output can't be written.
    #[error("standard output can't be written: {0}")]
    Output(std::io::Error),
}

/// Everything that serving needs.
pub(super) struct Started {
    pub(super) front: Arc<Front>,
    pub(super) listener: Listener,
}

/// Where the daemon listens.
pub(super) fn endpoint(options: &Options, environment: &Environment) -> Result<Endpoint, NoPlace> {
    endpoint::own(options.socket.as_deref(), environment, platform::own_uid() == Uid(0))
}

/// Where the state is: `--state-dir`, `$STATE_DIRECTORY`, `$XDG_STATE_HOME/gollm`, for root `/var/lib/gollm`, else the
/// home directory's usual place for state; on Windows `--state-dir`, else `%LOCALAPPDATA%\gollm`.
pub(super) fn state_dir(options: &Options, environment: &Environment) -> Result<PathBuf, StartError> {
    if let Some(given) = &options.state_dir {
        return Ok(given.clone());
    }
    if cfg!(windows) {
        return environment.path("LOCALAPPDATA").map(|home| home.join("gollm")).ok_or(StartError::NoState);
    }
    if let Some(listed) = environment.value("STATE_DIRECTORY") {
        return Ok(PathBuf::from(listed.split(':').next().unwrap_or(listed)));
    }
    if let Some(home) = environment.path("XDG_STATE_HOME") {
        return Ok(home.join("gollm"));
    }
    if platform::own_uid() == Uid(0) {
        return Ok(PathBuf::from("/var/lib/gollm"));
    }
    environment.path("HOME").map(|home| home.join(".local/state/gollm")).ok_or(StartError::NoState)
}

/// Does the state belong to whom this process runs as? What another user writes there the daemon could not read.
pub(super) fn is_ours(directory: &Path) -> Result<(), StartError> {
    #[cfg(unix)]
    if let Ok(metadata) = std::fs::metadata(directory) {
        let owner = Uid(std::os::unix::fs::MetadataExt::uid(&metadata));
        if owner != platform::own_uid() {
            return Err(StartError::Owner { path: directory.to_path_buf(), owner });
        }
    }
    #[cfg(not(unix))]
    let _: &Path = directory;
    Ok(())
}

/// Makes a directory that only its owner can enter, where it is missing.
pub(super) fn make_directory(path: &Path) -> Result<(), StartError> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(|why| StartError::Directory { path: path.to_path_buf(), why })
}

fn master(setting: config::MasterSetting) -> MasterSetting {
    match setting {
        config::MasterSetting::Auto => MasterSetting::Auto,
        config::MasterSetting::Credential => MasterSetting::Credential,
        config::MasterSetting::Environment => MasterSetting::Environment,
        config::MasterSetting::Keyring => MasterSetting::Keyring,
        config::MasterSetting::File => MasterSetting::File,
        config::MasterSetting::Prompt => MasterSetting::Prompt,
    }
}

/// The same where nobody can be asked later: a password that a person would type comes in `GOLLM_MASTER_PASSWORD`.
pub(super) fn master_of_person(setting: config::MasterSetting, environment: &Environment) -> MasterSetting {
    match (setting, environment.value("GOLLM_MASTER_PASSWORD")) {
        (config::MasterSetting::Prompt, Some(password)) => MasterSetting::Password(password.to_owned().into()),
        (setting, _) => master(setting),
    }
}

/// A listener that somebody else made, where it listens, and the group that it was made for.
type Handed = (Listener, Endpoint, Option<u32>);

/// The socket that the service manager passed on. What waits in it is served.
#[cfg(unix)]
fn handed() -> Result<Option<Handed>, StartError> {
    let Some(socket) = platform::handed_socket().map_err(StartError::Handed)? else { return Ok(None) };
    let listener = Listener::inherited(socket).map_err(StartError::Handed)?;
    let (place, group) = listener.place().map_err(StartError::Handed)?;
    Ok(Some((listener, place, group)))
}

#[cfg(not(unix))]
const fn handed() -> Result<Option<Handed>, StartError> {
    Ok(None)
}

/// Opens everything. The listener comes last: whoever can connect is served.
pub(super) fn start(options: &Options, environment: Environment) -> Result<Started, StartError> {
    let file = config::locate(options.config.as_deref(), &environment)?;
    let mut settings = config::load(file.as_deref(), &environment)?;
    let mut fetched = std::mem::take(&mut settings.fetched);
    let handed = handed()?;
    let (endpoint, group) = match &handed {
        Some((_, place, group)) => (place.clone(), *group),
        None => (endpoint(options, &environment)?, None),
    };
    // Before the store: a second daemon must leave none behind.
    if handed.is_none() {
        Listener::probe(&endpoint)?;
    }
    let directory = state_dir(options, &environment)?;
    if let Some(parent) = directory.parent() {
        make_directory(parent)?;
    }
    let desk = |environment| Desk::new(environment, endpoint.clone(), group, file.clone(), directory.clone(), options.clock.clone());
    let opened = store::open(&directory, &master(settings.master), settings.encrypt_keys, &environment);
    let desk = Arc::new(desk(environment.without("GOLLM_MASTER_PASSWORD")));
    let front = match opened {
        Ok(opened) => {
            let (shared, store) = shared_of(&desk, opened, settings, &mut fetched)?;
            let front = Front::new(Arc::clone(&desk), Arc::clone(&shared));
            trail::note_of_daemon(&shared, "start", Some(format!("version {}", env!("CARGO_PKG_VERSION"))));
            front.run(shared, store)?;
            front
        }
        Err(OpenError::Vault(VaultError::Locked { why })) => {
            let why = why.unwrap_or_else(|| "its password is not given yet".to_owned());
            tracing::warn!(target: log::SERVICE, "the store is locked ({why}): `gollmctl unlock` opens it");
            let live = live_of(&desk, settings, Vec::new())?;
            Front::new(Arc::clone(&desk), Arc::new(Shared::locked(desk, live, MasterSource::Prompt, why)?))
        }
        Err(why) => return Err(why.into()),
    };
    drop(fetched);
    let listener = match handed {
        Some((listener, ..)) => listener,
        None => Listener::bind(&endpoint)?,
    };
    crate::daemon::accept::open(&front.serving(), &listener);
    Ok(Started { front: Arc::new(front), listener })
}

/// Opens the store of a daemon that is locked, with the configuration as it is now.
pub(super) fn open_again(desk: &Arc<Desk>, setting: &MasterSetting) -> Result<(Arc<Shared>, Store), StartError> {
    let settings = config::load(desk.file.as_deref(), &desk.environment)?;
    let opened = store::open(&desk.state_dir, setting, settings.encrypt_keys, &desk.environment)?;
    served(desk, opened, settings)
}

/// Lets an opened store be served from, with settings that were loaded before.
pub(super) fn served(desk: &Arc<Desk>, opened: Opened, mut settings: Settings) -> Result<(Arc<Shared>, Store), StartError> {
    let mut fetched = std::mem::take(&mut settings.fetched);
    shared_of(desk, opened, settings, &mut fetched)
}

fn shared_of(desk: &Arc<Desk>, opened: Opened, settings: Settings, fetched: &mut Fetched) -> Result<(Arc<Shared>, Store), StartError> {
    tracing::info!(target: log::STORE, state = %desk.state_dir.display(), master = opened.master.name(), fresh = opened.fresh, "the store is open");
    let (beginning, store) = rebuild(desk, opened, settings)?;
    let shared = Arc::new(Shared::new(Arc::clone(desk), beginning));
    apply(&shared, fetched);
    Ok((shared, store))
}

/// Who is served, and what probes are made with.
pub(super) fn live_of(desk: &Desk, settings: Settings, mut warnings: Vec<String>) -> Result<Live, StartError> {
    let http = Http::new(&desk.environment)?;
    let prober = Arc::new(Prober::new(settings.key_timeout, http.clone()));
    let notifier = Arc::new(Notifier::new(http));
    let (access, unknown) = platform::access(settings.access.as_ref(), desk.socket_group);
    warnings.extend(unknown);
    Ok(Live { settings: Arc::new(settings), access: Arc::new(access), prober, notifier, warnings, of_store: Arc::default(), refused: None })
}

/// Tells the service manager that it serves, or waits for a person.
pub(super) fn tell_phase(shared: &Shared) {
    let status = if shared.locked.is_some() { "locked: `gollmctl unlock` opens the store" } else { "serving" };
    if let Err(why) = platform::notify(&platform::Phase::Ready { status: status.to_owned() }) {
        tracing::warn!(error = %why, "the service manager can't be told");
    }
}

/// Applies the settings to the rebuilt state.
fn apply(shared: &Shared, fetched: &mut Fetched) {
    let live = shared.live();
    let mut core = shared.lock();
    core.broker.pass_on(Event::Clock(shared.clock.mark()));
    let mut warnings = live.warnings.clone();
    // Everything in the store and the journal is brought together at the first checkpoint.
    core.secrets_changed = core.safe.entries().map(|(id, _)| id.clone()).collect();
    warnings.extend(admin::apply(shared, &mut core, &live.settings, fetched));
    core.note_outside(shared);
    drop(core);
    for warning in status::general_warnings(shared.master()).iter().chain(live.of_store.iter()).chain(&live.settings.warnings).chain(&warnings) {
        tracing::warn!(target: log::CONFIG, "{warning}");
    }
    shared.set_live(Live { warnings, refused: None, ..Live::clone(&live) });
}

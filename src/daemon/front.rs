//! What stays while the store is locked and unlocked: the socket's side of the daemon, and who serves it now.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;

use tokio::sync::{Notify, mpsc};
use tokio::task::AbortHandle;

use crate::daemon::bounds::{Connections, Denials, NotedDenials, Services};
use crate::daemon::copies::Copies;
use crate::daemon::metrics::{Metrics, Served};
use crate::daemon::news::News;
use crate::daemon::state::Shared;
use crate::daemon::{checker, journal, start::StartError, webhooks};
use crate::endpoint::Endpoint;
use crate::environment::Environment;
use crate::store::Store;
use crate::time::clock::{Clock, SystemClock};
use crate::time::shift::Shift;
use crate::time::{Now, Steady};

/// What every connection has to do with, locked or not.
pub(crate) struct Desk {
    pub(crate) connections: AtomicU64,
    /// The same by user.
    pub(crate) of_users: Connections,
    /// What the log was told of what is refused.
    pub(crate) denials: Denials,
    /// And the audit trail.
    pub(crate) noted_denials: NotedDenials,
    /// In which units callers are.
    pub(crate) services: Services,
    /// Those who hear what happens.
    pub(crate) news: News,
    pub(crate) metrics: Metrics,
    /// Backups on their way through the socket.
    pub(crate) copies: Copies,
    /// Passwords that did not open the store since it was open last.
    pub(crate) refused_unlocks: AtomicU64,
    /// Bytes of unfinished messages, over all connections.
    pub(crate) unfinished: AtomicUsize,
    /// Counts the changes of who is served.
    access_version: AtomicU64,
    /// Wakes the listener: others are to connect.
    pub(crate) audience: Notify,
    pub(crate) environment: Environment,
    pub(crate) socket: Endpoint,
    /// The group that the socket was made for.
    pub(crate) socket_group: Option<u32>,
    /// The configuration.
    pub(crate) file: Option<PathBuf>,
    pub(crate) state_dir: PathBuf,
    /// What moves this clock, and those of who serves.
    pub(crate) shift: Shift,
    clock: SystemClock,
    pub(crate) started: Now,
}

impl Desk {
    pub(crate) fn new(
        environment: Environment,
        socket: Endpoint,
        socket_group: Option<u32>,
        file: Option<PathBuf>,
        state_dir: PathBuf,
        shift: Shift,
    ) -> Self {
        let clock = SystemClock::start_shifted(None, Steady::from_millis(0), shift.clone());
        Self {
            connections: AtomicU64::new(0),
            of_users: Connections::default(),
            denials: Denials::default(),
            noted_denials: NotedDenials::default(),
            services: Services::default(),
            news: News::default(),
            metrics: Metrics::default(),
            copies: Copies::default(),
            refused_unlocks: AtomicU64::new(0),
            unfinished: AtomicUsize::new(0),
            access_version: AtomicU64::new(0),
            audience: Notify::new(),
            environment,
            socket,
            socket_group,
            // The daemon may be somewhere else when it is told of it.
            file: file.map(|file| std::path::absolute(&file).unwrap_or(file)),
            state_dir,
            started: clock.now(),
            shift,
            clock,
        }
    }

    /// How long the daemon runs, and the time of now on a clock that only goes on while it does.
    pub(crate) fn uptime(&self) -> Now {
        self.clock.now()
    }

    /// Another number than before: who is served may have changed.
    pub(crate) fn access_version(&self) -> u64 {
        self.access_version.load(Ordering::Acquire)
    }

    /// Who is served has changed.
    pub(crate) fn access_changed(&self) {
        self.access_version.fetch_add(1, Ordering::AcqRel);
        self.audience.notify_one();
    }
}

/// The daemon, whoever serves.
pub(crate) struct Front {
    pub(crate) desk: Arc<Desk>,
    serving: RwLock<Arc<Shared>>,
    running: Mutex<Option<Running>>,
    /// Where metrics are served.
    pub(crate) metrics: Mutex<Option<Served>>,
    /// Held while the configuration is taken up, or the store locked, unlocked or given another master secret: these come one
    /// after the other.
    pub(crate) changing: tokio::sync::Mutex<()>,
}

/// What runs as long as the store is open.
struct Running {
    tasks: [AbortHandle; 3],
    writer: JoinHandle<Result<(), String>>,
}

impl Front {
    pub(crate) fn new(desk: Arc<Desk>, shared: Arc<Shared>) -> Self {
        Self { desk, serving: RwLock::new(shared), running: Mutex::new(None), metrics: Mutex::new(None), changing: tokio::sync::Mutex::new(()) }
    }

    /// Who serves now. Not to be kept: it holds the keys of an open store.
    pub(crate) fn serving(&self) -> Arc<Shared> {
        Arc::clone(&self.serving.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on `shared` serves.
    pub(crate) fn replace(&self, shared: Arc<Shared>) {
        *self.serving.write().unwrap_or_else(PoisonError::into_inner) = shared;
        self.desk.access_changed();
    }

    /// Lets `shared` serve from an open store.
    pub(crate) fn run(&self, shared: Arc<Shared>, store: Store) -> Result<(), StartError> {
        self.desk.metrics.begin_anew();
        let (results, told) = mpsc::channel(journal::TOLD_LATE_MAX);
        let writer = {
            let shared = Arc::clone(&shared);
            let thread = std::thread::Builder::new().name("gollmd-journal".to_owned());
            thread.spawn(move || journal::run(shared, store, results)).map_err(StartError::Runtime)?
        };
        // It ends with the journal's thread, which it tells for.
        drop(tokio::spawn(journal::tell(told)));
        let tasks = [
            tokio::spawn(super::tick(Arc::clone(&shared))),
            tokio::spawn(checker::rounds(Arc::clone(&shared))),
            tokio::spawn(webhooks::deliver(Arc::clone(&shared))),
        ]
        .map(|task| task.abort_handle());
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(Running { tasks, writer });
        self.replace(shared);
        Ok(())
    }

    /// Writes what is left and closes the store, where one is open; `shared` decides nothing more that must be durable.
    pub(crate) async fn close(&self, shared: &Shared) -> Result<(), StartError> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Running { tasks, writer }) = running else { return Ok(()) };
        tasks.iter().for_each(AbortHandle::abort);
        {
            let mut core = shared.lock();
            core.stop = true;
            core.wake_journal(shared);
        }
        // The journal's thread hands what it has to tell to a task on this one, which must go on running.
        let ended = tokio::task::spawn_blocking(move || writer.join()).await;
        match ended.unwrap_or_else(|why| Err(Box::new(why))) {
            Ok(ended) => ended.map_err(StartError::End),
            Err(_) => Err(StartError::End("the journal's thread failed".to_owned())),
        }
    }
}

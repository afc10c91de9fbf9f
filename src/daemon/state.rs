//! What every part of the daemon shares: the broker behind its one lock, the secrets, the clock and the settings.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, oneshot};

use crate::access::Access;
use crate::audit::{Bounds, Entry, Trail};
use crate::broker::{Broker, Moment, Outside, Ticket};
use crate::config::Settings;
use crate::daemon::front::Desk;
use crate::daemon::leasing::Handover;
use crate::daemon::safe::{self, Safe};
use crate::daemon::start::StartError;
use crate::event::Event;
use crate::id::KeyId;
use crate::notify::{Notifier, Target};
use crate::probe::Prober;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::store::Record;
use crate::store::error::OpenError;
use crate::time::Steady;
use crate::time::clock::{Clock, SystemClock};
use crate::vault::Vault;
use crate::vault::master::MasterSource;

/// Events that wait while the store can't be written; past it nothing is leased.
const BACKLOG_MAX: usize = 200_000;

/// Who waits for the store, in the order in which things were decided.
pub(crate) type Waiters = Vec<oneshot::Sender<Result<(), String>>>;

/// Comes when the store holds what was decided, or can't be written. They come in the order of the decisions.
pub(crate) type Durable = oneshot::Receiver<Result<(), String>>;

/// While somebody waits for a key, the ticker comes at least this often: a wall clock that was set brings another midnight.
pub(crate) const TICK_AWAITED: Duration = Duration::from_secs(60);

/// Statistics that are computed at a time.
const STATISTICS_AT_ONCE: usize = 2;

/// Live checks that `validate` makes at a time.
const CHECKS_AT_ONCE: usize = 4;

/// What the journal's thread is asked to do, since it alone has the store.
pub(crate) enum Order {
    /// All records as they are at one moment.
    Records(oneshot::Sender<Result<Vec<Record>, String>>),
    /// Another data key.
    Rekey(oneshot::Sender<Result<(), String>>),
}

/// How far the daemon is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It serves.
    Serving,
    /// It ends: what was sent before is answered.
    Ending,
    /// The time for that is over.
    Over,
}

/// What stands behind the lock.
pub(crate) struct Core {
    pub(crate) broker: Broker,
    pub(crate) safe: Safe,
    pub(crate) trail: Trail,
    rng: fastrand::Rng,
    /// Who waits for the store to hold every event so far.
    pub(crate) waiters: Waiters,
    /// Why the store can't be written, while it can't.
    pub(crate) failing: Option<String>,
    /// Events that were taken for the journal and could not be written yet.
    pub(crate) backlog: usize,
    /// Secrets that changed since the last checkpoint.
    pub(crate) secrets_changed: Vec<KeyId>,
    /// What the journal's thread is to do beside writing.
    pub(crate) orders: Vec<Order>,
    pub(crate) stop: bool,
    /// The daemon ends: nobody waits for a key any more.
    pub(crate) closing: bool,
    /// Who waits for a key.
    pub(crate) queue: HashMap<Ticket, Handover>,
    /// What the journal's thread sleeps for.
    pub(crate) journal: Sleep,
    /// When the ticker comes next; none: it is about to come.
    pub(crate) tick_at: Option<Steady>,
}

/// What the journal's thread sleeps for. Waking a thread is a system call that costs more than a select does: it is
/// woken once, and only for what it would not look at in time by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sleep {
    /// It is awake, or was woken, and looks at everything before it sleeps.
    None,
    /// For somebody who waits for the store; what else there is, it takes in a moment.
    UntilAwaited,
    /// For any event.
    UntilEvent,
}

/// Shared by all parts.
pub(crate) struct Shared {
    core: Mutex<Core>,
    /// Wakes the journal's thread.
    pub(crate) wake: Condvar,
    /// The number of the last event that the store holds.
    pub(crate) durable: AtomicU64,
    pub(crate) desk: Arc<Desk>,
    /// Why nothing can be opened; none: the store is open.
    pub(crate) locked: Option<String>,
    pub(crate) clock: SystemClock,
    vault: RwLock<Arc<Vault>>,
    /// The place of the master secret that opened the store, or, when its slot was removed, of another one.
    master: RwLock<MasterSource>,
    live: RwLock<Arc<Live>>,
    /// Wakes the ticker: there is a deadline before the one it waits for.
    pub(crate) sooner: Notify,
    /// Wakes who sends to webhooks: a notice waits.
    pub(crate) posts: Notify,
    /// Who is told of alerts, in configured order.
    webhooks: RwLock<Arc<[Arc<Target>]>>,
    /// Wakes the health checker: a key waits for a probe.
    pub(crate) suspect: Notify,
    /// Places for statistics that are computed at a time.
    pub(crate) statistics: Arc<Semaphore>,
    /// Places for live checks that `validate` makes at a time.
    pub(crate) checks: Arc<Semaphore>,
}

/// What a reload replaces.
#[derive(Clone)]
pub(crate) struct Live {
    pub(crate) settings: Arc<Settings>,
    /// Who is served.
    pub(crate) access: Arc<Access>,
    pub(crate) prober: Arc<Prober>,
    pub(crate) notifier: Arc<Notifier>,
    /// What came up when the configuration was applied.
    pub(crate) warnings: Vec<String>,
    /// What came up when the store was opened, and holds until it is opened again.
    pub(crate) of_store: Arc<[String]>,
    /// Why the last reload changed nothing.
    pub(crate) refused: Option<String>,
}

/// What [`Shared`] begins with.
pub(crate) struct Beginning {
    pub(crate) broker: Broker,
    pub(crate) safe: Safe,
    pub(crate) trail: Trail,
    pub(crate) clock: SystemClock,
    pub(crate) vault: Arc<Vault>,
    pub(crate) master: MasterSource,
    pub(crate) live: Live,
}

impl Core {
    /// Decides something at the moment. What it frees goes to those who wait.
    pub(crate) fn decide<T>(&mut self, shared: &Shared, decision: impl FnOnce(&mut Broker, &mut Moment<'_>) -> T) -> T {
        let decided = self.at_once(shared, decision);
        self.serve(shared);
        decided
    }

    /// As [`Core::decide`], where nothing is freed.
    pub(crate) fn at_once<T>(&mut self, shared: &Shared, decision: impl FnOnce(&mut Broker, &mut Moment<'_>) -> T) -> T {
        let mut moment =
            Moment { now: shared.clock.now(), durable: shared.durable.load(Ordering::Acquire), stalled: self.failing.is_some(), rng: &mut self.rng };
        decision(&mut self.broker, &mut moment)
    }

    /// Serves those who wait for a key with what is free, and sees that the ticker comes for what frees next. To be called
    /// after anything that may free a key.
    pub(crate) fn serve(&mut self, shared: &Shared) {
        if self.broker.is_awaited() {
            match self.leasable() {
                Ok(()) => self.at_once(shared, Broker::serve),
                Err(_) => self.broker.send_overdue_away(shared.clock.now()),
            }
        }
        for served in self.broker.take_served() {
            self.hand_over(shared, served);
        }
        let awaited = self.broker.is_awaited().then(|| shared.clock.now().steady.after(TICK_AWAITED));
        if let (Some(next), Some(tick_at)) = (self.broker.next_deadline().into_iter().chain(awaited).min(), self.tick_at)
            && next < tick_at
        {
            self.tick_at = None;
            shared.sooner.notify_one();
        }
    }

    /// Sends away those who wait, and lets nobody wait any more.
    pub(crate) fn close(&mut self, shared: &Shared) {
        self.closing = true;
        self.broker.send_all_away(shared.clock.now());
        self.serve(shared);
    }

    /// The same, told why.
    pub(crate) fn dismiss(&mut self, why: &ErrorReply, shared: &Shared) {
        self.closing = true;
        self.broker.dismiss_all(why);
        self.serve(shared);
    }

    /// Is this no longer who serves, or not for long?
    pub(crate) const fn is_over(&self) -> bool {
        self.closing || self.stop
    }

    /// Keeps a secret, in memory and by an event.
    pub(crate) fn keep_secret(&mut self, shared: &Shared, id: &KeyId, sealed: Vec<u8>) -> Result<(), crate::daemon::safe::SafeError> {
        self.safe.put(&shared.vault(), id, sealed.clone())?;
        self.broker.pass_on(Event::SecretKept { key: id.clone(), sealed });
        self.broker.set_sealed(id, false);
        self.secrets_changed.push(id.clone());
        Ok(())
    }

    /// Puts an entry at the end of the audit trail; the store hears of it in the order of decisions.
    pub(crate) fn note(&mut self, shared: &Shared, entry: &Entry) {
        if shared.live().settings.audit_logging {
            self.note_always(shared, entry);
        }
    }

    /// The same, though the configuration says that nothing is noted.
    pub(crate) fn note_always(&mut self, shared: &Shared, entry: &Entry) {
        if shared.locked.is_some() {
            return;
        }
        match self.trail.append(&shared.vault(), entry, shared.bounds()) {
            Some(link) => self.broker.pass_on(Event::Audited(link.to_bytes())),
            None => tracing::error!(act = entry.act, "an entry is too long for the audit trail"),
        }
    }

    /// Lets the broker know of what it does not see by itself.
    pub(crate) fn note_outside(&mut self, shared: &Shared) {
        let master_in_file = shared.locked.is_none() && shared.master() == MasterSource::File;
        let outside = Outside { store_failing: self.failing.clone(), master_in_file };
        self.broker.note_outside(outside, shared.clock.now());
        self.wake_journal(shared);
    }

    /// Erases a secret, in memory and by an event.
    pub(crate) fn erase_secret(&mut self, id: &KeyId) {
        self.safe.erase(id);
        self.broker.pass_on(Event::SecretErased { key: id.clone() });
        self.broker.set_sealed(id, true);
        self.secrets_changed.push(id.clone());
    }

    /// Waits, once the lock is free, until the store holds every event so far.
    #[must_use]
    pub(crate) fn until_durable(&mut self, shared: &Shared) -> Durable {
        let (answer, answered) = oneshot::channel();
        self.waiters.push(answer);
        self.wake_journal(shared);
        answered
    }

    /// Wakes the journal's thread where it sleeps and something waits for it.
    pub(crate) fn wake_journal(&mut self, shared: &Shared) {
        let awaited = self.stop || !self.waiters.is_empty() || !self.orders.is_empty();
        let due = match self.journal {
            Sleep::None => false,
            Sleep::UntilAwaited => awaited,
            Sleep::UntilEvent => awaited || self.broker.events_waiting() > 0,
        };
        if due {
            self.journal = Sleep::None;
            shared.wake.notify_one();
        }
    }

    /// May something be decided that must be durable?
    pub(crate) fn writable(&self) -> Result<(), ErrorReply> {
        match &self.failing {
            Some(why) => Err(unwritable(why)),
            None if self.stop => Err(unwritable("the daemon is stopping, or is being locked")),
            None => Ok(()),
        }
    }

    /// May a lease be given, which the store hears of later?
    pub(crate) fn leasable(&self) -> Result<(), ErrorReply> {
        match &self.failing {
            _ if self.stop => Err(unwritable("the daemon is stopping, or is being locked")),
            Some(why) if self.backlog + self.broker.events_waiting() > BACKLOG_MAX => Err(unwritable(why)),
            _ => Ok(()),
        }
    }
}

/// The store can't be written.
pub(crate) fn unwritable(why: &str) -> ErrorReply {
    ErrorReply::new(ErrorCode::Internal, format!("the store can't be written, nothing was changed: {why}"))
}

impl Shared {
    pub(crate) fn new(desk: Arc<Desk>, beginning: Beginning) -> Self {
        Self {
            core: Mutex::new(Core {
                broker: beginning.broker,
                safe: beginning.safe,
                trail: beginning.trail,
                rng: fastrand::Rng::new(),
                waiters: Vec::new(),
                failing: None,
                backlog: 0,
                secrets_changed: Vec::new(),
                orders: Vec::new(),
                stop: false,
                closing: false,
                queue: HashMap::new(),
                journal: Sleep::None,
                tick_at: None,
            }),
            wake: Condvar::new(),
            durable: AtomicU64::new(0),
            desk,
            locked: None,
            clock: beginning.clock,
            vault: RwLock::new(beginning.vault),
            master: RwLock::new(beginning.master),
            live: RwLock::new(Arc::new(beginning.live)),
            sooner: Notify::new(),
            posts: Notify::new(),
            webhooks: RwLock::default(),
            suspect: Notify::new(),
            statistics: Arc::new(Semaphore::new(STATISTICS_AT_ONCE)),
            checks: Arc::new(Semaphore::new(CHECKS_AT_ONCE)),
        }
    }

    /// One that opens nothing, for who is served by the same rules: `why` says what locked the store.
    pub(crate) fn locked(desk: Arc<Desk>, live: Live, master: MasterSource, why: String) -> Result<Self, StartError> {
        let clock = SystemClock::start_shifted(None, Steady::from_millis(0), desk.shift.clone());
        let mut policy = live.settings.policy.clone();
        policy.providers.clear();
        policy.fallback_chain.clear();
        let broker = Broker::restore(policy, std::iter::empty(), &[], clock.now())?;
        let vault = Arc::new(Vault::of_nothing().map_err(OpenError::Vault)?);
        let shared = Self::new(desk, Beginning { broker, safe: Safe::default(), trail: Trail::default(), clock, vault, master, live });
        Ok(Self { locked: Some(why), ..shared })
    }

    /// Where the master secret is.
    pub(crate) fn master(&self) -> MasterSource {
        *self.master.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// These places hold master secrets now: is the one that was used among them still?
    pub(crate) fn master_is_among(&self, sources: &[MasterSource]) {
        let mut master = self.master.write().unwrap_or_else(PoisonError::into_inner);
        if !sources.contains(&master) {
            // A recovery code is a person's, too.
            *master = sources.iter().copied().find(|source| *source != MasterSource::Recovery).unwrap_or(MasterSource::Prompt);
        }
    }

    /// Lets the journal's thread do something, and waits for it.
    pub(crate) async fn ordered<T>(&self, order: impl FnOnce(oneshot::Sender<Result<T, String>>) -> Order) -> Result<T, String> {
        let (answer, answered) = oneshot::channel();
        {
            let mut core = self.lock();
            if core.stop {
                return Err("the daemon is stopping, or is being locked".to_owned());
            }
            core.orders.push(order(answer));
            core.wake_journal(self);
        }
        answered.await.unwrap_or_else(|_| Err("the daemon is stopping, or is being locked".to_owned()))
    }

    /// Who is told of alerts, in configured order.
    pub(crate) fn webhooks(&self) -> Arc<[Arc<Target>]> {
        Arc::clone(&self.webhooks.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on these are told of alerts.
    pub(crate) fn set_webhooks(&self, targets: Vec<Arc<Target>>) {
        *self.webhooks.write().unwrap_or_else(PoisonError::into_inner) = targets.into();
        self.posts.notify_one();
    }

    /// How much of the audit trail is kept.
    pub(crate) fn bounds(&self) -> Bounds {
        let audit = self.live().settings.audit;
        Bounds { entries: audit.max_entries, age: audit.keep }
    }

    /// From now on another key seals.
    pub(crate) fn set_vault(&self, vault: Arc<Vault>) {
        *self.vault.write().unwrap_or_else(PoisonError::into_inner) = vault;
    }

    /// What seals and opens now.
    pub(crate) fn vault(&self) -> Arc<Vault> {
        Arc::clone(&self.vault.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The lock: held for microseconds, never over an await.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn live(&self) -> Arc<Live> {
        Arc::clone(&self.live.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn set_live(&self, live: Live) {
        *self.live.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(live);
        self.desk.access_changed();
    }

    /// Another number than before: who is served may have changed.
    pub(crate) fn access_version(&self) -> u64 {
        self.desk.access_version()
    }

    /// What is known of a key's secret.
    pub(crate) fn secret_of(&self, id: &KeyId) -> Option<Arc<safe::Entry>> {
        self.lock().safe.entry(id).cloned()
    }
}

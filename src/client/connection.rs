//! One connection that many tasks share: requests go out as they come, replies find their way by id.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::AbortHandle;

use crate::client::buffer::{Inbox, Outbox, encode};
use crate::client::error::Error;
use crate::client::handshake;
use crate::endpoint::{self, Endpoint, ReadHalf, WriteHalf};
use crate::id::LeaseId;
use crate::protocol::error::ErrorReply;
use crate::protocol::outcome::Outcome;
use crate::protocol::reply::{Reply, Response};
use crate::protocol::request::{Op, Report};

/// Requests that one connection has in flight at most; more wait for their turn.
const IN_FLIGHT: usize = 256;

/// How long a lease that nobody waits for any more is tried to be given back.
const GIVING_BACK: Duration = Duration::from_secs(5);

pub(super) struct Connection {
    writer: tokio::sync::Mutex<Writer>,
    waiting: Waiting,
    slots: Arc<Semaphore>,
    next_id: AtomicU64,
    reader: OnceLock<AbortHandle>,
    runtime: Handle,
}

struct Writer {
    half: WriteHalf,
    outbox: Outbox,
}

/// Who waits for which reply.
struct Waiting(Mutex<Result<HashMap<u64, Entry>, End>>);

struct Entry {
    answer: oneshot::Sender<Reply>,
    /// A lease that comes and that nobody takes must be given back.
    selects: bool,
    /// Given back when the reply comes, not when its caller gives up: what the daemon still works on counts.
    _slot: OwnedSemaphorePermit,
}

/// Why a connection has ended.
#[derive(Debug, Clone)]
pub(super) enum End {
    /// It broke, or the daemon closed it.
    Lost,
    /// What came was no reply.
    Garbled,
    /// The daemon said why it closes it.
    Refused(ErrorReply),
}

/// A request that got no reply.
pub(super) enum Failure {
    /// The connection ended, before or after the whole request was sent.
    Ended { end: End, sent: bool },
    /// It can't be sent at all.
    Unsendable(Error),
}

impl Connection {
    /// Connects and says hello.
    pub(super) async fn open(endpoint: &Endpoint, within: Duration) -> Result<Arc<Self>, handshake::Failure> {
        let mut stream = endpoint::connect(endpoint, within).await?;
        handshake::greet(&mut stream).await?;
        let (read_half, write_half) = stream.split();
        let connection = Arc::new(Self {
            writer: tokio::sync::Mutex::new(Writer { half: write_half, outbox: Outbox::new() }),
            waiting: Waiting(Mutex::new(Ok(HashMap::new()))),
            slots: Arc::new(Semaphore::new(IN_FLIGHT)),
            next_id: AtomicU64::new(1),
            reader: OnceLock::new(),
            runtime: Handle::current(),
        });
        let reader = tokio::spawn(read_replies(read_half, Ending(Arc::downgrade(&connection))));
        connection.reader.get_or_init(|| reader.abort_handle());
        Ok(connection)
    }

    /// May another request be tried on it?
    pub(super) fn is_open(&self) -> bool {
        self.waiting.lock().is_ok()
    }

    /// Ends it if nobody waits for any of the many replies that it owes: such a daemon hangs.
    pub(super) fn end_if_forsaken(&self) {
        let forsaken = self.slots.available_permits() == 0
            && self.waiting.lock().as_ref().is_ok_and(|entries| entries.values().all(|entry| entry.answer.is_closed()));
        if forsaken {
            self.end(End::Lost);
        }
    }

    /// Sends a request and waits for its reply. Dropping the wait disturbs no other request; a lease that comes after it
    /// is given back.
    pub(super) async fn exchange(self: &Arc<Self>, op: &Op) -> Result<Reply, Failure> {
        let unsent = |end| Failure::Ended { end, sent: false };
        let Ok(slot) = Arc::clone(&self.slots).acquire_owned().await else {
            return Err(unsent(self.waiting.end()));
        };
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let frame = encode(id, op).map_err(Failure::Unsendable)?;
        let selects = matches!(op, Op::Select(_));
        let (answer, receiver) = oneshot::channel();
        self.waiting.enter(id, Entry { answer, selects, _slot: slot }).map_err(unsent)?;
        let mut wait = Wait { connection: self, id, selects, queued: false, receiver };
        if self.send(&frame, &mut wait.queued).await.is_err() {
            self.end(End::Lost);
            return Err(unsent(self.waiting.end()));
        }
        (&mut wait.receiver).await.map_err(|_| Failure::Ended { end: self.waiting.end(), sent: true })
    }

    /// Sends a frame as a whole, after what another caller left half sent. An error means that this one was not sent as a
    /// whole. Nothing of it is sent before `queued` is set, and all of it will be once it is, by the next caller at the latest.
    async fn send(&self, frame: &[u8], queued: &mut bool) -> io::Result<()> {
        let mut writer = self.writer.lock().await;
        writer.flush().await?;
        writer.outbox.push(frame);
        *queued = true;
        writer.flush().await
    }

    fn end(&self, why: End) {
        self.waiting.close(why);
        self.slots.close();
        if let Some(reader) = self.reader.get() {
            reader.abort();
        }
    }

    /// Gives back, in the background, a lease that nobody took.
    fn give_back(self: Arc<Self>, lease: LeaseId) {
        let runtime = self.runtime.clone();
        runtime.spawn(async move {
            let op = Op::Report(Report::of(lease, Outcome::Cancelled));
            // If it fails, the lease runs out and is charged its estimate.
            tokio::time::timeout(GIVING_BACK, self.exchange(&op)).await.ok();
        });
    }
}

impl Writer {
    /// Safe to drop at any moment: what was sent is known, what was not stays.
    async fn flush(&mut self) -> io::Result<()> {
        while !self.outbox.unsent().is_empty() {
            match self.half.write(self.outbox.unsent()).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                count => self.outbox.advance(count),
            }
        }
        Ok(())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.end(End::Lost);
    }
}

/// One caller's wait for one reply.
struct Wait<'a> {
    connection: &'a Arc<Connection>,
    id: u64,
    selects: bool,
    queued: bool,
    receiver: oneshot::Receiver<Reply>,
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if !self.queued {
            self.connection.waiting.take(self.id);
        }
        // The reply may have come at the same moment as its caller gave up.
        self.receiver.close();
        if let Ok(Reply::Lease(lease)) = self.receiver.try_recv()
            && self.selects
        {
            Arc::clone(self.connection).give_back(lease.lease);
        }
    }
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, Result<HashMap<u64, Entry>, End>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, id: u64, entry: Entry) -> Result<(), End> {
        match &mut *self.lock() {
            Ok(entries) => {
                entries.insert(id, entry);
                Ok(())
            }
            Err(end) => Err(end.clone()),
        }
    }

    fn take(&self, id: u64) -> Option<Entry> {
        self.lock().as_mut().ok().and_then(|entries| entries.remove(&id))
    }

    /// The first reason stays.
    fn close(&self, why: End) {
        let mut entries = self.lock();
        if entries.is_ok() {
            // Dropping the entries wakes those who wait, who then ask for the reason: it must stand before.
            let woken = std::mem::replace(&mut *entries, Err(why));
            drop(entries);
            drop(woken);
        }
    }

    fn end(&self) -> End {
        self.lock().as_ref().err().cloned().unwrap_or(End::Lost)
    }
}

/// Ends the connection when its reader does, in whatever way: also when the runtime is shut down round it.
struct Ending(Weak<Connection>);

impl Drop for Ending {
    fn drop(&mut self) {
        if let Some(connection) = self.0.upgrade() {
            connection.end(End::Lost);
        }
    }
}

async fn read_replies(mut half: ReadHalf, home: Ending) {
    let mut inbox = Inbox::new();
    let mut last_words = None;
    let end = loop {
        match inbox.take::<Response>() {
            Ok(Some(Response { id: Some(id), reply })) => deliver(&home, id, reply),
            Ok(Some(Response { id: None, reply: Reply::Error(why) })) => last_words = Some(why),
            Ok(Some(_)) | Err(_) => break End::Garbled,
            Ok(None) => match half.read(inbox.space()).await {
                Ok(0) | Err(_) => break last_words.map_or(End::Lost, End::Refused),
                Ok(count) => inbox.filled(count),
            },
        }
    };
    if let Some(connection) = home.0.upgrade() {
        connection.end(end);
    }
}

/// Hands a reply to who waits for it.
fn deliver(home: &Ending, id: u64, reply: Reply) {
    let Some(connection) = home.0.upgrade() else { return };
    let Some(entry) = connection.waiting.take(id) else { return };
    if let Err(Reply::Lease(lease)) = entry.answer.send(reply)
        && entry.selects
    {
        connection.give_back(lease.lease);
    }
}

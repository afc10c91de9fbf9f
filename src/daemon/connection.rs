//! One connection: either codec, pipelined, every part of it bounded.

mod buffer;
mod codec;

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::access::Caller;
use crate::daemon::answer::{Answer, Asker, Handed, answer, if_durable};
use crate::daemon::connection::buffer::Buffer;
use crate::daemon::connection::codec::{Codec, Taken};
use crate::daemon::front::Front;
use crate::daemon::leasing::Held;
use crate::daemon::metrics::Asked;
use crate::daemon::news::Subscription;
use crate::daemon::state::{Durable, Phase};
use crate::endpoint::{ReadHalf, WriteHalf};
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::reply::{Reply, Response};
use crate::protocol::request::{Op, Request};
use crate::protocol::{BINARY_MAGIC, BINARY_VERSION, MESSAGE_MAX, PREAMBLE, frame};

/// Requests of one connection that are not answered yet; past it nothing more is read from it.
const PENDING_MAX: usize = 256;

/// Selects of one connection that wait for a key.
const WAITS_MAX: usize = 192;

/// Answers of one connection that may be large and are not written yet: statistics and live checks.
const LARGE_MAX: usize = 8;

/// Messages that are taken before what they are answered is written and others have their turn.
const AT_A_TIME: usize = 64;

/// Subscriptions of one connection.
const SUBSCRIPTIONS_MAX: usize = 8;

/// Events that are taken from where they wait before they are written.
const EVENTS_AHEAD: usize = 64;

/// How long a subscriber may take to read: as it does not, what happens is counted and dropped, and costs nothing.
const SUBSCRIBER_TIME: Duration = Duration::from_secs(3600);

/// Bytes of answers that are gathered before they are written.
const OUT_MAX: usize = 256 * 1024;

/// Bytes of unfinished messages over all connections; past it those that hold much are closed.
const UNFINISHED_MAX: usize = 64 * 1024 * 1024;

/// An unfinished message of up to so many bytes is not counted.
const UNFINISHED_FREE: usize = 16 * 1024;

/// How long a connection may say nothing at first.
const GREET_TIME: Duration = Duration::from_secs(10);

/// How long a message may take to come in, once it began.
const MESSAGE_TIME: Duration = Duration::from_secs(30);

/// How long a caller may take to read what it is sent.
const WRITE_TIME: Duration = Duration::from_secs(10);

/// When the daemon ends: a pause of so long says that everything that was sent is in hand.
const LAST_WORDS: Duration = Duration::from_millis(20);

/// When the daemon ends: how long it reads on at most from a caller that makes no such pause.
const LAST_READ: Duration = Duration::from_millis(500);

/// How often it is looked whether a caller that sends no more still reads.
const LOOK_AFTER: Duration = Duration::from_millis(250);

/// Is more read from the caller?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hearing {
    /// Yes.
    On,
    /// It sends no more, and may still read.
    Ended,
    /// The daemon ends: what was sent before is in hand.
    Off,
}

/// What an answer that takes its time must have first.
enum Place {
    None,
    Taken(OwnedSemaphorePermit),
    Among(Arc<Semaphore>),
}

/// Where answers come from that are not given at once.
struct Outlets {
    late: mpsc::Sender<Late>,
    /// Events, each with the id of its subscription.
    events: mpsc::Sender<(u64, Reply)>,
}

/// The other ends of them.
struct Inlets {
    late: mpsc::Receiver<Late>,
    events: mpsc::Receiver<(u64, Reply)>,
}

/// What to do after some bytes were looked at.
enum Step {
    /// Go on reading.
    Read,
    /// There may be more in hand; others come first.
    More,
    /// Say this and close.
    Close(ErrorCode, String),
}

pub(super) struct Connection {
    front: Arc<Front>,
    asker: Asker,
    /// The rules by which the caller was let in.
    access_version: u64,
    writer: WriteHalf,
    out: Buffer,
    codec: Codec,
    pending: usize,
    /// Answers that wait for the store, in the order in which it comes to hold what they tell.
    awaiting: VecDeque<Awaiting>,
    /// Answers that take their time; they are given up with the connection.
    later: JoinSet<()>,
    /// Leases in answers that are put and not written yet.
    unwritten: Vec<Held>,
    /// Places for selects that wait for a key.
    waits: Arc<Semaphore>,
    /// Subscriptions that were asked for.
    subscriptions: usize,
    /// Places for answers that may be large.
    large: Arc<Semaphore>,
    /// Bytes of its unfinished message that are counted.
    unfinished: usize,
}

/// An answer that waits for the store.
struct Awaiting {
    id: u64,
    reply: Reply,
    durable: Durable,
    asked: Option<Asked>,
}

/// An answer that took its time.
struct Late {
    id: u64,
    handed: Handed,
    asked: Option<Asked>,
    /// Its place among those that are large: kept until it is written.
    _place: Option<OwnedSemaphorePermit>,
}

impl Connection {
    pub(super) fn new(front: Arc<Front>, asker: Asker, writer: WriteHalf) -> Self {
        Self {
            access_version: front.desk.access_version(),
            front,
            asker,
            writer,
            out: Buffer::default(),
            codec: Codec::Json,
            pending: 0,
            awaiting: VecDeque::new(),
            later: JoinSet::new(),
            unwritten: Vec::new(),
            waits: Arc::new(Semaphore::new(WAITS_MAX)),
            subscriptions: 0,
            large: Arc::new(Semaphore::new(LARGE_MAX)),
            unfinished: 0,
        }
    }

    /// Serves until either side ends it.
    pub(super) async fn serve(&mut self, mut reader: ReadHalf, mut phase: watch::Receiver<Phase>) {
        let mut input = Buffer::default();
        let greeted = tokio::select! {
            greeted = tokio::time::timeout(GREET_TIME, self.greet(&mut reader, &mut input)) => greeted.ok().flatten(),
            () = async { drop(phase.changed().await); pause(LAST_WORDS).await } => None,
        };
        let Some(codec) = greeted else { return };
        self.codec = codec;
        let (outlets, mut inlets) = outlets();
        let mut overdue = pin!(tokio::time::sleep(MESSAGE_TIME));
        let (mut began, mut clocked) = (false, input.taken());
        let mut hearing = Hearing::On;
        let mut last_read = None;
        loop {
            // What was asked before is answered before more is taken on.
            self.put_ready(&mut inlets);
            let step = self.take_messages(&mut input, &outlets);
            if let Step::Close(code, message) = step {
                return self.refuse(code, message).await;
            }
            if self.flush().await.is_err() {
                return;
            }
            if matches!(step, Step::More) {
                tokio::task::yield_now().await;
                continue;
            }
            let ending = *phase.borrow_and_update() != Phase::Serving;
            if ending && *last_read.get_or_insert_with(|| Instant::now() + LAST_READ) <= Instant::now() {
                hearing = Hearing::Off;
            }
            // A subscriber that sends no more may still read; it does not hold up the end.
            let listens = !ending && hearing == Hearing::Ended && self.subscriptions > 0;
            if hearing != Hearing::On && self.pending == 0 && !listens {
                return;
            }
            if !self.holds(input.bytes().len()) {
                return self.refuse(ErrorCode::Overloaded, "too many unfinished messages are held; send this one again".to_owned()).await;
            }
            let reads = hearing == Hearing::On && self.pending < PENDING_MAX;
            // The clock of a message starts with its first byte, and not again with each further one; it stands while nothing is read.
            if !input.bytes().is_empty() && (!began || !reads || input.taken() != clocked) {
                overdue.as_mut().reset(Instant::now() + MESSAGE_TIME);
            }
            began = !input.bytes().is_empty();
            clocked = input.taken();
            tokio::select! {
                biased;
                Some(late) = inlets.late.recv() => self.put_late(late),
                first = first_durable(&mut self.awaiting), if !self.awaiting.is_empty() => self.put_durable(first),
                heard = hear(&mut reader, &mut input, hearing), if reads || hearing == Hearing::Ended => match heard {
                    Ok(0) => hearing = Hearing::Ended,
                    Ok(_) => {}
                    Err(_) => return,
                },
                Some((id, event)) = inlets.events.recv() => self.put(Some(id), event),
                () = &mut overdue, if began && reads => return,
                () = pause(LAST_WORDS), if ending && reads => hearing = Hearing::Off,
                _ = phase.changed(), if !ending => {}
            }
        }
    }

    /// Gives up what nobody waits for any more.
    pub(super) async fn end(mut self) {
        self.later.shutdown().await;
        self.holds(0);
    }

    /// The codec, by the first byte, and the answer to the preamble.
    async fn greet(&mut self, reader: &mut ReadHalf, input: &mut Buffer) -> Option<Codec> {
        while input.bytes().is_empty() {
            if read_more(reader, input).await.ok()? == 0 {
                return None;
            }
        }
        match input.bytes().first()? {
            b'{' | b' ' | b'\t' | b'\r' | b'\n' => return Some(Codec::Json),
            b'G' => {}
            _ => {
                self.refuse(
                    ErrorCode::BadRequest,
                    "a connection begins with `{`, for JSON lines, or with `GLLM` and a version, for frames".to_owned(),
                )
                .await;
                return None;
            }
        }
        while input.bytes().len() < PREAMBLE.len() {
            if read_more(reader, input).await.ok()? == 0 {
                return None;
            }
        }
        let known = input.bytes().starts_with(&BINARY_MAGIC);
        let version = input.bytes().get(BINARY_MAGIC.len()).copied();
        input.consume(PREAMBLE.len());
        self.codec = Codec::Binary;
        self.out.extend(&PREAMBLE);
        if !known {
            self.refuse(ErrorCode::BadRequest, "a binary connection begins with `GLLM` and a version".to_owned()).await;
            return None;
        }
        if version != Some(BINARY_VERSION) {
            self.refuse(ErrorCode::UnsupportedVersion, format!("this daemon speaks version {BINARY_VERSION} of the binary codec")).await;
            return None;
        }
        Some(Codec::Binary)
    }

    /// Counts what the connection holds of an unfinished message; `false` where that is too much.
    fn holds(&mut self, bytes: usize) -> bool {
        let counted = if bytes > UNFINISHED_FREE { bytes } else { 0 };
        if counted == self.unfinished {
            return true;
        }
        let before = std::mem::replace(&mut self.unfinished, counted);
        let total = &self.front.desk.unfinished;
        total.fetch_sub(before, Ordering::AcqRel);
        total.fetch_add(counted, Ordering::AcqRel) + counted <= UNFINISHED_MAX || counted == 0
    }

    /// Takes complete messages, as long as there is room for their answers and nobody else waits for too long.
    fn take_messages(&mut self, input: &mut Buffer, outlets: &Outlets) -> Step {
        for _ in 0..AT_A_TIME {
            if self.pending >= PENDING_MAX {
                return Step::Read;
            }
            if self.out.bytes().len() > OUT_MAX {
                return Step::More;
            }
            match self.codec.take(input) {
                Taken::Request(request) => self.ask(request, outlets),
                Taken::Malformed { id, why } => self.put(id, Reply::Error(ErrorReply::new(ErrorCode::BadRequest, why))),
                Taken::Blank => {}
                Taken::Unfinished => return Step::Read,
                Taken::TooLarge(why) => return Step::Close(ErrorCode::TooLarge, why),
            }
        }
        Step::More
    }

    /// After a reload the caller is what the rules of now make it.
    fn admit_anew(&mut self) {
        let version = self.front.desk.access_version();
        if version != self.access_version {
            self.access_version = version;
            let unit = self.asker.caller.unit.take();
            self.asker.caller = Caller { unit, ..self.front.serving().live().access.admit(&self.asker.peer) };
        }
    }

    fn ask(&mut self, request: Request, outlets: &Outlets) {
        let id = request.id;
        let place = match &request.op {
            Op::Select(select) if !select.wait().is_zero() => match Arc::clone(&self.waits).try_acquire_owned() {
                Ok(place) => Place::Taken(place),
                Err(_) => {
                    // With all places taken by waits, the reports that free a key would not be read.
                    let message = format!("{WAITS_MAX} selects of this connection wait already: report on it, or wait on another one");
                    return self.put(Some(id), Reply::Error(ErrorReply::new(ErrorCode::Overloaded, message)));
                }
            },
            Op::Statistics(_) | Op::Validate(_) => Place::Among(Arc::clone(&self.large)),
            _ => Place::None,
        };
        self.admit_anew();
        let asked = self.front.desk.metrics.asked(request.op.name());
        match answer(&self.front, &self.asker, request.op) {
            Answer::Now(reply) => {
                self.put(Some(id), reply);
                self.front.desk.metrics.answered(asked);
            }
            Answer::Durable(reply, durable) => {
                self.pending += 1;
                self.awaiting.push_back(Awaiting { id, reply, durable, asked });
            }
            Answer::Stream(subscription) => self.subscribe(id, subscription, outlets),
            Answer::Later(reply) => {
                self.pending += 1;
                let late = outlets.late.clone();
                while self.later.try_join_next().is_some() {}
                self.later.spawn(async move {
                    let place = match place {
                        Place::None => None,
                        Place::Taken(place) => Some(place),
                        // The semaphore is never closed.
                        Place::Among(places) => places.acquire_owned().await.ok(),
                    };
                    let handed = reply.await;
                    // The connection that would hear it ends with this task.
                    drop(late.send(Late { id, handed, asked, _place: place }).await);
                });
            }
        }
    }

    /// Passes on what a subscription hears, for as long as the connection lasts.
    fn subscribe(&mut self, id: u64, mut subscription: Box<Subscription>, outlets: &Outlets) {
        if self.subscriptions >= SUBSCRIPTIONS_MAX {
            let message = format!("a connection has {SUBSCRIPTIONS_MAX} subscriptions at most");
            return self.put(Some(id), Reply::Error(ErrorReply::new(ErrorCode::Overloaded, message)));
        }
        self.subscriptions += 1;
        let events = outlets.events.clone();
        self.later.spawn(async move {
            loop {
                let reply = subscription.next().await;
                let is_over = matches!(reply, Reply::Error(_));
                if events.send((id, reply)).await.is_err() || is_over {
                    return;
                }
            }
        });
    }

    /// Puts the answers and events that came meanwhile, as many as may be gathered.
    fn put_ready(&mut self, inlets: &mut Inlets) {
        while self.subscriptions > 0
            && self.out.bytes().len() <= OUT_MAX
            && let Ok((id, event)) = inlets.events.try_recv()
        {
            self.put(Some(id), event);
        }
        while self.pending > 0 && self.out.bytes().len() <= OUT_MAX {
            if let Ok(late) = inlets.late.try_recv() {
                self.put_late(late);
                continue;
            }
            match self.awaiting.front_mut().map(|first| first.durable.try_recv()) {
                Some(Ok(result)) => self.put_durable(Ok(result)),
                // One whose sender is gone is met by the next wait.
                Some(Err(_)) | None => return,
            }
        }
    }

    /// Answers the first of those who wait for the store.
    fn put_durable(&mut self, durable: Result<Result<(), String>, RecvError>) {
        if let Some(Awaiting { id, reply, asked, .. }) = self.awaiting.pop_front() {
            self.put_late(Late { id, handed: if_durable(reply, durable).into(), asked, _place: None });
        }
    }

    fn put_late(&mut self, late: Late) {
        self.pending = self.pending.saturating_sub(1);
        self.put(Some(late.id), late.handed.reply);
        self.front.desk.metrics.answered(late.asked);
        self.unwritten.extend(late.handed.held);
    }

    fn put(&mut self, id: Option<u64>, reply: Reply) {
        let response = Response { id, reply };
        let start = self.out.bytes().len();
        let put = self.codec.put(&response, &mut self.out);
        if !put || self.out.bytes().len() - start > MESSAGE_MAX + frame::HEADER {
            self.out.truncate(start);
            let reply = Reply::Error(ErrorReply::new(ErrorCode::TooLarge, format!("the answer is over {MESSAGE_MAX} bytes: ask for less at a time")));
            self.codec.put(&Response { id, reply }, &mut self.out);
        }
    }

    /// Says why, and closes.
    pub(super) async fn refuse(&mut self, code: ErrorCode, message: String) {
        self.put(None, Reply::Error(ErrorReply::new(code, message)));
        if self.flush().await.is_err() {
            tracing::trace!("a refused connection was gone already");
        }
    }

    async fn flush(&mut self) -> std::io::Result<()> {
        if self.out.bytes().is_empty() {
            return Ok(());
        }
        let time = if self.subscriptions > 0 { SUBSCRIBER_TIME } else { WRITE_TIME };
        let written = tokio::time::timeout(time, self.writer.write_all(self.out.bytes())).await;
        self.out.clear();
        if matches!(written, Ok(Ok(()))) {
            self.unwritten.drain(..).for_each(Held::handed_over);
        }
        written.map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))?
    }
}

fn outlets() -> (Outlets, Inlets) {
    let (late, late_in) = mpsc::channel(PENDING_MAX);
    let (events, events_in) = mpsc::channel(EVENTS_AHEAD);
    (Outlets { late, events }, Inlets { late: late_in, events: events_in })
}

/// Waits until the first of them is durable.
async fn first_durable(awaiting: &mut VecDeque<Awaiting>) -> Result<Result<(), String>, RecvError> {
    match awaiting.front_mut() {
        Some(first) => (&mut first.durable).await,
        None => std::future::pending().await,
    }
}

/// As `sleep`, which costs something even where a branch is not taken.
async fn pause(span: Duration) {
    tokio::time::sleep(span).await;
}

/// Reads what a caller sends that still does; of one that does not, waits until it does not read either.
async fn hear(reader: &mut ReadHalf, input: &mut Buffer, hearing: Hearing) -> std::io::Result<usize> {
    if hearing == Hearing::On {
        return read_more(reader, input).await;
    }
    while !reader.is_closed().await {
        tokio::time::sleep(LOOK_AFTER).await;
    }
    Err(std::io::ErrorKind::ConnectionAborted.into())
}

/// Reads what there is.
async fn read_more(reader: &mut ReadHalf, input: &mut Buffer) -> std::io::Result<usize> {
    let read = reader.read(input.room()).await?;
    input.filled(read);
    Ok(read)
}

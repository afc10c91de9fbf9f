//! The journal's thread: takes events in the order of decisions, makes them durable in batches, answers who waits.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::broker::Shelf;
use crate::daemon::logging as log;
use crate::daemon::news::Words;
use crate::daemon::observe::{self, Changed, States};
use crate::daemon::state::{Core, Order, Shared, Sleep, Waiters};
use crate::event::{self, Event, Granted};
use crate::protocol::live;
use crate::store::error::AppendError;
use crate::store::generation::Next;
use crate::store::{Change, Store, Tree};
use crate::time::Steady;
use crate::time::clock::Clock;
use crate::usage::units::Units;

/// How long an event that nobody waits for may stay in memory.
const LAZY: Duration = Duration::from_millis(50);

/// How long to wait before trying again to write what could not be written.
const RETRY: Duration = Duration::from_millis(500);

/// Journal that is written before the store behind it is brought up to date.
const CHECKPOINT_BYTES: u64 = 16 * 1024 * 1024;

/// The same while somebody waits for the journal.
const CHECKPOINT_BYTES_MOST: u64 = 4 * CHECKPOINT_BYTES;

/// Time between two attempts at least, so that one that fails is not tried all the time.
const CHECKPOINT_PAUSE: Duration = Duration::from_secs(5);

/// Events that go into one record of the journal.
const RECORD_EVENTS: usize = 4096;

/// Bytes of events that go into one record of the journal, which holds 4 MiB at most.
const RECORD_BYTES: usize = 1024 * 1024;

/// Time after which the store is brought up to date, where anything changed.
const CHECKPOINT_AFTER: Duration = Duration::from_secs(300);

/// The key under which the steady clock's place is kept.
pub(crate) const CLOCK_KEY: &[u8] = b"clock";

/// The key under which stands where the audit trail begins.
pub(crate) const FLOOR_KEY: &[u8] = b"audit";

/// Batches whose waiters are not told yet.
pub(crate) const TOLD_LATE_MAX: usize = 64;

/// Who waited for a batch, and what came of it.
pub(crate) struct Told {
    waiters: Waiters,
    result: Result<(), String>,
}

/// The thread's own state.
struct Writer {
    shared: Arc<Shared>,
    store: Store,
    tell: mpsc::Sender<Told>,
    /// Taken and not yet written.
    batch: Vec<Event>,
    /// The number of the last event in the batch.
    taken: u64,
    last_checkpoint: Steady,
    changed: bool,
    /// The states of keys and accounts, as far as the audit trail heard of them.
    states: States,
    /// The units that events name by number.
    units: Arc<Units>,
    /// Leases that ran out, which events of the batch name by number.
    ran_out: HashMap<u64, Granted>,
    /// The changes of states that events of the batch made.
    changes: Vec<live::Event>,
    /// The number of the last alert that was told.
    told_alert: u64,
    /// The end of the audit trail that the log was told of last.
    anchored: u64,
    /// Another data key that is on its way.
    rekeying: Option<(Next, oneshot::Sender<Result<(), String>>)>,
}

/// Writes until it is told to stop; then brings the store up to date and closes it.
///
/// # Errors
/// The last checkpoint or the close failed: what was acknowledged is in the journal, and the next start replays it.
pub(crate) fn run(shared: Arc<Shared>, store: Store, tell: mpsc::Sender<Told>) -> Result<(), String> {
    let last_checkpoint = shared.clock.unmoved();
    let mut writer = Writer {
        shared,
        store,
        tell,
        batch: Vec::new(),
        taken: 0,
        last_checkpoint,
        changed: true,
        states: States::default(),
        units: Arc::default(),
        ran_out: HashMap::new(),
        changes: Vec::new(),
        told_alert: 0,
        anchored: 0,
        rekeying: None,
    };
    // What the journal told and what a crash may have lost is brought into the store before anything new.
    writer.checkpoint(false);
    loop {
        let (waiters, orders, stop) = writer.take();
        let awaited = !waiters.is_empty();
        writer.write(waiters);
        if stop {
            return writer.close();
        }
        orders.into_iter().for_each(|order| writer.obey(order));
        writer.rekey_on();
        if writer.batch.is_empty() && writer.rekeying.is_none() && writer.checkpoint_due(awaited) {
            writer.checkpoint(false);
        }
    }
}

/// Tells those who wait, on the thread that serves: from the journal's thread each of them would cost a system call to
/// wake that one.
pub(crate) async fn tell(mut told: mpsc::Receiver<Told>) {
    while let Some(Told { waiters, result }) = told.recv().await {
        for waiter in waiters {
            // Whoever waited may be gone; the event is durable all the same.
            drop(waiter.send(result.clone()));
        }
    }
}

impl Writer {
    /// Waits for something to write and takes it.
    fn take(&mut self) -> (Waiters, Vec<Order>, bool) {
        let shared = Arc::clone(&self.shared);
        let mut core = shared.lock();
        while core.waiters.is_empty() && core.orders.is_empty() && self.rekeying.is_none() && !core.stop {
            let pending = !self.batch.is_empty() || core.broker.events_waiting() > 0;
            let (limit, sleep) = match (core.failing.is_some(), pending) {
                (true, _) => (RETRY, Sleep::UntilAwaited),
                (false, true) => (LAZY, Sleep::UntilAwaited),
                (false, false) => (CHECKPOINT_AFTER, Sleep::UntilEvent),
            };
            core.journal = sleep;
            let (guard, timeout) = shared.wake.wait_timeout(core, limit).unwrap_or_else(PoisonError::into_inner);
            core = guard;
            core.journal = Sleep::None;
            if timeout.timed_out() {
                break;
            }
        }
        self.take_events(&mut core);
        (std::mem::take(&mut core.waiters), std::mem::take(&mut core.orders), core.stop)
    }

    fn take_events(&mut self, core: &mut Core) {
        let events = core.broker.take_events();
        for Changed { event, entry } in self.states.changed(&events, self.shared.clock.now()) {
            if let Some(entry) = entry {
                core.note(&self.shared, &entry);
            }
            self.changes.push(event);
        }
        for event in &events {
            if let Event::Alert(notice) = event {
                core.note(&self.shared, &observe::entry_of(notice));
            }
        }
        // What can't be written is told of at once.
        if core.failing.is_some() {
            self.told_alert = tell_alerts(&self.shared, &self.batch, self.told_alert);
            self.told_alert = tell_alerts(&self.shared, &events, self.told_alert);
        }
        self.units = core.broker.units();
        let ran_out = events.iter().filter_map(|event| if let Event::Expired { number, .. } = event { core.broker.ran_out(*number) } else { None });
        self.ran_out.extend(ran_out.map(|lease| (lease.number, lease)));
        self.batch.extend(events);
        self.taken = core.broker.emitted();
        self.batch.extend(core.broker.take_events());
        core.backlog = self.batch.len();
    }

    /// Makes the batch durable and answers who waits for it; on failure the batch is kept and tried again.
    fn write(&mut self, waiters: Waiters) {
        let result = self.append();
        self.note(&result);
        if !waiters.is_empty() {
            // With nobody left to tell, the daemon is ending.
            drop(self.tell.blocking_send(Told { waiters, result }));
        }
    }

    fn append(&mut self) -> Result<(), String> {
        while !self.batch.is_empty() {
            let (count, bytes) = first_record(&self.batch).map_err(|why| why.to_string())?;
            let began = self.shared.desk.metrics.now();
            self.store.append(&bytes).map_err(in_short)?;
            self.shared.desk.metrics.appended(count, began);
            self.tell(count);
            self.batch.drain(..count.min(self.batch.len()));
            self.changed = true;
        }
        Ok(())
    }

    /// Tells the log and subscribers of the first events of the batch, which are durable.
    fn tell(&mut self, count: usize) {
        let events = self.batch.get(..count).unwrap_or_default();
        observe::happened(events);
        self.shared.desk.metrics.happened(events);
        self.told_alert = tell_alerts(&self.shared, events, self.told_alert);
        let news = &self.shared.desk.news;
        if news.is_heard() {
            let words = Words { units: &self.units, ran_out: &self.ran_out };
            events.iter().filter_map(|event| words.of(event)).for_each(|event| news.tell(event));
        }
        if count >= self.batch.len() {
            self.ran_out.clear();
            for change in self.changes.drain(..) {
                observe::changed(&change);
                news.tell(change);
            }
        }
    }

    fn note(&self, result: &Result<(), String>) {
        let mut core = self.shared.lock();
        core.backlog = self.batch.len();
        match result {
            Ok(()) => {
                self.shared.durable.store(self.taken, Ordering::Release);
                if core.failing.take().is_some() {
                    core.note_outside(&self.shared);
                    // Keys that are free may be leased again.
                    core.serve(&self.shared);
                }
            }
            Err(why) => {
                if core.failing.replace(why.clone()).is_none() {
                    tracing::error!(target: log::STORE, error = %why, "the store can't be written; reports are refused until it can");
                }
                core.note_outside(&self.shared);
            }
        }
    }

    /// A checkpoint holds up who waits: while somebody does, it is put off as long as the journal is not too long.
    fn checkpoint_due(&self, awaited: bool) -> bool {
        let waited = self.shared.clock.unmoved().since(self.last_checkpoint);
        let bytes = self.store.journal_bytes_since_checkpoint();
        let long = bytes >= if awaited { CHECKPOINT_BYTES_MOST } else { CHECKPOINT_BYTES };
        self.changed && (waited >= CHECKPOINT_AFTER || (long && waited >= CHECKPOINT_PAUSE))
    }

    /// Brings the store up to date with everything that happened so far.
    fn checkpoint(&mut self, rest: bool) {
        let shared = Arc::clone(&self.shared);
        let (changes, (end, floor), anchor) = {
            let mut core = shared.lock();
            if rest {
                core.broker.rest();
            }
            self.take_events(&mut core);
            (self.changes(&mut core), core.trail.reach(), core.trail.anchor())
        };
        let began = shared.desk.metrics.now();
        let result = self.append().and_then(|()| self.store_changes(&changes));
        shared.desk.metrics.checkpointed(began);
        self.last_checkpoint = shared.clock.unmoved();
        self.changed = result.is_err();
        if result.is_ok() {
            shared.lock().trail.saved(end, floor);
            if end != self.anchored {
                self.anchored = end;
                // In the log, where whoever changes the store does not reach: it shows when the end of the trail was cut off.
                tracing::info!(target: log::AUDIT, anchor = format!("{}:{}", anchor.seq, anchor.hash), "the audit trail goes to here");
            }
        } else {
            let mut core = shared.lock();
            core.broker.export_failed();
            let ids: Vec<_> = core.safe.entries().map(|(id, _)| id.clone()).collect();
            core.secrets_changed.extend(ids);
        }
        self.note(&result);
    }

    fn store_changes(&mut self, changes: &[Change]) -> Result<(), String> {
        match self.store.checkpoint(changes) {
            Err(why @ AppendError::Behind { .. }) => {
                tracing::warn!(target: log::STORE, error = %why, "the database behind the journal is not up to date; the journal keeps what it lacks");
                Ok(())
            }
            other => other.map_err(in_short),
        }
    }

    fn changes(&self, core: &mut Core) -> Vec<Change> {
        let mut changes: Vec<Change> = core.broker.export().into_iter().map(to_store).collect();
        if let Ok(mark) = bincode::serde::encode_to_vec(self.shared.clock.mark(), bincode::config::standard()) {
            changes.push(Change { tree: Tree::Meta, key: CLOCK_KEY.to_vec(), value: Some(mark.into()) });
        }
        changes.extend(core.trail.unsaved().into_iter().map(|(key, value)| Change { tree: Tree::Audit, key, value: value.map(Into::into) }));
        changes.extend(core.trail.floor().map(|value| Change { tree: Tree::Meta, key: FLOOR_KEY.to_vec(), value: Some(value.into()) }));
        let mut ids = std::mem::take(&mut core.secrets_changed);
        ids.sort();
        ids.dedup();
        for id in ids {
            match core.safe.record(&self.shared.vault(), &id) {
                Ok(value) => changes.push(Change { tree: Tree::Secrets, key: id.to_string().into_bytes(), value }),
                Err(why) => {
                    tracing::error!(target: log::STORE, provider = %id.provider, key = %id.key, error = %why, "a secret can't be kept; it is tried again");
                    core.secrets_changed.push(id);
                }
            }
        }
        changes
    }

    /// Does what it was asked for beside writing. Whoever asked may be gone.
    fn obey(&mut self, order: Order) {
        match order {
            Order::Records(answer) => {
                let records = self.checkpointed().and_then(|()| self.store.records().map_err(|why| why.to_string()));
                drop(answer.send(records));
            }
            Order::Rekey(answer) if self.rekeying.is_some() => drop(answer.send(Err("another data key is on its way already".to_owned()))),
            Order::Rekey(answer) => match self.store.rekey() {
                Ok(next) => self.rekeying = Some((next, answer)),
                Err(why) => drop(answer.send(Err(why.to_string()))),
            },
        }
    }

    /// A step towards another data key: between two of them everything else has its turn.
    fn rekey_on(&mut self) {
        let Some((mut next, answer)) = self.rekeying.take() else { return };
        match self.store.rekey_step(&mut next) {
            Ok(false) => self.rekeying = Some((next, answer)),
            Ok(true) => {
                let done = self.checkpointed().and_then(|()| self.store.rekeyed(next).map_err(|why| why.to_string()));
                drop(answer.send(done.map(|vault| self.shared.set_vault(vault))));
            }
            Err(why) => {
                self.store.give_up(next);
                drop(answer.send(Err(why.to_string())));
            }
        }
    }

    /// Brings the store up to date, whatever is due.
    fn checkpointed(&mut self) -> Result<(), String> {
        self.checkpoint(false);
        self.shared.lock().failing.clone().map_or(Ok(()), Err)
    }

    fn close(mut self) -> Result<(), String> {
        self.checkpoint(true);
        let failed = self.shared.lock().failing.clone();
        if let Some(why) = failed {
            return Err(why);
        }
        self.store.close().map_err(|why| why.to_string())
    }
}

/// Tells log, subscribers and webhooks of alerts that are newer than `told`; returns the newest.
fn tell_alerts(shared: &Shared, events: &[Event], told: u64) -> u64 {
    let mut newest = told;
    for notice in events.iter().filter_map(|event| if let Event::Alert(notice) = event { Some(notice) } else { None }) {
        if notice.id > newest {
            newest = notice.id;
            let alert = notice.told();
            observe::alert(&alert);
            shared.desk.news.tell(live::Event::Alert(alert));
            shared.posts.notify_one();
        }
    }
    newest
}

/// As many of the first events as one record of the journal holds, encoded: nearly always all of them.
fn first_record(events: &[Event]) -> Result<(usize, Vec<u8>), bincode::error::EncodeError> {
    let mut count = events.len().min(RECORD_EVENTS);
    loop {
        let bytes = event::encode(events.get(..count).unwrap_or_default())?;
        if bytes.len() <= RECORD_BYTES || count <= 1 {
            return Ok((count, bytes));
        }
        count /= 2;
    }
}

/// The error for the log in full; what is left may cross the socket, so it names no path.
fn in_short(why: AppendError) -> String {
    tracing::debug!(error = %why, "the store");
    match why {
        AppendError::Disk { cause, .. } => cause.to_string(),
        other => other.to_string(),
    }
}

const fn tree_of(shelf: Shelf) -> Tree {
    match shelf {
        Shelf::Counters => Tree::Counters,
        Shelf::States => Tree::States,
        Shelf::Leases => Tree::Leases,
        Shelf::Usage => Tree::Usage,
    }
}

/// The shelf of a tree of the broker's; none: it belongs to another part.
pub(crate) const fn shelf_of(tree: Tree) -> Option<Shelf> {
    match tree {
        Tree::Counters => Some(Shelf::Counters),
        Tree::States => Some(Shelf::States),
        Tree::Leases => Some(Shelf::Leases),
        Tree::Usage => Some(Shelf::Usage),
        _ => None,
    }
}

fn to_store(change: crate::broker::Change) -> Change {
    Change { tree: tree_of(change.shelf), key: change.key, value: change.value.map(Into::into) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_backlog_is_split_into_records() {
        let event = Event::SecretKept { key: "openai/a".parse().unwrap(), sealed: vec![7; 100_000] };
        let events = vec![event; 64];
        let (count, bytes) = first_record(&events).unwrap();
        assert!((1..64).contains(&count) && bytes.len() <= RECORD_BYTES, "{count} events, {} bytes", bytes.len());
        assert_eq!(first_record(&events[..2]).unwrap().0, 2);
    }
}

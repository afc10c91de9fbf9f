//! The bare disk: writers that share one `fdatasync`, into a file whose blocks are there already. No daemon that keeps
//! the same bytes as surely can be faster than this.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Instant;

use gollm::Outcome;
use gollm::event::{self, Event, Granted, Settled, Usage};
use gollm::id::{KeyId, Uid};
use gollm::money::Usd;
use gollm::protocol::strategy::Strategy;
use gollm::time::{Now, Steady, Timestamp};

use crate::Failure;
use crate::load::{LONGEST, Run, Sample};
use crate::server::{SERVER_CPU, pin};

/// Length of the file; the writer begins anew at its end.
const LENGTH: u64 = 16 << 20;

/// The bytes that gollmd's journal keeps of one report.
pub(crate) fn record() -> Result<Vec<u8>, Failure> {
    let at = Now { wall: Timestamp::from_unix_millis(1_767_225_600_000), steady: Steady::from_millis(1_767_225_600_000) };
    let key = KeyId { provider: crate::ask::PROVIDER.parse()?, key: "second".parse()? };
    let model = Some("gpt-4".parse()?);
    let lease = Granted {
        number: 100_000,
        key,
        caller: Uid(1000).into(),
        model: model.clone(),
        estimate: Usd::ZERO,
        at,
        expires: at.steady,
        trial: false,
        in_turn: true,
        strategy: Strategy::RoundRobin,
        fallback_from: None,
    };
    let usage = Usage { input_tokens: 1000, output_tokens: 500, cached_tokens: 0, cost: Usd::from_nanos(60_000_000), unpriced: false };
    Ok(event::encode(&[Event::Settled(Settled { lease, outcome: Outcome::Ok, model, usage, at })])?)
}

/// What writers and the one that syncs share.
#[derive(Default)]
struct Queue {
    bytes: Vec<u8>,
    /// The batch that is being filled; all before `durable` are on the disk.
    batch: u64,
    durable: u64,
    writers: usize,
    failed: bool,
}

#[derive(Default)]
struct Group {
    queue: Mutex<Queue>,
    filled: Condvar,
    synced: Condvar,
}

/// A file of zeros, whose blocks are on the disk.
pub(crate) fn prepare(path: &Path) -> Result<File, Failure> {
    let mut file = File::options().read(true).write(true).create_new(true).open(path)?;
    std::io::copy(&mut std::io::Read::take(std::io::repeat(0), LENGTH), &mut file)?;
    file.sync_all()?;
    Ok(file)
}

/// `writers` threads on processor `cpu`, each of which appends the record `turns` times and waits until it is on the disk.
pub(crate) fn run(file: &File, record: &[u8], writers: usize, turns: usize, cpu: usize) -> Result<Sample, Failure> {
    let group = Group { queue: Mutex::new(Queue { writers, ..Queue::default() }), ..Group::default() };
    let runs: Result<Vec<Run>, Failure> = std::thread::scope(|scope| {
        // A thread stays where the one was that started it.
        pin(SERVER_CPU)?;
        scope.spawn(|| group.sync(file));
        pin(cpu)?;
        let threads: Vec<_> = (0..writers).map(|_| scope.spawn(|| group.write(record, turns))).collect();
        threads.into_iter().map(|thread| thread.join().map_err(|_| Failure::from("a writer failed"))?).collect()
    });
    Ok(Sample::of(runs?))
}

impl Group {
    fn write(&self, record: &[u8], turns: usize) -> Result<Run, Failure> {
        let mut spans = Vec::with_capacity(turns);
        let begun = Instant::now();
        for _ in 0..turns {
            let from = Instant::now();
            let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            queue.bytes.extend_from_slice(record);
            let mine = queue.batch;
            self.filled.notify_one();
            while queue.durable <= mine && !queue.failed {
                queue = self.synced.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
            spans.push(u64::try_from(from.elapsed().as_nanos()).unwrap_or(u64::MAX));
            if begun.elapsed() > LONGEST {
                break;
            }
        }
        let ended = Instant::now();
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.writers -= 1;
        self.filled.notify_one();
        if queue.failed { Err("the bare disk can't be written".into()) } else { Ok(Run { begun, ended, turns: spans }) }
    }

    fn sync(&self, file: &File) {
        let mut at = 0;
        let mut batch = Vec::new();
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        while queue.writers > 0 {
            if queue.bytes.is_empty() {
                queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            std::mem::swap(&mut batch, &mut queue.bytes);
            queue.batch += 1;
            drop(queue);
            let length = batch.len() as u64;
            at = if at + length > LENGTH { 0 } else { at };
            let written = file.write_all_at(&batch, at).and_then(|()| file.sync_data());
            at += length;
            batch.clear();
            queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            queue.durable = queue.batch;
            queue.failed |= written.is_err();
            self.synced.notify_all();
        }
    }
}

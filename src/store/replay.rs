//! The journal that is read: every record since the oldest segment, or the reason why some are lost. Changes nothing on the disk.

use std::ops::Range;
use std::path::Path;

use zeroize::Zeroizing;

use crate::vault::Vault;

use super::batch::{self, Row};
use super::error::OpenError;
use super::frame::{Frames, Kind, Link, Reading};
use super::ledger::Ledger;
use super::segment::{self, BODY, Label, Unreadable};

/// Where the journal ends, and goes on.
pub(super) struct End {
    pub(super) label: Label,
    pub(super) last: Link,
    pub(super) at: u64,
    /// What a crash has left behind the last record.
    pub(super) torn: Option<Range<u64>>,
    /// The segments that are there: number, and the last record before it.
    pub(super) segments: Vec<(u64, u64)>,
}

/// A checkpoint that is complete.
pub(super) struct Checkpoint {
    pub(super) seq: u64,
    pub(super) rows: Vec<Row>,
    /// What the backend holds after it.
    pub(super) after: Ledger,
}

/// A record of events: its number, and its content.
pub(super) type Events = (u64, Zeroizing<Vec<u8>>);

/// All that a journal tells.
pub(super) struct Replay {
    /// The record before the oldest that is there.
    pub(super) before: Link,
    /// In order.
    pub(super) checkpoints: Vec<Checkpoint>,
    /// In order.
    pub(super) events: Vec<Events>,
    pub(super) end: End,
}

/// Reads the journal in `dir`, which must reach `anchor`, the last record that the manifest knows.
pub(super) fn replay(dir: &Path, vault: &Vault, anchor: Link) -> Result<Replay, OpenError> {
    let lost = |what| OpenError::Damaged { path: dir.to_owned(), what };
    let numbers = segment::list(dir).map_err(|_| lost("the journal is missing"))?;
    let mut reader: Option<Reader> = None;
    let mut records = Vec::new();
    let mut segments = Vec::new();
    for (index, number) in numbers.iter().enumerate() {
        let (label, bytes) = segment::read(dir, *number, vault).map_err(|why| unreadable(dir, *number, why))?;
        let first = reader.is_none();
        let current = reader.get_or_insert_with(|| Reader { before: label.before, last: label.before, met: label.before == anchor, end: None });
        if !first && (current.last != label.before || segments.last().is_some_and(|(last, _)| last + 1 != *number)) {
            return Err(lost("a segment is missing, or an older one was put in its place"));
        }
        segments.push((*number, label.before.seq));
        current.segment(dir, vault, label, &bytes, anchor, &mut records)?;
        if index + 1 < numbers.len() && current.end.as_ref().is_some_and(|(_, _, torn)| torn.is_some()) {
            return Err(lost("a record is cut, though others follow it"));
        }
    }
    let reader = reader.ok_or_else(|| lost("the journal is missing"))?;
    let (label, at, torn) = reader.end.ok_or_else(|| lost("the journal is missing"))?;
    if reader.last.seq < anchor.seq {
        return Err(lost("the journal ends before its last record: it was cut, or an older copy was put in its place"));
    }
    if !reader.met {
        return Err(lost("the journal does not fit the manifest: one of them is an older copy"));
    }
    let (checkpoints, events) = sort(records).ok_or_else(|| lost("a checkpoint can't be read"))?;
    Ok(Replay { before: reader.before, checkpoints, events, end: End { label, last: reader.last, at, torn, segments } })
}

/// What a damaged journal still tells, in order.
pub(super) struct Salvage {
    pub(super) checkpoints: Vec<Checkpoint>,
    pub(super) events: Vec<Events>,
    /// The number of the last record that can be read.
    pub(super) last: u64,
    /// Why it ends before its end; none: it does not.
    pub(super) lost: Option<String>,
}

/// Reads the journal in `dir` up to the first place where it does not go on.
pub(super) fn salvage(dir: &Path, vault: &Vault) -> Salvage {
    let mut records = Vec::new();
    let lost = read_on(dir, vault, &mut records).err().map(|why| why.to_string());
    let last = records.last().map_or(0, |(.., seq)| *seq);
    let Some((checkpoints, events)) = sort(records) else {
        return Salvage { checkpoints: Vec::new(), events: Vec::new(), last: 0, lost: Some("a checkpoint in it can't be read".to_owned()) };
    };
    Salvage { checkpoints, events, last, lost }
}

fn read_on(dir: &Path, vault: &Vault, records: &mut Vec<Record>) -> Result<(), OpenError> {
    let lost = |what| OpenError::Damaged { path: dir.to_owned(), what };
    let numbers = segment::list(dir).map_err(|_| lost("it is missing"))?;
    let mut reader: Option<Reader> = None;
    for number in numbers {
        let (label, bytes) = segment::read(dir, number, vault).map_err(|why| unreadable(dir, number, why))?;
        let current = reader.get_or_insert(Reader { before: label.before, last: label.before, met: true, end: None });
        if current.last != label.before {
            return Err(lost("a segment is missing, or cut"));
        }
        current.segment(dir, vault, label, &bytes, current.last, records)?;
    }
    reader.map(drop).ok_or_else(|| lost("it is missing"))
}

type Record = (Kind, Zeroizing<Vec<u8>>, u64);

struct Reader {
    before: Link,
    last: Link,
    /// Whether the record that the manifest knows was met.
    met: bool,
    end: Option<(Label, u64, Option<Range<u64>>)>,
}

impl Reader {
    fn segment(&mut self, dir: &Path, vault: &Vault, label: Label, bytes: &[u8], anchor: Link, records: &mut Vec<Record>) -> Result<(), OpenError> {
        let path = segment::path(dir, label.number);
        let key = vault.segment_key(&label.salt)?;
        let frames = Frames { vault, key: &key, salt: &label.salt };
        let mut at = BODY;
        let torn = loop {
            match frames.read(bytes, at, self.last) {
                Reading::Record { kind, body, link, next } => {
                    self.met |= link == anchor;
                    (self.last, at) = (link, next);
                    records.push((kind, body, link.seq));
                }
                Reading::End => break None,
                Reading::Torn => break Some(offset(at)..label.size),
                Reading::Damaged(what) => return Err(OpenError::Damaged { path, what }),
            }
        };
        self.end = Some((label, offset(at), torn));
        Ok(())
    }
}

fn offset(at: usize) -> u64 {
    u64::try_from(at).unwrap_or(u64::MAX)
}

fn unreadable(dir: &Path, number: u64, why: Unreadable) -> OpenError {
    let path = segment::path(dir, number);
    match why {
        Unreadable::Io(cause) => OpenError::Io { path, cause },
        Unreadable::Damaged(what) => OpenError::Damaged { path, what },
    }
}

/// The complete checkpoints, and all events.
fn sort(records: Vec<Record>) -> Option<(Vec<Checkpoint>, Vec<Events>)> {
    let (mut checkpoints, mut events, mut parts) = (Vec::new(), Vec::new(), Vec::new());
    for (kind, body, seq) in records {
        match kind {
            Kind::Events => {
                // Parts before it belong to a checkpoint that was given up.
                parts.clear();
                events.push((seq, body));
            }
            Kind::Changes => parts.push(body),
            Kind::Checkpoint => {
                let (count, after) = Ledger::decode_end(&body)?;
                // Parts are missing only where their segment was removed after the checkpoint had been applied.
                if let Some(start) = parts.len().checked_sub(count) {
                    let rows = parts.iter().skip(start).map(|part| batch::decode(part)).collect::<Option<Vec<_>>>()?;
                    checkpoints.push(Checkpoint { seq, rows: rows.into_iter().flatten().collect(), after });
                }
                parts.clear();
            }
        }
    }
    Some((checkpoints, events))
}

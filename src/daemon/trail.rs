//! The audit trail's side of the daemon: what goes into it, and what is asked of it.

use std::str::FromStr;
use std::sync::Arc;

use crate::audit::{Anchor, Broken, Entry, Link};
use crate::config::AuditedSelects;
use crate::daemon::answer::{Answer, Asker, when_durable};
use crate::daemon::bounds;
use crate::daemon::logging as log;
use crate::daemon::state::Shared;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::reply::{Audit, AuditEntry, AuditVerified, Reply};
use crate::protocol::request::{self, AUDIT_MAX};
use crate::time::clock::Clock;

/// Entries in an answer that asks for no number of them.
const USUAL: u64 = 200;

/// Of so many leases one is told of, where they are sampled.
const SAMPLE: u32 = 100;

/// The entry of an act of a caller.
pub(crate) fn entry(shared: &Shared, asker: &Asker, act: &str, target: Option<String>, result: &Result<(), ErrorReply>) -> Entry {
    Entry {
        at: shared.clock.now().wall,
        uid: Some(asker.caller.uid),
        pid: asker.peer.pid,
        unit: asker.unit(),
        act: act.to_owned(),
        target,
        result: result_of(result),
        detail: None,
    }
}

/// The word for what came of an act.
pub(crate) fn result_of(result: &Result<(), ErrorReply>) -> String {
    result.as_ref().map_or_else(|refused| refused.code.name(), |()| "done").to_owned()
}

/// Puts an act of a caller into the trail and the log.
pub(crate) fn note(shared: &Shared, asker: &Asker, act: &str, target: Option<String>, result: &Result<(), ErrorReply>) {
    let entry = entry(shared, asker, act, target, result);
    keep(shared, &entry);
    tell(shared, &entry);
}

/// Puts a refusal into the trail, and the log, as often as its bounds let anybody bring that about.
pub(crate) fn note_denial(shared: &Shared, asker: &Asker, act: &str) {
    let now = shared.clock.now().steady;
    let denied = entry(shared, asker, act, None, &Err(ErrorReply::new(ErrorCode::Denied, String::new())));
    if shared.desk.denials.may_be_told(now) {
        tell(shared, &denied);
    }
    if let Some(left_out) = shared.desk.noted_denials.take(asker.caller.uid, now) {
        keep(shared, &Entry { detail: bounds::left_out(left_out), ..denied });
    }
}

/// What is noted of an act whose answer waits for it.
#[derive(Default)]
pub(crate) struct Noted {
    pub(crate) act: &'static str,
    pub(crate) target: Option<String>,
    pub(crate) detail: Option<String>,
    /// Though the configuration says that nothing is noted.
    pub(crate) always: bool,
}

/// Puts an act into the trail; `reply` is given once the store holds that. `asker` is none where a signal asked.
pub(crate) async fn noted_first(shared: &Shared, asker: Option<&Asker>, noted: Noted, reply: Reply) -> Reply {
    let result = if let Reply::Error(refused) = &reply { Err(refused.clone()) } else { Ok(()) };
    let Noted { act, target, detail, always } = noted;
    let entry = match asker {
        Some(asker) => Entry { detail, ..entry(shared, asker, act, target, &result) },
        None => Entry { detail, target, result: result_of(&result), ..of_daemon(shared, act) },
    };
    let durable = {
        let mut core = shared.lock();
        if always {
            core.note_always(shared, &entry)
        } else {
            core.note(shared, &entry)
        }
        core.until_durable(shared)
    };
    if asker.is_some() {
        tell(shared, &entry);
    }
    if result.is_err() || shared.locked.is_some() { reply } else { when_durable(reply, durable).await }
}

fn of_daemon(shared: &Shared, act: &str) -> Entry {
    let (at, act, result) = (shared.clock.now().wall, act.to_owned(), "done".to_owned());
    Entry { at, uid: None, pid: None, unit: None, act, target: None, result, detail: None }
}

/// Puts an act of the daemon's own into the trail.
pub(crate) fn note_of_daemon(shared: &Shared, act: &str, detail: Option<String>) {
    keep(shared, &Entry { detail, ..of_daemon(shared, act) });
}

fn keep(shared: &Shared, entry: &Entry) {
    let mut core = shared.lock();
    core.note(shared, entry);
    core.wake_journal(shared);
}

/// Tells the log of it.
pub(crate) fn tell(shared: &Shared, entry: &Entry) {
    if !shared.live().settings.audit_logging {
        return;
    }
    let Entry { uid, pid, act, target, result, .. } = entry;
    let (uid, subject) = (uid.map(|uid| uid.0), target.as_ref().map(tracing::field::display));
    if result == "denied" {
        tracing::warn!(target: log::AUDIT, uid, pid, act, subject, result, "denied");
    } else {
        tracing::info!(target: log::AUDIT, uid, pid, act, subject, result, "admin");
    }
}

/// An answer to `select`, of which the trail is told where the configuration asks for it.
pub(crate) fn noted(shared: &Arc<Shared>, asker: &Asker, answer: Answer) -> Answer {
    let told = match shared.live().settings.audit.selects {
        AuditedSelects::None => false,
        AuditedSelects::Sampled => fastrand::u32(0..SAMPLE) == 0,
        AuditedSelects::All => true,
    };
    if !told {
        return answer;
    }
    let (shared, asker) = (Arc::clone(shared), asker.clone());
    let note_lease = move |reply: &Reply| {
        if let Reply::Lease(lease) = reply {
            keep(&shared, &entry(&shared, &asker, "select", Some(format!("{}/{}", lease.provider, lease.key_name)), &Ok(())));
        }
    };
    match answer {
        Answer::Now(reply) => {
            note_lease(&reply);
            Answer::Now(reply)
        }
        Answer::Durable(reply, durable) => {
            note_lease(&reply);
            Answer::Durable(reply, durable)
        }
        Answer::Later(later) => Answer::Later(Box::pin(async move {
            let handed = later.await;
            note_lease(&handed.reply);
            handed
        })),
        other @ Answer::Stream(_) => other,
    }
}

/// Answers `audit`.
pub(crate) fn answer(shared: &Shared, request: &request::Audit) -> Result<Reply, ErrorReply> {
    // Of a copy: walking the chain takes longer than the lock may be held.
    let trail = shared.lock().trail.clone();
    let limit = request.limit.unwrap_or(USUAL);
    if !(1..=AUDIT_MAX).contains(&limit) {
        return Err(ErrorReply::new(ErrorCode::BadRequest, format!("`limit` is from 1 to {AUDIT_MAX}")));
    }
    let anchor = request.anchor.as_deref().map(str::parse::<Given>).transpose()?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let fits = |entry: &Entry| request.uid.is_none_or(|uid| entry.uid == Some(uid));
    let read = |link: &Link| link.entry().filter(fits).map(|entry| row(link.seq, entry));
    let is_in_time = |link: &&Link| request.since.is_none_or(|since| link.at >= since);
    let entries = match request.after {
        Some(after) => trail.links().filter(|link| link.seq > after).filter(is_in_time).filter_map(read).take(limit).collect(),
        None => {
            let mut newest: Vec<AuditEntry> = trail.links().rev().filter(is_in_time).filter_map(read).take(limit).collect();
            newest.reverse();
            newest
        }
    };
    let verified = (request.verify == Some(true)).then(|| {
        let broken_at = trail.verify(&shared.vault()).err().map(|Broken { seq }| seq);
        let anchored = anchor.and_then(|Given(anchor)| trail.holds(&anchor));
        let Anchor { seq, hash } = trail.anchor();
        let ok = broken_at.is_none() && anchored != Some(false);
        AuditVerified { ok, broken_at, first: trail.first(), last: seq, anchor: format!("{seq}:{hash}"), anchored }
    });
    Ok(Reply::Audit(Audit { entries, verified }))
}

/// An entry as it is told.
pub(crate) fn row(seq: u64, entry: Entry) -> AuditEntry {
    let Entry { at, uid, pid, unit, act, target, result, detail } = entry;
    AuditEntry { seq, time: at, uid, pid, unit, act, target, result, detail }
}

/// An anchor as it was written down.
struct Given(Anchor);

impl FromStr for Given {
    type Err = ErrorReply;

    fn from_str(text: &str) -> Result<Self, ErrorReply> {
        let parts = text.split_once(':').and_then(|(seq, hash)| Some((seq.parse().ok()?, hash)));
        let (seq, hash) = parts.filter(|(_, hash)| hash.len() == 32 && hash.bytes().all(|byte| byte.is_ascii_hexdigit())).ok_or_else(|| {
            ErrorReply::new(ErrorCode::BadRequest, "an anchor is written as SEQ:HASH, as the log and `gollmctl audit --verify` give it")
        })?;
        Ok(Self(Anchor { seq, hash: hash.to_ascii_lowercase() }))
    }
}

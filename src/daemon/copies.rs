//! Backups of a store that goes on, their restoration, and another data key: admins' acts on all of its records.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::audit::{Bounds, Entry, Link, Trail};
use crate::config::Settings;
use crate::daemon::answer::Asker;
use crate::daemon::front::Front;
use crate::daemon::journal::FLOOR_KEY;
use crate::daemon::locking::{bad, internal, locked, vault_refusal};
use crate::daemon::logging as log;
use crate::daemon::rebuild;
use crate::daemon::start::{self, StartError};
use crate::daemon::state::{Order, Shared};
use crate::daemon::trail::{self, Noted};
use crate::event::{self, Ahead, Event};
use crate::protocol::bytes::Bytes;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::reply::{BackupMade, BackupPiece, Reply, Restored};
use crate::protocol::request::{Backup, BackupPart, PART_MAX, Restore, RestorePart};
use crate::store::{self, Record, Tree, image};
use crate::time::clock::Clock;
use crate::vault::Vault;
use crate::vault::envelope::{self, EnvelopeError, Label};

/// Longest backup, in bytes: it is in memory while it is made, or restored.
const LONGEST: usize = 256 * 1024 * 1024;

/// Backups on their way through the socket: one out, one in.
#[derive(Default)]
pub(crate) struct Copies(Mutex<Held>);

#[derive(Default)]
struct Held {
    made: Option<(u64, Arc<Vec<u8>>)>,
    handed_in: Vec<u8>,
}

impl Copies {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Seals everything under a new data key.
pub(crate) async fn rekey(front: Arc<Front>, asker: Asker) -> Reply {
    let _one_at_a_time = front.changing.lock().await;
    let shared = front.serving();
    if let Some(why) = &shared.locked {
        return Reply::Error(locked(why));
    }
    let done = shared.ordered(Order::Rekey).await.map_err(|why| failed("rekey", &why));
    let noted = Noted { act: "rekey", ..Noted::default() };
    trail::noted_first(&shared, Some(&asker), noted, done.map_or_else(Reply::Error, |()| Reply::Done)).await
}

/// What failed has changed nothing.
fn failed(act: &str, why: &str) -> ErrorReply {
    tracing::error!(act, error = why, "what an admin asked for failed");
    ErrorReply::new(ErrorCode::Internal, format!("`{act}` failed, nothing was changed; the daemon's log says why"))
}

/// Makes a backup.
pub(crate) async fn backup(front: Arc<Front>, asker: Asker, request: Backup) -> Reply {
    let _one_at_a_time = front.changing.lock().await;
    let shared = front.serving();
    if let Some(why) = &shared.locked {
        return Reply::Error(locked(why));
    }
    let made = made(&shared, request).await;
    let noted = Noted { act: "backup", ..Noted::default() };
    trail::noted_first(&shared, Some(&asker), noted, made.map_or_else(Reply::Error, Reply::Backup)).await
}

async fn made(shared: &Shared, request: Backup) -> Result<BackupMade, ErrorReply> {
    let records = shared.ordered(Order::Records).await.map_err(|why| failed("backup", &why))?;
    let (vault, dir, now) = (shared.vault(), shared.desk.state_dir.clone(), shared.clock.now().wall);
    let passphrase = request.passphrase.map(crate::secret::Password::into_text);
    let work = move || envelope::seal(&vault, &dir, passphrase.as_ref().map(|text| text.as_str()), now, &image::parts(&records));
    let sealed = tokio::task::spawn_blocking(work).await.map_err(|why| internal("backup", &why))?;
    let sealed = sealed.map_err(|why| vault_refusal("backup", &why))?;
    if sealed.len() > LONGEST {
        return Err(ErrorReply::new(ErrorCode::TooLarge, format!("the backup has {} bytes, at most {LONGEST} are made", sealed.len())));
    }
    let bytes = u64::try_from(sealed.len()).unwrap_or(u64::MAX);
    let backup = fastrand::u64(1..1 << 53);
    shared.desk.copies.held().made = Some((backup, Arc::new(sealed)));
    Ok(BackupMade { backup, bytes })
}

/// A piece of the backup that was made last.
pub(crate) fn part(shared: &Shared, request: BackupPart) -> Result<Reply, ErrorReply> {
    let mut held = shared.desk.copies.held();
    let made = held.made.as_ref().filter(|(name, _)| *name == request.backup).map(|(_, bytes)| Arc::clone(bytes));
    let gone = || ErrorReply::new(ErrorCode::BadRequest, "there is no such backup (any more): make another one");
    let bytes = made.ok_or_else(gone)?;
    let rest = usize::try_from(request.offset).ok().and_then(|offset| bytes.get(offset..)).filter(|rest| !rest.is_empty());
    let rest = rest.ok_or_else(|| ErrorReply::new(ErrorCode::BadRequest, "the backup ends before that"))?;
    let last = rest.len() <= PART_MAX;
    if last {
        held.made = None;
    }
    let data = rest.get(..PART_MAX).unwrap_or(rest).to_vec();
    Ok(Reply::BackupPart(BackupPiece { data: Bytes(data), last }))
}

/// Takes a piece of a backup.
pub(crate) fn take_part(shared: &Shared, request: RestorePart) -> Result<Reply, ErrorReply> {
    let mut held = shared.desk.copies.held();
    if request.offset == 0 {
        held.handed_in = Vec::new();
    }
    let at = u64::try_from(held.handed_in.len()).unwrap_or(u64::MAX);
    if at != request.offset {
        return Err(ErrorReply::new(ErrorCode::BadRequest, format!("{at} bytes are here: the next piece begins there, or at 0")));
    }
    if request.data.0.is_empty() || request.data.0.len() > PART_MAX || held.handed_in.len() + request.data.0.len() > LONGEST {
        let message = format!("a piece has up to {PART_MAX} bytes, and all of them up to {LONGEST}");
        return Err(ErrorReply::new(ErrorCode::TooLarge, message));
    }
    held.handed_in.extend_from_slice(&request.data.0);
    Ok(Reply::Done)
}

/// What a backup holds.
struct Found {
    label: Label,
    records: Vec<Record>,
}

impl Found {
    fn told(&self, replaced: bool) -> Reply {
        let counted = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        Reply::Restored(Restored {
            store: self.label.store().to_owned(),
            created: self.label.created,
            version: self.label.made_by.clone(),
            records: counted(self.records.len()),
            secrets: counted(self.records.iter().filter(|record| record.tree == Tree::Secrets).count()),
            replaced,
        })
    }
}

/// Puts the backup that was handed in in the place of all that the store holds; its keys and slots stay.
pub(crate) async fn restore(front: Arc<Front>, asker: Asker, request: Restore) -> Reply {
    let _one_at_a_time = front.changing.lock().await;
    let shared = front.serving();
    if let Some(why) = &shared.locked {
        return Reply::Error(locked(why));
    }
    let check = request.check == Some(true);
    let bytes = std::mem::take(&mut shared.desk.copies.held().handed_in);
    if bytes.is_empty() {
        return bad("no backup was handed in: `restore_part` hands it in, piece by piece");
    }
    let password = request.password.into_text();
    let (desk, vault) = (Arc::clone(&front.desk), shared.vault());
    let opened = tokio::task::spawn_blocking(move || {
        let (label, parts) = envelope::open(&bytes, &password)?;
        drop(bytes);
        let records = image::records(&parts).ok_or(RestoreError::Records)?;
        drop(parts);
        let settings = rebuild::reads(&desk, &vault, &records)?;
        Ok((Found { label, records }, settings))
    });
    let (found, settings) = match opened.await {
        Ok(Ok(found)) => found,
        Ok(Err(why)) => return refuse(&shared, &asker, &why),
        Err(why) => return Reply::Error(internal("restore", &why)),
    };
    let reply = found.told(!check);
    if check {
        return reply;
    }
    match replaced(&front, &shared, &asker, found, settings).await {
        Ok(()) => reply,
        Err(why) => Reply::Error(why),
    }
}

/// Why a backup is not restored.
#[derive(Debug, thiserror::Error)]
enum RestoreError {
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    #[error("what is in the backup are no records of a store, or a newer version of gollm wrote them")]
    Records,
    #[error("gollmd could not start with it: {0}")]
    Start(#[from] StartError),
}

fn refuse(shared: &Shared, asker: &Asker, why: &RestoreError) -> Reply {
    let code = if matches!(why, RestoreError::Envelope(EnvelopeError::WrongPassword)) { ErrorCode::Denied } else { ErrorCode::BadRequest };
    let refused = ErrorReply::new(code, format!("nothing was restored: {why}"));
    trail::note(shared, asker, "restore", None, &Err(refused.clone()));
    Reply::Error(refused)
}

/// Closes the store, gives it the records, and opens it again; whatever fails, one of the two states serves afterwards.
async fn replaced(front: &Arc<Front>, shared: &Arc<Shared>, asker: &Asker, found: Found, settings: Settings) -> Result<(), ErrorReply> {
    let (vault, master) = (shared.vault(), shared.master());
    let detail = format!("from a backup of the store {}, made {}", found.label.store(), found.label.created);
    let entry = Entry { detail: Some(detail), ..trail::entry(shared, asker, "restore", None, &Ok(())) };
    let live = shared.live().as_ref().clone();
    let meanwhile = Shared::locked(Arc::clone(&front.desk), live, master, "a backup is being restored".to_owned());
    let meanwhile = meanwhile.map_err(|why| internal("restore", &why))?;
    shared.lock().dismiss(&locked("a backup is being restored"), shared);
    front.replace(Arc::new(meanwhile));
    let closed = front.close(shared).await;
    // Whatever was noted until the store was closed.
    let (own, bounds) = (shared.lock().trail.clone(), shared.bounds());
    // Leases given since the backup can be reported, and no number is given again.
    let numbers = Event::Ahead(Ahead::Numbers { until: shared.lock().broker.next_lease() });
    let desk = Arc::clone(&front.desk);
    let told = entry.clone();
    let work = tokio::task::spawn_blocking(move || {
        let replaced = closed.map_err(|why| why.to_string()).and_then(|()| {
            let records = with_own_trail(found, own, &vault, &entry, bounds);
            let events = event::encode(&[numbers]).map_err(|why| why.to_string())?;
            store::replace(&desk.state_dir, &vault, records, &events).map_err(|why| why.to_string())
        });
        let opened = store::open_again(&desk.state_dir, vault, master).map_err(StartError::from);
        (replaced, opened.and_then(|opened| start::served(&desk, opened, settings)))
    });
    let (replaced, opened) = work.await.map_err(|why| internal("restore", &why))?;
    let (again, store) = opened.map_err(|why| internal("restore", &why))?;
    front.run(again, store).map_err(|why| internal("restore", &why))?;
    start::tell_phase(&front.serving());
    if let Err(why) = replaced {
        let refused = failed("restore", &why);
        trail::note(&front.serving(), asker, "restore", None, &Err(refused.clone()));
        return Err(refused);
    }
    trail::tell(&front.serving(), &told);
    tracing::info!(target: log::STORE, "a backup was restored");
    Ok(())
}

/// The records of a backup with the audit trail of this store, which goes on: a backup takes away nothing that was done since, and breaks no
/// anchor. Of another store's trail comes what there is room for; the restoration is at the end.
fn with_own_trail(found: Found, own: Trail, vault: &Vault, entry: &Entry, bounds: Bounds) -> Vec<Record> {
    let of_trail = |record: &Record| record.tree == Tree::Audit || (record.tree == Tree::Meta && record.key == FLOOR_KEY);
    let (of_backup, mut records): (Vec<_>, Vec<_>) = found.records.into_iter().partition(of_trail);
    let mut trail = own;
    if found.label.store() != vault.store().to_string() {
        let rows = of_backup.iter().filter(|record| record.tree == Tree::Audit).map(|record| record.value.as_slice());
        let theirs: Vec<Entry> = Trail::restore(None, rows, std::iter::empty()).links().filter_map(Link::entry).collect();
        let room = bounds.entries.saturating_sub(trail.links().count() + 1);
        for told in theirs.iter().skip(theirs.len().saturating_sub(room)) {
            let whose = format!("in the store {}", found.label.store());
            let detail = told.detail.as_ref().map_or_else(|| whose.clone(), |detail| format!("{whose}: {detail}"));
            trail.append(vault, &Entry { detail: Some(detail), ..told.clone() }, bounds);
        }
    }
    trail.append(vault, entry, bounds);
    records.extend(trail.rows().into_iter().filter_map(|(key, value)| Some(Record { tree: Tree::Audit, key, value: value?.into() })));
    records.extend(trail.floor().map(|value| Record { tree: Tree::Meta, key: FLOOR_KEY.to_vec(), value: value.into() }));
    records
}

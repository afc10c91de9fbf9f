//! Admins' acts on the master secret: lock and unlock, its slots, another password.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::config;
use crate::daemon::answer::Asker;
use crate::daemon::front::Front;
use crate::daemon::logging as log;
use crate::daemon::metrics;
use crate::daemon::start::{self, StartError};
use crate::daemon::state::Shared;
use crate::daemon::trail::{self, Noted};
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::reply::{Reply, SlotAdded, SlotRow};
use crate::protocol::request::{ChangePassword, SlotAdd, SlotSource, Unlock};
use crate::secret::Password;
use crate::store::error::OpenError;
use crate::vault::master::{MasterSetting, MasterSource};
use crate::vault::slots::{self, NewSlot, Others, Slots};
use crate::vault::{VaultError, proves};

/// Closes the store and forgets its keys; callers stay connected.
pub(crate) async fn lock(front: Arc<Front>, asker: Asker) -> Reply {
    let _one_at_a_time = front.changing.lock().await;
    let shared = front.serving();
    if shared.locked.is_some() {
        return Reply::Done;
    }
    if shared.master() == MasterSource::None {
        let why = "`encrypt_keys` is false: whoever can read the state directory can read every key, locked or not";
        return Reply::Error(ErrorReply::new(ErrorCode::BadRequest, why));
    }
    trail::note(&shared, &asker, "lock", None, &Ok(()));
    let locked = match Shared::locked(Arc::clone(&front.desk), shared.live().as_ref().clone(), shared.master(), "an admin locked it".to_owned()) {
        Ok(locked) => locked,
        Err(why) => return Reply::Error(internal("lock", &why)),
    };
    shared.lock().dismiss(&self::locked("an admin locked it"), &shared);
    front.replace(Arc::new(locked));
    let closed = front.close(&shared).await;
    tracing::info!(target: log::SERVICE, "the store is locked");
    start::tell_phase(&front.serving());
    closed.map_or_else(
        |why| {
            tracing::error!(target: log::STORE, error = %why, "what could not be written before the store was locked is lost");
            Reply::Error(ErrorReply::new(ErrorCode::Internal, "the store is locked, and what could not be written before is lost; the log says why"))
        },
        |()| Reply::Done,
    )
}

/// Opens the store with a password and serves from it.
pub(crate) async fn unlock(front: Arc<Front>, asker: Asker, request: Unlock) -> Reply {
    let _one_at_a_time = front.changing.lock().await;
    let before = front.serving();
    let opening = Arc::clone(&front.desk);
    let is_open = before.locked.is_none();
    let work = tokio::task::spawn_blocking(move || {
        let setting = MasterSetting::Password(request.password.into_text());
        if is_open {
            // It stays open; a wrong password is told all the same.
            return proves(&opening.state_dir, &setting).map(|()| None).map_err(|why| StartError::Store(OpenError::Vault(why)));
        }
        start::open_again(&opening, &setting).map(Some)
    });
    let result = match work.await {
        Ok(Ok(None)) => Ok(()),
        Ok(Ok(Some((shared, store)))) => front.run(shared, store),
        Ok(Err(why)) => Err(why),
        Err(_) => Err(StartError::End("opening the store failed in the daemon".to_owned())),
    };
    let result = result.map_err(|why| refusal(&why));
    let refused = &front.desk.refused_unlocks;
    let before = if result.is_ok() { refused.swap(0, Ordering::AcqRel) } else { refused.fetch_add(1, Ordering::AcqRel) };
    let detail = (result.is_ok() && before > 0).then(|| format!("after {before} that were refused"));
    if result.is_ok() && !is_open {
        metrics::serve(&front);
        tracing::info!(target: log::SERVICE, "the store is unlocked");
        start::tell_phase(&front.serving());
    }
    let reply = result.map_or_else(Reply::Error, |()| Reply::Done);
    let noted = Noted { act: "unlock", detail, ..Noted::default() };
    trail::noted_first(&front.serving(), Some(&asker), noted, reply).await
}

fn refusal(why: &StartError) -> ErrorReply {
    match why {
        StartError::Store(OpenError::Vault(why)) => vault_refusal("unlock", why),
        StartError::Config(why) => ErrorReply::new(ErrorCode::BadRequest, format!("the configuration does not load, the store stays locked:\n{why}")),
        why => internal("unlock", why),
    }
}

pub(crate) fn internal(act: &str, why: &dyn std::fmt::Display) -> ErrorReply {
    tracing::error!(act, error = %why, "what an admin asked for failed");
    ErrorReply::new(ErrorCode::Internal, format!("`{act}` failed; the daemon's log says why"))
}

pub(crate) fn vault_refusal(act: &str, why: &VaultError) -> ErrorReply {
    match why {
        VaultError::WrongPassword { .. } => {
            tracing::warn!(target: log::SERVICE, act, "a wrong master password was given");
            ErrorReply::new(ErrorCode::Denied, "wrong master password: it opens no slot of this store; nothing was changed")
        }
        VaultError::Slot(why) => ErrorReply::new(ErrorCode::BadRequest, why.to_string()),
        VaultError::Keyring(_) => ErrorReply::new(ErrorCode::BadRequest, format!("the store opens as before: {why}")),
        why => internal(act, why),
    }
}

/// The slots, which are known while the store is locked, too.
pub(crate) fn list(shared: &Shared) -> Result<Reply, ErrorReply> {
    let rows = slots::list(&shared.desk.state_dir).map_err(|why| internal("slots", &why))?.unwrap_or_default();
    let row = |row: slots::SlotRow| SlotRow { slot: row.number, source: row.source.name().to_owned(), until: row.until };
    Ok(Reply::Slots(rows.into_iter().map(row).collect()))
}

/// Does something with the slots off the thread that serves: it derives keys, and may ask a keyring.
async fn with_slots(
    front: &Front,
    asker: &Asker,
    act: &'static str,
    target: String,
    work: impl FnOnce(&Slots<'_>) -> Result<Reply, VaultError> + Send + 'static,
) -> Reply {
    let _one_at_a_time = front.changing.lock().await;
    let shared = front.serving();
    if let Some(why) = &shared.locked {
        return Reply::Error(locked(why));
    }
    let (desk, vault) = (Arc::clone(&front.desk), shared.vault());
    let done = tokio::task::spawn_blocking(move || {
        let done = work(&Slots::new(&desk.state_dir, &vault))?;
        Ok((done, slots::list(&desk.state_dir)?.unwrap_or_default()))
    });
    let reply = match done.await {
        Ok(Ok((reply, rows))) => {
            shared.master_is_among(&rows.iter().map(|row| row.source).collect::<Vec<_>>());
            reply
        }
        Ok(Err(why)) => Reply::Error(vault_refusal(act, &why)),
        Err(why) => Reply::Error(internal(act, &why)),
    };
    let noted = Noted { act, target: Some(target), ..Noted::default() };
    trail::noted_first(&shared, Some(asker), noted, reply).await
}

/// What whoever asks for keys is told while the store is locked.
pub(crate) fn locked(why: &str) -> ErrorReply {
    ErrorReply::new(ErrorCode::Locked, format!("the store is locked ({why}): an admin opens it with `gollmctl unlock`"))
}

pub(crate) async fn slot_add(front: Arc<Front>, asker: Asker, request: SlotAdd) -> Reply {
    let (source, others) = (request.source, if request.instead == Some(true) { Others::Leave } else { Others::Stay });
    let new = match (source, request.secret) {
        (SlotSource::Password, Some(text)) => NewSlot::Password(text.into_text()),
        (SlotSource::Credential, Some(text)) => NewSlot::Credential(text.into_text()),
        (SlotSource::Keyring, None) => NewSlot::Keyring,
        (SlotSource::File, None) => NewSlot::File,
        (SlotSource::Recovery, None) if others == Others::Stay => NewSlot::Recovery,
        (SlotSource::Recovery, None) => return bad("a recovery code is beside the others, never instead of them"),
        (SlotSource::Password | SlotSource::Credential, None) => return bad("the new slot needs its `secret`"),
        (SlotSource::Keyring | SlotSource::File | SlotSource::Recovery, Some(_)) => return bad("the secret of such a slot is made, not given"),
    };
    let configured = front.serving().live().settings.master;
    if others == Others::Leave && !finds(configured, source) {
        return bad(&format!(
            "`master.source: {}` in the configuration would not find it at the next start: set it to `auto` or `{}`, then `gollmctl reload`",
            configured.name(),
            if source == SlotSource::Password { "prompt" } else { source.name() }
        ));
    }
    let target = if others == Others::Leave { format!("{} instead of the others", source.name()) } else { source.name().to_owned() };
    let add = move |slots: &Slots<'_>| {
        let added = slots.add(&new, others)?;
        Ok(Reply::SlotAdded(SlotAdded { slot: added.number, recovery_code: added.recovery_code.map(Password::of_text) }))
    };
    with_slots(&front, &asker, "slot_add", target, add).await
}

pub(crate) fn bad(why: &str) -> Reply {
    Reply::Error(ErrorReply::new(ErrorCode::BadRequest, why))
}

/// Does a start with this setting look there?
const fn finds(setting: config::MasterSetting, source: SlotSource) -> bool {
    use config::MasterSetting;
    match source {
        SlotSource::Password => matches!(setting, MasterSetting::Auto | MasterSetting::Prompt),
        SlotSource::Credential => matches!(setting, MasterSetting::Auto | MasterSetting::Credential),
        SlotSource::Keyring => matches!(setting, MasterSetting::Auto | MasterSetting::Keyring),
        SlotSource::File => matches!(setting, MasterSetting::Auto | MasterSetting::File),
        SlotSource::Recovery => false,
    }
}

pub(crate) async fn slot_remove(front: Arc<Front>, asker: Asker, slot: u32) -> Reply {
    with_slots(&front, &asker, "slot_remove", format!("slot {slot}"), move |slots| slots.remove(slot).map(|()| Reply::Done)).await
}

pub(crate) async fn change_password(front: Arc<Front>, asker: Asker, request: ChangePassword) -> Reply {
    let (old, new) = (request.old.into_text(), request.new.into_text());
    let change = move |slots: &Slots<'_>| slots.change_password(&old, &new).map(|_| Reply::Done);
    with_slots(&front, &asker, "change_password", "password".to_owned(), change).await
}

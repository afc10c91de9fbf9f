//! The daemon at a glance, and its keys with what may be shown of their secrets.

use std::sync::atomic::Ordering;

use crate::access::Caller;
use crate::daemon::state::Shared;
use crate::daemon::{locking, webhooks};
use crate::id::{KeyId, ProviderName};
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::reply::{Counts, GlobalStatus, Reply, Role, Status};
use crate::time::clock::Clock;
use crate::vault::master::MasterSource;

/// Everything that `gollmctl status` shows.
///
/// A client sees its own providers, and of what concerns others nothing.
pub(crate) fn status(shared: &Shared, caller: &Caller) -> Status {
    let now = shared.clock.now();
    let live = shared.live();
    let core = shared.lock();
    let (selects, reports) = core.broker.counts();
    let mut warnings: Vec<String> = shared.locked.iter().map(|why| locking::locked(why).message).collect();
    warnings.extend(general_warnings(shared.master()));
    warnings.extend(core.failing.iter().map(|why| format!("the store can't be written, reports are refused: {why}")));
    warnings.extend(live.refused.iter().map(|why| format!("the last reload was refused: {why}")));
    warnings.extend(live.of_store.iter().cloned());
    warnings.extend(live.settings.warnings.iter().chain(&live.warnings).cloned());
    warnings.extend(core.broker.warnings(now));
    warnings.extend(webhooks::warnings(shared, &core));
    let mut providers = core.broker.provider_rows(now);
    let mut global = core.broker.global_row(now);
    let mut counts =
        Counts { leases_open: core.broker.leases_open(), connections: shared.desk.connections.load(Ordering::Relaxed), selects, reports };
    if caller.role != Role::Admin {
        providers = core.broker.rows_for(caller, now);
        warnings.clear();
        global = GlobalStatus::of(&providers);
        counts = Counts { leases_open: 0, connections: 0, selects: 0, reports: 0 };
    }
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        uptime_s: shared.desk.uptime().steady.since(shared.desk.started.steady).as_secs(),
        started: shared.desk.started.wall,
        locked: shared.locked.is_some(),
        master_source: shared.master().name().to_owned(),
        socket: shared.desk.socket.to_string(),
        config: shared.desk.file.as_ref().map(|file| file.display().to_string()),
        counts,
        providers,
        global,
        warnings,
    }
}

/// What an admin should know of the master secret.
pub(crate) fn general_warnings(master: MasterSource) -> Vec<String> {
    match master {
        MasterSource::File => vec![
            "the master secret lies in `master.key` beside the store: whoever can copy the state directory can read every key; `gollmctl passwd --to credential`, or `--to keyring`, or `--to prompt`, moves it".to_owned(),
        ],
        MasterSource::None => vec!["`encrypt_keys` is false: whoever can copy the state directory can read every key".to_owned()],
        _ => Vec::new(),
    }
}

/// A row a key, with the last characters and the fingerprint of its secret.
pub(crate) fn keys(shared: &Shared, caller: &Caller, only: Option<&ProviderName>) -> Result<Reply, ErrorReply> {
    // Said of every provider alike, whether there is one of that name or not.
    if let Some(provider) = only.filter(|provider| !caller.may_use(provider)) {
        return Err(ErrorReply::new(ErrorCode::Denied, format!("uid {} may not see the provider `{provider}`", caller.uid)));
    }
    let now = shared.clock.now();
    let core = shared.lock();
    let mut rows = core.broker.key_rows(only, now)?;
    rows.retain(|row| caller.may_use(&row.provider));
    for row in &mut rows {
        let id = KeyId { provider: row.provider.clone(), key: row.key_name.clone() };
        if let Some(entry) = core.safe.entry(&id).filter(|_| caller.grants.reveal) {
            row.last_four = Some(entry.last_four.clone()).filter(|text| !text.is_empty());
            row.fingerprint = Some(entry.fingerprint.clone());
        }
    }
    Ok(Reply::Keys(rows))
}

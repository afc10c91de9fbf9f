//! The state as a store tells it: its records, and the events that came after them.

use crate::audit::{self, Broken, Link, Trail};
use crate::broker::{Broker, Record};
use crate::config::{self, Settings};
use crate::daemon::admin;
use crate::daemon::front::Desk;
use crate::daemon::journal::{CLOCK_KEY, FLOOR_KEY, shelf_of};
use crate::daemon::logging as log;
use crate::daemon::safe::{Safe, SafeError};
use crate::daemon::start::{StartError, live_of};
use crate::daemon::state::{Beginning, Live};
use crate::event::{self, Event};
use crate::id::KeyId;
use crate::platform;
use crate::store::repair::Repaired;
use crate::store::{self, Opened, Store, Tree};
use crate::time::Steady;
use crate::time::clock::{Clock, SteadyMark, SystemClock};
use crate::time::shift::Shift;
use crate::vault::Vault;

/// Puts a repair into the audit trail of the store that was repaired.
pub(super) fn note_repair(mut opened: Opened, repaired: &Repaired) -> Result<(), StartError> {
    let mut events = Vec::new();
    for batch in &opened.events {
        events.extend(event::decode(batch)?);
    }
    let lost = if repaired.lost.is_empty() { "nothing is lost".to_owned() } else { format!("lost: {}", repaired.lost.join("; ")) };
    let entry = audit::Entry {
        at: SystemClock::start(None, Steady::from_millis(0)).now().wall,
        uid: Some(platform::own_uid()),
        pid: i32::try_from(std::process::id()).ok(),
        unit: None,
        act: "repair".to_owned(),
        target: None,
        result: "done".to_owned(),
        detail: Some(lost.chars().take(1000).collect()),
    };
    // What is too much leaves when the daemon checkpoints.
    let bounds = audit::Bounds { entries: usize::MAX, age: std::time::Duration::MAX };
    if let Some(link) = trail_of(&opened, &events).append(&opened.vault, &entry, bounds) {
        let batch = event::encode(&[Event::Audited(link.to_bytes())]).map_err(|why| StartError::End(why.to_string()))?;
        opened.store.append(&batch).map_err(|why| StartError::End(why.to_string()))?;
    }
    opened.store.close().map_err(|why| StartError::End(why.to_string()))
}

/// The state as the store and the journal tell it.
pub(super) fn rebuild(desk: &Desk, opened: Opened, settings: Settings) -> Result<(Beginning, Store), StartError> {
    let mut events = Vec::new();
    for batch in &opened.events {
        events.extend(event::decode(batch)?);
    }
    let safe = safe_of(&opened.vault, &opened.records, &events);
    let trail = trail_of(&opened, &events);
    let clock = clock_of(&opened, &events, desk.shift.clone());
    let policy = admin::whole_policy(&settings, &safe);
    let broker = Broker::restore(policy, opened.records.iter().filter_map(shelved), &events, clock.now())?;
    let (mut of_store, mut warnings) = (opened.warnings, Vec::new());
    if let Some(why) = opened.vault.swappable() {
        of_store.push(format!(
            "the keys of the store may be written to the swap ({why}): raise the limit of locked memory, as `LimitMEMLOCK=` does, or turn swap off"
        ));
    }
    for key in opened.unreadable.iter().filter(|(tree, _)| *tree == Tree::Secrets).map(|(_, key)| String::from_utf8_lossy(key)) {
        warnings.push(format!("the secret of {key} can't be opened: it is damaged; set it again"));
    }
    if let Err(Broken { seq }) = trail.verify(&opened.vault) {
        of_store.push(format!("the audit trail is broken at entry {seq}: `gollmctl audit --verify` says more"));
    }
    let live = Live { of_store: of_store.into(), ..live_of(desk, settings, warnings)? };
    let beginning = Beginning { broker, safe, trail, clock, vault: opened.vault, master: opened.master, live };
    Ok((beginning, opened.store))
}

/// Do these records make a state that can be served from, with the configuration as it is now? Changes nothing.
pub(super) fn reads(desk: &Desk, vault: &Vault, records: &[store::Record]) -> Result<Settings, StartError> {
    let settings = config::load(desk.file.as_deref(), &desk.environment)?;
    let policy = admin::whole_policy(&settings, &safe_of(vault, records, &[]));
    let shelved = records.iter().filter_map(shelved);
    Broker::restore(policy, shelved, &[], desk.uptime())?;
    Ok(settings)
}

fn shelved(record: &store::Record) -> Option<Record<'_>> {
    Some(Record { shelf: shelf_of(record.tree)?, key: &record.key, value: &record.value })
}

/// The secrets: those in the store, then what the journal says happened to them since.
fn safe_of(vault: &Vault, records: &[store::Record], events: &[Event]) -> Safe {
    let mut safe = Safe::default();
    let refused = |id: &KeyId, why: &SafeError| tracing::error!(target: log::STORE, provider = %id.provider, key = %id.key, error = %why, "a secret can't be opened: its key is sealed");
    for record in records.iter().filter(|record| record.tree == Tree::Secrets) {
        let Some(id) = std::str::from_utf8(&record.key).ok().and_then(|id| id.parse::<KeyId>().ok()) else { continue };
        if let Err(why) = safe.load(vault, &id, &record.value) {
            refused(&id, &why);
        }
    }
    for event in events {
        match event {
            Event::SecretKept { key, sealed } => {
                if let Err(why) = safe.put(vault, key, sealed.clone()) {
                    safe.erase(key);
                    refused(key, &why);
                }
            }
            Event::SecretErased { key } => safe.erase(key),
            _ => {}
        }
    }
    safe
}

/// The audit trail: what the store holds, then what the journal says was added since.
fn trail_of(opened: &Opened, events: &[Event]) -> Trail {
    let floor = opened.records.iter().find(|record| record.tree == Tree::Meta && record.key == FLOOR_KEY).map(|record| record.value.as_slice());
    let rows = opened.records.iter().filter(|record| record.tree == Tree::Audit).map(|record| record.value.as_slice());
    let links = events.iter().filter_map(|event| if let Event::Audited(bytes) = event { Link::of_bytes(bytes) } else { None });
    Trail::restore(floor, rows, links)
}

/// The steady clock goes on from where the store says it stood.
fn clock_of(opened: &Opened, events: &[Event], shift: Shift) -> SystemClock {
    let kept =
        opened.records.iter().find(|record| record.tree == Tree::Meta && record.key == CLOCK_KEY).and_then(|record| {
            bincode::serde::decode_from_slice::<SteadyMark, _>(&record.value, bincode::config::standard().with_limit::<4096>()).ok()
        });
    let noted = events.iter().rev().find_map(|event| if let Event::Clock(mark) = event { Some(mark.clone()) } else { None });
    let last = events.iter().filter_map(Event::steady).max().unwrap_or(Steady::from_millis(0));
    SystemClock::start_shifted(noted.or_else(|| kept.map(|(mark, _)| mark)).as_ref(), last, shift)
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::*;
    use crate::access::{Caller, Grants};
    use crate::broker::Moment;
    use crate::environment::Environment;
    use crate::id::Uid;
    use crate::limits::Limits;
    use crate::protocol::error::Reason;
    use crate::protocol::reply::{KeyState, Role};
    use crate::protocol::request::Select;
    use crate::time::{Now, Timestamp};
    use crate::vault::master::MasterSetting;
    use std::sync::Arc;

    const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/store-1");

    /// The store of the fixture in a directory where it can be written, and its settings.
    fn fixture(home: &Path) -> (Opened, Settings) {
        let state = home.join("state");
        for line in fs::read_to_string(Path::new(FIXTURE).join("sizes")).unwrap().lines() {
            let (size, name) = line.split_once(' ').unwrap();
            fs::create_dir_all(state.join(name).parent().unwrap()).unwrap();
            fs::copy(Path::new(FIXTURE).join(name), state.join(name)).unwrap();
            fs::File::options().write(true).open(state.join(name)).unwrap().set_len(size.parse().unwrap()).unwrap();
        }
        let config = home.join("config.yaml");
        fs::copy(Path::new(FIXTURE).join("config.yaml"), &config).unwrap();
        fs::set_permissions(&config, fs::Permissions::from_mode(0o600)).unwrap();
        let environment: Environment = [("GOLLM_MASTER_PASSWORD", "a password for tests")].into_iter().collect();
        let settings = config::load(Some(&config), &environment).unwrap();
        (store::open(&state, &MasterSetting::Environment, true, &environment).unwrap(), settings)
    }

    /// With the clock a minute after the store was left.
    #[test]
    fn the_state_of_an_earlier_builds_store_is_what_it_was() {
        let home = tempfile::tempdir().unwrap();
        let (opened, settings) = fixture(home.path());
        let events: Vec<Event> = opened.events.iter().flat_map(|batch| event::decode(batch).unwrap()).collect();
        let wall: Timestamp = "2026-11-24T11:36:00Z".parse().unwrap();
        let steady = events.iter().filter_map(Event::steady).max().unwrap().after(std::time::Duration::from_secs(60));
        let now = Now { wall, steady };
        let policy = admin::whole_policy(&settings, &safe_of(&opened.vault, &opened.records, &events));
        let mut broker = Broker::restore(policy, opened.records.iter().filter_map(shelved), &events, now).unwrap();
        for id in broker.policy().keys().collect::<Vec<_>>() {
            broker.set_sealed(&id, false);
        }
        assert_eq!(broker.leases_open(), 1);
        let row = |name: &str| broker.key_rows(None, now).unwrap().into_iter().find(|row| row.key_name.as_str() == name).unwrap();
        // It was killed: what its horizons allowed is counted as used, a hundredth of each limit.
        assert_eq!((row("primary").requests_total, row("primary").reserved_usd.dollars()), (4 + 1, 1.5 + 0.5));
        assert_eq!((row("added").state, row("added").rate_limit), (KeyState::CoolingDown, Some(7)));
        assert_eq!((row("disabled").state, row("spent").state), (KeyState::Disabled, KeyState::Exhausted));
        let grants = Grants { rule: "test".to_owned(), providers: None, limits: Limits::default(), reveal: true };
        let caller = Caller { uid: Uid(0), unit: None, role: Role::Admin, grants: Arc::new(grants) };
        let select = Select { model: Some("gpt-4".parse().unwrap()), ..Select::any("openai".parse().unwrap()) };
        let moment = Moment { now, durable: 0, stalled: false, rng: &mut fastrand::Rng::with_seed(1) };
        let explained = broker.explain(&caller, &select, &moment).unwrap();
        let denied = explained.keys.iter().find(|key| key.key_name.as_str() == "denied").unwrap();
        assert_eq!(denied.reason, Some(Reason::ModelDenied));
    }
}

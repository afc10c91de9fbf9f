//! The state as records for the store: what changed since the last time, and taking records up again.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::broker::{AccountIx, Broker, KeyIx};
use crate::event::{Event, Granted, SessionId};
use crate::health::KeyHealth;
use crate::health::account::{AccountHealth, AccountKey};
use crate::id::{AccountName, KeyId, KeyName, ProviderName, Uid};
use crate::lease::KeptOwned;
use crate::limits::Meter;
use crate::policy::Policy;
use crate::time::{Day, Now, Timestamp};
use crate::usage::day::DayUsage;

/// Version of the encoding of records, the first byte of each.
const VERSION: u8 = 1;

/// A kind of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shelf {
    /// Meters of keys, and the global one.
    Counters,
    /// Health of keys and accounts, and whose turn it is.
    States,
    /// Open leases, those that ran out, and the numbers of settled ones.
    Leases,
    /// Usage by day and key.
    Usage,
}

/// A record to keep, or (none) to forget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Where it belongs.
    pub shelf: Shelf,
    /// Its key, unique on its shelf.
    pub key: Vec<u8>,
    /// What is kept.
    pub value: Option<Vec<u8>>,
}

/// A record that was kept.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// Where it belongs.
    pub shelf: Shelf,
    /// Its key, unique on its shelf.
    pub key: &'a [u8],
    /// What was kept.
    pub value: &'a [u8],
}

/// A record that is none of this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a record on the shelf {shelf:?} can't be read: it is damaged, or a newer gollm wrote it")]
pub struct DamagedRecord {
    /// Where it stands.
    pub shelf: Shelf,
}

/// What changed since the records were last exported.
#[derive(Debug, Default)]
pub(super) struct Dirty {
    pub(super) meters: BTreeSet<KeyIx>,
    pub(super) health: BTreeSet<KeyIx>,
    pub(super) accounts: BTreeSet<AccountIx>,
    pub(super) callers: BTreeSet<Uid>,
    /// A number stands here as often as its lease changed: noting it is on the way of each select and report.
    pub(super) leases: Vec<u64>,
    /// Leases that the store has a record of; not a change, but what is known of the store.
    pub(super) stored: HashSet<u64>,
    pub(super) providers: BTreeSet<ProviderName>,
    pub(super) sessions: BTreeSet<SessionId>,
    pub(super) units: BTreeSet<u32>,
    pub(super) alerts: bool,
    pub(super) global: bool,
}

/// The counters of a key, as they are kept.
#[derive(Serialize, Deserialize)]
struct KeyRecord {
    meter: Meter,
    last_used: Option<Timestamp>,
    learned: Option<AccountName>,
}

const GLOBAL: &[u8] = b"g";
const BOOK: &[u8] = b"b";
const ALERTS: &[u8] = b"a";
const BEFORE: &[u8] = b"f";

fn encode<T: Serialize>(record: &T) -> Option<Vec<u8>> {
    let mut bytes = vec![VERSION];
    bincode::serde::encode_into_std_write(record, &mut bytes, bincode::config::standard()).ok()?;
    Some(bytes)
}

fn decode<T: DeserializeOwned>(record: Record<'_>) -> Result<T, DamagedRecord> {
    let damaged = DamagedRecord { shelf: record.shelf };
    let Some((&VERSION, body)) = record.value.split_first() else {
        return Err(damaged);
    };
    match bincode::serde::decode_from_slice(body, bincode::config::standard().with_limit::<{ 64 * 1024 * 1024 }>()) {
        Ok((value, used)) if used == body.len() => Ok(value),
        _ => Err(damaged),
    }
}

fn named(kind: char, name: impl std::fmt::Display) -> Vec<u8> {
    format!("{kind}:{name}").into_bytes()
}

fn numbered(kind: u8, number: u64) -> Vec<u8> {
    let mut key = vec![kind];
    key.extend_from_slice(&number.to_be_bytes());
    key
}

fn account_key(key: &AccountKey) -> Vec<u8> {
    match key {
        AccountKey::Named(provider, account) => named('n', format_args!("{provider}@{account}")),
        AccountKey::Own(provider, key) => named('o', format_args!("{provider}/{key}")),
    }
}

impl Broker {
    /// The records that changed since this was last asked: with them, the records before stand as the state stands now.
    ///
    /// What can't be encoded is left as it was; with plain data that does not happen.
    pub fn export(&mut self) -> Vec<Change> {
        let mut dirty = std::mem::take(&mut self.dirty);
        let mut changes = Vec::new();
        let mut put = |shelf, key, value: Option<Vec<u8>>| changes.push(Change { shelf, key, value });
        if dirty.global || !dirty.meters.is_empty() {
            put(Shelf::Counters, GLOBAL.to_vec(), encode(&self.global));
        }
        for entry in dirty.meters.iter().map(|key| &self.keys[*key]) {
            let record = KeyRecord { meter: entry.meter.clone(), last_used: entry.last_used, learned: entry.learned.clone() };
            put(Shelf::Counters, named('k', &entry.id), encode(&record));
        }
        for uid in &dirty.callers {
            put(Shelf::Counters, caller_key(*uid), self.callers.get(uid).and_then(encode));
        }
        for entry in dirty.health.iter().map(|key| &self.keys[*key]) {
            put(Shelf::States, named('k', &entry.id), encode(&entry.health));
        }
        for entry in dirty.accounts.iter().map(|account| &self.accounts[*account]) {
            put(Shelf::States, account_key(&entry.key), encode(&entry.health));
        }
        for (name, last) in dirty.providers.iter().filter_map(|name| Some((name, self.providers.get(name)?.last?))) {
            put(Shelf::States, named('p', name), encode(&self.keys[last].id.key));
        }
        for session in &dirty.sessions {
            put(Shelf::States, session_key(session), self.sessions.held(session).and_then(encode));
        }
        for (number, name) in dirty.units.iter().filter_map(|number| Some((number, self.ledger.units().name(*number)?))) {
            put(Shelf::States, named('u', number), encode(name));
        }
        if dirty.alerts {
            put(Shelf::States, ALERTS.to_vec(), encode(&self.alerts));
        }
        if !dirty.leases.is_empty() || dirty.global {
            put(Shelf::Leases, BOOK.to_vec(), encode(&self.leases.book()));
        }
        dirty.leases.sort_unstable();
        dirty.leases.dedup();
        for number in dirty.leases {
            match self.leases.kept(number) {
                Some(kept) => {
                    dirty.stored.insert(number);
                    put(Shelf::Leases, numbered(b'l', number), encode(&kept));
                }
                None if dirty.stored.remove(&number) => put(Shelf::Leases, numbered(b'l', number), None),
                None => {}
            }
        }
        self.dirty.stored = dirty.stored;
        for (index, page) in self.leases.settled().take_changed() {
            put(Shelf::Leases, numbered(b's', index), page.and_then(|page| encode(&page)));
        }
        if let Some(before) = self.ledger.take_before() {
            put(Shelf::States, BEFORE.to_vec(), encode(before));
        }
        for ((day, id), usage) in self.ledger.take_changed() {
            let mut key = day.unix_days().to_be_bytes().to_vec();
            key.extend_from_slice(id.to_string().as_bytes());
            put(Shelf::Usage, key, usage.and_then(|usage| encode(&*usage)));
        }
        changes
    }

    /// The last export was not kept: the next one holds every record.
    pub fn export_failed(&mut self) {
        self.dirty.meters.extend(self.keys.all());
        self.dirty.health.extend(self.keys.all());
        self.dirty.accounts.extend(self.accounts.all());
        self.dirty.callers.extend(self.callers.keys().copied());
        let numbers: Vec<u64> = self.leases.numbers().collect();
        self.dirty.leases.extend(self.dirty.stored.iter().copied());
        self.dirty.leases.extend(numbers);
        self.dirty.stored = self.dirty.leases.iter().copied().collect();
        self.dirty.providers.extend(self.providers.keys().cloned());
        self.dirty.sessions.extend(self.sessions.all().cloned());
        self.dirty.units.extend(self.ledger.units().numbers());
        self.dirty.global = true;
        self.dirty.alerts = true;
        self.leases.settled().all_changed();
        self.ledger.all_changed();
    }

    /// Rebuilds the state from what was kept: the records, then the events that are newer than them. Then what a crash
    /// may have lost is counted as used, as the horizons say.
    ///
    /// # Errors
    /// A record can't be read.
    pub fn restore<'a>(policy: Policy, records: impl Iterator<Item = Record<'a>>, events: &[Event], now: Now) -> Result<Self, DamagedRecord> {
        let mut broker = Self::new(policy);
        for record in records {
            broker.load(record)?;
        }
        for event in events {
            broker.apply(event);
        }
        let again = broker.policy.clone();
        broker.reconfigure(again);
        let lease_ttl = broker.policy.lease_ttl;
        broker.recover(now, lease_ttl);
        Ok(broker)
    }

    fn recover(&mut self, now: Now, lease_ttl: Duration) {
        self.leases.recover(now.steady);
        self.orphans_until = Some(now.steady.after(lease_ttl));
        self.global.recover(now, lease_ttl);
        for (uid, meter) in &mut self.callers {
            meter.recover(now, lease_ttl);
            self.dirty.callers.insert(*uid);
        }
        for key in self.keys.all() {
            self.keys[key].meter.recover(now, lease_ttl);
            self.dirty.meters.insert(key);
        }
        let trials: Vec<Granted> = self.leases.open().filter(|lease| lease.trial).cloned().collect();
        for lease in trials {
            let key = self.key_ix(&lease.key);
            self.begin_trial(key, &lease);
        }
        self.dirty.global = true;
    }

    /// Before a clean stop: the exact counts stand, and no place is lost.
    pub fn rest(&mut self) {
        self.leases.rest();
        self.global.rest();
        for (uid, meter) in &mut self.callers {
            meter.rest();
            self.dirty.callers.insert(*uid);
        }
        for key in self.keys.all() {
            self.keys[key].meter.rest();
            self.dirty.meters.insert(key);
        }
        self.dirty.global = true;
    }

    fn load(&mut self, record: Record<'_>) -> Result<(), DamagedRecord> {
        let damaged = DamagedRecord { shelf: record.shelf };
        match (record.shelf, record.key.split_first()) {
            (Shelf::Counters, Some((b'g', []))) => self.global = decode(record)?,
            (Shelf::Counters, Some((b'u', uid))) => {
                let uid = u32::from_be_bytes(uid.try_into().map_err(|_| damaged)?);
                self.callers.insert(Uid(uid), decode(record)?);
            }
            (Shelf::Counters, Some((b'k', name))) => {
                let kept: KeyRecord = decode(record)?;
                let key = self.key_ix(&key_id(name).ok_or(damaged)?);
                self.keys[key].meter = kept.meter;
                self.keys[key].last_used = kept.last_used;
                self.keys[key].learned = kept.learned;
                self.link_account(key);
            }
            (Shelf::States, Some((kind, name))) => self.load_state(*kind, name, record)?,
            (Shelf::Leases, Some((b'b', []))) => self.leases.load_book(decode(record)?),
            (Shelf::Leases, Some((b'l', number))) => {
                self.dirty.stored.insert(u64::from_be_bytes(number.try_into().map_err(|_| damaged)?));
                match decode(record)? {
                    KeptOwned::Open(lease) => self.leases.load_open(lease),
                    KeptOwned::Expired(expired) => self.leases.load_expired(expired),
                }
            }
            (Shelf::Leases, Some((b's', index))) => {
                let index = u64::from_be_bytes(index.try_into().map_err(|_| damaged)?);
                self.leases.settled().load(index, decode(record)?);
            }
            (Shelf::Usage, _) => {
                let (day, name) = record.key.split_first_chunk().ok_or(damaged)?;
                let id = std::str::from_utf8(name).ok().and_then(|name| name.parse().ok()).ok_or(damaged)?;
                self.ledger.load((Day::from_unix_days(i32::from_be_bytes(*day)), id), decode::<DayUsage>(record)?);
            }
            _ => return Err(damaged),
        }
        Ok(())
    }

    fn load_state(&mut self, kind: u8, name: &[u8], record: Record<'_>) -> Result<(), DamagedRecord> {
        let damaged = DamagedRecord { shelf: record.shelf };
        match kind {
            b'k' => {
                let key = self.key_ix(&key_id(name).ok_or(damaged)?);
                self.keys[key].health = decode::<KeyHealth>(record)?;
            }
            b'o' => {
                let KeyId { provider, key } = key_id(name).ok_or(damaged)?;
                let account = self.account_ix(AccountKey::Own(provider, key));
                self.accounts[account].health = decode::<AccountHealth>(record)?;
            }
            b'n' => {
                let (provider, account) = text(name).and_then(|text| text.split_once('@')).ok_or(damaged)?;
                let key = AccountKey::Named(provider.parse().map_err(|_| damaged)?, account.parse().map_err(|_| damaged)?);
                let account = self.account_ix(key);
                self.accounts[account].health = decode::<AccountHealth>(record)?;
            }
            b'c' => {
                let session = text(name).and_then(session_id).ok_or(damaged)?;
                self.dirty.sessions.extend(self.sessions.put(session, decode(record)?));
            }
            b'a' => self.alerts = decode(record)?,
            b'f' => self.ledger.load_before(decode(record)?),
            b'u' => {
                let number = text(name).and_then(|text| text.parse().ok()).ok_or(damaged)?;
                self.ledger.put_unit(number, decode(record)?);
            }
            b'p' => {
                let provider: ProviderName = text(name).and_then(|text| text.parse().ok()).ok_or(damaged)?;
                let key = decode::<KeyName>(record)?;
                let last = self.key_ix(&KeyId { provider: provider.clone(), key });
                if let Some(provider) = self.providers.get_mut(&provider) {
                    provider.last = Some(last);
                }
            }
            _ => return Err(damaged),
        }
        Ok(())
    }
}

fn caller_key(uid: Uid) -> Vec<u8> {
    let mut key = vec![b'u'];
    key.extend_from_slice(&uid.0.to_be_bytes());
    key
}

fn session_key(session: &SessionId) -> Vec<u8> {
    named('c', format_args!("{}@{}@{}", session.provider, session.caller, session.name))
}

fn session_id(text: &str) -> Option<SessionId> {
    let (provider, rest) = text.split_once('@')?;
    let (caller, name) = rest.split_once('@')?;
    Some(SessionId { provider: provider.parse().ok()?, caller: Uid(caller.parse().ok()?), name: name.parse().ok()? })
}

/// The name behind the kind and its colon.
fn text(name: &[u8]) -> Option<&str> {
    std::str::from_utf8(name).ok()?.strip_prefix(':')
}

fn key_id(name: &[u8]) -> Option<KeyId> {
    text(name)?.parse().ok()
}

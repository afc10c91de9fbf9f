//! Sessions: the key that a conversation has, forgotten after an hour without use.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::event::SessionId;
use crate::id::KeyId;
use crate::time::Steady;

/// How long a session that is not used has its key.
pub const KEPT: Duration = Duration::from_secs(3600);

/// Sessions at a time; past it the one that was not used for longest is forgotten.
const SESSIONS_MAX: usize = 50_000;

/// How often the store hears that a session is still used.
const NOTE_EVERY: Duration = Duration::from_secs(600);

/// The key of a session, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The key.
    pub key: KeyId,
    /// When the session was used last, as far as the store knows.
    pub noted: Steady,
}

#[derive(Debug)]
struct Entry {
    held: Held,
    used: Steady,
}

/// All sessions.
#[derive(Debug, Default)]
pub struct Sessions {
    entries: HashMap<SessionId, Entry>,
    by_use: BTreeSet<(Steady, SessionId)>,
}

impl Sessions {
    /// The key that the session has.
    #[must_use]
    pub fn key(&self, session: &SessionId, now: Steady) -> Option<&KeyId> {
        self.entries.get(session).filter(|entry| entry.used.after(KEPT) > now).map(|entry| &entry.held.key)
    }

    /// Must the store hear that the session is used now with this key?
    #[must_use]
    pub fn is_news(&self, session: &SessionId, key: &KeyId, now: Steady) -> bool {
        self.entries.get(session).is_none_or(|entry| entry.held.key != *key || entry.held.noted.after(NOTE_EVERY) <= now)
    }

    /// The session is used, with the key that it has.
    pub fn touch(&mut self, session: &SessionId, now: Steady) {
        if let Some(entry) = self.entries.get_mut(session) {
            self.by_use.remove(&(entry.used, session.clone()));
            entry.used = entry.used.max(now);
            self.by_use.insert((entry.used, session.clone()));
        }
    }

    /// The session has this key; the store hears of it. Returns the session that is forgotten for it.
    pub fn put(&mut self, session: SessionId, held: Held) -> Option<SessionId> {
        self.remove(&session);
        let used = held.noted;
        self.by_use.insert((used, session.clone()));
        self.entries.insert(session, Entry { held, used });
        if self.entries.len() <= SESSIONS_MAX {
            return None;
        }
        let (_, oldest) = self.by_use.pop_first()?;
        self.entries.remove(&oldest);
        Some(oldest)
    }

    /// Forgets what was not used for an hour. Returns those sessions.
    pub fn forget(&mut self, now: Steady) -> Vec<SessionId> {
        let mut forgotten = Vec::new();
        while self.by_use.first().is_some_and(|(used, _)| used.after(KEPT) <= now)
            && let Some((_, session)) = self.by_use.pop_first()
        {
            self.entries.remove(&session);
            forgotten.push(session);
        }
        forgotten
    }

    /// What is kept of a session.
    #[must_use]
    pub fn held(&self, session: &SessionId) -> Option<&Held> {
        self.entries.get(session).map(|entry| &entry.held)
    }

    /// Every session.
    pub fn all(&self) -> impl Iterator<Item = &SessionId> {
        self.entries.keys()
    }

    fn remove(&mut self, session: &SessionId) {
        if let Some(entry) = self.entries.remove(session) {
            self.by_use.remove(&(entry.used, session.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Uid;

    fn session(name: &str) -> SessionId {
        SessionId { provider: "openai".parse().unwrap(), caller: Uid(7), name: name.parse().unwrap() }
    }

    fn at(seconds: u64) -> Steady {
        Steady::from_millis(1_000_000 + seconds * 1000)
    }

    fn held(key: &str, seconds: u64) -> Held {
        Held { key: key.parse().unwrap(), noted: at(seconds) }
    }

    #[test]
    fn a_session_is_forgotten_an_hour_after_its_last_use() {
        let mut sessions = Sessions::default();
        sessions.put(session("a"), held("openai/x", 0));
        sessions.touch(&session("a"), at(3000));
        assert!(sessions.key(&session("a"), at(6599)).is_some());
        assert!(sessions.key(&session("a"), at(6600)).is_none());
        assert!(sessions.forget(at(6599)).is_empty());
        assert_eq!(sessions.forget(at(6600)), [session("a")]);
        assert_eq!(sessions.all().count(), 0);
    }

    #[test]
    fn the_store_hears_of_a_new_key_and_now_and_then_of_use() {
        let mut sessions = Sessions::default();
        let key = "openai/x".parse().unwrap();
        assert!(sessions.is_news(&session("a"), &key, at(0)));
        sessions.put(session("a"), held("openai/x", 0));
        assert!(!sessions.is_news(&session("a"), &key, at(599)));
        assert!(sessions.is_news(&session("a"), &key, at(600)));
        assert!(sessions.is_news(&session("a"), &"openai/y".parse().unwrap(), at(1)));
    }

    #[test]
    fn past_their_number_the_one_unused_for_longest_goes() {
        let mut sessions = Sessions::default();
        for number in 0..SESSIONS_MAX {
            assert_eq!(sessions.put(session(&format!("s{number}")), held("openai/x", number as u64)), None);
        }
        sessions.touch(&session("s0"), at(SESSIONS_MAX as u64));
        assert_eq!(sessions.put(session("new"), held("openai/x", SESSIONS_MAX as u64)), Some(session("s1")));
        assert!(sessions.held(&session("s0")).is_some());
    }
}

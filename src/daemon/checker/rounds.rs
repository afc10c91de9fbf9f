//! The rounds of health probes.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::probe;
use crate::daemon::state::Shared;
use crate::id::{KeyId, ProviderName};
use crate::time::Steady;
use crate::time::clock::Clock;

/// Probes keys in the background, one at a time a provider, until the daemon ends.
///
/// Keys that wait for a probe come first and when they are due, the others once in `health_check_interval`; those that
/// were used with success since are passed over. No provider waits for another one's answer, and of one that is not reached one key
/// at a time finds out whether it is again.
pub(crate) async fn rounds(shared: Arc<Shared>) {
    let mut last_round = if shared.live().settings.key_validation { None } else { Some(shared.clock.now().steady) };
    let mut queue = Queue::default();
    let mut probes = JoinSet::new();
    loop {
        let now = shared.clock.now();
        let (due, interval) = {
            let core = shared.lock();
            (core.broker.probes_due(now, last_round), core.broker.policy().health_check_interval)
        };
        if last_round.is_none_or(|last| last.after(interval) <= now.steady) {
            last_round = Some(now.steady);
        }
        queue.put_first(due);
        let mut pause = pin!(tokio::time::sleep(pause(&shared, last_round.unwrap_or(now.steady).after(interval))));
        loop {
            while let Some(id) = queue.next() {
                probes.spawn(probe_in_round(Arc::clone(&shared), id));
            }
            tokio::select! {
                () = &mut pause => break,
                () = shared.suspect.notified() => break,
                Some(done) = probes.join_next() => {
                    if let Ok(provider) = done {
                        let missed = shared.lock().broker.missed(&provider, shared.clock.now().steady).is_some();
                        queue.done(&provider, missed);
                        // When it is tried again decides the pause.
                        if missed {
                            break;
                        }
                    }
                }
            }
        }
    }
}

async fn probe_in_round(shared: Arc<Shared>, id: KeyId) -> ProviderName {
    let name = id.provider.clone();
    let provider = shared.lock().broker.policy().provider(&name).cloned();
    let entry = shared.secret_of(&id);
    let secret = entry.as_ref().and_then(|entry| entry.open(&shared.vault()).ok());
    if let (Some(provider), Some(entry), Some(secret)) = (provider, entry, secret) {
        probe(&shared, &provider, id, &entry.fingerprint, &secret).await;
    }
    name
}

/// Keys to probe, in order, and the one of each provider that is being probed.
#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<KeyId>,
    under_way: BTreeMap<ProviderName, KeyId>,
}

impl Queue {
    /// Puts keys before those that wait already, each once.
    fn put_first(&mut self, mut due: Vec<KeyId>) {
        due.retain(|id| self.under_way.get(&id.provider) != Some(id));
        let known: HashSet<&KeyId> = due.iter().collect();
        self.waiting.retain(|id| !known.contains(id));
        self.waiting = due.into_iter().chain(self.waiting.drain(..)).collect();
    }

    /// The next key whose provider is not being asked.
    fn next(&mut self) -> Option<KeyId> {
        let place = self.waiting.iter().position(|id| !self.under_way.contains_key(&id.provider))?;
        let id = self.waiting.remove(place)?;
        self.under_way.insert(id.provider.clone(), id.clone());
        Some(id)
    }

    /// A probe of the provider is done; where that was not reached, its other keys need not try.
    fn done(&mut self, provider: &ProviderName, missed: bool) {
        self.under_way.remove(provider);
        if missed {
            self.waiting.retain(|id| id.provider != *provider);
        }
    }
}

/// How long until the next probe is due, with a little chance in it, so that rounds of many machines spread.
fn pause(shared: &Shared, next_round: Steady) -> Duration {
    let now = shared.clock.now().steady;
    let next = shared.lock().broker.next_probe(now).map_or(next_round, |next| next.min(next_round));
    next.since(now).max(Duration::from_secs(1)).mul_f64(1.0 + fastrand::f64() * 0.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(names: &[&str]) -> Vec<KeyId> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    #[test]
    fn no_provider_waits_for_another_and_suspects_come_first() {
        let mut queue = Queue::default();
        let next = |queue: &mut Queue| queue.next().map(|id| id.to_string());
        queue.put_first(ids(&["slow/a", "slow/b", "slow/c", "fast/a"]));
        assert_eq!(next(&mut queue).as_deref(), Some("slow/a"));
        assert_eq!(next(&mut queue).as_deref(), Some("fast/a"));
        assert_eq!(next(&mut queue), None);
        // A suspect, and the key that is being probed, which is due for as long as that takes.
        queue.put_first(ids(&["slow/c", "slow/a", "fast/b"]));
        assert_eq!(next(&mut queue), None);
        queue.done(&"fast".parse().unwrap(), false);
        assert_eq!(next(&mut queue).as_deref(), Some("fast/b"));
        queue.done(&"slow".parse().unwrap(), false);
        assert_eq!(next(&mut queue).as_deref(), Some("slow/c"));
        queue.done(&"slow".parse().unwrap(), false);
        assert_eq!(next(&mut queue).as_deref(), Some("slow/b"));
        assert!(queue.waiting.is_empty());
        // Where one key did not reach its provider, no other tries.
        queue.done(&"fast".parse().unwrap(), false);
        queue.put_first(ids(&["slow/a", "slow/c", "fast/a"]));
        queue.done(&"slow".parse().unwrap(), true);
        assert_eq!(next(&mut queue).as_deref(), Some("fast/a"));
        assert_eq!(next(&mut queue), None);
    }
}

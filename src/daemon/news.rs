//! What happens, passed on to those who subscribed: each has a bounded queue, and hears how much it missed where it is too slow.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tokio::sync::Notify;

use crate::access::Caller;
use crate::audit::Link;
use crate::daemon::answer::Asker;
use crate::daemon::front::Front;
use crate::daemon::trail;
use crate::event::{self, Granted, Usage};
use crate::id::{KeyId, ModelName, Origin, Uid};
use crate::limits::users::{Shares, Taken};
use crate::protocol::alert::Alert;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::live::{self, Event, EventKind, Settled};
use crate::protocol::outcome::Outcome;
use crate::protocol::reply::{Reply, Role};
use crate::protocol::request::{Select, Subscribe};
use crate::time::Timestamp;
use crate::usage::units::Units;

/// Events that wait for one subscriber; past it they are counted and dropped.
const QUEUE_MAX: usize = 1024;

/// Subscribers at a time.
const SUBSCRIBERS: Shares = Shares { all: 256, client: 16, admins: 32 };

/// All who subscribed.
#[derive(Debug, Default)]
pub(crate) struct News {
    subscribers: RwLock<Vec<Arc<Queue>>>,
    count: AtomicUsize,
}

/// What waits for one subscriber.
#[derive(Debug)]
struct Queue {
    uid: Uid,
    kinds: Option<Vec<EventKind>>,
    waiting: Mutex<Waiting>,
    wake: Notify,
}

#[derive(Debug)]
struct Waiting {
    caller: Caller,
    events: VecDeque<Arc<Event>>,
    /// Events after those, which are lost.
    missed: u64,
}

/// A subscriber's end. It is given up when it is dropped.
pub(crate) struct Subscription {
    front: Arc<Front>,
    asker: Asker,
    access_version: u64,
    queue: Arc<Queue>,
}

impl News {
    /// Does anybody listen?
    pub(crate) fn is_heard(&self) -> bool {
        self.count.load(Ordering::Acquire) > 0
    }

    /// How many listen.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Tells everybody who may hear it.
    pub(crate) fn tell(&self, event: Event) {
        let event = Arc::new(event);
        for subscriber in self.subscribers.read().unwrap_or_else(PoisonError::into_inner).iter() {
            subscriber.put(&event);
        }
    }

    fn add(&self, caller: &Caller, queue: Arc<Queue>) -> Result<(), String> {
        let mut subscribers = self.subscribers.write().unwrap_or_else(PoisonError::into_inner);
        let own = subscribers.iter().filter(|other| other.uid == caller.uid).count();
        SUBSCRIBERS.admit(caller.role, subscribers.len(), own).map_err(|taken| match taken {
            Taken::ByAll(most) => format!("{most} subscriptions are open already"),
            Taken::ByClient(most) => format!("uid {} has {most} subscriptions open already", caller.uid),
        })?;
        subscribers.push(queue);
        self.count.store(subscribers.len(), Ordering::Release);
        Ok(())
    }

    fn remove(&self, queue: &Arc<Queue>) {
        let mut subscribers = self.subscribers.write().unwrap_or_else(PoisonError::into_inner);
        subscribers.retain(|other| !Arc::ptr_eq(other, queue));
        self.count.store(subscribers.len(), Ordering::Release);
    }
}

impl Queue {
    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, event: &Arc<Event>) {
        let is_asked_for = |kind| self.kinds.as_ref().is_none_or(|kinds| kinds.contains(&kind));
        if !event.kind().is_none_or(is_asked_for) {
            return;
        }
        let mut waiting = self.lock();
        if !may_hear(&waiting.caller, event) {
            return;
        }
        if waiting.events.len() >= QUEUE_MAX {
            waiting.missed += 1;
            return;
        }
        if let Some(lagged) = waiting.lagged() {
            waiting.events.push_back(lagged);
        }
        waiting.events.push_back(Arc::clone(event));
        drop(waiting);
        self.wake.notify_one();
    }
}

impl Waiting {
    /// What tells of the events that are lost, once.
    fn lagged(&mut self) -> Option<Arc<Event>> {
        let missed = std::mem::take(&mut self.missed);
        (missed > 0).then(|| Arc::new(Event::Lagged { missed }))
    }
}

/// A client hears of alerts about itself, and about its own providers where they are about no other caller.
pub(crate) fn may_hear_alert(caller: &Caller, alert: &Alert) -> bool {
    let is_its = |provider| caller.may_use(provider);
    caller.role == Role::Admin || alert.caller.map_or_else(|| alert.provider.as_ref().is_some_and(is_its), |uid| uid == caller.uid)
}

/// A client hears of its own providers, and of requests its own; the audit trail is for admins.
fn may_hear(caller: &Caller, event: &Event) -> bool {
    let is_own = || match event {
        Event::Lagged { .. } => true,
        Event::Audit(_) => false,
        Event::Alert(alert) => may_hear_alert(caller, alert),
        event => event.provider().is_some_and(|provider| caller.may_use(provider)) && event.caller().is_none_or(|uid| uid == caller.uid),
    };
    match caller.role {
        Role::Admin => true,
        Role::Client => is_own(),
        Role::None => false,
    }
}

impl Subscription {
    /// Joins those who listen.
    ///
    /// # Errors
    /// There are too many already.
    pub(crate) fn new(front: &Arc<Front>, asker: &Asker, request: Subscribe) -> Result<Self, ErrorReply> {
        let access_version = front.desk.access_version();
        let waiting = Waiting { caller: asker.caller.clone(), events: VecDeque::new(), missed: 0 };
        let queue = Arc::new(Queue { uid: asker.caller.uid, kinds: request.kinds, waiting: Mutex::new(waiting), wake: Notify::new() });
        let added = front.desk.news.add(&asker.caller, Arc::clone(&queue));
        added.map_err(|why| ErrorReply::new(ErrorCode::Overloaded, why))?;
        Ok(Self { front: Arc::clone(front), asker: asker.clone(), access_version, queue })
    }

    /// The next event, once there is one; an error where the subscriber may hear no more.
    pub(crate) async fn next(&mut self) -> Reply {
        loop {
            if let Err(denied) = self.admit_anew() {
                return Reply::Error(denied);
            }
            if let Some(event) = self.take() {
                return Reply::Event(event);
            }
            self.queue.wake.notified().await;
        }
    }

    fn take(&self) -> Option<Arc<Event>> {
        let mut waiting = self.queue.lock();
        waiting.events.pop_front().or_else(|| waiting.lagged())
    }

    /// After a reload the subscriber is what the rules of now make it; of what waits, it hears what it still may.
    fn admit_anew(&mut self) -> Result<(), ErrorReply> {
        let version = self.front.desk.access_version();
        if version == self.access_version {
            return Ok(());
        }
        self.access_version = version;
        let caller = self.front.serving().live().access.admit(&self.asker.peer);
        if caller.role == Role::None {
            return Err(ErrorReply::new(
                ErrorCode::Denied,
                format!("uid {} may not subscribe any more: the rules of `access` have changed", caller.uid),
            ));
        }
        let mut waiting = self.queue.lock();
        waiting.events.retain(|event| may_hear(&caller, event));
        waiting.caller = caller;
        Ok(())
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.front.desk.news.remove(&self.queue);
    }
}

/// What it takes to tell of the daemon's own events.
pub(crate) struct Words<'a> {
    pub(crate) units: &'a Units,
    /// Leases that ran out, which their events name by number.
    pub(crate) ran_out: &'a HashMap<u64, Granted>,
}

impl Words<'_> {
    /// An event as subscribers hear it; none: it is not for them, or is told where the states are followed.
    pub(crate) fn of(&self, event: &event::Event) -> Option<Event> {
        match event {
            event::Event::Granted(lease) => Some(Event::Granted(self.granted(lease))),
            event::Event::Settled(settled) => {
                let told = self.settled(&settled.lease, settled.outcome, settled.model.as_ref(), &settled.usage, settled.at.wall);
                Some(Event::Settled(told))
            }
            event::Event::Expired { number, at } => {
                let lease = self.ran_out.get(number)?;
                let usage = Usage { cost: lease.estimate, ..Usage::default() };
                Some(Event::Expired(self.settled(lease, Outcome::Ok, lease.model.as_ref(), &usage, at.wall)))
            }
            event::Event::Recorded(recorded) => {
                let who = (&recorded.key, recorded.caller, None);
                Some(Event::Recorded(self.used(who, recorded.outcome, recorded.model.as_ref(), &recorded.usage, recorded.at.wall)))
            }
            event::Event::Provider { provider, reachable, reason, at } => Some(Event::ProviderState(live::ProviderStateChanged {
                time: at.wall,
                provider: provider.clone(),
                reachable: *reachable,
                reason: reason.clone(),
            })),
            event::Event::Audited(bytes) => {
                let link = Link::of_bytes(bytes)?;
                Some(Event::Audit(trail::row(link.seq, link.entry()?)))
            }
            _ => None,
        }
    }

    fn granted(&self, lease: &Granted) -> live::Granted {
        let Origin { uid, unit } = lease.caller;
        live::Granted {
            time: lease.at.wall,
            provider: lease.key.provider.clone(),
            key_name: lease.key.key.clone(),
            caller: uid,
            unit: self.units.name(unit).cloned(),
            lease: lease.number,
            model: lease.model.clone(),
            estimate_usd: lease.estimate,
            fallback_from: lease.fallback_from.clone(),
        }
    }

    fn settled(&self, lease: &Granted, outcome: Outcome, model: Option<&ModelName>, usage: &Usage, time: Timestamp) -> Settled {
        self.used((&lease.key, lease.caller, Some(lease.number)), outcome, model, usage, time)
    }

    /// Usage of a key by a caller, on a lease where there was one.
    fn used(
        &self,
        (key, caller, lease): (&KeyId, Origin, Option<u64>),
        outcome: Outcome,
        model: Option<&ModelName>,
        usage: &Usage,
        time: Timestamp,
    ) -> Settled {
        Settled {
            time,
            provider: key.provider.clone(),
            key_name: key.key.clone(),
            caller: caller.uid,
            unit: self.units.name(caller.unit).cloned(),
            lease,
            outcome,
            model: model.cloned(),
            input_tokens: usage.input_tokens,
            output_tokens: usage.output_tokens,
            cached_tokens: usage.cached_tokens,
            cost_usd: usage.cost,
            priced: !usage.unpriced,
        }
    }
}

/// A select that got no key, as subscribers hear of it.
pub(crate) fn refused(caller: &Caller, request: &Select, why: &ErrorReply, time: Timestamp) -> Event {
    Event::Refused(live::Refused {
        time,
        provider: request.provider.clone(),
        model: request.model.clone(),
        caller: caller.uid,
        unit: caller.unit.clone(),
        message: why.message.clone(),
        retry_after_ms: why.retry_after_ms,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Grants;
    use crate::limits::Limits;

    fn caller(uid: u32, role: Role, providers: &[&str]) -> Caller {
        let providers = Some(providers.iter().map(|name| name.parse().unwrap()).collect());
        let grants = Grants { rule: "test".to_owned(), providers, limits: Limits::default(), reveal: true };
        Caller { uid: Uid(uid), unit: None, role, grants: Arc::new(grants) }
    }

    fn refusal(uid: u32, provider: &str) -> Event {
        let why = ErrorReply::new(ErrorCode::NoKeyAvailable, "none");
        refused(&caller(uid, Role::Client, &[]), &Select::any(provider.parse().unwrap()), &why, Timestamp::from_unix_millis(0))
    }

    fn queue(caller: Caller, kinds: Option<Vec<EventKind>>) -> Queue {
        Queue { uid: caller.uid, kinds, waiting: Mutex::new(Waiting { caller, events: VecDeque::new(), missed: 0 }), wake: Notify::new() }
    }

    #[test]
    fn a_client_hears_of_its_providers_and_of_its_own_requests() {
        let client = caller(1, Role::Client, &["openai"]);
        assert!(may_hear(&client, &refusal(1, "openai")));
        assert!(!may_hear(&client, &refusal(2, "openai")));
        assert!(!may_hear(&client, &refusal(1, "gemini")));
        assert!(may_hear(&caller(0, Role::Admin, &[]), &refusal(2, "gemini")));
        assert!(!may_hear(&caller(1, Role::None, &[]), &refusal(1, "openai")));
    }

    #[test]
    fn a_slow_subscriber_hears_how_much_it_missed_and_where() {
        let queue = queue(caller(0, Role::Admin, &[]), None);
        let event = Arc::new(refusal(1, "openai"));
        for _ in 0..QUEUE_MAX + 7 {
            queue.put(&event);
        }
        let take = || {
            let mut waiting = queue.lock();
            waiting.events.pop_front().or_else(|| waiting.lagged())
        };
        assert_eq!(take().as_deref(), Some(&*event));
        queue.put(&event);
        for _ in 0..QUEUE_MAX - 1 {
            assert_eq!(take().as_deref(), Some(&*event));
        }
        assert_eq!(take().as_deref(), Some(&Event::Lagged { missed: 7 }));
        assert_eq!(take().as_deref(), Some(&*event));
        assert_eq!(take(), None);
        for _ in 0..QUEUE_MAX + 3 {
            queue.put(&event);
        }
        let heard: Vec<_> = std::iter::from_fn(take).collect();
        assert_eq!((heard.len(), heard.last().map(|last| (**last).clone())), (QUEUE_MAX + 1, Some(Event::Lagged { missed: 3 })));
    }

    #[test]
    fn a_client_leaves_places_to_others_and_all_of_them_some_to_admins() {
        let news = News::default();
        let add = |uid, role| {
            let caller = caller(uid, role, &[]);
            news.add(&caller, Arc::new(queue(caller.clone(), None))).is_ok()
        };
        assert_eq!((0..100).filter(|_| add(1, Role::Client)).count(), SUBSCRIBERS.client);
        assert_eq!((2..1000).filter(|uid| add(*uid, Role::Client)).count(), SUBSCRIBERS.all - SUBSCRIBERS.admins - SUBSCRIBERS.client);
        assert_eq!((0..100).filter(|_| add(0, Role::Admin)).count(), SUBSCRIBERS.admins);
    }

    #[test]
    fn a_subscriber_hears_the_kinds_that_it_asked_for() {
        let queue = queue(caller(0, Role::Admin, &[]), Some(vec![EventKind::Alert]));
        queue.put(&Arc::new(refusal(1, "openai")));
        assert!(queue.lock().events.is_empty());
    }
}

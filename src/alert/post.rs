//! What webhooks have not taken yet: in order, bounded, kept over restarts.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::alert::Notice;
use crate::protocol::alert::AlertKind;
use crate::time::{Steady, Timestamp, backoff};

/// Notices that wait for one webhook; past it the oldest is given up.
const WAITING_MAX: usize = 1000;

/// How long a notice is tried to be delivered.
pub const TRIED_FOR: Duration = Duration::from_secs(3 * 86_400);

/// The first pause after a delivery that failed.
const AGAIN_FIRST: Duration = Duration::from_secs(5);

/// The longest.
const AGAIN_LONGEST: Duration = Duration::from_secs(900);

/// Names a webhook in the store, which is no place for its address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PostId(pub Arc<str>);

/// A webhook, as far as it decides what waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscriber {
    /// Which.
    pub id: PostId,
    /// What it is told of; none: of everything.
    pub kinds: Option<Vec<AlertKind>>,
}

/// The notices that wait, by webhook.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Post {
    notices: BTreeMap<u64, Arc<Notice>>,
    waiting: BTreeMap<PostId, Line>,
    #[serde(skip)]
    subscribers: Vec<Subscriber>,
}

/// What waits for one webhook.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Line {
    notices: VecDeque<u64>,
    given_up: u64,
}

impl Post {
    /// These are the webhooks now. What waits for others is dropped.
    pub fn subscribe(&mut self, subscribers: Vec<Subscriber>) {
        self.waiting.retain(|id, _| subscribers.iter().any(|subscriber| subscriber.id == *id));
        self.subscribers = subscribers;
        self.sweep();
    }

    /// Who is to hear of that kind.
    #[must_use]
    pub fn wanted_by(&self, kind: AlertKind) -> Vec<PostId> {
        let wants = |subscriber: &&Subscriber| kind != AlertKind::Test && subscriber.kinds.as_ref().is_none_or(|kinds| kinds.contains(&kind));
        self.subscribers.iter().filter(wants).map(|subscriber| subscriber.id.clone()).collect()
    }

    /// A notice waits for its webhooks.
    pub fn put(&mut self, notice: &Notice) {
        if notice.posts.is_empty() {
            return;
        }
        self.notices.insert(notice.id, Arc::new(notice.clone()));
        for id in &notice.posts {
            let line = self.waiting.entry(id.clone()).or_default();
            line.notices.push_back(notice.id);
            if line.notices.len() > WAITING_MAX {
                line.notices.pop_front();
                line.given_up += 1;
            }
        }
        self.sweep();
    }

    /// A webhook has taken a notice, or is given up on for it.
    pub fn done(&mut self, id: &PostId, notice: u64, given_up: bool) {
        if let Some(line) = self.waiting.get_mut(id) {
            line.notices.retain(|other| *other != notice);
            line.given_up += u64::from(given_up);
        }
        self.sweep();
    }

    /// The notice that is to be delivered next, and how many wait with it.
    #[must_use]
    pub fn next(&self, id: &PostId) -> Option<(Arc<Notice>, usize)> {
        let line = self.waiting.get(id)?;
        let notice = self.notices.get(line.notices.front()?)?;
        Some((Arc::clone(notice), line.notices.len()))
    }

    /// How many notices wait, over all webhooks.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.values().map(|line| line.notices.len()).sum()
    }

    /// How many notices a webhook was given up on for.
    #[must_use]
    pub fn given_up(&self, id: &PostId) -> u64 {
        self.waiting.get(id).map_or(0, |line| line.given_up)
    }

    /// Drops the notices that nobody waits for.
    fn sweep(&mut self) {
        let lines = &self.waiting;
        self.notices.retain(|id, _| lines.values().any(|line| line.notices.binary_search(id).is_ok()));
    }
}

/// How often a webhook did not take what it was sent, and when it is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retry {
    failures: u32,
    at: Option<Steady>,
}

impl Retry {
    /// It did not; `jitter` (0.0 to 1.0) spreads what comes back.
    pub fn failed(&mut self, now: Steady, jitter: f64) {
        let pause = backoff(AGAIN_FIRST, AGAIN_LONGEST, self.failures, jitter);
        self.failures = self.failures.saturating_add(1).min(16);
        self.at = Some(now.after(pause));
    }

    /// When it is tried again; none: now.
    #[must_use]
    pub fn at(&self, now: Steady) -> Option<Steady> {
        self.at.filter(|at| *at > now)
    }
}

/// Is a notice of that time not worth telling any more?
#[must_use]
pub fn is_stale(told: Timestamp, now: Timestamp) -> bool {
    now.since(told) > TRIED_FOR
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::Cause;
    use crate::protocol::alert::AlertState;
    use crate::time::Now;

    fn id(name: &str) -> PostId {
        PostId(name.into())
    }

    fn notice(number: u64, posts: &[&str]) -> Notice {
        let at = Now { wall: Timestamp::from_unix_millis(0), steady: Steady::from_millis(0) };
        let posts = posts.iter().map(|name| id(name)).collect();
        Notice { id: number, cause: Cause::NetworkDown, state: AlertState::Raised, since: at.wall, at, message: String::new(), money: None, posts }
    }

    fn subscribed(names: &[&str]) -> Post {
        let mut post = Post::default();
        post.subscribe(names.iter().map(|name| Subscriber { id: id(name), kinds: None }).collect());
        post
    }

    fn next(post: &Post, name: &str) -> Option<u64> {
        post.next(&id(name)).map(|(notice, _)| notice.id)
    }

    #[test]
    fn a_webhook_takes_its_notices_in_order_and_no_other_waits_for_it() {
        let mut post = subscribed(&["a", "b"]);
        for number in 1..=3 {
            post.put(&notice(number, &["a", "b"]));
        }
        post.done(&id("a"), 1, false);
        assert_eq!((next(&post, "a"), next(&post, "b"), post.waiting()), (Some(2), Some(1), 5));
        for number in 1..=3 {
            post.done(&id("a"), number, false);
            post.done(&id("b"), number, number == 2);
        }
        assert_eq!((next(&post, "a"), post.waiting(), post.notices.len()), (None, 0, 0));
        assert_eq!((post.given_up(&id("a")), post.given_up(&id("b"))), (0, 1));
    }

    #[test]
    fn what_waits_is_bounded_and_the_oldest_goes() {
        let mut post = subscribed(&["a"]);
        for number in 1..=1003 {
            post.put(&notice(number, &["a"]));
        }
        assert_eq!((post.waiting(), post.notices.len(), next(&post, "a"), post.given_up(&id("a"))), (1000, 1000, Some(4), 3));
    }

    #[test]
    fn what_waits_for_a_webhook_that_left_goes_with_it() {
        let mut post = subscribed(&["a", "b"]);
        post.put(&notice(1, &["a"]));
        post.put(&notice(2, &["b"]));
        let kept = bincode::serde::encode_to_vec(&post, bincode::config::standard()).unwrap();
        let (mut post, _): (Post, usize) = bincode::serde::decode_from_slice(&kept, bincode::config::standard()).unwrap();
        post.subscribe(vec![Subscriber { id: id("b"), kinds: Some(vec![AlertKind::CostLimit]) }]);
        assert_eq!((next(&post, "a"), next(&post, "b"), post.notices.len()), (None, Some(2), 1));
        assert_eq!(post.wanted_by(AlertKind::CostLimit), [id("b")]);
        assert_eq!(post.wanted_by(AlertKind::KeyInvalid), []);
    }

    #[test]
    fn a_webhook_that_fails_is_tried_ever_later_up_to_a_quarter_of_an_hour() {
        let mut retry = Retry::default();
        let start = Steady::from_millis(1_000_000);
        let pauses: Vec<u64> = (0..10)
            .map(|_| {
                retry.failed(start, 0.0);
                retry.at(start).map_or(0, |at| at.since(start).as_secs())
            })
            .collect();
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 320, 640, 900, 900]);
        assert_eq!(retry.at(start.after(Duration::from_secs(900))), None);
    }
}

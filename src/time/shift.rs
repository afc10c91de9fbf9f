//! Moving the clocks: a simulation lets a month pass in a moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crate::time::Timestamp;
use crate::time::clock::wall;

/// How far clocks are moved from the system's, and the handle that moves them, forward only. For simulations and tests: gollmd
/// itself never moves a clock. The default moves none, and costs next to nothing.
///
/// Clones move together. Wall and steady time move by the same span, so that a store whose wall clock ends at the system's is
/// like one that was in use all the time.
#[derive(Debug, Clone, Default)]
pub struct Shift(Option<Arc<Moved>>);

#[derive(Debug)]
struct Moved {
    /// Milliseconds between the system's wall clock and what is shown; below zero in the past.
    millis: AtomicI64,
    /// Wakes who sleeps until a deadline.
    #[cfg(feature = "daemon")]
    jumped: tokio::sync::Notify,
}

impl Shift {
    /// The wall clock shows `at` now and goes on from there.
    #[must_use]
    pub fn starting_at(at: Timestamp) -> Self {
        Self(Some(Arc::new(Moved {
            millis: AtomicI64::new(until(at)),
            #[cfg(feature = "daemon")]
            jumped: tokio::sync::Notify::new(),
        })))
    }

    /// Moves the clocks forward, until the wall clock shows `at`; not where it shows more. What sleeps until a deadline wakes.
    /// The default is not moved.
    pub fn forward_to(&self, at: Timestamp) {
        self.put(until(at));
    }

    /// Moves the clocks forward by `span`.
    pub fn forward(&self, span: Duration) {
        self.put(self.millis().saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)));
    }

    /// How many milliseconds clocks are ahead of the system's; below zero where they are behind.
    #[must_use]
    pub fn millis(&self) -> i64 {
        self.0.as_ref().map_or(0, |moved| moved.millis.load(Ordering::Acquire))
    }

    fn put(&self, millis: i64) {
        if let Some(moved) = &self.0 {
            moved.millis.fetch_max(millis, Ordering::AcqRel);
            #[cfg(feature = "daemon")]
            moved.jumped.notify_one();
        }
    }

    /// Comes when the clocks were moved since it came last: never where nothing moves them.
    #[cfg(feature = "daemon")]
    pub(crate) async fn jumped(&self) {
        match &self.0 {
            Some(moved) => moved.jumped.notified().await,
            None => std::future::pending().await,
        }
    }
}

/// Milliseconds from the system's wall clock to `at`.
fn until(at: Timestamp) -> i64 {
    at.unix_millis().saturating_sub(wall().unix_millis())
}

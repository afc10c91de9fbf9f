//! The clocks: the only file that asks the system for the time.

use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use crate::time::shift::Shift;
use crate::time::{Now, Steady, Timestamp};

/// A source of time. Decisions take a [`Now`]; who calls them holds a `Clock`.
pub trait Clock: Send + Sync {
    /// Reads both clocks.
    fn now(&self) -> Now;
}

fn signed(millis: u64) -> i64 {
    i64::try_from(millis).unwrap_or(i64::MAX)
}

/// Where the steady clock stood, and on which boot of the machine: kept in the store, so that the clock goes on from there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SteadyMark {
    /// The steady clock.
    pub steady: Steady,
    /// Milliseconds since the machine was booted, sleep included.
    pub since_boot: u64,
    /// Names the boot; empty where the system gives none.
    pub boot: String,
}

/// The system's clocks.
#[derive(Debug)]
pub struct SystemClock {
    /// Steady milliseconds minus milliseconds since boot.
    offset: i64,
    boot: String,
    last: Mutex<Steady>,
    shift: Shift,
}

impl SystemClock {
    /// Starts the steady clock, from `mark` where an earlier run left one; `last` is the latest steady time that was noted.
    ///
    /// On the same boot it goes on exactly. After a boot, whose length nobody measured, it goes on from the wall clock,
    /// or from the mark where the wall clock stands before it: a clock set back frees nothing.
    #[must_use]
    pub fn start(mark: Option<&SteadyMark>, last: Steady) -> Self {
        Self::start_shifted(mark, last, Shift::default())
    }

    /// The same, where `shift` moves both clocks. It moves the steady clock by as much as it is moved from now on.
    #[must_use]
    pub fn start_shifted(mark: Option<&SteadyMark>, last: Steady, shift: Shift) -> Self {
        let since_boot = since_boot();
        let boot = boot_name();
        let moved = shift.millis();
        let wall = u64::try_from(wall().unix_millis().saturating_add(moved)).unwrap_or(0);
        let steady = match mark {
            None => wall,
            Some(mark) if mark.boot == boot && !boot.is_empty() && since_boot >= mark.since_boot => {
                mark.steady.millis().saturating_add(since_boot - mark.since_boot)
            }
            Some(mark) => wall.max(mark.steady.millis()),
        }
        .max(last.millis());
        let offset = signed(steady).saturating_sub(signed(since_boot)).saturating_sub(moved);
        Self { offset, boot, last: Mutex::new(Steady::from_millis(0)), shift }
    }

    /// Where the steady clock stands now.
    #[must_use]
    pub fn mark(&self) -> SteadyMark {
        let since_boot = since_boot();
        SteadyMark { steady: self.at(since_boot), since_boot, boot: self.boot.clone() }
    }

    /// What the steady clock would show if nothing had moved it: for what is done so often a minute of real time.
    #[cfg(feature = "daemon")]
    pub(crate) fn unmoved(&self) -> Steady {
        Steady::from_millis(since_boot())
    }

    /// Comes when the clock was moved since it came last.
    #[cfg(feature = "daemon")]
    pub(crate) async fn jumped(&self) {
        self.shift.jumped().await;
    }

    fn at(&self, since_boot: u64) -> Steady {
        let millis = self.offset.saturating_add(signed(since_boot)).saturating_add(self.shift.millis());
        Steady::from_millis(u64::try_from(millis).unwrap_or(0))
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Now {
        let read = self.at(since_boot());
        let mut last = self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *last = read.max(*last);
        let wall = Timestamp::from_unix_millis(wall().unix_millis().saturating_add(self.shift.millis()));
        Now { wall, steady: *last }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the file that reads the clock")]
pub(super) fn wall() -> Timestamp {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}

/// `CLOCK_BOOTTIME` (clock_gettime(2)): monotonic, and counts the time that the machine slept.
#[cfg(all(target_os = "linux", feature = "daemon"))]
fn since_boot() -> u64 {
    let at = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    u64::try_from(at.tv_sec).unwrap_or(0) * 1000 + u64::try_from(at.tv_nsec).unwrap_or(0) / 1_000_000
}

#[cfg(not(all(target_os = "linux", feature = "daemon")))]
#[expect(clippy::disallowed_methods, reason = "this is the file that reads the clock")]
fn since_boot() -> u64 {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    u64::try_from(START.get_or_init(std::time::Instant::now).elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Names this boot of the machine (random(4), `boot_id`), where the system does. Elsewhere anybody could make such a file.
fn boot_name() -> String {
    if !cfg!(target_os = "linux") {
        return String::new();
    }
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_wall_clock_set_back_before_a_boot_does_not_set_back_the_steady_clock() {
        let ahead = SteadyMark { steady: Steady::from_millis(u64::MAX / 4), since_boot: 5, boot: "another boot".to_owned() };
        assert!(SystemClock::start(Some(&ahead), Steady::from_millis(0)).now().steady >= ahead.steady);
    }

    #[test]
    fn on_the_same_boot_the_steady_clock_goes_on_exactly() {
        let first = SystemClock::start(None, Steady::from_millis(0));
        let mark = SteadyMark { steady: Steady::from_millis(1_000), ..first.mark() };
        let second = SystemClock::start(Some(&mark), Steady::from_millis(0));
        if !mark.boot.is_empty() {
            assert!(second.now().steady < Steady::from_millis(60_000));
        }
        assert!(second.now().steady >= Steady::from_millis(1_000));
    }

    #[test]
    fn a_shift_moves_both_clocks_forward_and_leaves_a_mark_that_unmoved_clocks_go_on_from() {
        let today = SystemClock::start(None, Steady::from_millis(0)).now();
        let month = Duration::from_secs(30 * 86_400);
        let shift = Shift::starting_at(today.wall.before(month));
        let clock = SystemClock::start_shifted(None, Steady::from_millis(0), shift.clone());
        let near = |one: Now, other: Now| {
            assert!(one.wall.since(other.wall) < MINUTE && other.wall.since(one.wall) < MINUTE, "{one:?} and {other:?}");
            assert!(one.steady.since(other.steady) < MINUTE && other.steady.since(one.steady) < MINUTE, "{one:?} and {other:?}");
        };
        near(clock.now().after(month), today);
        shift.forward(month / 2);
        near(clock.now().after(month / 2), today);
        // It never goes back.
        shift.forward_to(today.wall.before(month));
        near(clock.now().after(month / 2), today);
        shift.forward_to(today.wall);
        near(clock.now(), today);
        near(SystemClock::start(Some(&clock.mark()), Steady::from_millis(0)).now(), today);
        // The default is one that moves nothing.
        Shift::default().forward(month);
        assert_eq!(Shift::default().millis(), 0);
    }
}

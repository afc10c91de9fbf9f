//! When which requests are made: nights and days, weekdays, busy and idle moments.

use std::time::Duration;

use gollm::time::Timestamp;

use crate::scene::{Model, PROVIDERS, Provider};

/// Requests of one key on a usual day.
const A_DAY: f64 = 165.0;

/// Requests that begin within so long are made together.
const WINDOW: Duration = Duration::from_secs(300);

/// Shares of a weekday's hours, in UTC.
const HOURS: [f64; 24] = [1.0, 0.8, 0.6, 0.5, 0.6, 1.0, 2.0, 4.0, 7.0, 9.0, 10.0, 9.5, 7.5, 8.5, 10.0, 9.5, 8.0, 6.0, 4.0, 3.0, 2.5, 2.0, 1.6, 1.2];

/// Saturday and Sunday against other days.
const WEEKEND: f64 = 0.3;

/// A batch job that needs no lease records what it used so often.
const RECORDED_EVERY: Duration = Duration::from_secs(8 * 3600);

/// A request that a program makes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request {
    pub(crate) provider: &'static Provider,
    pub(crate) model: &'static Model,
    pub(crate) input: u64,
    pub(crate) output: u64,
    pub(crate) cached: u64,
}

/// What happens at one moment.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) at: Timestamp,
    pub(crate) requests: Vec<Request>,
    /// What the batch job used, without a lease.
    pub(crate) recorded: Option<Request>,
}

/// The steps from the beginning to the end, of which none is empty.
pub(crate) struct Plan {
    next: Timestamp,
    end: Timestamp,
    keys: usize,
    next_record: Timestamp,
    rng: fastrand::Rng,
}

impl Plan {
    pub(crate) fn new(begin: Timestamp, end: Timestamp, keys: usize, seed: u64) -> Self {
        Self { next: begin, end, keys, next_record: begin.after(RECORDED_EVERY), rng: fastrand::Rng::with_seed(seed) }
    }

    /// How many requests begin in a window.
    fn count(&mut self, at: Timestamp) -> usize {
        let since_midnight = at.since(at.day().start()).as_secs();
        let hour = usize::try_from(since_midnight / 3600).ok().and_then(|hour| HOURS.get(hour)).copied().unwrap_or(1.0);
        // The first day of 1970 was a Thursday.
        let is_weekend = matches!((at.day().unix_days() + 3).rem_euclid(7), 5 | 6);
        let all: f64 = HOURS.iter().sum();
        let windows = 3600.0 / WINDOW.as_secs_f64();
        let usual = A_DAY * self.keys as f64 * hour / all / windows * if is_weekend { WEEKEND } else { 1.0 };
        (usual * (0.4 + 1.2 * self.rng.f64()) + self.rng.f64()) as usize
    }

    fn request(&mut self) -> Request {
        let provider = self.pick(&PROVIDERS, |provider| provider.share);
        let models: Vec<&'static Model> = provider.models.iter().collect();
        let model = self.pick(&models, |model| model.share);
        let input = self.rng.u64(model.input / 20..=model.input);
        let cached = if self.rng.u8(..10) < 3 { input / 2 } else { 0 };
        Request { provider, model, input, output: self.rng.u64(model.output / 20..=model.output), cached }
    }

    /// One of the candidates, by their shares of a hundred; the first where these come to less.
    fn pick<T>(&mut self, candidates: &[&'static T], share: impl Fn(&T) -> u32) -> &'static T {
        let mut left = self.rng.u32(..100);
        for candidate in candidates {
            match left.checked_sub(share(candidate)) {
                Some(rest) => left = rest,
                None => return candidate,
            }
        }
        candidates.first().copied().unwrap_or_else(|| unreachable!())
    }
}

impl Iterator for Plan {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        loop {
            if self.next >= self.end {
                return None;
            }
            let at = self.next.after(Duration::from_secs(self.rng.u64(..200)));
            let count = self.count(self.next);
            self.next = self.next.after(WINDOW);
            let recorded = (at >= self.next_record).then(|| self.request());
            if recorded.is_some() {
                self.next_record = self.next_record.after(RECORDED_EVERY);
            }
            if count > 0 || recorded.is_some() {
                return Some(Step { at, requests: (0..count).map(|_| self.request()).collect(), recorded });
            }
        }
    }
}

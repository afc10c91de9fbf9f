//! A provider's breaker: failures that are no key's.

use std::time::Duration;

use crate::protocol::outcome::Outcome;
use crate::time::Steady;

/// Failures in a row that open it.
const IN_A_ROW: u32 = 5;

/// Answers in a minute that are enough to judge by their share.
const ENOUGH: u32 = 20;

/// How long it stays open.
const OPEN: Duration = Duration::from_secs(30);

/// Opened by five failures in a row, or by failures in half of at least twenty answers within a minute.
///
/// It is not kept over a restart: it lasts half a minute.
#[derive(Debug, Clone, Default)]
pub struct Breaker {
    in_a_row: u32,
    minute: u64,
    answers: [u32; 2],
    failures: [u32; 2],
    open_until: Option<Steady>,
    /// The one lease that finds out whether the provider has recovered, and when it was given: for as long as the breaker stays
    /// open, no other does.
    trial: Option<(u64, Steady)>,
}

/// How a breaker stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The provider is taken to be reachable.
    Closed,
    /// It fails: others are preferred.
    Open,
    /// It was open, and one lease finds out: this one, where one is out.
    HalfOpen(Option<u64>),
}

impl Breaker {
    /// Takes note of what came of a request.
    pub fn note(&mut self, outcome: Outcome, at: Steady) {
        let failed = match outcome {
            Outcome::Overloaded | Outcome::ServerError | Outcome::Timeout => true,
            Outcome::Cancelled => return,
            _ => false,
        };
        self.turn(at);
        let [answers, _] = &mut self.answers;
        *answers += 1;
        if !failed {
            self.in_a_row = 0;
            self.open_until = None;
            self.trial = None;
            return;
        }
        self.in_a_row += 1;
        let [failures, _] = &mut self.failures;
        *failures += 1;
        let answers: u32 = self.answers.iter().sum();
        let failures: u32 = self.failures.iter().sum();
        if self.in_a_row >= IN_A_ROW || (answers >= ENOUGH && failures * 2 >= answers) {
            self.open_until = Some(at.after(OPEN));
            self.trial = None;
        }
    }

    /// How it stands. After its time it is half open until an answer closes it or a failure opens it again.
    #[must_use]
    pub fn standing(&self, now: Steady) -> Standing {
        match self.open_until {
            None => Standing::Closed,
            Some(until) if until > now => Standing::Open,
            Some(_) => Standing::HalfOpen(self.trial.filter(|(_, given)| given.after(OPEN) > now).map(|(lease, _)| lease)),
        }
    }

    /// A lease was given that finds out whether the provider has recovered.
    pub const fn try_with(&mut self, lease: u64, given: Steady) {
        self.trial = Some((lease, given));
    }

    /// Moves on to the half minute of `at`: the two last are counted.
    fn turn(&mut self, at: Steady) {
        let half = at.millis() / 30_000;
        if half == self.minute {
            return;
        }
        let next = half == self.minute + 1;
        let [recent_answers, _] = self.answers;
        let [recent_failures, _] = self.failures;
        self.answers = [0, if next { recent_answers } else { 0 }];
        self.failures = [0, if next { recent_failures } else { 0 }];
        self.minute = half;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Steady {
        Steady::from_millis(600_000 + seconds * 1000)
    }

    #[test]
    fn five_failures_in_a_row_open_it_for_half_a_minute() {
        let mut breaker = Breaker::default();
        for _ in 0..4 {
            breaker.note(Outcome::Timeout, at(0));
        }
        assert_eq!(breaker.standing(at(0)), Standing::Closed);
        breaker.note(Outcome::ServerError, at(0));
        assert_eq!(breaker.standing(at(29)), Standing::Open);
        assert_eq!(breaker.standing(at(30)), Standing::HalfOpen(None));
    }

    #[test]
    fn half_of_twenty_answers_open_it() {
        let mut breaker = Breaker::default();
        for _ in 0..10 {
            breaker.note(Outcome::Ok, at(1));
            breaker.note(Outcome::Overloaded, at(1));
        }
        assert_eq!(breaker.standing(at(2)), Standing::Open);
    }

    #[test]
    fn after_its_time_one_lease_finds_out() {
        let mut breaker = Breaker::default();
        for _ in 0..5 {
            breaker.note(Outcome::Timeout, at(0));
        }
        assert_eq!(breaker.standing(at(29)), Standing::Open);
        assert_eq!(breaker.standing(at(30)), Standing::HalfOpen(None));
        breaker.try_with(7, at(30));
        assert_eq!(breaker.standing(at(31)), Standing::HalfOpen(Some(7)));
        assert_eq!(breaker.standing(at(60)), Standing::HalfOpen(None));
        // One failure is enough to open it again, one answer to close it.
        breaker.note(Outcome::Timeout, at(32));
        assert_eq!(breaker.standing(at(33)), Standing::Open);
        breaker.note(Outcome::Ok, at(70));
        assert_eq!(breaker.standing(at(70)), Standing::Closed);
    }

    #[test]
    fn an_answer_closes_it_and_a_cancel_says_nothing() {
        let mut breaker = Breaker::default();
        for _ in 0..5 {
            breaker.note(Outcome::Timeout, at(0));
        }
        breaker.note(Outcome::Cancelled, at(1));
        assert_eq!(breaker.standing(at(2)), Standing::Open);
        breaker.note(Outcome::RateLimited, at(3));
        assert_eq!(breaker.standing(at(3)), Standing::Closed);
    }
}

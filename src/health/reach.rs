//! Whether providers can be reached from this machine, and whether any can: one that is down is told apart from no network.
//!
//! It sets nothing aside, and it is not stored: checks and answers find it out anew.

use std::time::Duration;

use crate::health::checked::Contact;
use crate::time::{Now, Steady, Timestamp};

/// First pause before a provider that was not reached is tried again.
const AGAIN_FIRST: Duration = Duration::from_secs(30);

/// Whether one provider can be reached.
#[derive(Debug, Clone, Default)]
pub struct Reach(Option<Missed>);

/// Since when and why a provider is not reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missed {
    /// When it was not reached first.
    pub since: Timestamp,
    /// Why not, the last time, for people.
    pub why: String,
    /// This machine had no network to send anything to.
    pub no_network: bool,
    /// When it was not reached last.
    pub last: Steady,
    /// Failures in a row, which make the pause longer, up to a bound.
    times: u32,
    /// How often it was tried since.
    tries: u32,
    again: Steady,
}

impl Reach {
    /// A check found it so. A provider that was not reached is tried again after a pause that doubles up to `interval`.
    pub fn note(&mut self, contact: &Contact, interval: Duration, now: Now) {
        match contact {
            Contact::Reached => self.0 = None,
            // Something else than the provider answered, or nothing was asked: it is as missed as it was.
            Contact::Untried => {
                if let Some(missed) = &mut self.0 {
                    missed.put_off(interval, now);
                }
            }
            Contact::Missed { why, no_network } => {
                let since = self.0.as_ref().map_or(now.wall, |before| before.since);
                let (times, tries) = self.0.as_ref().map_or((0, 0), |before| (before.times, before.tries));
                let mut missed = Missed { since, why: why.clone(), no_network: *no_network, last: now.steady, times, tries, again: now.steady };
                missed.put_off(interval, now);
                self.0 = Some(missed);
            }
        }
    }

    /// Since when and why it is not reached; none: it is, or nothing is known.
    #[must_use]
    pub const fn missed(&self) -> Option<&Missed> {
        self.0.as_ref()
    }

    /// When it is to be tried again; none: now.
    #[must_use]
    pub fn again(&self, now: Steady) -> Option<Steady> {
        self.0.as_ref().map(|missed| missed.again).filter(|again| *again > now)
    }
}

impl Missed {
    fn put_off(&mut self, interval: Duration, now: Now) {
        let pause = AGAIN_FIRST.saturating_mul(1_u32.checked_shl(self.times).unwrap_or(u32::MAX)).min(interval);
        self.again = now.steady.after(pause);
        self.times = self.times.saturating_add(1).min(16);
        self.tries = self.tries.wrapping_add(1);
    }

    /// Which of `count` keys is to try next: each time another, so that one that is stuck does not stand for all.
    #[must_use]
    pub fn turn(&self, count: usize) -> usize {
        (self.tries as usize).checked_rem(count).unwrap_or(0)
    }
}

/// The network as a whole, by the providers that are not on this machine: when it seems to be down since, and by what sign.
///
/// It does where none of at least two is reached, or where this machine has no network at all.
#[must_use]
pub fn network_down<'a>(providers: impl Iterator<Item = &'a Reach>) -> Option<&'a Missed> {
    let mut count = 0_usize;
    let mut last: Option<&Missed> = None;
    for reach in providers {
        let missed = reach.missed()?;
        count += 1;
        last = last.filter(|other| other.since >= missed.since).or(Some(missed));
    }
    last.filter(|missed| count >= 2 || missed.no_network)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Now {
        let start: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        Now { wall: start, steady: Steady::from_millis(1_000_000_000) }.after(Duration::from_secs(seconds))
    }

    fn missed(no_network: bool) -> Contact {
        Contact::Missed { why: "no connection".to_owned(), no_network }
    }

    #[test]
    fn a_provider_that_is_not_reached_is_tried_again_ever_later() {
        let mut reach = Reach::default();
        let mut pauses = Vec::new();
        for minute in 0..6 {
            reach.note(&missed(false), Duration::from_secs(300), at(minute * 600));
            pauses.push(reach.again(at(minute * 600).steady).unwrap().since(at(minute * 600).steady).as_secs());
        }
        assert_eq!(pauses, [30, 60, 120, 240, 300, 300]);
        assert_eq!(reach.missed().unwrap().since, at(0).wall);
        // What says nothing of it puts it off too: no check follows another without a pause.
        reach.note(&Contact::Untried, Duration::from_secs(300), at(4000));
        assert!(reach.missed().is_some() && reach.again(at(4001).steady).is_some());
        reach.note(&Contact::Reached, Duration::from_secs(300), at(4000));
        assert_eq!(reach.missed(), None);
    }

    #[test]
    fn one_provider_down_is_not_the_network_down() {
        let reach = |contact: Contact, seconds| {
            let mut reach = Reach::default();
            reach.note(&contact, Duration::from_secs(300), at(seconds));
            reach
        };
        let down = |all: &[Reach]| network_down(all.iter()).map(|missed| missed.since);
        assert_eq!(down(&[]), None);
        assert_eq!(down(&[reach(missed(false), 0), reach(Contact::Reached, 0)]), None);
        assert_eq!(down(&[reach(missed(false), 0), Reach::default()]), None);
        assert_eq!(down(&[reach(missed(false), 0)]), None);
        assert_eq!(down(&[reach(missed(true), 0)]), Some(at(0).wall));
        // It is down since the last one was missed.
        assert_eq!(down(&[reach(missed(false), 60), reach(missed(false), 20)]), Some(at(60).wall));
    }
}

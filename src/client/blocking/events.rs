//! What happens, as the daemon tells it, for programs without a runtime.

use std::sync::Arc;
use std::time::Duration;

use crate::client::blocking::link::{Deadline, Failure, Link};
use crate::client::error::Error;
use crate::client::events::Heard;
use crate::client::line::ended;
use crate::protocol::live::Event;
use crate::protocol::request::Op;
use crate::time::clock::SystemClock;

/// What happens, from [`Client::subscribe`](super::Client::subscribe) on, on a connection of its own.
///
/// One that is read too slowly is told by [`Event::Lagged`] how many events it missed. As an iterator it waits for each event, and
/// ends after an error.
pub struct Events {
    link: Link,
    id: u64,
    op: Op,
    clock: SystemClock,
    is_over: bool,
}

/// How long one wait of the iterator takes at most before it waits again.
const TURN: Duration = Duration::from_secs(3600);

impl Events {
    pub(super) fn of(mut link: Link, op: Op, deadline: &Deadline<'_>, within: Duration) -> Result<Self, Error> {
        let id = link.ask(&op, deadline).map_err(|failure| failed(failure, &op, within))?;
        Ok(Self { link, id, op, clock: SystemClock::start(None, crate::time::Steady::default()), is_over: false })
    }

    /// The next event; none: there is none within this time.
    ///
    /// # Errors
    /// The subscription was refused or ended, or the connection broke; subscribe again.
    pub fn next_within(&mut self, within: Duration) -> Result<Option<Arc<Event>>, Error> {
        let deadline = Deadline::within(&self.clock, within);
        loop {
            match self.link.hear(&deadline) {
                Ok(response) => match Heard::of(response, self.id) {
                    Heard::Event(event) => return Ok(Some(event)),
                    Heard::Nothing => {}
                    Heard::Over(end) => return Err(ended(end, &self.op, true)),
                },
                Err(Failure::TimedOut) => return Ok(None),
                Err(failure) => return Err(failed(failure, &self.op, within)),
            }
        }
    }
}

fn failed(failure: Failure, op: &Op, within: Duration) -> Error {
    match failure {
        Failure::Ended { end, sent } => ended(end, op, sent),
        Failure::TimedOut => Error::TimedOut { op: op.name(), within },
        Failure::Unsendable(why) => why,
    }
}

impl Iterator for Events {
    type Item = Result<Arc<Event>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.is_over {
            match self.next_within(TURN) {
                Ok(Some(event)) => return Some(Ok(event)),
                Ok(None) => {}
                Err(why) => {
                    self.is_over = true;
                    return Some(Err(why));
                }
            }
        }
        None
    }
}

//! One connection that is used by one request at a time.

use std::io::{self, Read, Write};
use std::time::Duration;

use crate::client::buffer::{Inbox, encode};
use crate::client::connection::End;
use crate::client::error::Error;
use crate::client::handshake;
use crate::endpoint::{self, BlockingStream, Endpoint};
use crate::protocol::PREAMBLE;
use crate::protocol::reply::{Reply, Response};
use crate::protocol::request::Op;
use crate::time::Steady;
use crate::time::clock::{Clock, SystemClock};

/// How long the report of a lease that is dropped unused may wait for room in the socket.
const POSTING: Duration = Duration::from_millis(1);

pub(super) struct Link {
    stream: BlockingStream,
    inbox: Inbox,
    last_id: u64,
}

/// A request that got no reply. The link can't be used again, but after `Unsendable`.
pub(super) enum Failure {
    /// The connection ended, before or after the whole request was sent.
    Ended { end: End, sent: bool },
    /// The deadline passed.
    TimedOut,
    /// It can't be sent at all.
    Unsendable(Error),
}

/// A moment on the steady clock.
pub(super) struct Deadline<'a> {
    clock: &'a SystemClock,
    at: Steady,
}

impl<'a> Deadline<'a> {
    pub(super) fn within(clock: &'a SystemClock, span: Duration) -> Self {
        Self { clock, at: clock.now().steady.after(span) }
    }

    /// How long it is until then; nothing when it has passed.
    pub(super) fn left(&self) -> Option<Duration> {
        Some(self.at.since(self.clock.now().steady)).filter(|left| !left.is_zero())
    }
}

/// Is it the timeout of the socket, and no fault of the connection?
pub(super) fn is_timeout(why: &io::Error) -> bool {
    matches!(why.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

impl Link {
    /// Connects and says hello.
    pub(super) fn open(endpoint: &Endpoint, deadline: &Deadline<'_>) -> Result<Self, handshake::Failure> {
        let late = || io::Error::from(io::ErrorKind::TimedOut);
        let mut stream = endpoint::connect_blocking(endpoint, deadline.left().ok_or_else(late)?)?;
        stream.set_timeout(Some(deadline.left().ok_or_else(late)?))?;
        stream.write_all(&PREAMBLE)?;
        let mut answer = [0; PREAMBLE.len()];
        let mut rest = answer.as_mut_slice();
        while !rest.is_empty() {
            stream.set_timeout(Some(deadline.left().ok_or_else(late)?))?;
            let count = stream.read(rest)?;
            rest = match rest.split_at_mut_checked(count) {
                Some((_, rest)) if count > 0 => rest,
                _ => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            };
        }
        handshake::check(answer)?;
        Ok(Self { stream, inbox: Inbox::new(), last_id: 0 })
    }

    /// Sends a request, and returns its id.
    pub(super) fn ask(&mut self, op: &Op, deadline: &Deadline<'_>) -> Result<u64, Failure> {
        self.last_id += 1;
        let frame = encode(self.last_id, op).map_err(Failure::Unsendable)?;
        self.send(&frame, deadline)?;
        Ok(self.last_id)
    }

    /// The next message of the daemon, whatever it answers.
    pub(super) fn hear(&mut self, deadline: &Deadline<'_>) -> Result<Response, Failure> {
        loop {
            match self.inbox.take::<Response>() {
                Ok(Some(response)) => return Ok(response),
                Ok(None) if self.read(deadline)? => {}
                Ok(None) => return Err(Failure::Ended { end: End::Lost, sent: true }),
                Err(_) => return Err(Failure::Ended { end: End::Garbled, sent: true }),
            }
        }
    }

    /// Sends a request and waits for its reply; replies to what was only posted are passed over.
    pub(super) fn exchange(&mut self, op: &Op, deadline: &Deadline<'_>) -> Result<Reply, Failure> {
        self.ask(op, deadline)?;
        let mut last_words = None;
        let garbled = || Failure::Ended { end: End::Garbled, sent: true };
        loop {
            match self.inbox.take::<Response>().map_err(|_| garbled())? {
                Some(Response { id: Some(id), reply }) if id == self.last_id => return Ok(reply),
                Some(Response { id: Some(_), .. }) => {}
                Some(Response { id: None, reply: Reply::Error(why) }) => last_words = Some(why),
                Some(_) => return Err(garbled()),
                None if self.read(deadline)? => {}
                None => return Err(Failure::Ended { end: last_words.map_or(End::Lost, End::Refused), sent: true }),
            }
        }
    }

    /// Sends a request whose reply nobody waits for; `false`: the connection can't be used any more.
    pub(super) fn post(&mut self, op: &Op) -> bool {
        self.last_id += 1;
        let frame = encode(self.last_id, op);
        frame.is_ok_and(|frame| self.stream.set_timeout(Some(POSTING)).and_then(|()| self.stream.write_all(&frame)).is_ok())
    }

    fn send(&mut self, frame: &[u8], deadline: &Deadline<'_>) -> Result<(), Failure> {
        let lost = || Failure::Ended { end: End::Lost, sent: false };
        let mut rest = frame;
        while !rest.is_empty() {
            let left = deadline.left().ok_or(Failure::TimedOut)?;
            match self.stream.set_timeout(Some(left)).and_then(|()| self.stream.write(rest)) {
                Ok(0) => return Err(lost()),
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
                Err(why) if is_timeout(&why) => return Err(Failure::TimedOut),
                Err(_) => return Err(lost()),
            }
        }
        Ok(())
    }

    /// Reads what there is; `false`: the connection has ended.
    fn read(&mut self, deadline: &Deadline<'_>) -> Result<bool, Failure> {
        let left = deadline.left().ok_or(Failure::TimedOut)?;
        match self.stream.set_timeout(Some(left)).and_then(|()| self.stream.read(self.inbox.space())) {
            Ok(0) => Ok(false),
            Ok(count) => {
                self.inbox.filled(count);
                Ok(true)
            }
            Err(why) if why.kind() == io::ErrorKind::Interrupted => Ok(true),
            Err(why) if is_timeout(&why) => Err(Failure::TimedOut),
            Err(_) => Ok(false),
        }
    }
}

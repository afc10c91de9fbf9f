//! Bytes on their way: frames that may hold secrets, in buffers that are wiped of them.

use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::{Zeroize, Zeroizing};

use crate::client::error::Error;
use crate::protocol::frame::{self, FrameError, HEADER};
use crate::protocol::request::Op;

/// Room for a frame with the longest secret, so that its buffer never moves and leaves a copy behind.
const ROOM: usize = 16 * 1024;

/// A request, borrowed: the same bytes as [`Request`](crate::protocol::request::Request).
#[derive(Serialize)]
struct Outgoing<'a> {
    id: u64,
    op: &'a Op,
}

/// A request as one frame.
///
/// # Errors
/// It is over the limit of a frame.
pub(super) fn encode(id: u64, op: &Op) -> Result<Zeroizing<Vec<u8>>, Error> {
    let room = if matches!(op, Op::KeySet(_)) { ROOM } else { 512 };
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    match frame::encode(&Outgoing { id, op }, &mut bytes) {
        Ok(()) => Ok(bytes),
        Err(_) => Err(Error::Protocol { what: "the request is larger than the 1 MiB that gollmd takes" }),
    }
}

/// Bytes that were read and are not yet taken as messages.
pub(super) struct Inbox {
    /// Always filled to its length; `start..end` are the bytes that were read.
    bytes: Zeroizing<Vec<u8>>,
    start: usize,
    end: usize,
}

impl Inbox {
    pub(super) fn new() -> Self {
        Self { bytes: Zeroizing::new(vec![0; ROOM]), start: 0, end: 0 }
    }

    /// Where to read to: never empty. Tell [`Inbox::filled`] how much was read.
    pub(super) fn space(&mut self) -> &mut [u8] {
        if self.end == self.bytes.len() {
            self.make_space();
        }
        self.bytes.get_mut(self.end..).unwrap_or_default()
    }

    pub(super) fn filled(&mut self, count: usize) {
        self.end = self.end.saturating_add(count).min(self.bytes.len());
    }

    /// The next message that is there as a whole. Its bytes are wiped.
    ///
    /// # Errors
    /// What was read is no frame, or no such message: the connection can't go on.
    pub(super) fn take<T: DeserializeOwned>(&mut self) -> Result<Option<T>, FrameError> {
        let Some(unread) = self.bytes.get_mut(self.start..self.end) else {
            return Ok(None);
        };
        let Some(length) = frame::body_length(unread)? else {
            return Ok(None);
        };
        let Some(body) = unread.get_mut(HEADER..HEADER + length) else {
            return Ok(None);
        };
        let message = frame::decode(body)?;
        body.zeroize();
        self.start += HEADER + length;
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        Ok(Some(message))
    }

    /// Moves the unread bytes to the front, of a larger buffer where they fill this one.
    fn make_space(&mut self) {
        let unread = self.bytes.get(self.start..self.end).unwrap_or_default();
        let length = unread.len();
        let size = if length > self.bytes.len() / 2 { self.bytes.len() * 2 } else { self.bytes.len() };
        let mut moved = Zeroizing::new(vec![0; size]);
        if let Some(front) = moved.get_mut(..length) {
            front.copy_from_slice(unread);
        }
        // The old buffer is wiped as it is dropped.
        (self.bytes, self.start, self.end) = (moved, 0, length);
    }
}

/// The frame that is being sent. What is left of it stays here when who sends it gives up, so that the connection never
/// stops in the middle of a frame and goes on with another.
pub(super) struct Outbox {
    bytes: Zeroizing<Vec<u8>>,
    sent: usize,
}

impl Outbox {
    pub(super) fn new() -> Self {
        Self { bytes: Zeroizing::new(Vec::with_capacity(ROOM)), sent: 0 }
    }

    pub(super) fn push(&mut self, frame: &[u8]) {
        if self.bytes.capacity() - self.bytes.len() < frame.len() {
            let mut larger = Zeroizing::new(Vec::with_capacity((self.bytes.len() + frame.len()).next_power_of_two()));
            larger.extend_from_slice(&self.bytes);
            self.bytes = larger;
        }
        self.bytes.extend_from_slice(frame);
    }

    /// What is left to send; nothing left is an empty slice.
    pub(super) fn unsent(&self) -> &[u8] {
        self.bytes.get(self.sent..).unwrap_or_default()
    }

    pub(super) fn advance(&mut self, count: usize) {
        self.sent += count;
        if self.sent >= self.bytes.len() {
            // The used bytes only: wiping all the room would cost more than sending.
            self.bytes.as_mut_slice().zeroize();
            self.bytes.clear();
            self.sent = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::MESSAGE_MAX;
    use crate::protocol::request::{Request, Select};

    fn select(id: u64) -> Zeroizing<Vec<u8>> {
        encode(id, &Op::Select(Select::any("openai".parse().unwrap()))).unwrap()
    }

    fn feed(inbox: &mut Inbox, bytes: &[u8]) {
        let space = inbox.space();
        let count = space.len().min(bytes.len());
        space[..count].copy_from_slice(&bytes[..count]);
        inbox.filled(count);
        if count < bytes.len() {
            feed(inbox, &bytes[count..]);
        }
    }

    #[test]
    fn messages_come_out_whole_however_their_bytes_arrive() {
        let mut inbox = Inbox::new();
        let bytes = [select(1).to_vec(), select(2).to_vec()].concat();
        let mut ids = Vec::new();
        for byte in bytes {
            feed(&mut inbox, &[byte]);
            ids.extend(inbox.take::<Request>().unwrap().map(|request| request.id));
        }
        assert_eq!(ids, [1, 2]);
    }

    #[test]
    fn a_message_that_was_taken_leaves_no_bytes_behind() {
        let mut inbox = Inbox::new();
        feed(&mut inbox, &select(1));
        inbox.take::<Request>().unwrap().unwrap();
        assert!(inbox.bytes[HEADER..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn the_buffer_grows_for_a_large_frame_and_not_for_many_small_ones() {
        let mut inbox = Inbox::new();
        for id in 0..1000 {
            feed(&mut inbox, &select(id));
            assert_eq!(inbox.take::<Request>().unwrap().map(|request| request.id), Some(id));
        }
        assert_eq!(inbox.bytes.len(), ROOM);
        let text = "x".repeat(MESSAGE_MAX / 2);
        let mut frame = Vec::new();
        frame::encode(&text, &mut frame).unwrap();
        feed(&mut inbox, &frame);
        assert_eq!(inbox.take::<String>().unwrap().as_deref(), Some(text.as_str()));
    }

    #[test]
    fn what_is_half_sent_goes_on_where_it_stopped() {
        let mut outbox = Outbox::new();
        outbox.push(b"first");
        outbox.advance(2);
        outbox.push(&[b'x'; ROOM]);
        assert!(outbox.unsent().starts_with(b"rstxx"));
        outbox.advance(3 + ROOM);
        assert!(outbox.unsent().is_empty());
    }
}

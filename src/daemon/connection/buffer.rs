//! Bytes in hand: they may hold a secret, so what was used is wiped.

use zeroize::Zeroize;

/// Room for one read.
const ROOM: usize = 16 * 1024;

/// Capacity that an idle buffer keeps.
const IDLE: usize = 64 * 1024;

/// Bytes that were read, or are to be written.
#[derive(Default)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    /// Up to where no line end stands.
    searched: usize,
    /// How often something was consumed.
    taken: u64,
}

impl Buffer {
    /// The bytes in hand.
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// Room behind the bytes in hand; [`Buffer::filled`] says how much of it was used.
    pub(super) fn room(&mut self) -> &mut [u8] {
        if self.bytes.len() < self.end + ROOM {
            self.grow(ROOM);
        }
        self.bytes.get_mut(self.end..).unwrap_or_default()
    }

    pub(super) fn filled(&mut self, count: usize) {
        self.end = (self.end + count).min(self.bytes.len());
    }

    /// Where the first line ends.
    pub(super) fn line_end(&mut self) -> Option<usize> {
        let found = self.bytes().get(self.searched..)?.iter().position(|byte| *byte == b'\n').map(|at| at + self.searched);
        self.searched = if found.is_some() { 0 } else { self.bytes().len() };
        found
    }

    /// How often something was consumed.
    pub(super) const fn taken(&self) -> u64 {
        self.taken
    }

    /// Wipes the first `count` bytes in hand.
    pub(super) fn consume(&mut self, count: usize) {
        self.taken = self.taken.wrapping_add(1);
        let until = (self.start + count).min(self.end);
        if let Some(used) = self.bytes.get_mut(self.start..until) {
            used.zeroize();
        }
        self.start = until;
        self.searched = 0;
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
            if self.bytes.capacity() > IDLE {
                self.bytes = Vec::new();
            }
        }
    }

    pub(super) fn extend(&mut self, bytes: &[u8]) {
        self.write(|out| {
            out.extend_from_slice(bytes);
            true
        });
    }

    /// Lets `writer` append.
    pub(super) fn write(&mut self, writer: impl FnOnce(&mut Vec<u8>) -> bool) -> bool {
        // An append may move the bytes and leave a copy behind: there is room beforehand for all but large answers.
        if self.bytes.capacity() < self.end + ROOM {
            self.grow(ROOM);
        }
        self.bytes.truncate(self.end);
        let written = writer(&mut self.bytes);
        self.end = self.bytes.len();
        written
    }

    /// Wipes what stands behind the first `count` bytes in hand.
    pub(super) fn truncate(&mut self, count: usize) {
        let until = (self.start + count).min(self.end);
        if let Some(rest) = self.bytes.get_mut(until..self.end) {
            rest.zeroize();
        }
        self.end = until;
    }

    /// Wipes all.
    pub(super) fn clear(&mut self) {
        self.consume(self.bytes().len());
    }

    /// Makes room for `more` bytes in a new place and wipes the old one.
    fn grow(&mut self, more: usize) {
        let used = self.bytes().len();
        let mut larger = Vec::with_capacity((used + more).next_power_of_two());
        larger.extend_from_slice(self.bytes());
        larger.resize(larger.capacity(), 0);
        self.bytes.zeroize();
        self.bytes = larger;
        self.start = 0;
        self.end = used;
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(buffer: &mut Buffer, text: &str) {
        buffer.room()[..text.len()].copy_from_slice(text.as_bytes());
        buffer.filled(text.len());
    }

    #[test]
    fn lines_come_in_pieces_and_together() {
        let mut buffer = Buffer::default();
        read(&mut buffer, "ab");
        assert_eq!(buffer.line_end(), None);
        read(&mut buffer, "c\nde\nf");
        assert_eq!(buffer.line_end(), Some(3));
        buffer.consume(4);
        assert_eq!(buffer.line_end(), Some(2));
        buffer.consume(3);
        assert_eq!(buffer.line_end(), None);
        assert_eq!(buffer.bytes(), b"f");
    }

    #[test]
    fn what_was_used_is_wiped() {
        let mut buffer = Buffer::default();
        read(&mut buffer, "secret\nrest");
        buffer.consume(7);
        assert_eq!(buffer.bytes(), b"rest");
        assert!(!String::from_utf8_lossy(&buffer.bytes).contains("secret"));
        buffer.clear();
        assert!(buffer.bytes.iter().all(|byte| *byte == 0));
    }

    #[test]
    fn what_is_written_can_be_taken_back() {
        let mut buffer = Buffer::default();
        buffer.extend(b"keep");
        buffer.extend(&[b'x'; 100_000]);
        buffer.truncate(4);
        assert_eq!(buffer.bytes(), b"keep");
        buffer.extend(b"!");
        assert_eq!(buffer.bytes(), b"keep!");
    }
}

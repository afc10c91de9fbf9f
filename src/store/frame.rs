//! One record of the journal as bytes, and what can be told of bytes that are none.
//!
//! A record is a head of 32 bytes, the sealed body and one end mark, laid at a multiple of 32. A head lies in one
//! sector, and disks write sectors as a whole; space that was never written is zero. So a record that a crash has
//! cut off shows a sector of zeros, and a record without one was written in full: if that one does not open, it is damaged.

use zeroize::Zeroizing;

use crate::vault::cipher::{OVERHEAD, SealKey, Tag, tag_of};
use crate::vault::{Vault, VaultError};

/// The least that a disk writes as a whole, in bytes.
pub(super) const SECTOR: usize = 512;

const HEAD: usize = 32;
const MAGIC: [u8; 4] = *b"gjr\x01";
const END: u8 = 0xa5;

/// Longest plain body of a record, in bytes.
pub(super) const BODY_MAX: usize = 4 << 20;

/// What a record holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// What the caller appended.
    Events,
    /// A part of a checkpoint.
    Changes,
    /// The end of a checkpoint, which makes its parts count.
    Checkpoint,
}

impl Kind {
    const fn code(self) -> u8 {
        match self {
            Self::Events => 1,
            Self::Changes => 2,
            Self::Checkpoint => 3,
        }
    }

    const fn of_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Events),
            2 => Some(Self::Changes),
            3 => Some(Self::Checkpoint),
            _ => None,
        }
    }
}

/// The place of a record in the chain: its number, and the tag of the record before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Link {
    /// Number of the last record, from 1; 0 before the first.
    pub(super) seq: u64,
    /// Tag of that record.
    pub(super) tag: Tag,
}

/// What lies at one place of a segment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// A record; the next one is at `next`.
    Record { kind: Kind, body: Zeroizing<Vec<u8>>, link: Link, next: usize },
    /// Nothing was written here or behind.
    End,
    /// A record that a crash has cut off while it was written. Nothing was written behind it.
    Torn,
    /// Neither: what was here is lost.
    Damaged(&'static str),
}

/// Length of the record that a plain body of `plain` bytes makes.
pub(super) fn length(plain: usize) -> usize {
    (HEAD + plain + OVERHEAD + 1).next_multiple_of(HEAD)
}

/// The keys of one segment, with its whole content where it is read.
pub(super) struct Frames<'a> {
    pub(super) vault: &'a Vault,
    pub(super) key: &'a SealKey,
    pub(super) salt: &'a [u8; 16],
}

impl Frames<'_> {
    /// The bytes of the record that comes after `prev`, and its own place in the chain.
    pub(super) fn encode(&self, kind: Kind, prev: Link, plain: &[u8]) -> Result<(Vec<u8>, Link), VaultError> {
        let seq = prev.seq.saturating_add(1);
        let body = self.key.seal(&aad(kind, seq, &prev.tag), plain)?;
        let size = u32::try_from(body.len()).map_err(|_| VaultError::Unsealable)?;
        let mut record = Vec::with_capacity(length(plain.len()));
        record.extend_from_slice(&MAGIC);
        record.extend_from_slice(&[kind.code(), 0, 0, 0]);
        record.extend_from_slice(&seq.to_le_bytes());
        record.extend_from_slice(&size.to_le_bytes());
        record.extend_from_slice(&[0; 4]);
        let mac = self.vault.mac("record", &[self.salt, &record]);
        record.extend_from_slice(mac.first_chunk::<8>().map_or(&[], |mac| mac.as_slice()));
        record.extend_from_slice(&body);
        record.push(END);
        record.resize(length(plain.len()), 0);
        Ok((record, Link { seq, tag: tag_of(&body) }))
    }

    /// Reads the record that comes after `prev` and lies at `at`.
    pub(super) fn read(&self, segment: &[u8], at: usize, prev: Link) -> Reading {
        let Some(head) = segment.get(at..at.saturating_add(HEAD)) else { return Reading::End };
        if head.iter().all(|byte| *byte == 0) {
            return self.unwritten(segment, at, prev);
        }
        let Some((kind, seq, size)) = self.head(head) else { return Reading::Damaged("the head of a record was changed") };
        if seq != prev.seq.saturating_add(1) {
            return Reading::Damaged("a record is missing");
        }
        let body_at = at + HEAD;
        let next = (body_at + size + 1).next_multiple_of(HEAD);
        let (Some(body), Some(end)) = (segment.get(body_at..body_at + size), segment.get(body_at + size)) else {
            return Reading::Damaged("a record goes beyond the end of its file");
        };
        let opened = self.key.open(&aad(kind, seq, &prev.tag), body);
        match opened {
            Ok(plain) if *end == END => Reading::Record { kind, body: plain, link: Link { seq, tag: tag_of(body) }, next },
            _ if !has_empty_sector(segment, at, body_at + size + 1) => Reading::Damaged("a record was changed"),
            _ if segment.get(next..).is_some_and(|rest| rest.iter().any(|byte| *byte != 0)) => {
                Reading::Damaged("a record is cut, though others follow it")
            }
            _ => Reading::Torn,
        }
    }

    /// What a place means whose head was never written.
    fn unwritten(&self, segment: &[u8], at: usize, prev: Link) -> Reading {
        let rest = segment.get(at..).unwrap_or_default();
        if rest.iter().all(|byte| *byte == 0) {
            return Reading::End;
        }
        let later = rest.chunks(HEAD).filter_map(|head| self.head(head)).any(|(_, seq, _)| seq > prev.seq);
        if later { Reading::Damaged("records are missing before others") } else { Reading::Torn }
    }

    /// Kind, number and length of the sealed body, if these bytes are a head of this segment.
    fn head(&self, head: &[u8]) -> Option<(Kind, u64, usize)> {
        let (named, mac) = head.split_at_checked(HEAD - 8)?;
        if !named.starts_with(&MAGIC) {
            return None;
        }
        let expected = self.vault.mac("record", &[self.salt, named]);
        if expected.first_chunk::<8>().is_none_or(|expected| expected != mac) {
            return None;
        }
        let kind = Kind::of_code(*named.get(4)?)?;
        let seq = u64::from_le_bytes(*named.get(8..)?.first_chunk()?);
        let size = u32::from_le_bytes(*named.get(16..)?.first_chunk()?);
        Some((kind, seq, usize::try_from(size).ok()?))
    }
}

fn aad(kind: Kind, seq: u64, prev: &Tag) -> [u8; 25] {
    let mut aad = [0; 25];
    let parts = [kind.code()].into_iter().chain(seq.to_le_bytes()).chain(*prev);
    for (to, from) in aad.iter_mut().zip(parts) {
        *to = from;
    }
    aad
}

/// Whether a part of `from..to` that lies in one sector is all zero.
fn has_empty_sector(segment: &[u8], from: usize, to: usize) -> bool {
    let mut at = from;
    while at < to {
        let end = (at + 1).next_multiple_of(SECTOR).min(to);
        if segment.get(at..end).is_some_and(|part| part.iter().all(|byte| *byte == 0)) {
            return true;
        }
        at = end;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::StoreId;

    const START: Link = Link { seq: 0, tag: [0; 16] };

    fn with_frames(test: impl FnOnce(&Frames<'_>)) {
        let vault = Vault::new(StoreId([1; 16]), crate::vault::keys::Keys::of_root([2; 32])).unwrap();
        let salt = [3; 16];
        let key = vault.segment_key(&salt).unwrap();
        test(&Frames { vault: &vault, key: &key, salt: &salt });
    }

    fn segment(frames: &Frames<'_>, bodies: &[&[u8]]) -> (Vec<u8>, Vec<usize>) {
        let (mut bytes, mut starts, mut link) = (Vec::new(), Vec::new(), START);
        for body in bodies {
            let (record, next) = frames.encode(Kind::Events, link, body).unwrap();
            starts.push(bytes.len());
            bytes.extend(record);
            link = next;
        }
        starts.push(bytes.len());
        bytes.resize(bytes.len() + 4096, 0);
        (bytes, starts)
    }

    #[test]
    fn records_read_back_in_order() {
        with_frames(|frames| {
            let (bytes, starts) = segment(frames, &[b"one", &[7; 2000], b""]);
            let (mut at, mut link) = (0, START);
            for body in [b"one".to_vec(), vec![7; 2000], Vec::new()] {
                let Reading::Record { kind, body: read, link: new, next } = frames.read(&bytes, at, link) else { panic!("no record at {at}") };
                assert_eq!((kind, read.as_slice(), next - at), (Kind::Events, body.as_slice(), length(body.len())));
                (at, link) = (next, new);
            }
            assert_eq!(at, starts[3]);
            assert_eq!(frames.read(&bytes, at, link), Reading::End);
        });
    }

    #[test]
    fn any_changed_byte_of_the_last_record_is_damage() {
        with_frames(|frames| {
            let (bytes, starts) = segment(frames, &[&[7; 600]]);
            let record = HEAD + 600 + OVERHEAD + 1;
            for at in 0..record {
                let mut changed = bytes.clone();
                changed[at] ^= 0x10;
                assert!(matches!(frames.read(&changed, starts[0], START), Reading::Damaged(_)), "byte {at}");
            }
        });
    }

    #[test]
    fn any_sector_that_was_not_written_makes_the_last_record_torn() {
        with_frames(|frames| {
            let (bytes, _) = segment(frames, &[&[7; 2000]]);
            for sector in 0..4 {
                let mut cut = bytes.clone();
                cut[sector * SECTOR..(sector + 1) * SECTOR].fill(0);
                assert_eq!(frames.read(&cut, 0, START), Reading::Torn, "sector {sector}");
            }
        });
    }

    #[test]
    fn an_unwritten_sector_before_another_record_is_damage() {
        with_frames(|frames| {
            let (bytes, _) = segment(frames, &[&[7; 2000], b"after"]);
            for sector in 0..3 {
                let mut cut = bytes.clone();
                cut[sector * SECTOR..(sector + 1) * SECTOR].fill(0);
                assert!(matches!(frames.read(&cut, 0, START), Reading::Damaged(_)), "sector {sector}");
            }
        });
    }

    #[test]
    fn a_record_of_another_chain_is_damage() {
        with_frames(|frames| {
            let (bytes, _) = segment(frames, &[b"one"]);
            assert!(matches!(frames.read(&bytes, 0, Link { seq: 0, tag: [1; 16] }), Reading::Damaged(_)));
            assert!(matches!(frames.read(&bytes, 0, Link { seq: 5, tag: [0; 16] }), Reading::Damaged(_)));
        });
    }
}

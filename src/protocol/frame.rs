//! The binary codec: a preamble, then frames of a little-endian `u32` length and that many bytes of bincode.

use bincode::config::{Configuration, Fixint, Limit, LittleEndian};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::protocol::MESSAGE_MAX;

/// Bytes of a frame's length.
pub const HEADER: usize = 4;

/// Why bytes are no frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length is above [`MESSAGE_MAX`].
    #[error("a frame of {length} bytes is over the limit of {MESSAGE_MAX}")]
    TooLarge {
        /// The length that the frame claims.
        length: usize,
    },
    /// The bytes in the frame are not the message that was expected.
    #[error("the frame does not hold a message of this version")]
    Malformed,
}

const fn configuration() -> Configuration<LittleEndian, Fixint, Limit<MESSAGE_MAX>> {
    bincode::config::standard().with_fixed_int_encoding().with_limit::<MESSAGE_MAX>()
}

/// Appends `message` as one frame to `out`; leaves `out` as it was on an error.
///
/// # Errors
/// The message is larger than a frame may be.
pub fn encode<T: Serialize>(message: &T, out: &mut Vec<u8>) -> Result<(), FrameError> {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER]);
    let written = bincode::serde::encode_into_std_write(message, out, configuration());
    let length = out.len().saturating_sub(start + HEADER);
    let header = u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
    match (written, out.get_mut(start..start + HEADER)) {
        (Ok(_), Some(place)) if length <= MESSAGE_MAX => {
            place.copy_from_slice(&header);
            Ok(())
        }
        _ => {
            out.truncate(start);
            Err(FrameError::TooLarge { length })
        }
    }
}

/// The length of the first frame's body, where `bytes` holds its header.
///
/// # Errors
/// The frame is over the limit: the connection can't go on.
pub fn body_length(bytes: &[u8]) -> Result<Option<usize>, FrameError> {
    let Some(header) = bytes.first_chunk::<HEADER>() else {
        return Ok(None);
    };
    let length = usize::try_from(u32::from_le_bytes(*header)).unwrap_or(usize::MAX);
    if length > MESSAGE_MAX { Err(FrameError::TooLarge { length }) } else { Ok(Some(length)) }
}

/// Reads the body of a frame; every byte must belong to the message.
///
/// # Errors
/// The bytes are not such a message.
pub fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, FrameError> {
    match bincode::serde::decode_from_slice(body, configuration()) {
        Ok((message, used)) if used == body.len() => Ok(message),
        _ => Err(FrameError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::request::{Op, Request, Select};

    #[test]
    fn a_request_comes_back_as_it_was_sent() {
        let mut out = vec![7];
        let request = Request { id: 9, op: Op::Select(Select::any("openai".parse().unwrap())) };
        encode(&request, &mut out).unwrap();
        let length = body_length(&out[1..]).unwrap().unwrap();
        assert_eq!(out.len(), 1 + HEADER + length);
        let back: Request = decode(&out[1 + HEADER..]).unwrap();
        assert_eq!(back.id, 9);
        assert!(matches!(back.op, Op::Select(select) if select.provider.as_str() == "openai"));
    }

    #[test]
    fn hostile_lengths_are_refused_without_allocating() {
        assert_eq!(body_length(&[1, 2, 3]), Ok(None));
        assert!(matches!(body_length(&u32::MAX.to_le_bytes()), Err(FrameError::TooLarge { .. })));
        let mut body = 1_u64.to_le_bytes().to_vec();
        body.extend_from_slice(&1_u32.to_le_bytes());
        body.extend_from_slice(&u64::MAX.to_le_bytes());
        assert_eq!(decode::<Request>(&body).err(), Some(FrameError::Malformed));
    }

    #[test]
    fn trailing_bytes_are_an_error() {
        let mut out = Vec::new();
        encode(&Request { id: 1, op: Op::Status }, &mut out).unwrap();
        out.push(0);
        assert_eq!(decode::<Request>(&out[HEADER..]).err(), Some(FrameError::Malformed));
    }
}

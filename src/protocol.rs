//! The messages on the wire, as plain data: what a caller may ask and what the daemon answers.
//!
//! The types are the same for both codecs, [`json`] lines and binary [`frame`]s. Enums are externally tagged and
//! snake_case; money is [`Usd`](crate::money::Usd); times are [`Timestamp`](crate::time::Timestamp); no field is left
//! out of a reply, null stands for none. In requests optional fields may be left out of JSON; unknown ones are an error.

pub mod alert;
pub mod bytes;
pub mod error;
pub mod explanation;
pub mod frame;
pub mod json;
pub mod live;
pub mod outcome;
pub mod provider;
pub mod reply;
pub mod request;
pub mod strategy;

/// Largest line or frame in either direction, in bytes.
pub const MESSAGE_MAX: usize = 1024 * 1024;

/// Version of the binary codec, the fifth byte of its preamble.
pub const BINARY_VERSION: u8 = 1;

/// First four bytes of a binary connection.
pub const BINARY_MAGIC: [u8; 4] = *b"GLLM";

/// The preamble with which a binary connection begins, in both directions.
pub const PREAMBLE: [u8; 5] = [b'G', b'L', b'L', b'M', BINARY_VERSION];

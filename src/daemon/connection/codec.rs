//! Bytes in hand to the next request, and a response to bytes, in either codec.

use crate::daemon::connection::buffer::Buffer;
use crate::protocol::reply::Response;
use crate::protocol::request::Request;
use crate::protocol::{MESSAGE_MAX, frame, json};

/// How a connection's messages are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    /// A line each.
    Json,
    /// A frame each.
    Binary,
}

/// What came of looking for the next request.
pub(super) enum Taken {
    /// A request, out of the buffer.
    Request(Request),
    /// What is no request, out of the buffer.
    Malformed { id: Option<u64>, why: String },
    /// An empty line, out of the buffer.
    Blank,
    /// Not all of it is there yet.
    Unfinished,
    /// It is longer than a message may be, and where the next one begins is not known.
    TooLarge(String),
}

impl Codec {
    /// Takes the next request.
    pub(super) fn take(self, input: &mut Buffer) -> Taken {
        match self {
            Codec::Json => take_line(input),
            Codec::Binary => take_frame(input),
        }
    }

    /// Appends a response; `false`: it can't be written.
    pub(super) fn put(self, response: &Response, out: &mut Buffer) -> bool {
        match self {
            Codec::Json => out.write(|out| json::encode_response(response, out).is_ok()),
            Codec::Binary => out.write(|out| frame::encode(response, out).is_ok()),
        }
    }
}

fn take_line(input: &mut Buffer) -> Taken {
    let end = input.line_end();
    if end.unwrap_or(input.bytes().len()) > MESSAGE_MAX {
        return Taken::TooLarge(format!("a line is at most {MESSAGE_MAX} bytes"));
    }
    let Some(end) = end else { return Taken::Unfinished };
    let line = input.bytes().get(..end).unwrap_or_default();
    let taken = match line.trim_ascii() {
        [] => Taken::Blank,
        _ => json::decode_request(line).map_or_else(|bad| Taken::Malformed { id: bad.id, why: bad.message }, Taken::Request),
    };
    input.consume(end + 1);
    taken
}

fn take_frame(input: &mut Buffer) -> Taken {
    let length = match frame::body_length(input.bytes()) {
        Ok(Some(length)) => length,
        Ok(None) => return Taken::Unfinished,
        Err(why) => return Taken::TooLarge(why.to_string()),
    };
    let Some(body) = input.bytes().get(frame::HEADER..frame::HEADER + length) else { return Taken::Unfinished };
    let id = body.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
    let taken = frame::decode(body).map_or_else(|why| Taken::Malformed { id, why: why.to_string() }, Taken::Request);
    input.consume(frame::HEADER + length);
    taken
}

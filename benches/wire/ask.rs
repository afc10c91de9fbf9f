//! Requests as bytes, in both codecs, and the little that the load must read from the answers.

use gollm::protocol::outcome::Outcome;

use gollm::protocol::request::{Op, Report, Request, Select};
use gollm::protocol::{PREAMBLE, frame};

use crate::Failure;

/// The provider that is configured for the measurement.
pub(crate) const PROVIDER: &str = "openai";

/// The codec of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codec {
    Json,
    Binary,
}

impl Codec {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Binary => "binary",
        }
    }

    /// What a connection to gollmd begins with; it is answered in kind.
    pub(crate) const fn greeting(self) -> &'static [u8] {
        match self {
            Self::Json => &[],
            Self::Binary => &PREAMBLE,
        }
    }

    pub(crate) fn select(self) -> Result<Vec<u8>, Failure> {
        match self {
            Self::Json => Ok(format!("{{\"id\":1,\"op\":{{\"select\":{{\"provider\":\"{PROVIDER}\",\"model\":\"gpt-4\"}}}}}}\n").into_bytes()),
            Self::Binary => framed(Op::Select(Select { model: Some("gpt-4".parse()?), ..Select::any(PROVIDER.parse()?) })),
        }
    }

    pub(crate) fn report(self, token: &str, outcome: Outcome) -> Result<Vec<u8>, Failure> {
        match self {
            Self::Json => Ok(format!(
                "{{\"id\":2,\"op\":{{\"report\":{{\"lease\":\"{token}\",\"outcome\":\"{outcome}\",\"input_tokens\":1000,\"output_tokens\":500}}}}}}\n"
            )
            .into_bytes()),
            Self::Binary => framed(Op::Report(Report { input_tokens: Some(1000), output_tokens: Some(500), ..Report::of(token.parse()?, outcome) })),
        }
    }

    /// The length of the first message in `bytes`, if it is whole.
    pub(crate) fn whole(self, bytes: &[u8]) -> Option<usize> {
        match self {
            Self::Json => bytes.iter().position(|byte| *byte == b'\n').map(|end| end + 1),
            Self::Binary => {
                let length = frame::body_length(bytes).ok()?? + frame::HEADER;
                (bytes.len() >= length).then_some(length)
            }
        }
    }
}

fn framed(op: Op) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::with_capacity(512);
    frame::encode(&Request { id: 1, op }, &mut bytes)?;
    Ok(bytes)
}

/// The lease that a reply gives.
pub(crate) fn token(reply: &[u8]) -> Result<&str, Failure> {
    let start = reply.windows(3).position(|window| window == b"gl_").ok_or_else(|| refused(reply))?;
    let rest = reply.get(start..).unwrap_or_default();
    let length = rest.iter().position(|byte| !(byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))).unwrap_or(rest.len());
    Ok(std::str::from_utf8(rest.get(..length).unwrap_or_default())?)
}

/// A reply that is not what was asked for.
pub(crate) fn refused(reply: &[u8]) -> Failure {
    format!("unexpected reply: {}", String::from_utf8_lossy(reply)).into()
}

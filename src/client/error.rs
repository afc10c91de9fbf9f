//! Why a client got no answer, or not the one it wanted.

use std::fmt;
use std::io;
use std::time::Duration;

use crate::endpoint::Endpoint;
use crate::id::InvalidName;
use crate::protocol::error::{ErrorCode, ErrorReply};

/// One place that was tried, and why no daemon answers there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The place.
    pub endpoint: Endpoint,
    /// `NotFound`, `ConnectionRefused`, `PermissionDenied`, …
    pub why: io::ErrorKind,
}

/// What went wrong with a request. It never holds a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No daemon answers at any place where one was looked for. Nothing was sent.
    #[error("no gollm daemon answers (tried {}): start it with `systemctl start gollmd`, or run `gollmd`", Tried(tried))]
    NoDaemon {
        /// Where, in order.
        tried: Vec<Attempt>,
    },
    /// The daemon answered that it can't or won't; see [`Error::code`].
    #[error(transparent)]
    Refused(#[from] ErrorReply),
    /// No answer within the time limit. The daemon may still do what it was asked; a lease that comes too late is given
    /// back by the async client and runs out with the blocking one.
    #[error("gollmd did not answer `{op}` within {} ms", within.as_millis())]
    TimedOut {
        /// What was asked.
        op: &'static str,
        /// The limit.
        within: Duration,
    },
    /// The connection broke. With `sent: false` the daemon has certainly not done what it was asked; with `sent: true` it
    /// may have. The next request connects anew.
    #[error("the connection to gollmd broke {} `{op}` was sent: ask again", if *sent { "after" } else { "before" })]
    ConnectionLost {
        /// What was asked.
        op: &'static str,
        /// Had the daemon all of the request?
        sent: bool,
    },
    /// One side does not keep to the protocol.
    #[error("{what}")]
    Protocol {
        /// Which side, and how.
        what: &'static str,
    },
    /// The daemon speaks another version of the binary protocol.
    #[error("gollmd speaks version {daemon} of its protocol and this program version {client}: bring both to one release of gollm")]
    Version {
        /// The daemon's.
        daemon: u8,
        /// This library's.
        client: u8,
    },
    /// A name that was passed as text is none.
    #[error("not a name: {0}")]
    Name(#[from] InvalidName),
}

impl Error {
    /// What the daemon's refusal says to programs; nothing where it did not answer.
    #[must_use]
    pub const fn code(&self) -> Option<ErrorCode> {
        match self {
            Error::Refused(reply) => Some(reply.code),
            _ => None,
        }
    }

    /// May the same succeed a little later, as after a restart of the daemon?
    pub(super) const fn may_pass(&self) -> bool {
        match self {
            Error::NoDaemon { .. } | Error::TimedOut { .. } | Error::ConnectionLost { .. } => true,
            Error::Refused(reply) => matches!(reply.code, ErrorCode::Internal | ErrorCode::Overloaded),
            _ => false,
        }
    }

    /// When it may be worth asking again, as the daemon says; nothing where it does not, or where only a person can mend it.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Error::Refused(reply) => reply.retry_after(),
            _ => None,
        }
    }
}

/// A list for people.
struct Tried<'a>(&'a [Attempt]);

impl fmt::Display for Tried<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, attempt) in self.0.iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            write!(f, "{comma}{}: {}", attempt.endpoint, attempt.why)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_daemon_is_told_with_where_it_was_looked_for_and_how_to_start_it() {
        let tried = [("/a.sock", io::ErrorKind::NotFound), ("/b.sock", io::ErrorKind::ConnectionRefused)]
            .map(|(path, why)| Attempt { endpoint: Endpoint::at(path), why });
        let text = Error::NoDaemon { tried: tried.to_vec() }.to_string();
        assert!(text.contains("/a.sock: entity not found, /b.sock: connection refused"), "{text}");
        assert!(text.contains("systemctl start gollmd"), "{text}");
    }

    #[test]
    fn a_refusal_tells_its_code_and_when_to_ask_again() {
        let reply = ErrorReply { retry_after_ms: Some(41_000), ..ErrorReply::new(ErrorCode::NoKeyAvailable, "no key") };
        let error = Error::from(reply);
        assert_eq!((error.code(), error.retry_after()), (Some(ErrorCode::NoKeyAvailable), Some(Duration::from_secs(41))));
        assert_eq!(error.to_string(), "no key");
    }
}

//! The way to the daemon: the only file of gollmctl that knows the client.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::client::blocking::{Client, Events};
use crate::client::{Attempt, Error};
use crate::ctl::failure::Failure;
use crate::environment::Environment;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::live::{Event, EventKind};
use crate::protocol::reply::Reply;
use crate::protocol::request::Op;

/// Time for anything that the daemon knows by itself.
pub(crate) const QUICK: Duration = Duration::from_secs(15);

/// Time for live checks, which wait for providers: one at a time each, 30 s a key.
const SLOW: Duration = Duration::from_secs(600);

/// One wait for an event; then it is waited on.
const LISTENING: Duration = Duration::from_secs(3600);

/// A connection to the daemon.
#[derive(Clone)]
pub(crate) struct Link {
    client: Client,
    quick: Duration,
}

/// Connects to the daemon at `socket`, or where clients look for it; `quick` is the time for anything that it knows by itself.
pub(crate) fn connect(socket: Option<&Path>, environment: &Environment, quick: Duration) -> Result<Link, Failure> {
    let builder = Client::builder().timeout(quick);
    let builder = match socket {
        Some(path) => builder.socket(path),
        None => builder,
    };
    let client = builder.connect_blocking(environment).map_err(|error| failure("connect", error))?;
    Ok(Link { client, quick })
}

impl Link {
    /// Asks to be told what happens, of these kinds, or with none named of all.
    pub(crate) fn subscribe(&self, kinds: &[EventKind]) -> Result<Heard, Failure> {
        self.client.with_timeout(self.quick).subscribe(kinds).map(Heard).map_err(|error| failure("subscribe", error))
    }

    /// Asks one thing and waits for the answer; an error of the daemon is a failure.
    pub(crate) fn call(&self, op: Op) -> Result<Reply, Failure> {
        let name = op.name();
        let asks_providers = match &op {
            Op::Validate(_) => true,
            Op::KeySet(set) => set.validate == Some(true),
            _ => false,
        };
        // A key is derived for each slot that is tried, and a keyring may have to be waited for.
        // What changes the store comes one after the other.
        let derives = matches!(
            &op,
            Op::Lock
                | Op::Reload
                | Op::Unlock(_)
                | Op::ChangePassword(_)
                | Op::SlotAdd(_)
                | Op::SlotRemove(_)
                | Op::Rekey
                | Op::Backup(_)
                | Op::Restore(_)
                | Op::AlertTest
        );
        let limit = if asks_providers || derives { SLOW } else { self.quick };
        // The client adds what a select waits.
        self.client.with_timeout(limit).call(op).map_err(|error| failure(name, error))
    }
}

/// What happens, as the daemon tells it.
pub(crate) struct Heard(Events);

impl Heard {
    /// The next event, whenever there is one.
    pub(crate) fn next(&mut self) -> Result<Arc<Event>, Failure> {
        loop {
            if let Some(event) = self.within(LISTENING)? {
                return Ok(event);
            }
        }
    }

    /// The next event; none: there is none within this time.
    pub(crate) fn within(&mut self, time: Duration) -> Result<Option<Arc<Event>>, Failure> {
        self.0.next_within(time).map_err(|error| failure("subscribe", error))
    }
}

fn failure(op: &'static str, error: Error) -> Failure {
    match error {
        Error::NoDaemon { tried } if tried.iter().any(|attempt| attempt.why == ErrorKind::PermissionDenied) => Failure::Refused {
            op,
            reply: ErrorReply::new(
                ErrorCode::Denied,
                format!("tried {}: the socket does not let you in; `access` in the daemon's configuration says who is served", places(&tried)),
            ),
        },
        Error::NoDaemon { tried } => Failure::NoDaemon { tried: places(&tried) },
        Error::Refused(reply) => Failure::Refused { op, reply },
        other => Failure::NoAnswer { op, why: other.to_string() },
    }
}

/// `/a.sock (nobody listens), /b.sock (permission denied)`.
fn places(tried: &[Attempt]) -> String {
    let place = |attempt: &Attempt| match attempt.why {
        ErrorKind::NotFound => format!("{} (not there)", attempt.endpoint),
        ErrorKind::ConnectionRefused => format!("{} (nobody listens)", attempt.endpoint),
        why => format!("{} ({why})", attempt.endpoint),
    };
    tried.iter().map(place).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::Endpoint;

    #[test]
    fn each_place_that_was_tried_is_told_with_what_was_found() {
        let attempt = |path: &str, why| Attempt { endpoint: Endpoint::at(path), why };
        let tried = [attempt("/a.sock", ErrorKind::ConnectionRefused), attempt("/b.sock", ErrorKind::PermissionDenied)];
        assert_eq!(places(&tried), "/a.sock (nobody listens), /b.sock (permission denied)");
        let [missing, closed] = tried;
        assert_eq!(failure("connect", Error::NoDaemon { tried: vec![missing.clone()] }).status(), 3);
        let denied = failure("connect", Error::NoDaemon { tried: vec![missing, closed] });
        assert_eq!(denied.status(), 4);
        assert!(denied.to_string().ends_with("`access` in the daemon's configuration says who is served"), "{denied}");
    }
}

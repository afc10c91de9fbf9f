//! The connection that stands, replaced when it broke; what was asked on a broken one is asked again where that does no harm.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;

use crate::client::connection::{Connection, End, Failure};
use crate::client::error::{Attempt, Error};
use crate::client::handshake;
use crate::endpoint::Endpoint;
use crate::protocol::reply::Reply;
use crate::protocol::request::Op;

pub(super) struct Line {
    places: Vec<Endpoint>,
    current: Mutex<Option<Arc<Connection>>>,
    /// Held by the one task that connects.
    connecting: tokio::sync::Mutex<()>,
    runtime: Handle,
}

impl Line {
    pub(super) fn new(places: Vec<Endpoint>) -> Self {
        Self { places, current: Mutex::new(None), connecting: tokio::sync::Mutex::new(()), runtime: Handle::current() }
    }

    /// Sends `op` and waits for its reply; a second time where [`Client`] says so.
    pub(super) async fn ask(&self, op: &Op, within: Duration) -> Result<Reply, Error> {
        let mut again = true;
        loop {
            match self.connection(within).await?.exchange(op).await {
                Ok(reply) => return Ok(reply),
                Err(Failure::Ended { end: End::Lost, sent }) if again && (!sent || is_repeatable(op)) => again = false,
                Err(Failure::Ended { end, sent }) => return Err(ended(end, op, sent)),
                Err(Failure::Unsendable(why)) => return Err(why),
            }
        }
    }

    /// Where the daemon is looked for.
    pub(super) fn places(&self) -> &[Endpoint] {
        &self.places
    }

    /// Leaves a daemon that answers nothing any more, so that the next request connects anew.
    pub(super) fn end_if_forsaken(&self) {
        if let Some(connection) = self.current() {
            connection.end_if_forsaken();
        }
    }

    /// Runs what nobody waits for in the runtime that the client belongs to, from any thread.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(task);
    }

    fn current(&self) -> Option<Arc<Connection>> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.as_ref().filter(|connection| connection.is_open()).map(Arc::clone)
    }

    /// The connection that stands, or a new one; one task connects for all.
    pub(super) async fn connection(&self, within: Duration) -> Result<Arc<Connection>, Error> {
        if let Some(connection) = self.current() {
            return Ok(connection);
        }
        let _turn = self.connecting.lock().await;
        if let Some(connection) = self.current() {
            return Ok(connection);
        }
        let mut tried = Vec::new();
        for endpoint in &self.places {
            match Connection::open(endpoint, within).await {
                Ok(connection) => {
                    let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
                    *current = Some(Arc::clone(&connection));
                    return Ok(connection);
                }
                Err(handshake::Failure::Final(why)) => return Err(why),
                Err(handshake::Failure::Absent(why)) => tried.push(Attempt { endpoint: endpoint.clone(), why: why.kind() }),
            }
        }
        Err(Error::NoDaemon { tried })
    }
}

/// Does doing it twice do no more than doing it once?
pub(super) const fn is_repeatable(op: &Op) -> bool {
    match op {
        Op::Whoami | Op::Explain(_) | Op::Report(_) | Op::Renew(_) | Op::Status | Op::Keys(_) | Op::Statistics(_) | Op::Health | Op::Alerts => true,
        Op::Validate(validate) => !matches!(validate.spend, Some(true)),
        _ => false,
    }
}

/// What the caller is told when the connection ended under its request.
pub(super) fn ended(end: End, op: &Op, sent: bool) -> Error {
    match end {
        End::Lost => Error::ConnectionLost { op: op.name(), sent },
        End::Garbled => Error::Protocol { what: "gollmd answered with bytes that are no reply of this version" },
        End::Refused(why) => Error::Refused(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::request::{Select, Validate};

    #[test]
    fn what_costs_something_is_not_asked_twice() {
        let validate = |spend| Op::Validate(Validate { spend, ..Validate::default() });
        assert!(is_repeatable(&validate(None)) && is_repeatable(&validate(Some(false))) && is_repeatable(&Op::Status));
        assert!(!is_repeatable(&validate(Some(true))));
        assert!(!is_repeatable(&Op::Select(Select::any("openai".parse().unwrap()))));
    }
}

//! The client for programs without tokio: the same methods, no runtime, no thread.
//!
//! ```no_run
//! # fn ask_provider(_: &str, _: &str) -> (u64, u64) { (1000, 500) }
//! # fn main() -> Result<(), gollm::Error> {
//! let client = gollm::blocking::Client::from_env()?;
//! let lease = client.lease("openai")?;
//! let (input, output) = ask_provider(lease.base_url(), lease.secret().expose());
//! lease.ok(gollm::Usage::tokens(input, output))?;
//! # Ok(()) }
//! ```

mod events;
mod link;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::Duration;

use crate::client::answer::{self, Health};
use crate::client::attempts::{Attempts, CallError, Failed, report_of};
use crate::client::blocking::link::{Deadline, Failure, Link, is_timeout};
use crate::client::builder::{ClientBuilder, TIMEOUT};
use crate::client::connection::End;
use crate::client::error::{Attempt, Error};
use crate::client::handshake;
use crate::client::lease::{GiveBack, Usage};
use crate::client::line::{ended, is_repeatable};
use crate::endpoint::Endpoint;
use crate::environment::Environment;
use crate::id::LeaseId;
use crate::protocol::alert::Alert;
use crate::protocol::explanation::Explanation;
use crate::protocol::live::EventKind;
use crate::protocol::outcome::Outcome;
use crate::protocol::reply::{self, KeyRow, Reply, Reported, Status, Validation, You};
use crate::protocol::request::{Keys, Op, Record, Renew, Report, Select, Statistics, Validate};
use crate::time::clock::SystemClock;

pub use events::Events;

/// A lease that reports without a runtime.
pub type Lease = crate::client::lease::Lease<Client>;

/// A connection to the daemon for programs without a runtime.
///
/// Clones share the connection, and one request at a time is under way on it; threads that should not wait for each other
/// connect on their own. Deadlines, reconnecting and repeating are as with [the other client](crate::client::Client).
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
    timeout: Duration,
}

struct Shared {
    places: Vec<Endpoint>,
    clock: SystemClock,
    link: Mutex<Option<Link>>,
}

impl Client {
    /// Connects to the daemon at `endpoint`, with the default timeout.
    ///
    /// # Errors
    /// No daemon answers there, or not this protocol.
    pub fn connect(endpoint: &Endpoint) -> Result<Self, Error> {
        Self::open(vec![endpoint.clone()], TIMEOUT)
    }

    /// Connects to the daemon that `$GOLLM_SOCKET` names, else the user's own, else the system's.
    ///
    /// # Errors
    /// As [`Client::connect`]; [`Error::NoDaemon`] says where it looked.
    pub fn from_env() -> Result<Self, Error> {
        Self::builder().connect_blocking(&Environment::of_process())
    }

    /// Sets a socket or a timeout first; then [`ClientBuilder::connect_blocking`].
    #[must_use]
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    pub(super) fn open(places: Vec<Endpoint>, timeout: Duration) -> Result<Self, Error> {
        let shared = Shared { places, clock: SystemClock::start(None, crate::time::Steady::default()), link: Mutex::new(None) };
        let deadline = Deadline::within(&shared.clock, timeout);
        let link = shared.connect(&deadline, "connect", timeout)?;
        *shared.link.lock().unwrap_or_else(PoisonError::into_inner) = Some(link);
        Ok(Self { shared: Arc::new(shared), timeout })
    }

    /// The same connection with another time limit for its requests.
    #[must_use]
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        Self { shared: Arc::clone(&self.shared), timeout }
    }

    /// Leases any key of a provider.
    ///
    /// # Errors
    /// See [`Client::select`]; the text is no provider's name.
    pub fn lease(&self, provider: &str) -> Result<Lease, Error> {
        self.select(Select::any(provider.parse()?))
    }

    /// Leases a key.
    ///
    /// # Errors
    /// [`Error::Refused`], with `no_key_available` when every key is set aside or has its limits spent; else see [`Error`].
    pub fn select(&self, select: Select) -> Result<Lease, Error> {
        let grant = answer::lease(self.call(Op::Select(select))?)?;
        Ok(Lease::new(grant, self.clone()))
    }

    /// Makes a request with a key of `provider`: leases one, runs `request` with it, and reports what came of it; again with
    /// another key where that may do. See [the other client's](crate::client::Client::with_key).
    ///
    /// # Errors
    /// The last failure of the request, or why there was no key to try it with.
    pub fn with_key<T, E>(&self, provider: &str, request: impl FnMut(&Lease) -> Result<(T, Usage), Failed<E>>) -> Result<T, CallError<E>> {
        let provider = provider.parse().map_err(Error::from)?;
        self.with_key_for(Select::any(provider), request)
    }

    /// As [`Client::with_key`], with all that a select can say.
    ///
    /// # Errors
    /// As [`Client::with_key`].
    pub fn with_key_for<T, E>(&self, select: Select, mut request: impl FnMut(&Lease) -> Result<(T, Usage), Failed<E>>) -> Result<T, CallError<E>> {
        let mut attempts = Attempts::new(select);
        loop {
            let lease = match self.select(attempts.select()) {
                Ok(lease) => lease,
                Err(why) => return Err(attempts.no_key(why)),
            };
            match request(&lease) {
                Ok((value, usage)) => {
                    self.deliver(&lease.answered(usage));
                    return Ok(value);
                }
                Err(failed) => {
                    self.deliver(&report_of(&failed, lease.touch(failed.outcome)));
                    let (next, pause) = attempts.failed(lease.key(), failed, fastrand::f64())?;
                    attempts = next;
                    std::thread::sleep(pause);
                }
            }
        }
    }

    /// Reports. The request itself is done: its answer does not fail for a report that the daemon does not take, which is tried
    /// once more where that may help. Then the lease runs out and is charged its estimate.
    fn deliver(&self, report: &Report) {
        if self.report(report.clone()).is_err_and(|why| why.may_pass()) {
            self.report(report.clone()).ok();
        }
    }

    /// Which key such a select would be given, and what is against each other one; no lease is taken.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn explain(&self, select: Select) -> Result<Explanation, Error> {
        answer::explanation(self.call(Op::Explain(select))?)
    }

    /// Settles a lease, once: the same again counts nothing. Mostly called through [`Lease::report`].
    ///
    /// # Errors
    /// See [`Error`].
    pub fn report(&self, report: Report) -> Result<Reported, Error> {
        answer::reported(self.call(Op::Report(report))?)
    }

    /// Another `lease_ttl` for a lease. Mostly called through [`Lease::renew`].
    ///
    /// # Errors
    /// See [`Error`].
    pub fn renew(&self, lease: LeaseId) -> Result<reply::Lease, Error> {
        answer::lease(self.call(Op::Renew(Renew { lease }))?)
    }

    /// Books usage that had no lease.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn record(&self, record: Record) -> Result<Reported, Error> {
        answer::reported(self.call(Op::Record(record))?)
    }

    /// The daemon at a glance.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn status(&self) -> Result<Status, Error> {
        answer::status(self.call(Op::Status)?)
    }

    /// Keys with their states and counters.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn keys(&self, keys: Keys) -> Result<Vec<KeyRow>, Error> {
        answer::keys(self.call(Op::Keys(keys))?)
    }

    /// Usage, by key, model, caller, provider and time.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn statistics(&self, statistics: Statistics) -> Result<reply::Statistics, Error> {
        answer::statistics(self.call(Op::Statistics(statistics))?)
    }

    /// Checks keys, live unless only their shape is asked for. Allow it time with [`Client::with_timeout`].
    ///
    /// # Errors
    /// See [`Error`].
    pub fn validate(&self, validate: Validate) -> Result<Vec<Validation>, Error> {
        answer::validations(self.call(Op::Validate(validate))?)
    }

    /// The health of every key.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn health(&self) -> Result<Health, Error> {
        answer::health(self.call(Op::Health)?)
    }

    /// What happens from now on, of these kinds, or with none named of all, on a connection of its own.
    ///
    /// # Errors
    /// No daemon answers. Whether it refuses, the first event says.
    pub fn subscribe(&self, kinds: &[EventKind]) -> Result<Events, Error> {
        let op = crate::client::events::request(kinds);
        let deadline = Deadline::within(&self.shared.clock, self.timeout);
        let link = self.shared.connect(&deadline, op.name(), self.timeout)?;
        Events::of(link, op, &deadline, self.timeout)
    }

    /// The alerts whose cause is there.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn alerts(&self) -> Result<Vec<Alert>, Error> {
        answer::alerts(self.call(Op::Alerts)?)
    }

    /// Who the daemon takes this process for.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn whoami(&self) -> Result<You, Error> {
        answer::you(self.call(Op::Whoami)?)
    }

    /// Asks anything, and returns any reply but an error.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn call(&self, op: Op) -> Result<Reply, Error> {
        let mut place = self.shared.link.lock().unwrap_or_else(PoisonError::into_inner);
        let within = self.timeout + op.wait();
        let deadline = Deadline::within(&self.shared.clock, within);
        let mut again = true;
        loop {
            // Out of its place while it is used: one that fails is dropped.
            let mut link = match place.take() {
                Some(link) => link,
                None => self.shared.connect(&deadline, op.name(), self.timeout)?,
            };
            match link.exchange(&op, &deadline) {
                Ok(reply) => {
                    *place = Some(link);
                    return if let Reply::Error(why) = reply { Err(Error::Refused(why)) } else { Ok(reply) };
                }
                Err(Failure::Ended { end: End::Lost, sent }) if again && (!sent || is_repeatable(&op)) => again = false,
                Err(Failure::Ended { end, sent }) => return Err(ended(end, &op, sent)),
                Err(Failure::TimedOut) => return Err(Error::TimedOut { op: op.name(), within }),
                Err(Failure::Unsendable(why)) => {
                    *place = Some(link);
                    return Err(why);
                }
            }
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl GiveBack for Client {
    /// Sends the report if no request is under way, and waits for nothing.
    fn give_back(&self, lease: LeaseId) {
        let mut place = match self.shared.link.try_lock() {
            Ok(place) => place,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        if let Some(mut link) = place.take()
            && link.post(&Op::Report(Report::of(lease, Outcome::Cancelled)))
        {
            *place = Some(link);
        }
    }
}

impl Shared {
    fn connect(&self, deadline: &Deadline<'_>, op: &'static str, within: Duration) -> Result<Link, Error> {
        let mut tried = Vec::new();
        for endpoint in &self.places {
            match Link::open(endpoint, deadline) {
                Ok(link) => return Ok(link),
                Err(handshake::Failure::Final(why)) => return Err(why),
                Err(handshake::Failure::Absent(why)) if is_timeout(&why) => return Err(Error::TimedOut { op, within }),
                Err(handshake::Failure::Absent(why)) => tried.push(Attempt { endpoint: endpoint.clone(), why: why.kind() }),
            }
        }
        Err(Error::NoDaemon { tried })
    }
}

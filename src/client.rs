//! The client: leases keys from the daemon and reports what came of them, with a deadline on everything.
//!
//! ```no_run
//! use gollm::{Client, Outcome, Usage};
//!
//! # async fn ask_provider(_: &str, _: &str) -> Result<(u64, u64), u16> { Ok((1000, 500)) }
//! # async fn example() -> Result<(), gollm::Error> {
//! let client = Client::from_env().await?;
//! let lease = client.lease("openai").await?;
//! match ask_provider(lease.base_url(), lease.secret().expose()).await {
//!     Ok((input, output)) => lease.ok(Usage::tokens(input, output)).await?,
//!     Err(429) => lease.rate_limited(None).await?,
//!     Err(401) => lease.report(Outcome::AuthFailed).await?,
//!     Err(_) => lease.report(Outcome::ServerError).await?,
//! };
//! # Ok(()) }
//! ```
//!
//! When no key can be leased, the error says when it may be worth asking again:
//!
//! ```no_run
//! use gollm::protocol::error::ErrorCode;
//! use gollm::{Client, Error, Lease};
//!
//! # async fn example(client: &Client) -> Result<(), Error> {
//! let lease: Lease = loop {
//!     match client.lease("openai").await {
//!         Err(why) if why.code() == Some(ErrorCode::NoKeyAvailable) => match why.retry_after() {
//!             Some(wait) => tokio::time::sleep(wait).await,
//!             None => return Err(why),
//!         },
//!         Err(Error::NoDaemon { tried }) => panic!("start gollmd; none at {tried:?}"),
//!         other => break other?,
//!     }
//! };
//! # drop(lease);
//! # Ok(()) }
//! ```
//!
//! Programs without tokio use [`blocking::Client`], which has the same methods.

mod answer;
mod attempts;
pub mod blocking;
mod buffer;
mod builder;
mod connection;
mod error;
mod events;
#[cfg(test)]
mod fake;
mod handshake;
mod lease;
mod line;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::client::attempts::{Attempts, report_of};
use crate::client::line::Line;
use crate::endpoint::Endpoint;
use crate::environment::Environment;
use crate::id::LeaseId;
use crate::protocol::alert::Alert;
use crate::protocol::explanation::Explanation;
use crate::protocol::live::EventKind;
use crate::protocol::outcome::Outcome;
use crate::protocol::reply::{self, KeyRow, Reply, Reported, Status, Validation, You};
use crate::protocol::request::{Keys, Op, Record, Renew, Report, Select, Statistics, Validate};

pub use answer::Health;
pub use attempts::{CallError, Failed};
pub use builder::{ClientBuilder, TIMEOUT};
pub use error::{Attempt, Error};
pub use events::Events;
pub use lease::{GiveBack, Lease, Usage};

/// Pauses before a report that was not delivered is tried again.
const DELIVERIES: [Duration; 3] = [Duration::from_millis(200), Duration::from_secs(1), Duration::from_secs(5)];

/// A connection to the daemon that many tasks may share: clones use the same one, and their requests do not wait for each
/// other's replies.
///
/// Every request has a deadline ([`ClientBuilder::timeout`]), connecting included; a select that waits for a key has its wait besides. A connection that broke, as when the
/// daemon was restarted, is replaced at the next request. A request that met the break is sent again, once, if the daemon
/// has certainly not read it as a whole, or if doing it twice does no harm: `report`, which settles a lease once, `renew`,
/// and all that only asks. A `select` that was sent is not repeated, since its lease would be taken twice, nor is a `validate` that spends.
///
/// Dropping a request that is under way is safe; the lease of a dropped `select` is given back when it comes.
///
/// A client belongs to the tokio runtime that it was connected in.
#[derive(Clone)]
pub struct Client {
    line: Arc<Line>,
    timeout: Duration,
}

impl Client {
    /// Connects to the daemon at `endpoint`, with the default timeout.
    ///
    /// # Errors
    /// No daemon answers there, or not this protocol.
    pub async fn connect(endpoint: &Endpoint) -> Result<Self, Error> {
        Self::open(vec![endpoint.clone()], TIMEOUT).await
    }

    /// Connects to the daemon that `$GOLLM_SOCKET` names, else the user's own, else the system's.
    ///
    /// # Errors
    /// As [`Client::connect`]; [`Error::NoDaemon`] says where it looked.
    pub async fn from_env() -> Result<Self, Error> {
        Self::builder().connect(&Environment::of_process()).await
    }

    /// Sets a socket or a timeout first.
    #[must_use]
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    async fn open(places: Vec<Endpoint>, timeout: Duration) -> Result<Self, Error> {
        let client = Self { line: Arc::new(Line::new(places)), timeout };
        match tokio::time::timeout(timeout, client.line.connection(timeout)).await {
            Ok(connected) => connected.map(|_| client),
            Err(_) => Err(Error::TimedOut { op: "connect", within: timeout }),
        }
    }

    /// The same connection with another time limit for its requests.
    #[must_use]
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        Self { line: Arc::clone(&self.line), timeout }
    }

    /// Leases any key of a provider.
    ///
    /// # Errors
    /// See [`Client::select`]; the text is no provider's name.
    pub async fn lease(&self, provider: &str) -> Result<Lease, Error> {
        self.select(Select::any(provider.parse()?)).await
    }

    /// Leases a key.
    ///
    /// # Errors
    /// [`Error::Refused`], with `no_key_available` when every key is set aside or has its limits spent; else see [`Error`].
    pub async fn select(&self, select: Select) -> Result<Lease, Error> {
        let grant = answer::lease(self.call(Op::Select(select)).await?)?;
        Ok(Lease::new(grant, self.clone()))
    }

    /// Makes a request with a key of `provider`: leases one, runs `request` with it, and reports what came of it. Where
    /// another key may do, it is tried with another one, never twice with the same, as long as there are keys that can be
    /// leased; where the provider failed, after a pause.
    ///
    /// ```no_run
    /// use gollm::{Client, Failed, Outcome, Usage};
    ///
    /// # async fn ask(_: &str, _: &str) -> Result<(String, u64, u64), u16> { Ok((String::new(), 1000, 500)) }
    /// # async fn example(client: &Client) -> Result<(), gollm::CallError<u16>> {
    /// let text = client
    ///     .with_key("openai", async |lease| {
    ///         match ask(lease.base_url(), lease.secret().expose()).await {
    ///             Ok((text, input, output)) => Ok((text, Usage::tokens(input, output))),
    ///             Err(429) => Err(Failed::new(Outcome::RateLimited, 429)),
    ///             Err(401) => Err(Failed::new(Outcome::AuthFailed, 401)),
    ///             Err(status) => Err(Failed::new(Outcome::ServerError, status)),
    ///         }
    ///     })
    ///     .await?;
    /// # drop(text);
    /// # Ok(()) }
    /// ```
    ///
    /// The answer does not depend on the report: one that can't be delivered is tried again in the background for some seconds,
    /// then the lease runs out and is charged its estimate. Dropped while the request is under way, its lease is left to
    /// run out too, as any lease whose secret was read.
    ///
    /// # Errors
    /// The last failure of the request, or why there was no key to try it with.
    pub async fn with_key<T, E, F>(&self, provider: &str, request: impl FnMut(Arc<Lease>) -> F) -> Result<T, CallError<E>>
    where
        F: Future<Output = Result<(T, Usage), Failed<E>>>,
    {
        let provider = provider.parse().map_err(Error::from)?;
        self.with_key_for(Select::any(provider), request).await
    }

    /// As [`Client::with_key`], with all that a select can say.
    ///
    /// # Errors
    /// As [`Client::with_key`].
    pub async fn with_key_for<T, E, F>(&self, select: Select, mut request: impl FnMut(Arc<Lease>) -> F) -> Result<T, CallError<E>>
    where
        F: Future<Output = Result<(T, Usage), Failed<E>>>,
    {
        let mut attempts = Attempts::new(select);
        loop {
            let lease = match self.select(attempts.select()).await {
                Ok(lease) => Arc::new(lease),
                Err(why) => return Err(attempts.no_key(why)),
            };
            match request(Arc::clone(&lease)).await {
                Ok((value, usage)) => {
                    self.deliver(lease.answered(usage)).await;
                    return Ok(value);
                }
                Err(failed) => {
                    self.deliver(report_of(&failed, lease.touch(failed.outcome))).await;
                    let (next, pause) = attempts.failed(lease.key(), failed, fastrand::f64())?;
                    attempts = next;
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    /// Reports. The request itself is done: its answer neither fails nor waits for a report that the daemon does not take. It
    /// is tried again in the background where that may help.
    async fn deliver(&self, report: Report) {
        let Err(why) = self.report(report.clone()).await else { return };
        let client = self.clone();
        self.line.spawn(async move {
            let mut why = why;
            for pause in DELIVERIES {
                if !why.may_pass() {
                    return;
                }
                tokio::time::sleep(pause).await;
                match client.report(report.clone()).await {
                    Ok(_) => return,
                    Err(again) => why = again,
                }
            }
        });
    }

    /// Which key such a select would be given, and what is against each other one; no lease is taken.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn explain(&self, select: Select) -> Result<Explanation, Error> {
        answer::explanation(self.call(Op::Explain(select)).await?)
    }

    /// Settles a lease, once: the same again counts nothing. Mostly called through [`Lease::report`].
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn report(&self, report: Report) -> Result<Reported, Error> {
        answer::reported(self.call(Op::Report(report)).await?)
    }

    /// Another `lease_ttl` for a lease. Mostly called through [`Lease::renew`].
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn renew(&self, lease: LeaseId) -> Result<reply::Lease, Error> {
        answer::lease(self.call(Op::Renew(Renew { lease })).await?)
    }

    /// Books usage that had no lease.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn record(&self, record: Record) -> Result<Reported, Error> {
        answer::reported(self.call(Op::Record(record)).await?)
    }

    /// The daemon at a glance.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn status(&self) -> Result<Status, Error> {
        answer::status(self.call(Op::Status).await?)
    }

    /// Keys with their states and counters.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn keys(&self, keys: Keys) -> Result<Vec<KeyRow>, Error> {
        answer::keys(self.call(Op::Keys(keys)).await?)
    }

    /// Usage, by key, model, caller, provider and time.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn statistics(&self, statistics: Statistics) -> Result<reply::Statistics, Error> {
        answer::statistics(self.call(Op::Statistics(statistics)).await?)
    }

    /// Checks keys, live unless only their shape is asked for. Allow it time with [`Client::with_timeout`].
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn validate(&self, validate: Validate) -> Result<Vec<Validation>, Error> {
        answer::validations(self.call(Op::Validate(validate)).await?)
    }

    /// The health of every key.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn health(&self) -> Result<Health, Error> {
        answer::health(self.call(Op::Health).await?)
    }

    /// What happens from now on, of these kinds, or with none named of all, on a connection of its own.
    ///
    /// ```no_run
    /// use gollm::protocol::live::{Event, EventKind};
    ///
    /// # async fn example(client: &gollm::Client) -> Result<(), gollm::Error> {
    /// let mut events = client.subscribe(&[EventKind::Settled, EventKind::Alert]).await?;
    /// loop {
    ///     match &*events.next().await? {
    ///         Event::Settled(settled) => println!("{}/{}: {}", settled.provider, settled.key_name, settled.cost_usd),
    ///         Event::Alert(alert) => println!("{}", alert.message),
    ///         Event::Lagged { missed } => println!("{missed} events were missed"),
    ///         _ => {}
    ///     }
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    /// No daemon answers. Whether it refuses, the first event says.
    pub async fn subscribe(&self, kinds: &[EventKind]) -> Result<Events, Error> {
        Events::open(self.line.places(), kinds, self.timeout).await
    }

    /// The alerts whose cause is there.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn alerts(&self) -> Result<Vec<Alert>, Error> {
        answer::alerts(self.call(Op::Alerts).await?)
    }

    /// Who the daemon takes this process for.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn whoami(&self) -> Result<You, Error> {
        answer::you(self.call(Op::Whoami).await?)
    }

    /// Asks anything, and returns any reply but an error.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn call(&self, op: Op) -> Result<Reply, Error> {
        let within = self.timeout + op.wait();
        match tokio::time::timeout(within, self.line.ask(&op, self.timeout)).await {
            Ok(Ok(Reply::Error(why))) => Err(Error::Refused(why)),
            Ok(reply) => reply,
            Err(_) => {
                self.line.end_if_forsaken();
                Err(Error::TimedOut { op: op.name(), within })
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
    fn give_back(&self, lease: LeaseId) {
        let client = self.clone();
        self.line.spawn(async move {
            // If it fails, the lease runs out and is charged its estimate.
            client.report(Report::of(lease, Outcome::Cancelled)).await.ok();
        });
    }
}

//! A lease in the hands of a program.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::client::{Client, Error, blocking};
use crate::id::{KeyName, LeaseId, ModelName, ProviderName};
use crate::money::Usd;
use crate::protocol::outcome::Outcome;
use crate::protocol::provider::ProviderResponse;
use crate::protocol::reply::{self, Reported};
use crate::protocol::request::{KeyRef, Report};
use crate::protocol::strategy::Strategy;
use crate::secret::Secret;
use crate::time::Timestamp;

/// The right to make one request with a key, until it is reported or runs out.
///
/// Report what came of the request, whatever it was: that is how keys that fail are set aside, and how costs are counted.
///
/// A lease that is dropped without a report is given back, as by `cancel`, if its [`secret`](Lease::secret) was never
/// read: it can't have been used. That happens in the background, as far as it is possible without waiting; call `cancel`
/// to be sure. If the secret was read, nobody but the program knows whether the request went out: the lease is left to run
/// out, and is then charged its estimate.
pub struct Lease<C: GiveBack = Client> {
    grant: reply::Lease,
    client: C,
    /// Was the secret read, or the lease reported?
    touched: AtomicBool,
}

/// Can give a lease back without waiting for it.
pub trait GiveBack {
    /// Gives `lease` back in the background, as unused. It may fail unseen: then the lease runs out.
    fn give_back(&self, lease: LeaseId);
}

/// What a request that was answered used.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Usage {
    /// Tokens sent, cached ones included.
    pub input_tokens: u64,
    /// Tokens answered.
    pub output_tokens: u64,
    /// How many of the input tokens the provider read from its cache.
    pub cached_tokens: u64,
    /// The cost, where the provider told it: wins over the price.
    pub cost_usd: Option<Usd>,
    /// The model that answered; `None`: the one that was selected for.
    pub model: Option<ModelName>,
}

impl Usage {
    /// Tokens sent and answered.
    #[must_use]
    pub fn tokens(input_tokens: u64, output_tokens: u64) -> Self {
        Self { input_tokens, output_tokens, ..Self::default() }
    }
}

impl<C: GiveBack> Lease<C> {
    pub(super) const fn new(grant: reply::Lease, client: C) -> Self {
        Self { grant, client, touched: AtomicBool::new(false) }
    }

    /// Its token, for a report from elsewhere.
    #[must_use]
    pub const fn id(&self) -> &LeaseId {
        &self.grant.lease
    }

    /// Whose key.
    #[must_use]
    pub const fn provider(&self) -> &ProviderName {
        &self.grant.provider
    }

    /// Its key, to be excluded.
    pub(super) fn key(&self) -> KeyRef {
        KeyRef { provider: self.grant.provider.clone(), key_name: self.grant.key_name.clone() }
    }

    /// Which key.
    #[must_use]
    pub const fn key_name(&self) -> &KeyName {
        &self.grant.key_name
    }

    /// The key's text. From here on the lease counts as used, and is not given back when it is dropped.
    #[must_use]
    pub fn secret(&self) -> &Secret {
        self.touched.store(true, Ordering::Relaxed);
        &self.grant.secret
    }

    /// Where to send the request.
    #[must_use]
    pub fn base_url(&self) -> &str {
        &self.grant.base_url
    }

    /// How the key was chosen.
    #[must_use]
    pub const fn strategy(&self) -> Strategy {
        self.grant.strategy
    }

    /// The provider that was asked for, when this is another one.
    #[must_use]
    pub const fn fallback_from(&self) -> Option<&ProviderName> {
        self.grant.fallback_from.as_ref()
    }

    /// After a fallback: the model to ask this provider for instead; `None`: the program must choose.
    #[must_use]
    pub const fn model(&self) -> Option<&ModelName> {
        self.grant.model.as_ref()
    }

    /// When the key was leased before this.
    #[must_use]
    pub const fn last_used(&self) -> Option<Timestamp> {
        self.grant.last_used
    }

    /// When it runs out, if it is not reported or renewed.
    #[must_use]
    pub const fn expires(&self) -> Timestamp {
        self.grant.expires
    }

    /// A report of this lease; from here on it counts as used.
    pub(super) fn touch(&self, outcome: Outcome) -> Report {
        self.touched.store(true, Ordering::Relaxed);
        Report::of(self.grant.lease.clone(), outcome)
    }

    pub(super) fn answered(&self, usage: Usage) -> Report {
        Report {
            model: usage.model,
            input_tokens: Some(usage.input_tokens),
            output_tokens: Some(usage.output_tokens),
            cached_tokens: Some(usage.cached_tokens),
            cost_usd: usage.cost_usd,
            ..self.touch(Outcome::Ok)
        }
    }

    fn limited(&self, retry_after: Option<Duration>) -> Report {
        let retry_after_ms = retry_after.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        Report { retry_after_ms, ..self.touch(Outcome::RateLimited) }
    }

    fn settlement(&self, report: Report) -> Report {
        self.touched.store(true, Ordering::Relaxed);
        Report { lease: self.grant.lease.clone(), ..report }
    }

    fn heard(&self, response: ProviderResponse) -> Report {
        self.touched.store(true, Ordering::Relaxed);
        Report::answered(self.grant.lease.clone(), response.bounded())
    }
}

impl<C: GiveBack> Drop for Lease<C> {
    fn drop(&mut self) {
        if !self.touched.load(Ordering::Relaxed) {
            self.client.give_back(self.grant.lease.clone());
        }
    }
}

impl<C: GiveBack> fmt::Debug for Lease<C> {
    /// All but the secret and the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let grant = &self.grant;
        f.debug_struct("Lease")
            .field("provider", &grant.provider)
            .field("key_name", &grant.key_name)
            .field("expires", &grant.expires)
            .finish_non_exhaustive()
    }
}

/// The reports of both kinds of lease: the same but for the waiting.
macro_rules! reports {
    ($client:ty $(, $async:ident, $await:tt)?) => {
        impl Lease<$client> {
            /// Settles it: the request was answered.
            ///
            /// # Errors
            /// See [`Error`]; a report that failed may be tried again, and one too many counts nothing.
            pub $($async)? fn ok(&self, usage: Usage) -> Result<Reported, Error> {
                self.client.report(self.answered(usage))$(.$await)?
            }

            /// Settles it: this came of the request.
            ///
            /// # Errors
            /// As [`Lease::ok`].
            pub $($async)? fn report(&self, outcome: Outcome) -> Result<Reported, Error> {
                self.client.report(self.touch(outcome))$(.$await)?
            }

            /// Settles it: the provider asked to wait, for as long as it said, if it did.
            ///
            /// # Errors
            /// As [`Lease::ok`].
            pub $($async)? fn rate_limited(&self, retry_after: Option<Duration>) -> Result<Reported, Error> {
                self.client.report(self.limited(retry_after))$(.$await)?
            }

            /// Settles it by the provider's answer: the daemon reads from it what came of the request, what it used, and how long to
            /// wait. Of a long body its beginning and its end are sent.
            ///
            /// # Errors
            /// As [`Lease::ok`].
            pub $($async)? fn respond(&self, response: ProviderResponse) -> Result<Reported, Error> {
                self.client.report(self.heard(response))$(.$await)?
            }

            /// Settles it with all that a report can say; the report's own lease does not matter.
            ///
            /// # Errors
            /// As [`Lease::ok`].
            pub $($async)? fn settle(&self, report: Report) -> Result<Reported, Error> {
                self.client.report(self.settlement(report))$(.$await)?
            }

            /// Gives it back: no request was made.
            ///
            /// # Errors
            /// As [`Lease::ok`].
            pub $($async)? fn cancel(&self) -> Result<Reported, Error> {
                self.client.report(self.touch(Outcome::Cancelled))$(.$await)?
            }

            /// Another `lease_ttl`, for a request that takes long.
            ///
            /// # Errors
            /// See [`Error`]; the lease stays as it was.
            pub $($async)? fn renew(&mut self) -> Result<(), Error> {
                self.grant = self.client.renew(self.grant.lease.clone())$(.$await)??;
                Ok(())
            }
        }
    };
}

reports!(Client, async, await);
reports!(blocking::Client);

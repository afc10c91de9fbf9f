//! What came of a request to a provider, as it is named everywhere.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::protocol::strategy::UnknownVariant;

/// What came of a request to a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was answered.
    Ok,
    /// Too many requests or tokens for now.
    RateLimited,
    /// The account's credit or quota is spent.
    QuotaExhausted,
    /// The provider does not take the key.
    AuthFailed,
    /// The key may not use this model.
    PermissionDenied,
    /// The provider is overloaded.
    Overloaded,
    /// The provider failed.
    ServerError,
    /// The provider did not answer in time.
    Timeout,
    /// The request itself was wrong.
    BadRequest,
    /// No request was made: the lease is given back.
    Cancelled,
}

impl Outcome {
    /// All of them, with their names.
    pub const ALL: [(&'static str, Outcome); 10] = [
        ("ok", Outcome::Ok),
        ("rate_limited", Outcome::RateLimited),
        ("quota_exhausted", Outcome::QuotaExhausted),
        ("auth_failed", Outcome::AuthFailed),
        ("permission_denied", Outcome::PermissionDenied),
        ("overloaded", Outcome::Overloaded),
        ("server_error", Outcome::ServerError),
        ("timeout", Outcome::Timeout),
        ("bad_request", Outcome::BadRequest),
        ("cancelled", Outcome::Cancelled),
    ];

    /// Its name in messages and statistics.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, outcome)| *outcome == self).map_or("ok", |(name, _)| name)
    }

    /// Did the provider surely answer? Callers tell of what they could not send as a timeout, or as the provider's failure.
    #[must_use]
    pub const fn is_answer(self) -> bool {
        !matches!(self, Outcome::ServerError | Outcome::Timeout | Outcome::Cancelled)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Outcome {
    type Err = UnknownVariant;
    fn from_str(text: &str) -> Result<Self, UnknownVariant> {
        let found = Self::ALL.iter().find(|(name, _)| *name == text);
        found.map(|(_, outcome)| *outcome).ok_or(UnknownVariant {
            allowed: "ok, rate_limited, quota_exhausted, auth_failed, permission_denied, overloaded, server_error, timeout, bad_request, cancelled",
        })
    }
}

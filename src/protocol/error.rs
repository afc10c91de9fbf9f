//! What the daemon answers when it can't do what was asked.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::{KeyName, ProviderName};
use crate::time::Timestamp;

/// Why a request was not done. Programs match on it; people read the message beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The request is malformed, or asks for what can't be.
    BadRequest,
    /// No such provider.
    UnknownProvider,
    /// No such key.
    UnknownKey,
    /// The model is disabled, or not one that the provider may be asked for.
    UnknownModel,
    /// No such lease, or one that ended more than a day ago.
    UnknownLease,
    /// Every key is set aside or has its limits spent.
    NoKeyAvailable,
    /// The caller may not do this.
    Denied,
    /// The store is locked.
    Locked,
    /// The message is over the limit of its size.
    TooLarge,
    /// The binary codec is spoken in another version.
    UnsupportedVersion,
    /// The daemon has as much to do as it takes on.
    Overloaded,
    /// The daemon failed; its log says why.
    Internal,
}

impl ErrorCode {
    /// Its name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            ErrorCode::BadRequest => "bad_request",
            ErrorCode::UnknownProvider => "unknown_provider",
            ErrorCode::UnknownKey => "unknown_key",
            ErrorCode::UnknownModel => "unknown_model",
            ErrorCode::UnknownLease => "unknown_lease",
            ErrorCode::NoKeyAvailable => "no_key_available",
            ErrorCode::Denied => "denied",
            ErrorCode::Locked => "locked",
            ErrorCode::TooLarge => "too_large",
            ErrorCode::UnsupportedVersion => "unsupported_version",
            ErrorCode::Overloaded => "overloaded",
            ErrorCode::Internal => "internal",
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Why one key can't be leased now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Disabled in the configuration or by an admin.
    Disabled,
    /// It has no secret, or its secret can't be opened.
    Sealed,
    /// Its provider does not take it.
    Invalid,
    /// Set aside after the provider's rate limit.
    CoolingDown,
    /// Its account's credit or quota is spent.
    Exhausted,
    /// Set aside for the asked model.
    ModelDenied,
    /// The model is disabled for this provider, or not one that it may be asked for.
    ModelDisabled,
    /// The request excludes it.
    Excluded,
    /// On trial after a set-aside, and its one lease is out.
    OnTrial,
    /// Its provider says that nothing is left of the provider's own limits.
    ProviderLimited,
    /// As many leases in 60 minutes as its `rate_limit` allows.
    RateLimited,
    /// Its `cost_limit` of today is spent or reserved.
    CostLimited,
    /// As many leases in 60 minutes as the caller may have.
    CallerRateLimited,
    /// What the caller may spend today is spent or reserved.
    CallerCostLimited,
    /// `global_rate_limit` is reached.
    GlobalRateLimited,
    /// `daily_cost_limit` is spent or reserved.
    GlobalCostLimited,
}

impl Reason {
    /// What it means, for people.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Reason::Disabled => "disabled",
            Reason::Sealed => "no secret, or it can't be opened",
            Reason::Invalid => "its provider refuses it",
            Reason::CoolingDown => "cooling down after the provider's rate limit",
            Reason::Exhausted => "its account's credit or quota is spent",
            Reason::ModelDenied => "set aside for this model",
            Reason::ModelDisabled => "the model is disabled for this provider",
            Reason::Excluded => "excluded by the request",
            Reason::OnTrial => "on trial, one lease is out",
            Reason::ProviderLimited => "its provider has nothing left for it",
            Reason::RateLimited => "rate_limit reached",
            Reason::CostLimited => "cost_limit reached",
            Reason::CallerRateLimited => "the caller's rate_limit reached",
            Reason::CallerCostLimited => "the caller's cost_limit reached",
            Reason::GlobalRateLimited => "global_rate_limit reached",
            Reason::GlobalCostLimited => "daily_cost_limit reached",
        }
    }
}

/// One key that can't be leased now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRefusal {
    /// Whose key.
    pub provider: ProviderName,
    /// Which key.
    pub key_name: KeyName,
    /// Why not.
    pub reason: Reason,
    /// Until when at most; null when only a person can mend it.
    pub until: Option<Timestamp>,
}

/// An answer that says why not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct ErrorReply {
    /// For programs.
    pub code: ErrorCode,
    /// For people: what happened, and what mends it.
    pub message: String,
    /// When it may be worth asking again; null when only a person can mend it.
    pub retry_after_ms: Option<u64>,
    /// With `no_key_available`: every key that was considered.
    pub keys: Vec<KeyRefusal>,
}

impl ErrorReply {
    /// An error with a message and nothing else.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after_ms: None, keys: Vec::new() }
    }

    /// When it may be worth asking again.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after_ms.map(Duration::from_millis)
    }
}

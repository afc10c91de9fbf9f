//! Headers in which providers say what is left of their limits.

use std::time::Duration;

/// A limit that headers tell of.
#[derive(Debug, Clone, Copy)]
pub struct LimitHeader {
    /// The header with what is left of it.
    pub remaining: &'static str,
    /// When it begins anew.
    pub anew: Anew,
    /// Does it count requests, or tokens?
    pub requests: bool,
}

/// When a limit begins anew.
#[derive(Debug, Clone, Copy)]
pub enum Anew {
    /// As this header says.
    At(&'static str),
    /// After this time at the latest.
    Within(Duration),
}

const fn requests(remaining: &'static str, reset: &'static str) -> LimitHeader {
    LimitHeader { remaining, anew: Anew::At(reset), requests: true }
}

const fn tokens(remaining: &'static str, reset: &'static str) -> LimitHeader {
    LimitHeader { remaining, anew: Anew::At(reset), requests: false }
}

/// A window of so many seconds, which is named and has no reset.
const fn within(remaining: &'static str, seconds: u64, requests: bool) -> LimitHeader {
    LimitHeader { remaining, anew: Anew::Within(Duration::from_secs(seconds)), requests }
}

/// OpenAI, Azure, Groq, xAI and others with its API.
pub(super) static OPENAI: [LimitHeader; 2] =
    [requests("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"), tokens("x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens")];

/// Anthropic, which counts tokens in three ways.
pub(super) static ANTHROPIC: [LimitHeader; 4] = [
    requests("anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-requests-reset"),
    tokens("anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-reset"),
    tokens("anthropic-ratelimit-input-tokens-remaining", "anthropic-ratelimit-input-tokens-reset"),
    tokens("anthropic-ratelimit-output-tokens-remaining", "anthropic-ratelimit-output-tokens-reset"),
];

/// Cerebras.
pub(super) static CEREBRAS: [LimitHeader; 2] = [
    requests("x-ratelimit-remaining-requests-day", "x-ratelimit-reset-requests-day"),
    tokens("x-ratelimit-remaining-tokens-minute", "x-ratelimit-reset-tokens-minute"),
];

/// Mistral.
pub(super) static MISTRAL: [LimitHeader; 3] = [
    within("x-ratelimit-remaining-req-10-second", 10, true),
    within("x-ratelimit-remaining-req-minute", 60, true),
    within("x-ratelimit-remaining-tokens-minute", 60, false),
];

/// OpenRouter and Together.
pub(super) static PLAIN: [LimitHeader; 1] = [requests("x-ratelimit-remaining", "x-ratelimit-reset")];

//! What requests cost, and what none can cost.

use crate::catalogue::prices::Price;
use crate::catalogue::usage::Usage;
use crate::money::{USD_MAX, Usd};
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::request::Estimate;

/// Tokens that one request can have, at most.
const TOKENS_MAX: u64 = 1_000_000_000_000;

/// What a select's estimate comes to; `price` is asked only where it is in tokens.
pub(super) fn estimated(estimate: Option<Estimate>, price: impl FnOnce() -> Option<Price>) -> Usd {
    let Some(estimate) = estimate else {
        return Usd::ZERO;
    };
    let used = Usage { input: estimate.input_tokens.unwrap_or(0), output: estimate.output_tokens.unwrap_or(0), ..Usage::default() };
    let tokens = || price().map_or(Usd::ZERO, |price| price.cost(&used));
    estimate.cost_usd.unwrap_or_else(tokens)
}

/// Refuses what no request can have used.
pub(super) fn sensible(tokens: &[Option<u64>], cost: Option<Usd>) -> Result<(), ErrorReply> {
    if tokens.iter().flatten().any(|tokens| *tokens > TOKENS_MAX) {
        return Err(ErrorReply::new(ErrorCode::BadRequest, format!("no request has more than {TOKENS_MAX} tokens")));
    }
    if cost.is_some_and(|cost| cost > USD_MAX) {
        return Err(ErrorReply::new(ErrorCode::BadRequest, "no request costs more than a thousand million dollars"));
    }
    Ok(())
}

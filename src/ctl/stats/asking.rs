//! Questions for usage: one after the other on one connection, coarser where an answer would be too large.

use crate::ctl::daemon::Link;
use crate::ctl::failure::Failure;
use crate::id::ProviderName;
use crate::protocol::error::ErrorCode;
use crate::protocol::reply::{KeyRow, Reply, Statistics};
use crate::protocol::request::{self, Bucket, Op, Split};

/// Asks for usage.
pub(super) fn statistics(link: &Link, request: &request::Statistics) -> Result<Statistics, Failure> {
    match link.call(Op::Statistics(request.clone()))? {
        Reply::Statistics(statistics) => Ok(statistics),
        _ => Err(Failure::unexpected("statistics")),
    }
}

/// The keys, of this provider alone where one is named: one that is configured no more has usage, and no keys.
pub(super) fn keys_of(link: &Link, only: Option<&ProviderName>) -> Result<Vec<KeyRow>, Failure> {
    let Reply::Keys(mut keys) = link.call(Op::Keys(request::Keys::default()))? else { return Err(Failure::unexpected("keys")) };
    keys.retain(|key| only.is_none_or(|only| key.provider == *only));
    Ok(keys)
}

/// The same usage split otherwise.
pub(super) fn split(request: &request::Statistics, by: &[Split], bucket: Option<Bucket>) -> request::Statistics {
    request::Statistics { by: Some(by.to_vec()), bucket, ..request.clone() }
}

/// The answer to the first of these questions that has not too many rows; none: all have.
pub(super) fn first_that_fits(link: &Link, requests: &[request::Statistics]) -> Result<Option<Statistics>, Failure> {
    for request in requests {
        match statistics(link, request) {
            Err(Failure::Refused { reply, .. }) if reply.code == ErrorCode::TooLarge => {}
            answer => return answer.map(Some),
        }
    }
    Ok(None)
}

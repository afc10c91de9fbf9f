//! The same request by the library's blocking client, to see what it adds.

use std::time::Instant;

use gollm::blocking::Client;
use gollm::endpoint::Endpoint;

use crate::Failure;
use crate::ask::PROVIDER;
use crate::load::{Run, Sample, Target};

/// Selects `turns` times on one connection; the leases are given back afterwards.
pub(crate) fn select(target: &Target, turns: usize) -> Result<Sample, Failure> {
    let client = Client::connect(&Endpoint::at(&target.socket))?;
    let mut leases = Vec::with_capacity(turns);
    let mut spans = Vec::with_capacity(turns);
    let begun = Instant::now();
    for _ in 0..turns {
        let from = Instant::now();
        leases.push(client.lease(PROVIDER)?);
        spans.push(u64::try_from(from.elapsed().as_nanos()).unwrap_or(u64::MAX));
    }
    let ended = Instant::now();
    for lease in leases {
        lease.cancel()?;
    }
    Ok(Sample::of(vec![Run { begun, ended, turns: spans }]))
}

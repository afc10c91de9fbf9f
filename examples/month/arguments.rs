//! The arguments of the example.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Parser;
use clap::builder::RangedU64ValueParser;
use gollm::time::{InvalidTime, Timestamp};

use crate::scene;

/// Fills a store with plausible usage, through a real gollmd whose clock is moved.
///
/// Days and nights, weekdays, an outage, a key that turns invalid, an account without quota, leases that nobody reports: some
/// 140 requests a key and day. It compares what the daemon says of them with what it counted by itself, and prints the commands
/// with which to look at the result. Nothing goes over the network; the keys are made up.
#[derive(Debug, Parser)]
#[command(name = "month", bin_name = "cargo run --release --example month --", max_term_width = 100)]
#[command(
    after_help = "The same seed, days, keys and end make the same requests.\n\nExit status: 0 all is as it was counted, 1 it is not or something failed, 2 wrong arguments."
)]
pub(crate) struct Arguments {
    /// Where the configuration, the socket and the state go; it may exist, without a state in it
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// How many days
    #[arg(long, value_name = "DAYS", default_value_t = 30, value_parser = RangedU64ValueParser::<u32>::new().range(1..=366))]
    pub(crate) days: u32,
    /// How many keys, over all providers
    #[arg(long, value_name = "KEYS", default_value_t = 12, value_parser = RangedU64ValueParser::<usize>::new().range(scene::KEYS_LEAST..=200))]
    pub(crate) keys: usize,
    /// What chance begins with
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    pub(crate) seed: u64,
    /// When the last day ends: `now`, or a time as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", default_value = "now")]
    pub(crate) end: End,
}

/// When the last day ends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum End {
    /// When the example starts.
    Now,
    /// Then.
    At(Timestamp),
}

impl FromStr for End {
    type Err = InvalidTime;
    fn from_str(text: &str) -> Result<Self, InvalidTime> {
        if text == "now" { Ok(Self::Now) } else { text.parse().map(Self::At) }
    }
}

//! How long questions about usage take over a year of hourly data of 100 keys, against a plain sum over the same cells.
//!
//! `cargo bench --bench ledger`

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![expect(clippy::print_stdout, reason = "a benchmark's table is what it is for")]

use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

use gollm::event::Usage;
use gollm::id::{KeyId, ModelName, Origin, Uid};
use gollm::money::Usd;
use gollm::protocol::outcome::Outcome;
use gollm::protocol::request::{Bucket, Split, Statistics};
use gollm::time::Timestamp;
use gollm::usage::{Entry, Ledger};

const KEYS: usize = 100;
const DAYS: u64 = 365;
const MODELS: [&str; 3] = ["gpt-4.1", "gpt-4.1-mini", "claude-sonnet-4-5"];
const CALLERS: [u32; 2] = [1000, 1001];

/// What the baseline adds up: one cell an hour, key, model and caller.
struct Cell {
    tokens: u64,
    cost: i64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let start: Timestamp = "2026-01-01T00:00:00Z".parse()?;
    let (ledger, cells) = filled(start)?;
    let week = Some(start.after(Duration::from_secs(100 * 86_400)));
    let questions = [
        ("by key", question(&[Split::Key], None)),
        ("by provider", question(&[Split::Provider], None)),
        ("by model", question(&[Split::Model], None)),
        ("by caller", question(&[Split::Caller], None)),
        ("by unit", question(&[Split::Unit], None)),
        ("by key, model, caller", question(&[Split::Key, Split::Model, Split::Caller], None)),
        ("a row a day", question(&[], Some(Bucket::Day))),
        ("a row a day and provider", question(&[Split::Provider], Some(Bucket::Day))),
        (
            "a row an hour, a week",
            Statistics { since: week, until: week.map(|at| at.after(Duration::from_secs(7 * 86_400))), ..question(&[], Some(Bucket::Hour)) },
        ),
        ("by key, from noon to noon", Statistics { since: week.map(|at| at.after(Duration::from_secs(43_200))), ..question(&[Split::Key], None) }),
    ];
    let plain = median(|| cells.iter().fold((0, 0), |(tokens, cost), cell| (tokens + cell.tokens, cost + cell.cost)));
    println!("{} cells: a year of {KEYS} keys, {} models, {} callers each; medians of 21", cells.len(), MODELS.len(), CALLERS.len());
    println!("{:<28} {:>10} {:>8}", "question", "ms", "x plain");
    println!("{:<28} {:>10.3} {:>8.2}", "plain sum over all cells", plain * 1e3, 1.0);
    for (name, question) in questions {
        let time = median(|| ledger.answer(&question, &|_| true).map(|answer| answer.rows.len()));
        println!("{name:<28} {:>10.3} {:>8.2}", time * 1e3, time / plain);
    }
    let time = median(|| ledger.view());
    println!("{:<28} {:>10.3} {:>8.2}", "a view, under the lock", time * 1e3, time / plain);
    Ok(())
}

fn question(by: &[Split], bucket: Option<Bucket>) -> Statistics {
    Statistics { by: Some(by.to_vec()), bucket, ..Statistics::default() }
}

fn filled(start: Timestamp) -> Result<(Ledger, Vec<Cell>), Box<dyn Error>> {
    let (mut ledger, mut cells) = (Ledger::default(), Vec::new());
    let models = MODELS.iter().map(|name| name.parse()).collect::<Result<Vec<ModelName>, _>>()?;
    let providers = ["openai", "anthropic", "gemini", "mistral"].into_iter().cycle();
    let keys = (0..KEYS).zip(providers).map(|(number, provider)| format!("{provider}/key-{number}").parse()).collect::<Result<Vec<KeyId>, _>>()?;
    for hour in 0..DAYS * 24 {
        let at = start.after(Duration::from_secs(hour * 3600));
        for (key, model, caller) in keys.iter().flat_map(|key| models.iter().flat_map(move |model| CALLERS.map(|caller| (key, model, caller)))) {
            let usage = Usage { input_tokens: 1000 + hour, output_tokens: 100, cached_tokens: 0, cost: Usd::from_nanos(3_000_000), unpriced: false };
            let outcome = if hour % 50 == 0 { Outcome::RateLimited } else { Outcome::Ok };
            ledger.book(&Entry { key, model: Some(model), caller: Origin::from(Uid(caller)), outcome, usage, at });
            cells.push(Cell { tokens: usage.input_tokens, cost: usage.cost.nanos() });
        }
    }
    Ok((ledger, cells))
}

/// Seconds that it takes, the median of 21 times.
fn median<T>(mut work: impl FnMut() -> T) -> f64 {
    let mut times: Vec<f64> = (0..21)
        .map(|_| {
            let began = Instant::now();
            black_box(work());
            began.elapsed().as_secs_f64()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or_default()
}

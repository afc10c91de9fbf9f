//! The table: ratios of paired rounds, smallest, median and largest.
#![expect(clippy::print_stdout, reason = "this is what the benchmark prints")]

use crate::Failure;
use crate::load::Sample;

/// What a comparison should come to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    /// The ratio of medians of latency.
    MedianAtMost(f64),
    /// The ratio of turns in a second.
    RateAtLeast(f64),
}

/// One comparison, with a pair for each round.
pub(crate) struct Row {
    what: String,
    goal: Option<Goal>,
    pairs: Vec<(Sample, Sample)>,
}

/// Smallest, median and largest.
struct Spread {
    least: f64,
    middle: f64,
    most: f64,
}

impl Spread {
    fn of(figures: impl Iterator<Item = f64>) -> Self {
        let mut figures: Vec<f64> = figures.collect();
        figures.sort_by(f64::total_cmp);
        let at = |place: usize| figures.get(place).copied().unwrap_or(f64::NAN);
        Self { least: at(0), middle: at(figures.len() / 2), most: at(figures.len().saturating_sub(1)) }
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&format!("{:.2} / {:.2} / {:.2}", self.least, self.middle, self.most))
    }
}

impl Row {
    pub(crate) const fn new(what: String, goal: Option<Goal>) -> Self {
        Self { what, goal, pairs: Vec::new() }
    }

    /// Adds a round: what was measured, and what it is compared with.
    pub(crate) fn add(&mut self, own: Sample, base: Sample) {
        self.pairs.push((own, base));
    }

    fn ratio(&self, figure: impl Fn(&Sample) -> f64) -> Spread {
        Spread::of(self.pairs.iter().map(|(own, base)| figure(own) / figure(base)))
    }

    fn line(&self) -> String {
        let (p50, p99, rate) = (self.ratio(|sample| sample.p50), self.ratio(|sample| sample.p99), self.ratio(|sample| sample.rate));
        let own = Spread::of(self.pairs.iter().map(|(own, _)| own.p50)).middle;
        let base = Spread::of(self.pairs.iter().map(|(_, base)| base.p50)).middle;
        let goal = match self.goal {
            Some(Goal::MedianAtMost(most)) => format!("  goal: p50 <= {most}: {}", met(p50.middle <= most)),
            Some(Goal::RateAtLeast(least)) => format!("  goal: rate >= {least}: {}", met(rate.middle >= least)),
            None => String::new(),
        };
        format!("{:46} {p50:20} {p99:22} {rate:20} {own:>8.1} {base:>8.1}{goal}", self.what)
    }
}

const fn met(met: bool) -> &'static str {
    if met { "met" } else { "MISSED" }
}

/// Prints all rows.
pub(crate) fn print(rounds: usize, rows: impl Iterator<Item = Row>) -> Result<(), Failure> {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("{rounds} rounds, interleaved; ratios are min / median / max of the rounds; load average {}", load.trim());
    println!("{:46} {:20} {:22} {:20} {:>8} {:>8}", "", "p50 ratio", "p99 ratio", "rate ratio", "p50 µs", "base µs");
    for row in rows {
        println!("{}", row.line());
    }
    Ok(())
}

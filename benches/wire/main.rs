//! How fast gollmd answers, as ratios to a bare echo server and a bare disk that are measured in the same run.
//!
//! `cargo bench --bench wire` prints the table; `cargo bench --bench wire -- --quick` does so in a few seconds, less exactly.
//! Needs Linux's `taskset`. Figures are min / median / max of the ratios of paired rounds: on a busy machine a single
//! figure means little, and the ratio of two neighbours still does.
#![cfg_attr(not(unix), allow(unused, reason = "only gollmd on Unix is measured"))]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

#[cfg(unix)]
mod ask;
#[cfg(unix)]
mod disk;
#[cfg(unix)]
mod echo;
#[cfg(unix)]
mod library;
#[cfg(unix)]
mod load;
#[cfg(unix)]
mod plan;
#[cfg(unix)]
mod server;
#[cfg(unix)]
mod table;

/// What ends the benchmark early.
type Failure = Box<dyn std::error::Error + Send + Sync>;

#[cfg(unix)]
fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.split_first() {
        Some((first, rest)) if first == echo::ROLE => echo::serve(rest),
        _ => plan::run(if arguments.iter().any(|argument| argument == "--quick") { &plan::QUICK } else { &plan::FULL }),
    }
}

#[cfg(not(unix))]
fn main() {}

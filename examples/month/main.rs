//! Fills a store with a month of plausible usage, through a real gollmd whose clock is moved.
//!
//! `cargo run --release --example month -- --dir DIR` starts the daemon in this process, on a configuration with made-up keys, and
//! drives it over its socket as programs do: a rhythm of days and weeks, keys that are rate limited, an outage, a key that
//! turns invalid and is set anew, an account that runs out of quota, leases that are reported late or never. Nothing goes over the
//! network. At the end it starts the daemon once more and compares its statistics with what was counted here; the exit status is 1
//! when they differ by a nano-dollar. What is left is a store to look at.

mod arguments;
mod daemon;
mod drive;
mod incidents;
mod plan;
mod scene;
mod tally;

use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use gollm::protocol::request::{Split, Statistics};
use gollm::time::Timestamp;
use gollm::time::clock::{Clock, SystemClock};
use gollm::time::shift::Shift;

use crate::arguments::{Arguments, End};
use crate::daemon::{Daemon, Place};
use crate::drive::Driver;
use crate::incidents::Incidents;
use crate::plan::Plan;
use crate::tally::Tally;

/// What ends the example early.
type Failure = Box<dyn Error + Send + Sync>;

/// After the last request, the leases that nobody reports run out.
const AFTERMATH: Duration = Duration::from_secs(30 * 60);

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            // With nobody to hear it, the exit status says it.
            drop(writeln!(io::stderr(), "month: {why}"));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let place = Place::new(&arguments.dir)?;
    scene::write(&place.config, &scene::keys(arguments.keys))?;
    let end = match arguments.end {
        End::Now => now(),
        End::At(end) => end,
    };
    let span = Duration::from_secs(u64::from(arguments.days) * 86_400);
    let shift = Shift::starting_at(end.before(span));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let daemon = Daemon::start(&place, &shift)?;
    let tally = runtime.block_on(simulate(arguments, &place, end, &shift))?;
    daemon.end()?;
    let daemon = Daemon::start(&place, &shift)?;
    let compared = runtime.block_on(compare(&place, &tally));
    daemon.end()?;
    let told = compared?;
    write!(io::stdout(), "{tally}\n{told}\n\n{}", commands(&place, arguments.days))?;
    Ok(())
}

/// Lets the time pass; answers with what was counted.
async fn simulate(arguments: &Arguments, place: &Place, end: Timestamp, shift: &Shift) -> Result<Tally, Failure> {
    let begin = end.before(Duration::from_secs(u64::from(arguments.days) * 86_400));
    let client = place.client().await?;
    let plan = Plan::new(begin, end.before(AFTERMATH), arguments.keys, arguments.seed);
    let mut driver = Driver::new(client, shift.clone(), Incidents::of(begin, arguments.days), arguments.seed);
    let mut day = begin.day();
    for step in plan {
        driver.take(step).await?;
        let today = driver.today();
        if today != day {
            day = today;
            writeln!(io::stderr(), "{today}: {}", driver.tally.in_short())?;
        }
    }
    driver.finish(end).await
}

/// Compares what the daemon says after another start with what was counted here.
async fn compare(place: &Place, tally: &Tally) -> Result<String, Failure> {
    let question = Statistics { by: Some(vec![Split::Provider]), ..Statistics::default() };
    let told = place.client().await?.statistics(question).await?;
    let differences = tally.differences(&told);
    if differences.is_empty() {
        return Ok("The daemon, started once more, says the same to the nano-dollar.".to_owned());
    }
    Err(format!("the daemon, started once more, says otherwise:\n{}", differences.join("\n")).into())
}

/// How to look at the result.
fn commands(place: &Place, days: u32) -> String {
    let quoted = |path: &Path| format!("'{}'", path.display().to_string().replace('\'', r"'\''"));
    let (config, socket, state) = (quoted(&place.config), quoted(&place.socket), quoted(&place.state));
    format!(
        "To look at it:\n  gollmd --config {config} --socket {socket} --state-dir {state}\n\
         and meanwhile\n  gollmctl --socket {socket} stats --since {days}d\n  gollmctl --socket {socket} stats --since {days}d --html > report.html\n  \
         gollmctl --socket {socket} top\n"
    )
}

fn now() -> Timestamp {
    SystemClock::start(None, gollm::time::Steady::default()).now().wall
}

/// A directory that only its owner can enter.
fn make_directory(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

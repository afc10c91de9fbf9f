//! What is measured against what, round by round.

use crate::Failure;
use crate::ask::Codec;
use crate::disk;
use crate::library;
use crate::load::{Load, Sample, Work, replies};
use crate::server::{SERVER_CPU, Scratch, Server, pin};
use crate::table::{Goal, Row, print};

/// How much is measured.
pub(crate) struct Plan {
    rounds: usize,
    /// Parts of the full number of turns.
    share: usize,
}

/// Half a minute.
pub(crate) const FULL: Plan = Plan { rounds: 9, share: 1 };

/// A few seconds, to see that it works.
pub(crate) const QUICK: Plan = Plan { rounds: 3, share: 8 };

/// Connections of a busy machine.
const MANY: usize = 16;

/// Turns of one round on one connection, at about 20 µs each.
const TURNS: usize = 8_000;

/// Turns of one round where each of them waits for the disk, about 200 µs.
const DURABLE_TURNS: usize = 800;

/// One comparison: who, with what load, and its echo server.
struct Case {
    load: Load,
    echo: Server,
    against_echo: Row,
    against_disk: Option<Row>,
}

/// Measures and prints.
pub(crate) fn run(plan: &Plan) -> Result<(), Failure> {
    let scratch = Scratch::new()?;
    let cpus = std::thread::available_parallelism()?.get();
    let gollmd = Server::gollmd(&scratch.0)?;
    let file = disk::prepare(&scratch.0.join("bare"))?;
    let record = disk::record()?;
    let mut cases = Vec::new();
    for connections in [1, MANY] {
        for work in [Work::Select, Work::Report, Work::SelectAndReport] {
            for codec in [Codec::Json, Codec::Binary] {
                cases.push(Case::new(plan, &gollmd, &scratch, Load { codec, work, connections, turns: 0 })?);
            }
        }
    }
    let mut by_library = Row::new("blocking::Client select / echo".to_owned(), None);
    for round in 0..plan.rounds {
        for case in &mut cases {
            // One connection: both ends on one processor, so that only the path counts. Many: each end has its own.
            let cpu = if case.load.connections == 1 { SERVER_CPU } else { SERVER_CPU + cpus.min(2) - 1 };
            pin(cpu)?;
            let (echo, own) = pair(round, || case.load.run(&case.echo.target), || case.load.run(&gollmd.target))?;
            case.against_echo.add(own, echo);
            if let Some(row) = &mut case.against_disk {
                row.add(own, disk::run(&file, &record, case.load.connections, case.load.turns, cpu)?);
            }
        }
        if let Some(case) = cases.iter().find(|case| case.load.codec == Codec::Binary && case.load.work == Work::Select) {
            pin(SERVER_CPU)?;
            let (echo, own) = pair(round, || case.load.run(&case.echo.target), || library::select(&gollmd.target, case.load.turns))?;
            by_library.add(own, echo);
        }
    }
    let (echo_rows, disk_rows): (Vec<_>, Vec<_>) = cases.into_iter().map(|case| (case.against_echo, case.against_disk)).unzip();
    print(plan.rounds, echo_rows.into_iter().chain([by_library]).chain(disk_rows.into_iter().flatten()))
}

/// Measures two after each other, in turn the one or the other first.
fn pair(
    round: usize,
    base: impl FnOnce() -> Result<Sample, Failure>,
    own: impl FnOnce() -> Result<Sample, Failure>,
) -> Result<(Sample, Sample), Failure> {
    if round.is_multiple_of(2) {
        let base = base()?;
        Ok((base, own()?))
    } else {
        let own = own()?;
        Ok((base()?, own))
    }
}

impl Case {
    fn new(plan: &Plan, gollmd: &Server, scratch: &Scratch, load: Load) -> Result<Self, Failure> {
        let Load { codec, work, connections, .. } = load;
        let durable = work != Work::Select;
        // On many connections the disk is shared, so a round of it takes as long.
        let all = if durable && connections == 1 { DURABLE_TURNS } else { TURNS };
        let load = Load { turns: (all / connections.min(4) / plan.share).max(20), ..load };
        let what = match work {
            Work::Select => "select",
            Work::Report => "report",
            Work::SelectAndReport => "select+report",
        };
        let name = format!("{what} {} {connections}", codec.name());
        let echo = Server::echo(&scratch.0, &name.replace(' ', "-"), &replies(&gollmd.target, codec, work)?)?;
        let row = |base: &str, goal| {
            Row::new(format!("{what}, {connections} connection{}, {} / {base}", if connections == 1 { "" } else { "s" }, codec.name()), goal)
        };
        let echo_goal = (work == Work::Select && connections == 1).then_some(Goal::MedianAtMost(1.5));
        let disk_goal = (work == Work::Report && connections == MANY).then_some(Goal::RateAtLeast(0.5));
        let against_disk = (work == Work::Report).then(|| row("bare disk", disk_goal));
        Ok(Self { load, echo, against_echo: row("echo", echo_goal), against_disk })
    }
}

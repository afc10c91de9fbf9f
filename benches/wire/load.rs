//! The load: the same blocking client for gollmd and for the echo server, one thread a connection.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Barrier;
use std::time::Instant;

use gollm::Outcome;

use crate::Failure;
use crate::ask::{Codec, refused, token};

/// Cancelled at a time, where leases are given back between rounds.
const TOGETHER: usize = 64;

/// A server to measure.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) socket: PathBuf,
    /// It is gollmd: it answers a greeting, and remembers leases.
    pub(crate) greets: bool,
}

/// What one turn of the load does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    Select,
    Report,
    SelectAndReport,
}

/// A load.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) codec: Codec,
    pub(crate) work: Work,
    pub(crate) connections: usize,
    /// Turns of each connection.
    pub(crate) turns: usize,
}

/// What was measured in one round.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// Microseconds.
    pub(crate) p50: f64,
    /// Microseconds.
    pub(crate) p99: f64,
    /// Turns in a second.
    pub(crate) rate: f64,
}

impl Sample {
    /// Sums up the nanoseconds of all turns of some threads, and from when to when each of them ran.
    pub(crate) fn of(runs: Vec<Run>) -> Self {
        let begun = runs.iter().map(|run| run.begun).min();
        let ended = runs.iter().map(|run| run.ended).max();
        let mut turns: Vec<u64> = runs.into_iter().flat_map(|run| run.turns).collect();
        turns.sort_unstable();
        let at = |share: f64| turns.get((turns.len() as f64 * share) as usize).map_or(f64::NAN, |nanos| *nanos as f64 / 1000.0);
        let seconds = begun.zip(ended).map_or(f64::NAN, |(begun, ended)| (ended - begun).as_secs_f64());
        Self { p50: at(0.5), p99: at(0.99), rate: turns.len() as f64 / seconds }
    }
}

/// What one thread measured.
pub(crate) struct Run {
    pub(crate) begun: Instant,
    pub(crate) ended: Instant,
    /// Nanoseconds of each turn.
    pub(crate) turns: Vec<u64>,
}

/// One connection, with one request at a time on it.
pub(crate) struct Connection {
    stream: UnixStream,
    codec: Codec,
    input: Vec<u8>,
    held: usize,
}

impl Connection {
    pub(crate) fn open(target: &Target, codec: Codec) -> Result<Self, Failure> {
        let mut stream = UnixStream::connect(&target.socket)?;
        let greeting = codec.greeting();
        if target.greets && !greeting.is_empty() {
            stream.write_all(greeting)?;
            stream.read_exact(&mut vec![0; greeting.len()])?;
        }
        Ok(Self { stream, codec, input: vec![0; 256 * 1024], held: 0 })
    }

    /// The reply to one request.
    pub(crate) fn ask(&mut self, request: &[u8]) -> Result<&[u8], Failure> {
        self.held = 0;
        self.stream.write_all(request)?;
        loop {
            let read = self.stream.read(self.input.get_mut(self.held..).unwrap_or_default())?;
            if read == 0 {
                return Err("the server closed the connection".into());
            }
            self.held += read;
            let input = self.input.get(..self.held).unwrap_or_default();
            if self.codec.whole(input).is_some() {
                return Ok(self.input.get(..self.held).unwrap_or_default());
            }
        }
    }

    /// Gives back leases that were not reported.
    pub(crate) fn cancel(&mut self, tokens: &[String]) -> Result<(), Failure> {
        for some in tokens.chunks(TOGETHER) {
            let mut requests = Vec::new();
            for token in some {
                requests.extend(self.codec.report(token, Outcome::Cancelled)?);
            }
            self.stream.write_all(&requests)?;
            let mut left = some.len();
            self.held = 0;
            while left > 0 {
                self.held += self.stream.read(self.input.get_mut(self.held..).unwrap_or_default())?;
                while let Some(length) = self.codec.whole(self.input.get(..self.held).unwrap_or_default()) {
                    self.input.copy_within(length..self.held, 0);
                    self.held -= length;
                    left -= 1;
                }
            }
        }
        Ok(())
    }
}

impl Load {
    /// Runs the load once.
    pub(crate) fn run(&self, target: &Target) -> Result<Sample, Failure> {
        let start = Barrier::new(self.connections);
        let runs: Result<Vec<Run>, Failure> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..self.connections).map(|_| scope.spawn(|| self.one(target, &start))).collect();
            threads.into_iter().map(|thread| thread.join().map_err(|_| Failure::from("a thread of the load failed"))?).collect()
        });
        Ok(Sample::of(runs?))
    }

    fn one(&self, target: &Target, start: &Barrier) -> Result<Run, Failure> {
        let opened = Connection::open(target, self.codec);
        let prepared = opened.and_then(|mut connection| {
            let tokens = self.leases(&mut connection, target)?;
            Ok((connection, tokens))
        });
        // Every thread comes to both meetings, or those that did would wait for ever; between them nothing else runs.
        start.wait();
        let measured = prepared.and_then(|(mut connection, given)| {
            let (run, tokens) = self.measure(&mut connection, &given)?;
            Ok((connection, run, tokens))
        });
        start.wait();
        let (mut connection, run, tokens) = measured?;
        if target.greets {
            connection.cancel(&tokens)?;
        }
        Ok(run)
    }

    /// All turns of one connection, and the leases that are left.
    fn measure(&self, connection: &mut Connection, given: &[String]) -> Result<(Run, Vec<String>), Failure> {
        let select = self.codec.select()?;
        let mut tokens = Vec::with_capacity(self.turns);
        let mut turns = Vec::with_capacity(self.turns);
        let begun = Instant::now();
        for turn in 0..self.turns {
            let ready = given.get(turn).map(|token| self.codec.report(token, Outcome::Ok)).transpose()?;
            let from = Instant::now();
            if let Some(report) = ready {
                connection.ask(&report)?;
            } else {
                let token = token(connection.ask(&select)?)?.to_owned();
                if self.work == Work::SelectAndReport {
                    connection.ask(&self.codec.report(&token, Outcome::Ok)?)?;
                } else {
                    tokens.push(token);
                }
            }
            turns.push(u64::try_from(from.elapsed().as_nanos()).unwrap_or(u64::MAX));
        }
        Ok((Run { begun, ended: Instant::now(), turns }, tokens))
    }

    /// The leases to report, where nothing but reports is measured.
    fn leases(&self, connection: &mut Connection, target: &Target) -> Result<Vec<String>, Failure> {
        if self.work != Work::Report {
            return Ok(Vec::new());
        }
        if !target.greets {
            return Ok(vec![SAMPLE.to_owned(); self.turns]);
        }
        let select = self.codec.select()?;
        (0..self.turns).map(|_| Ok(token(connection.ask(&select)?)?.to_owned())).collect()
    }
}

/// Stands for a lease where nobody reads it: as long as one of gollmd's.
const SAMPLE: &str = "gl_0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// The replies that gollmd gives to one turn of this work.
pub(crate) fn replies(target: &Target, codec: Codec, work: Work) -> Result<Vec<Vec<u8>>, Failure> {
    let mut connection = Connection::open(target, codec)?;
    let lease = connection.ask(&codec.select()?)?.to_vec();
    let report = codec.report(token(&lease)?, Outcome::Ok)?;
    let reported = connection.ask(&report)?.to_vec();
    if reported.windows(5).any(|window| window == b"error") {
        return Err(refused(&reported));
    }
    Ok(match work {
        Work::Select => vec![lease],
        Work::Report => vec![reported],
        Work::SelectAndReport => vec![lease, reported],
    })
}

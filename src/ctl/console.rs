//! What a command works with: where the daemon is, and in what form its answer goes where.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use crate::ctl::daemon::{self, Link};
use crate::ctl::failure::Failure;
use crate::ctl::print::Style;
use crate::environment::Environment;
use crate::protocol::reply::Reply;
use crate::protocol::request::Op;
use crate::time::Timestamp;
use crate::time::clock::Clock as _;
use crate::time::clock::SystemClock;

/// In what form answers are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// For people.
    Text,
    /// The reply's own shape, on one line.
    Json,
}

/// One run of gollmctl.
pub(crate) struct Console<'a> {
    pub(crate) environment: &'a Environment,
    /// `--socket`.
    pub(crate) socket: Option<PathBuf>,
    pub(crate) form: Form,
    /// Does a person read what is written to `out`?
    pub(crate) terminal: bool,
    pub(crate) style: Style,
    pub(crate) out: &'a mut dyn Write,
}

impl Console<'_> {
    /// Connects to the daemon.
    pub(crate) fn connect(&self) -> Result<Link, Failure> {
        self.connect_within(daemon::QUICK)
    }

    /// Connects to a daemon that must answer in this time.
    pub(crate) fn connect_within(&self, quick: Duration) -> Result<Link, Failure> {
        daemon::connect(self.socket.as_deref(), self.environment, quick)
    }

    /// Asks the daemon one thing.
    pub(crate) fn ask(&self, op: Op) -> Result<Reply, Failure> {
        self.connect()?.call(op)
    }

    /// Writes a reply: as JSON, or as the text that `render` makes of it.
    pub(crate) fn show<T, R>(&mut self, reply: &T, render: R) -> Result<(), Failure>
    where
        T: Serialize + ?Sized,
        R: FnOnce(&T, Style, &mut dyn Write) -> io::Result<()>,
    {
        match self.form {
            Form::Json => self.write_json(reply),
            Form::Text => render(reply, self.style, self.out).map_err(Failure::Output),
        }
    }

    /// Writes a reply as one line of JSON.
    pub(crate) fn write_json<T: Serialize + ?Sized>(&mut self, reply: &T) -> Result<(), Failure> {
        serde_json::to_writer(&mut *self.out, reply).map_err(|error| Failure::Output(error.into()))?;
        self.out.write_all(b"\n").map_err(Failure::Output)
    }

    /// The wall clock.
    pub(crate) fn now(&self) -> Timestamp {
        SystemClock::start(None, crate::time::Steady::default()).now().wall
    }
}

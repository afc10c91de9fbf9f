//! gollmctl, the admin's command: arguments in, one request to the daemon, its reply out as text or JSON.
//!
//! Each command has a file: its arguments, the request that they make, and the text of the reply.

mod args;
mod config;
mod console;
mod daemon;
mod failure;
mod health;
mod key;
mod keys;
mod lease;
mod pages;
mod print;
mod stats;
mod status;
mod validate;
mod whoami;

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use crate::ctl::args::{Arguments, Command};
use crate::ctl::console::{Console, Form};
use crate::ctl::failure::Failure;
use crate::ctl::print::Style;
use crate::environment::Environment;

/// Runs gollmctl with the arguments, environment and streams of this process; answers with its exit status.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return args::explain(error),
    };
    let environment = Environment::of_process();
    let stdout = io::stdout();
    let terminal = stdout.is_terminal();
    let form = if arguments.json { Form::Json } else { Form::Text };
    let mut out = stdout.lock();
    let mut console =
        Console { environment: &environment, socket: arguments.socket, form, terminal, style: Style::of(terminal, &environment), out: &mut out };
    let done = run(arguments.command, &mut console).and_then(|()| out.flush().map_err(Failure::Output));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.tell(form, &mut out, &mut io::stderr().lock()),
    }
}

/// The command line as clap describes it: for its manual page and the shells' completions.
#[must_use]
pub fn command() -> clap::Command {
    Arguments::command()
}

fn run(command: Command, console: &mut Console<'_>) -> Result<(), Failure> {
    match command {
        Command::Status(status) => status.run(console),
        Command::Keys(keys) => keys.run(console),
        Command::Key(key) => key.run(console),
        Command::Select(select) => select.run(console),
        Command::Report(report) => report.run(console),
        Command::Stats(stats) => stats.run(console),
        Command::Validate(validate) => validate.run(console),
        Command::Health => health::run(console),
        Command::Whoami => whoami::run(console),
        Command::Reload => key::reload(console),
        Command::Config(config) => config.run(console),
        Command::Completions(completions) => completions.run(console),
        Command::Man(man) => man.run(console),
    }
}

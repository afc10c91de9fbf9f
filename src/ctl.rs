//! gollmctl, the admin's command: arguments in, one request to the daemon, its reply out as text or JSON.
//!
//! Each command has a file: its arguments, the request that they make, and the text of the reply.

mod access;
mod alert;
mod args;
mod audit;
mod backup;
mod config;
mod console;
mod daemon;
mod doctor;
mod events;
mod exec;
mod explain;
mod failure;
mod health;
mod http;
mod key;
mod keys;
mod master;
mod pages;
mod prices;
mod print;
mod providers;
mod report;
mod select;
mod stats;
mod status;
mod top;
mod users;
mod validate;
mod wanted;
mod when;
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
        Command::Exec(exec) => exec.run(console),
        Command::Events(events) => events.run(console),
        Command::Top(top) => top.run(console),
        Command::Alert(alerts) => alerts.run(console),
        Command::Explain(explain) => explain.run(console),
        Command::Report(report) => report.run(console),
        Command::Stats(stats) => stats.run(console),
        Command::Validate(validate) => validate.run(console),
        Command::Health => health::run(console),
        Command::Whoami => whoami::run(console),
        Command::Access(access) => access.run(console),
        Command::Backup(backup) => backup.run(console),
        Command::Restore(restore) => restore.run(console),
        Command::Rekey => backup::rekey(console),
        Command::Doctor => doctor::run(console),
        Command::Export => backup::export(console),
        Command::Audit(audit) => audit.run(console),
        Command::Providers(providers) => providers.run(console),
        Command::Prices(prices) => prices.run(console),
        Command::Passwd(passwd) => passwd.run(console),
        Command::Slot(slot) => slot.run(console),
        Command::Lock => master::lock(console),
        Command::Unlock => master::unlock(console),
        Command::Reload => key::reload(console),
        Command::Config(config) => config.run(console),
        Command::Completions(completions) => completions.run(console),
        Command::Man(man) => man.run(console),
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::protocol::error::{ErrorCode, ErrorReply};
    use crate::protocol::frame;
    use crate::protocol::reply::{KeyVerdict, Reply, Response, Validation};
    use crate::protocol::request::{Op, Request};

    /// What a command wrote and how it ended, against a daemon that gives one answer.
    fn ran(line: &str, answer: fn(Op) -> Reply) -> (String, Result<(), Failure>) {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("gollmd.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let daemon = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = [0; 5];
            stream.read_exact(&mut head).unwrap();
            stream.write_all(&head).unwrap();
            let mut header = [0; frame::HEADER];
            stream.read_exact(&mut header).unwrap();
            let mut body = vec![0; frame::body_length(&header).unwrap().unwrap()];
            stream.read_exact(&mut body).unwrap();
            let request: Request = frame::decode(&body).unwrap();
            let mut bytes = Vec::new();
            frame::encode(&Response { id: Some(request.id), reply: answer(request.op) }, &mut bytes).unwrap();
            stream.write_all(&bytes).unwrap();
        });
        let ended = run_at(line, &socket);
        daemon.join().unwrap();
        ended
    }

    fn run_at(line: &str, socket: &std::path::Path) -> (String, Result<(), Failure>) {
        let arguments = Arguments::try_parse_from(line.split(' ')).unwrap_or_else(|error| panic!("{error}"));
        let form = if arguments.json { Form::Json } else { Form::Text };
        let mut out = Vec::new();
        let mut console = Console {
            environment: &Environment::default(),
            socket: Some(socket.to_owned()),
            form,
            terminal: false,
            style: Style::Plain,
            out: &mut out,
        };
        let ended = run(arguments.command, &mut console);
        (String::from_utf8(out).unwrap(), ended)
    }

    #[test]
    fn a_command_asks_the_daemon_and_tells_its_answer() {
        let answer = |op: Op| match op {
            Op::KeyDisable(disable) if disable.for_ms == Some(7_200_000) => Reply::Done,
            _ => Reply::Error(ErrorReply::new(ErrorCode::BadRequest, "another request was expected")),
        };
        let (text, ended) = ran("gollmctl key disable openai/primary --for 2h", answer);
        assert_eq!(text, "openai/primary is disabled for 2h\n");
        assert!(ended.is_ok());
        let (json, ended) = ran("gollmctl --json key disable openai/primary --for 2h", answer);
        assert_eq!(json, "\"done\"\n");
        assert!(ended.is_ok());
    }

    #[test]
    fn json_is_the_replys_own_shape_on_one_line() {
        let answer = |_| Reply::Keys(Vec::new());
        assert_eq!(ran("gollmctl keys --json", answer).0, "[]\n");
    }

    #[test]
    fn a_refusal_has_its_exit_status() {
        let denied = |_| Reply::Error(ErrorReply::new(ErrorCode::Denied, "only an admin may"));
        let (text, ended) = ran("gollmctl reload", denied);
        assert_eq!((text.as_str(), ended.unwrap_err().status()), ("", 4));
    }

    #[test]
    fn an_invalid_key_is_told_and_fails_the_command() {
        let answer = |_| {
            let (provider, key_name) = ("openai".parse().unwrap(), "primary".parse().unwrap());
            Reply::Validations(vec![Validation {
                provider,
                key_name,
                valid: false,
                verdict: KeyVerdict::Invalid,
                message: "unknown".to_owned(),
                cost_usd: None,
            }])
        };
        let (text, ended) = ran("gollmctl validate openai/primary", answer);
        assert_eq!(text, "Provider: openai\n  primary: ✗ Invalid - unknown\n");
        assert_eq!(ended.unwrap_err().status(), 1);
    }

    #[test]
    fn an_answer_of_another_kind_is_a_failure() {
        assert_eq!(ran("gollmctl status", |_| Reply::Done).1.unwrap_err().status(), 1);
    }

    #[test]
    fn without_a_daemon_the_line_says_where_it_was_looked_for() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("gollmd.sock");
        let failure = run_at("gollmctl status", &socket).1.unwrap_err();
        let text = failure.to_string();
        assert_eq!(failure.status(), 3);
        assert!(text.contains(&socket.display().to_string()) && text.contains("systemctl start gollmd"), "{text}");
    }
}

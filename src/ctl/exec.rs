//! `gollmctl exec`: runs a command with a leased key in its environment, and settles the lease when it ends.

mod signals;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::ExitStatus;
use std::time::Duration;

use clap::Args;
use tokio::process::Command;
use tokio::runtime::Runtime;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::Instant;

use crate::catalogue;
use crate::ctl::console::Console;
use crate::ctl::daemon::Link;
use crate::ctl::exec::signals::Signals;
use crate::ctl::failure::Failure;
use crate::ctl::wanted::{Fallback, Patience, Wanted};
use crate::endpoint;
use crate::id::{LeaseId, ProviderName};
use crate::protocol::error::ErrorCode;
use crate::protocol::outcome::Outcome;
use crate::protocol::reply::{Lease, Reply};
use crate::protocol::request::{Estimate, Op, Renew, Report};
use crate::time::Timestamp;

const HELP: &str = "\
The secret goes into the variables that the provider's own tools read, such as
OPENAI_API_KEY, or into --env. It is never an argument. The lease is renewed while
the command runs. TERM, INT, QUIT, HUP, USR1 and USR2 go to the command, and its
exit status is gollmctl's.

When it ends, the lease is reported `ok`, or `bad_request` where the command
failed, and charged its estimate: what the command used is not known. A command
that knows can report it itself; $GOLLM_LEASE is its lease, and counts once.

Examples:
  gollmctl exec openai -- python3 nightly.py
  gollmctl exec anthropic --estimate-cost 0.25 --wait 5m -- ./summarize report.txt
  gollmctl exec my-gateway --env GATEWAY_KEY --base-url-env GATEWAY_URL -- ./chat

Exit status: the command's; 128 and the signal's number where one ended it; 126
where it can't be run, 127 where there is none; else as of every command.";

/// Renewals that failed are tried again so often.
const AGAIN: Duration = Duration::from_secs(5);

/// How long the report may take when the command has ended.
const SETTLING: Duration = Duration::from_secs(5);

/// Shortest time between renewals.
const SHORTEST: Duration = Duration::from_millis(200);

/// The variable with the lease, for a command that reports what it used.
const LEASE: &str = "GOLLM_LEASE";

/// Run a command with a key in its environment
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Exec {
    #[command(flatten)]
    wanted: Wanted,
    #[command(flatten)]
    patience: Patience,
    /// Take another provider's key where this one has none: the variable is then that provider's
    #[arg(long)]
    fallback: bool,
    /// The variable that gets the secret, instead of the provider's own
    #[arg(long, value_name = "NAME", value_parser = variable)]
    env: Option<String>,
    /// A variable that gets the provider's address too
    #[arg(long, value_name = "NAME", value_parser = variable)]
    base_url_env: Option<String>,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// A name that an environment can have.
fn variable(name: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let good = name.chars().all(fits) && name.starts_with(|c: char| !c.is_ascii_digit());
    if !good {
        return Err("a variable's name is letters, digits and `_`, and begins with no digit".to_owned());
    }
    if [LEASE, "PATH"].contains(&name) { Err(format!("the command needs {name} for something else")) } else { Ok(name.to_owned()) }
}

impl Exec {
    pub(crate) fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        let provider = self.wanted.provider.clone();
        // Refused before a lease is taken: one that nobody can use would cost a place.
        if !self.fallback {
            variables(self.env.as_deref(), &provider)?;
        }
        if self.env.is_some() && self.env == self.base_url_env {
            return Err(Failure::Usage("--env and --base-url-env name the same variable".to_owned()));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|why| Failure::Input { what: "a runtime can't be started".to_owned(), why: why.to_string() })?;
        let fallback = if self.fallback { Fallback::Allowed } else { Fallback::Refused };
        let Self { wanted, patience, env, base_url_env, command, .. } = self;
        let request = patience.of(wanted.into_request(fallback));
        let estimate = request.estimate;
        let link = console.connect()?;
        let Reply::Lease(lease) = link.call(Op::Select(request))? else {
            return Err(Failure::unexpected("select"));
        };
        let now = console.now();
        let status = variables(env.as_deref(), &lease.provider).and_then(|variables| {
            let (program, arguments) = command.split_first().ok_or_else(|| Failure::Usage("there is no command to run".to_owned()))?;
            let mut command = Command::new(program);
            command.args(arguments).envs(variables.into_iter().map(|name| (name, lease.secret.expose()))).env(LEASE, lease.lease.as_str());
            command.envs(base_url_env.iter().map(|name| (name, lease.base_url.as_str())));
            // Where the command finds the daemon for a report of its own.
            command.envs(console.socket.iter().map(|socket| (endpoint::VARIABLE, socket)));
            attend(&runtime, command, program.to_string_lossy().into_owned(), &link, &lease, now)
        });
        let id = lease.lease.clone();
        drop(lease);
        // A renewal that a hanging daemon does not answer is not waited for.
        runtime.shutdown_background();
        let outcome = match &status {
            Ok(status) if status.success() => Outcome::Ok,
            Err(Failure::NotRun { .. } | Failure::Usage(_)) => Outcome::Cancelled,
            // It failed, or ran and nobody knows how it ended.
            _ => Outcome::BadRequest,
        };
        settle(console, id, estimate, outcome);
        ended(status?)
    }
}

/// The variables that get the secret of a key of `provider`: all that its own tools read, so that none of them finds another
/// key in the environment.
fn variables(given: Option<&str>, provider: &ProviderName) -> Result<Vec<String>, Failure> {
    if let Some(given) = given {
        return Ok(vec![given.to_owned()]);
    }
    let usual = catalogue::find(provider.as_str()).map(|provider| provider.variables).unwrap_or_default();
    if usual.is_empty() {
        return Err(Failure::Usage(format!("`{provider}` has no variable of its own: say with --env which one gets the secret")));
    }
    Ok(usual.iter().map(|name| (*name).to_owned()).collect())
}

/// Runs the command to its end.
fn attend(runtime: &Runtime, mut command: Command, name: String, link: &Link, lease: &Lease, now: Timestamp) -> Result<ExitStatus, Failure> {
    let lost = |why: io::Error| Failure::Input { what: "the command can't be waited for".to_owned(), why: why.to_string() };
    runtime.block_on(async {
        let mut signals = Signals::take().map_err(lost)?;
        let mut child = command.spawn().map_err(|why| Failure::NotRun { command: name, why })?;
        // Its environment has the secret as well.
        drop(command);
        let pause = (lease.expires.since(now) / 2).max(SHORTEST);
        let mut renewal =
            Renewal { link: link.clone(), lease: lease.lease.clone(), pause, under_way: None, due: Some(Instant::now() + pause), told: false };
        loop {
            tokio::select! {
                status = child.wait() => return status.map_err(lost),
                signal = signals.next() => signals::pass_on(&child, signal),
                () = renewal.next() => {}
            }
        }
    })
}

/// Renews the lease when half of its time is over.
struct Renewal {
    link: Link,
    lease: LeaseId,
    pause: Duration,
    /// The one that is under way: what interrupts the wait for it does not begin another.
    under_way: Option<JoinHandle<Result<Reply, Failure>>>,
    /// None: it is settled, as by the command itself.
    due: Option<Instant>,
    told: bool,
}

impl Renewal {
    /// Waits until it is due, and renews once.
    async fn next(&mut self) {
        let Some(due) = self.due else { return std::future::pending().await };
        tokio::time::sleep_until(due).await;
        let renewal = self.under_way.get_or_insert_with(|| {
            let (link, lease) = (self.link.clone(), self.lease.clone());
            spawn_blocking(move || link.call(Op::Renew(Renew { lease })))
        });
        let renewed = renewal.await;
        self.under_way = None;
        match renewed {
            Ok(Err(Failure::Refused { reply, .. })) if reply.code == ErrorCode::UnknownLease => self.due = None,
            Ok(Err(why)) => {
                self.due = Some(Instant::now() + AGAIN.min(self.pause));
                self.tell(&why);
            }
            _ => {
                self.due = Some(Instant::now() + self.pause);
                self.told = false;
            }
        }
    }

    fn tell(&mut self, why: &Failure) {
        if !self.told {
            self.told = true;
            complain(format_args!("the lease can't be renewed, the command goes on: {why}"));
        }
    }
}

/// Reports the lease when all is over.
fn settle(console: &Console<'_>, lease: LeaseId, estimate: Option<Estimate>, outcome: Outcome) {
    let estimate = estimate.filter(|_| outcome != Outcome::Cancelled).unwrap_or_default();
    let report = Report {
        input_tokens: estimate.input_tokens,
        output_tokens: estimate.output_tokens,
        cost_usd: estimate.cost_usd,
        ..Report::of(lease, outcome)
    };
    // On a connection of its own: the other may be waiting for a daemon that hangs.
    if let Err(why) = console.connect_within(SETTLING).and_then(|link| link.call(Op::Report(report))) {
        complain(format_args!("the lease could not be reported and will run out: {why}"));
    }
}

fn complain(what: std::fmt::Arguments<'_>) {
    // With standard error gone there is nobody to tell.
    drop(writeln!(io::stderr(), "gollmctl: {what}"));
}

/// The command's exit status as gollmctl's own.
fn ended(status: ExitStatus) -> Result<(), Failure> {
    #[cfg(unix)]
    let by_signal = std::os::unix::process::ExitStatusExt::signal(&status).map(|signal| 128 + signal);
    #[cfg(not(unix))]
    let by_signal = None;
    match status.code().or(by_signal) {
        Some(0) => Ok(()),
        code => Err(Failure::Ended(code.and_then(|code| u8::try_from(code & 0xff).ok()).filter(|code| *code != 0).unwrap_or(1))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctl::args::{Arguments, Command};
    use clap::Parser as _;

    fn exec(line: &str) -> Result<Exec, clap::Error> {
        match Arguments::try_parse_from(line.split(' '))?.command {
            Command::Exec(exec) => Ok(exec),
            _ => panic!("not `exec`"),
        }
    }

    #[test]
    fn what_stands_after_the_dashes_is_the_command() {
        let exec = exec("gollmctl exec openai --model gpt-4 --env KEY -- env --json").unwrap();
        assert_eq!(exec.command, ["env", "--json"]);
        assert_eq!(exec.env.as_deref(), Some("KEY"));
        assert!(super::tests::exec("gollmctl exec openai").is_err());
        for name in ["A=B", "1A", "GOLLM_LEASE", "PATH"] {
            assert!(super::tests::exec(&format!("gollmctl exec openai --env {name} -- x")).is_err(), "{name}");
        }
    }

    #[test]
    fn the_secret_goes_where_the_providers_own_tools_look() {
        let usual = |provider: &str| variables(None, &provider.parse().unwrap());
        assert_eq!(usual("openai").unwrap(), ["OPENAI_API_KEY"]);
        assert_eq!(usual("gemini").unwrap(), ["GEMINI_API_KEY", "GOOGLE_API_KEY"]);
        assert_eq!(usual("my-gateway").unwrap_err().status(), 2);
        assert_eq!(variables(Some("KEY"), &"my-gateway".parse().unwrap()).unwrap(), ["KEY"]);
    }

    #[test]
    fn a_command_that_can_t_be_run_ends_as_shells_have_it() {
        let not_run = |kind: io::ErrorKind| Failure::NotRun { command: "x".to_owned(), why: kind.into() };
        assert_eq!(not_run(io::ErrorKind::NotFound).status(), 127);
        assert_eq!(not_run(io::ErrorKind::PermissionDenied).status(), 126);
        assert_eq!(Failure::Ended(7).status(), 7);
    }
}

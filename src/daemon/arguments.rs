//! The arguments of gollmd.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{CommandFactory, Parser};

use crate::daemon::Options;
use crate::time::shift::Shift;

/// Keeps LLM API keys and leases them to the programs of this machine.
#[derive(Debug, Parser)]
#[command(
    name = "gollmd",
    version,
    max_term_width = 100,
    after_help = "Environment: GOLLM_CONFIG, GOLLM_SOCKET, GOLLM_MASTER_PASSWORD, GOLLM_LOG (for example `debug`), and the\nGOLLM_… variables that override the configuration. SIGHUP reads the configuration again; SIGTERM ends it.\n\nExit status: 0 ended in order, 1 failed, 2 wrong arguments."
)]
struct Line {
    /// The configuration [default: $GOLLM_CONFIG, $XDG_CONFIG_HOME/gollm/gollm-config.yaml, /etc/gollm/gollm-config.yaml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The socket to serve [default: $GOLLM_SOCKET, $XDG_RUNTIME_DIR/gollm/gollmd.sock; /run/gollm/gollmd.sock for root]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Where state is kept [default: $STATE_DIRECTORY, $XDG_STATE_HOME/gollm; /var/lib/gollm for root]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Go into the background; return when it serves, or say why it does not
    #[arg(long, conflicts_with = "check")]
    daemonize: bool,
    /// Save what can be opened of a damaged store, say what is lost, and keep the damaged files; start nothing.
    ///
    /// A master password that the daemon can't find by itself is asked for, or read from standard input.
    #[arg(long, conflicts_with_all = ["check", "daemonize"])]
    repair: bool,
    /// Check whether the configuration loads, and say what is in it; start nothing
    #[arg(long)]
    check: bool,
}

/// What the arguments say.
#[derive(Debug)]
pub(super) struct Arguments {
    pub(super) options: Options,
    pub(super) daemonize: bool,
    pub(super) check: bool,
    pub(super) repair: bool,
}

impl Arguments {
    /// Reads arguments, the first of which is the program's name.
    pub(super) fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let line = Line::try_parse_from(arguments)?;
        let options = Options { config: line.config, socket: line.socket, state_dir: line.state_dir, clock: Shift::default() };
        Ok(Self { options, daemonize: line.daemonize, check: line.check, repair: line.repair })
    }
}

/// The command line, for its manual page and completions.
#[must_use]
pub fn command() -> clap::Command {
    Line::command()
}

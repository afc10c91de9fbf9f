//! The command line: options of every command, the list of commands, and how a mistake in it is told.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Parser, Subcommand};

use crate::ctl::{
    alert, audit, backup, config, events, exec, explain, key, keys, master, pages, prices, providers, report, select, stats, status, validate,
};
use crate::id::KeyId;

const AFTER_HELP: &str = "\
Examples:
  gollmctl status                        is it up, and how much is left
  gollmctl key set openai/primary        add a key; its secret is asked for
  eval \"$(gollmctl select openai)\"       lease a key: $lease, $secret, $base_url
  gollmctl report \"$lease\" --outcome ok  settle the lease
  gollmctl exec openai -- ./nightly.py   run a command with a key in its environment
  gollmctl explain openai                which key is next, and why not the others
  gollmctl stats --by model --since 7d   what each model cost

Exit status:
  0  done
  1  failed
  2  wrong usage
  3  no daemon answers
  4  denied
  5  no key available
  6  locked

Environment:
  GOLLM_SOCKET  the daemon's socket, unless --socket is given; with neither,
                $XDG_RUNTIME_DIR/gollm/gollmd.sock, then /run/gollm/gollmd.sock
  GOLLM_CONFIG  the configuration file, for `gollmctl config`
  NO_COLOR      no colour, even on a terminal";

/// Administers gollmd, the daemon that leases LLM API keys to the programs of this machine
#[derive(Parser)]
#[command(name = "gollmctl", version, after_help = AFTER_HELP, disable_help_subcommand = true, subcommand_value_name = "COMMAND", max_term_width = 100)]
pub(crate) struct Arguments {
    /// The daemon's socket, instead of where it is looked for
    #[arg(long, value_name = "PATH", global = true, help_heading = "Everywhere")]
    pub(crate) socket: Option<PathBuf>,
    /// Answer with the daemon's reply as JSON, on one line; a refusal too
    #[arg(long, global = true, help_heading = "Everywhere")]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What can be asked.
#[derive(Subcommand)]
pub(crate) enum Command {
    Status(status::Status),
    Top(crate::ctl::top::Top),
    Keys(keys::Keys),
    Key(key::Key),
    Select(select::Select),
    Exec(exec::Exec),
    Explain(explain::Explain),
    Report(report::Report),
    Stats(stats::Stats),
    Events(events::Events),
    Alert(alert::Alerts),
    Validate(validate::Validate),
    /// Show which keys are healthy, and since when
    Health,
    /// Show who the daemon takes you for, and what you may do
    Whoami,
    Access(crate::ctl::access::Access),
    Audit(audit::Audit),
    /// Look at configuration, daemon, keys and machine, and say what mends what is wrong
    ///
    /// The exit status is 1 where something is wrong that stops programs from getting keys.
    Doctor,
    Providers(providers::Providers),
    Prices(prices::Prices),
    /// Close the store, and forget its keys, until it is unlocked
    ///
    /// Callers stay connected and are told that it is locked. A gollmd that finds its master secret by itself is open again when
    /// it is restarted: `gollmctl passwd --to prompt` makes it wait for a person.
    Lock,
    /// Open the store with the master password, or a recovery code
    ///
    /// It is asked for without being shown, or read from standard input where that is no terminal.
    Unlock,
    Passwd(master::Passwd),
    Slot(master::Slot),
    /// Seal everything under a new data key
    ///
    /// The daemon goes on meanwhile, and may be killed at any moment. Passwords and slots stay.
    Rekey,
    Backup(backup::Backup),
    /// Write the configuration in force as YAML, with keys that were set by hand, and no secret
    Export,
    Restore(backup::Restore),
    /// Let the daemon read its configuration again
    ///
    /// A file with a mistake in it changes nothing: the daemon goes on with what it has, and says what is wrong.
    Reload,
    Config(config::Config),
    Completions(pages::Completions),
    Man(pages::Man),
}

/// Reads `PROVIDER/KEY`.
pub(crate) fn key_id(text: &str) -> Result<KeyId, String> {
    let mistake = |part: &str, why: &dyn std::fmt::Display| format!("write PROVIDER/KEY, as in openai/primary; of the {part}: {why}");
    let (provider, key) = text.split_once('/').ok_or("write PROVIDER/KEY, as in openai/primary")?;
    let provider = provider.parse().map_err(|why| mistake("provider", &why))?;
    let key = key.parse().map_err(|why| mistake("key", &why))?;
    Ok(KeyId { provider, key })
}

/// Tells a mistake in the command line, or the help or version that was asked for; answers with the exit status.
pub(crate) fn explain(mut error: clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // Help and version: clap knows about terminals and closed pipes.
        drop(error.print());
        return ExitCode::SUCCESS;
    }
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        drop(error.print());
        return ExitCode::from(2);
    }
    shorten(&mut error);
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let mut err = io::stderr().lock();
    // With standard error gone, the exit status is all that is left to say.
    drop(write!(err, "gollmctl: {text}"));
    ExitCode::from(2)
}

/// A long argument in the wrong place may be a secret: its first four characters tell enough.
fn shorten(error: &mut clap::Error) {
    let kind = if error.kind() == ErrorKind::UnknownArgument { ContextKind::InvalidArg } else { ContextKind::InvalidValue };
    let kinds = if error.kind() == ErrorKind::InvalidSubcommand { ContextKind::InvalidSubcommand } else { kind };
    if let Some(ContextValue::String(text)) = error.get(kinds)
        && text.chars().count() > 24
    {
        let start: String = text.chars().take(4).collect();
        error.insert(kinds, ContextValue::String(format!("{start}…")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    fn mistake(arguments: &[&str]) -> String {
        let mut error = Arguments::try_parse_from(std::iter::once(&"gollmctl").chain(arguments)).err().unwrap();
        shorten(&mut error);
        error.render().to_string()
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn global_options_stand_before_or_after_the_command() {
        for line in [["gollmctl", "--json", "status"], ["gollmctl", "status", "--json"]] {
            assert!(Arguments::try_parse_from(line).unwrap().json);
        }
    }

    #[test]
    fn a_key_is_written_as_provider_and_name() {
        assert_eq!(key_id("openai/primary").unwrap().to_string(), "openai/primary");
        assert_eq!(key_id("openai"), Err("write PROVIDER/KEY, as in openai/primary".to_owned()));
        assert!(key_id("openai/Primary").unwrap_err().contains("of the key: a name begins with"));
    }

    #[test]
    fn a_secret_in_the_wrong_place_is_not_repeated() {
        let secret = "sk-Planted0123456789abcdefghij";
        for line in [
            vec!["key", "enable", secret],
            vec!["key", "enable", "openai/primary", secret],
            vec!["select", secret],
            vec!["select", "openai", "--strategy", secret],
            vec![secret],
            vec!["report", secret, "--outcome", "ok"],
        ] {
            let text = mistake(&line);
            assert!(!text.contains("lanted"), "{text}");
        }
    }

    #[test]
    fn help_fits_the_screen() {
        fn check(command: &mut clap::Command) {
            for line in command.render_help().to_string().lines() {
                assert!(line.chars().count() <= 100, "{}: {line}", command.get_name());
            }
            command.get_subcommands_mut().for_each(check);
        }
        let mut command = Arguments::command();
        command.build();
        check(&mut command);
    }
}

//! `gollmctl config`: looks at a configuration file, with no daemon.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::config::{self, Settings};
use crate::ctl::console::{Console, Form};
use crate::ctl::failure::Failure;
use crate::ctl::print::{Style, Tone, clean, clean_lines, counted};
use crate::id::KeyId;

const HELP: &str = "\
Without FILE and --config, the file is looked for where gollmd does: $GOLLM_CONFIG, then
$XDG_CONFIG_HOME/gollm/gollm-config.yaml, then /etc/gollm/gollm-config.yaml.

A key that begins as another provider's keys do is a mistake here; gollmd warns of it
and goes on with the others.

Examples:
  gollmctl config check gollm-config.yaml && gollmctl reload
  gollmctl config show";

/// Look at the configuration; needs no daemon
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Config {
    /// The configuration file
    #[arg(long, value_name = "FILE", global = true, help_heading = "Everywhere")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    act: Act,
}

#[derive(Subcommand)]
enum Act {
    /// Say everything that is wrong with the configuration; the exit status is 1 if anything is
    Check {
        /// The configuration file
        #[arg(value_name = "FILE", conflicts_with = "config")]
        file: Option<PathBuf>,
    },
    /// Show the configuration in force, with every default, and with no secret
    Show,
}

/// What `config check` found of a file that loads.
#[derive(Serialize)]
struct Checked {
    /// Null: the environment alone.
    file: Option<PathBuf>,
    providers: usize,
    keys: usize,
    /// Keys that begin as another provider's do: the only thing that makes a file fail that loads.
    misplaced: Vec<KeyId>,
    warnings: Vec<String>,
}

impl Config {
    pub(crate) fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        match self.act {
            Act::Check { file } => {
                let settings = load(file.or(self.config).as_deref(), console)?;
                let checked = Checked::of(settings);
                console.show(&checked, render)?;
                if checked.misplaced.is_empty() { Ok(()) } else { Err(Failure::Negative) }
            }
            Act::Show if console.form == Form::Json => Err(Failure::Usage("the configuration is YAML: leave out --json".to_owned())),
            Act::Show => {
                let settings = load(self.config.as_deref(), console)?;
                write!(console.out, "{}", config::show::show(&settings)).map_err(Failure::Output)
            }
        }
    }
}

/// The settings of the configuration that is meant.
pub(crate) fn load(explicit: Option<&Path>, console: &Console<'_>) -> Result<Settings, Failure> {
    let file = config::locate(explicit, console.environment).map_err(|error| mistake(&error))?;
    config::load(file.as_deref(), console.environment).map_err(|error| mistake(&error))
}

/// One problem stands on the line of the failure, several stand below it.
fn mistake(error: &dyn std::error::Error) -> Failure {
    let text = error.to_string();
    Failure::Configuration(if text.contains('\n') { format!("the configuration does not load:\n{text}") } else { text })
}

impl Checked {
    fn of(settings: Settings) -> Self {
        Self {
            providers: settings.policy.providers.len(),
            keys: settings.policy.keys().count(),
            file: settings.file,
            misplaced: settings.misplaced,
            warnings: settings.warnings,
        }
    }
}

fn render(checked: &Checked, style: Style, out: &mut dyn Write) -> io::Result<()> {
    for warning in &checked.warnings {
        writeln!(out, "{} {}", style.paint(Tone::Warning, "warning:"), clean_lines(warning))?;
    }
    let file = checked.file.as_ref().map_or_else(|| "the environment alone".to_owned(), |file| file.display().to_string());
    let Checked { providers, keys, misplaced, .. } = checked;
    let (providers, keys) = (counted(*providers, "provider"), counted(*keys, "key"));
    if !misplaced.is_empty() {
        let names = misplaced.iter().map(KeyId::to_string).collect::<Vec<_>>().join(", ");
        let wrong = style.paint(Tone::Bad, "the wrong provider's key");
        return writeln!(out, "{}: {wrong} at {names} ({providers}, {keys})", clean(&file));
    }
    writeln!(out, "{}: {} ({providers}, {keys})", clean(&file), style.paint(Tone::Good, "ok"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_another_provider_is_no_good_file() {
        let checked = Checked { file: None, providers: 1, keys: 2, misplaced: vec!["openai/a".parse().unwrap()], warnings: Vec::new() };
        let mut out = Vec::new();
        render(&checked, Style::Plain, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "the environment alone: the wrong provider's key at openai/a (1 provider, 2 keys)\n");
    }

    #[test]
    fn a_good_file_is_counted_and_its_warnings_told() {
        let checked = Checked {
            file: Some(PathBuf::from("gollm-config.yaml")),
            providers: 2,
            keys: 1,
            misplaced: Vec::new(),
            warnings: vec!["fallback_chain names `mistral`, which has no keys".to_owned()],
        };
        let mut out = Vec::new();
        render(&checked, Style::Plain, &mut out).unwrap();
        let expected = "warning: fallback_chain names `mistral`, which has no keys\ngollm-config.yaml: ok (2 providers, 1 key)\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}

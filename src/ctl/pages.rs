//! `gollmctl completions` and `gollmctl man`: pages made from the command line's own description.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use clap_complete::Shell;
use clap_mangen::roff::{Roff, bold, roman};

use crate::ctl::console::Console;
use crate::ctl::failure::Failure;

const COMPLETIONS_HELP: &str = "\
Examples:
  gollmctl completions bash > ~/.local/share/bash-completion/completions/gollmctl
  gollmctl completions zsh > ~/.zfunc/_gollmctl
  gollmctl completions fish > ~/.config/fish/completions/gollmctl.fish";

/// Write a shell's completions of this command
#[derive(Args)]
#[command(after_help = COMPLETIONS_HELP)]
pub(crate) struct Completions {
    shell: Shell,
}

/// Write the manual page
#[derive(Args)]
#[command(after_help = "Example:\n  gollmctl man | man -l -")]
pub(crate) struct Man {
    /// Write gollmctl.1 into this directory, instead of to standard output
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Completions {
    pub(crate) fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        console.out.write_all(&completions(self.shell)).map_err(Failure::Output)
    }
}

impl Man {
    pub(crate) fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        let mut page = Vec::new();
        write_manual(&mut page).map_err(Failure::Output)?;
        let Some(dir) = self.dir else { return console.out.write_all(&page).map_err(Failure::Output) };
        let file = dir.join("gollmctl.1");
        let told = |why: io::Error| Failure::Input { what: format!("{} can't be written", Path::display(&file)), why: why.to_string() };
        std::fs::write(&file, page).map_err(told)
    }
}

fn completions(shell: Shell) -> Vec<u8> {
    let mut page = Vec::new();
    clap_complete::generate(shell, &mut super::command(), "gollmctl", &mut page);
    page
}

/// One page: the command, then each of its subcommands under `COMMANDS`.
fn write_manual(out: &mut dyn Write) -> io::Result<()> {
    let mut command = super::command();
    command.build();
    let manual = clap_mangen::Man::new(command.clone()).manual("gollm");
    manual.render_title(out)?;
    manual.render_name_section(out)?;
    manual.render_synopsis_section(out)?;
    manual.render_description_section(out)?;
    manual.render_options_section(out)?;
    let mut roff = Roff::new();
    roff.control("SH", ["COMMANDS"]);
    roff.to_writer(out)?;
    for subcommand in command.get_subcommands() {
        write_command(subcommand, out)?;
    }
    if let Some(text) = command.get_after_help() {
        write_verbatim("SH", "NOTES", &text.to_string(), out)?;
    }
    let mut roff = Roff::new();
    roff.control("SH", ["SEE ALSO"]);
    roff.text([bold("gollmd"), roman("(8)")]);
    roff.to_writer(out)
}

/// A command without subcommands of its own as a subsection; else each of those.
fn write_command(command: &clap::Command, out: &mut dyn Write) -> io::Result<()> {
    if command.has_subcommands() {
        return command.get_subcommands().try_for_each(|subcommand| write_command(subcommand, out));
    }
    let mut own = command.clone();
    let usage = own.render_usage().to_string();
    let mut roff = Roff::new();
    roff.control("SS", [usage.trim_start_matches("Usage: ").trim_start_matches("gollmctl ")]);
    roff.text([roman(command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default())]);
    for argument in
        command.get_arguments().filter(|argument| !argument.is_hide_set() && !["help", "socket", "json"].contains(&argument.get_id().as_str()))
    {
        roff.control("TP", []);
        roff.text([bold(argument.to_string())]);
        let mut help = argument.get_long_help().or(argument.get_help()).map(ToString::to_string).unwrap_or_default();
        let values: Vec<String> = argument.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
        if argument.get_action().takes_values() && !values.is_empty() {
            help = format!("{help} [possible values: {}]", values.join(", ")).trim_start().to_owned();
        }
        roff.text([roman(help)]);
    }
    roff.to_writer(out)?;
    command.get_after_help().map_or(Ok(()), |text| write_verbatim("PP", "", &text.to_string(), out))
}

/// Text whose lines stay as they are.
fn write_verbatim(control: &str, heading: &str, text: &str, out: &mut dyn Write) -> io::Result<()> {
    let mut roff = Roff::new();
    if heading.is_empty() {
        roff.control(control, [])
    } else {
        roff.control(control, [heading])
    };
    roff.control("nf", []);
    for line in text.lines() {
        roff.text([roman(line)]);
    }
    roff.control("fi", []);
    roff.to_writer(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_committed(file: &str, page: &[u8], made_by: &str) {
        let committed = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap_or_default();
        assert!(committed == page, "{file} is out of date: run `{made_by}`");
    }

    #[test]
    fn the_committed_manual_page_is_of_this_command_line() {
        let mut page = Vec::new();
        write_manual(&mut page).unwrap();
        assert_committed("contrib/man/gollmctl.1", &page, "cargo run --bin gollmctl -- man --dir contrib/man");
    }

    #[test]
    fn the_committed_completions_are_of_this_command_line() {
        for (shell, file) in [(Shell::Bash, "gollmctl.bash"), (Shell::Zsh, "_gollmctl"), (Shell::Fish, "gollmctl.fish")] {
            let file = format!("contrib/completions/{file}");
            assert_committed(&file, &completions(shell), &format!("cargo run --bin gollmctl -- completions {shell} > {file}"));
        }
    }

    #[test]
    fn the_manual_page_has_every_command() {
        let mut page = Vec::new();
        write_manual(&mut page).unwrap();
        let page = String::from_utf8(page).unwrap();
        for command in ["status", "key set", "key disable", "select", "report", "stats", "validate", "health", "config check", "man"] {
            assert!(page.contains(&format!(".SS \"{command} ")) || page.contains(&format!(".SS {command}\n")), "{command}");
        }
    }
}

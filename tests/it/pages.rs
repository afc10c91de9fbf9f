//! The pages that come with gollmd are made from its command line and the configuration's example, and must not differ.
//!
//! `GOLLM_WRITE_PAGES=1 cargo test --test it pages` writes them anew.

use std::path::Path;

use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use gollm::environment::Environment;

const FILES: [(&str, &str); 4] = [
    (
        "~/.config/gollm/gollm-config.yaml, /etc/gollm/gollm-config.yaml",
        "The configuration: the first that is there. `gollmctl config check` looks at it.",
    ),
    ("$XDG_RUNTIME_DIR/gollm/gollmd.sock, /run/gollm/gollmd.sock", "The socket of a user's daemon, and of root's."),
    ("gollmd.sock.lock, gollmd.pid", "Beside the socket: held while a daemon serves it; the process id, with --daemonize."),
    (
        "~/.local/state/gollm, /var/lib/gollm",
        "The state, of a user's daemon and of root's: header, manifest, journal/, sled/, and master.key where no better place for the master secret was found.",
    ),
];

fn compare(file: &str, page: &[u8]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if Environment::of_process().value("GOLLM_WRITE_PAGES").is_some() {
        std::fs::write(&path, page).unwrap();
    }
    let committed = std::fs::read(&path).unwrap_or_default();
    assert!(committed == page, "{file} is out of date: run `GOLLM_WRITE_PAGES=1 cargo test --test it pages`");
}

fn manual() -> Vec<u8> {
    let command = gollm::daemon::command();
    let man = Man::new(command.clone()).section("8").manual("gollm");
    let mut page = Vec::new();
    man.render_title(&mut page).unwrap();
    man.render_name_section(&mut page).unwrap();
    man.render_synopsis_section(&mut page).unwrap();
    man.render_description_section(&mut page).unwrap();
    man.render_options_section(&mut page).unwrap();
    let mut roff = Roff::new();
    roff.control("SH", ["NOTES"]).control("nf", []);
    for line in command.get_after_help().unwrap().to_string().lines() {
        roff.text([roman(line)]);
    }
    roff.control("fi", []).control("SH", ["FILES"]);
    for (file, meaning) in FILES {
        roff.control("TP", []).text([bold(file)]).text([roman(meaning)]);
    }
    roff.control("SH", ["SEE ALSO"]).text([bold("gollmctl"), roman("(1), "), bold("systemd.exec"), roman("(5)")]);
    roff.to_writer(&mut page).unwrap();
    page
}

#[test]
fn the_committed_manual_page_of_gollmd_is_of_its_command_line() {
    compare("contrib/man/gollmd.8", &manual());
}

#[test]
fn the_committed_completions_of_gollmd_are_of_its_command_line() {
    for (shell, file) in [(Shell::Bash, "gollmd.bash"), (Shell::Zsh, "_gollmd"), (Shell::Fish, "gollmd.fish")] {
        let mut page = Vec::new();
        clap_complete::generate(shell, &mut gollm::daemon::command(), "gollmd", &mut page);
        compare(&format!("contrib/completions/{file}"), &page);
    }
}

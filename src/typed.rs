//! What a person types without it being shown, or a program pipes in.

use std::io::{self, BufRead, IsTerminal as _};

use zeroize::Zeroizing;

/// One line of standard input, of at most `longest` bytes; longer ones are cut a little after. At a terminal it is asked for by `what` and not shown.
pub(crate) fn line(what: &str, longest: usize) -> io::Result<Zeroizing<String>> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        leave_the_terminal_as_it_is();
        rpassword::prompt_password(format!("{what} (not shown): ")).map(Zeroizing::new)
    } else {
        piped(&mut stdin.lock(), longest)
    }
}

/// Whoever interrupts a question gets a terminal back that shows what is typed.
#[cfg(unix)]
fn leave_the_terminal_as_it_is() {
    use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
    let Ok(terminal) = tcgetattr(io::stdin()) else { return };
    let interrupted = move || -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        runtime.block_on(tokio::signal::ctrl_c())?;
        tcsetattr(io::stdin(), OptionalActions::Flush, &terminal)?;
        drop(io::Write::write_all(&mut io::stderr(), b"\n"));
        // As shells say it: 128 and the number of the signal.
        std::process::exit(130)
    };
    // Without it the question is asked all the same.
    drop(std::thread::Builder::new().name("interrupt".to_owned()).spawn(move || drop(interrupted())));
}

#[cfg(not(unix))]
const fn leave_the_terminal_as_it_is() {}

/// Is there somebody who can be asked to type it again?
#[cfg(feature = "ctl")]
pub(crate) fn is_asked() -> bool {
    io::stdin().is_terminal()
}

/// The buffer never grows: growing would leave copies behind.
fn piped(input: &mut dyn BufRead, longest: usize) -> io::Result<Zeroizing<String>> {
    let bound = longest + 2;
    let mut line = Zeroizing::new(String::with_capacity(bound));
    io::Read::take(input, u64::try_from(bound).unwrap_or(u64::MAX)).read_line(&mut line)?;
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn piped_lines_come_one_by_one_and_up_to_a_bound() {
        let mut input = "old one\nnew one\n".as_bytes();
        assert_eq!(piped(&mut input, 100).unwrap().as_str(), "old one\n");
        assert_eq!(piped(&mut input, 100).unwrap().as_str(), "new one\n");
        assert_eq!(piped(&mut input, 100).unwrap().as_str(), "");
        let endless = vec![b'a'; 100_000];
        assert_eq!(piped(&mut endless.as_slice(), 100).unwrap().len(), 102);
    }
}

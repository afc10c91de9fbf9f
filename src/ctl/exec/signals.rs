//! Signals that are passed on to the command.

use std::io;

use tokio::process::Child;

/// The signals that gollmctl takes while a command runs: none of them ends it before the command has.
pub(super) struct Signals {
    #[cfg(unix)]
    each: Vec<(rustix::process::Signal, tokio::signal::unix::Signal)>,
}

/// One signal that came.
#[cfg(unix)]
pub(super) type Signal = rustix::process::Signal;
#[cfg(not(unix))]
pub(super) type Signal = ();

#[cfg(unix)]
impl Signals {
    pub(super) fn take() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};

        let kinds = [
            (Signal::TERM, SignalKind::terminate()),
            (Signal::INT, SignalKind::interrupt()),
            (Signal::QUIT, SignalKind::quit()),
            (Signal::HUP, SignalKind::hangup()),
            (Signal::USR1, SignalKind::user_defined1()),
            (Signal::USR2, SignalKind::user_defined2()),
        ];
        // Ignored by whoever started gollmctl, as by nohup, they stay ignored: by the command as well.
        let ignored = ignored();
        let taken = kinds.into_iter().filter(|(which, _)| ignored & (1 << (which.as_raw() - 1)) == 0);
        Ok(Self { each: taken.map(|(which, kind)| Ok((which, signal(kind)?))).collect::<io::Result<_>>()? })
    }

    /// The next signal that came.
    pub(super) async fn next(&mut self) -> Signal {
        std::future::poll_fn(|context| {
            let came = |(which, signal): &mut (Signal, tokio::signal::unix::Signal)| signal.poll_recv(context).is_ready().then_some(*which);
            self.each.iter_mut().find_map(came).map_or(std::task::Poll::Pending, std::task::Poll::Ready)
        })
        .await
    }
}

/// The signals that this process ignores, a bit each from the lowest (proc_pid_status(5)); none where the system does not tell.
#[cfg(unix)]
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    line.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()).unwrap_or(0)
}

/// Sends the command what gollmctl was sent.
#[cfg(unix)]
pub(super) fn pass_on(child: &Child, signal: Signal) {
    // The terminal sends Ctrl-C and Ctrl-\\ to the command as well.
    if matches!(signal, Signal::INT | Signal::QUIT) && is_in_foreground() {
        return;
    }
    let process = child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
    if let Some(process) = process {
        // One that has ended this moment needs none.
        rustix::process::kill_process(process, signal).ok();
    }
}

/// Is gollmctl, and with it the command, in the foreground of its terminal?
#[cfg(unix)]
fn is_in_foreground() -> bool {
    let terminal = std::fs::File::open("/dev/tty");
    terminal.is_ok_and(|terminal| rustix::termios::tcgetpgrp(terminal).is_ok_and(|group| group == rustix::process::getpgrp()))
}

#[cfg(not(unix))]
impl Signals {
    pub(super) fn take() -> io::Result<Self> {
        Ok(Self {})
    }

    /// Ctrl-C reaches every program of the console by itself; here it only must not end gollmctl.
    pub(super) async fn next(&mut self) -> Signal {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(not(unix))]
pub(super) const fn pass_on(_: &Child, (): Signal) {}

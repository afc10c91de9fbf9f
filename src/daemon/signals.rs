//! Signals: SIGTERM and SIGINT end the daemon, SIGHUP reads the configuration again.

use std::sync::Arc;

use crate::daemon::state::Shared;

/// The signals that the daemon takes. From when it is made, none of them ends the process on the spot.
pub(super) struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    hangup: tokio::signal::unix::Signal,
}

impl Signals {
    /// Takes them, before anything is there that an abrupt end would leave behind.
    #[cfg(unix)]
    pub(super) fn take() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};

        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())?, hangup: signal(SignalKind::hangup())? })
    }

    /// Serves signals until one says to end.
    #[cfg(unix)]
    pub(super) async fn until_the_end(mut self, shared: &Arc<Shared>) -> std::io::Result<()> {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return Ok(()),
                _ = self.interrupt.recv() => return Ok(()),
                _ = self.hangup.recv() => {
                    // What came of it stands in the log and in `status`.
                    // It is not waited for: a file that can't be read must not keep SIGTERM from being heard.
                    tokio::spawn(crate::daemon::admin::reload(Arc::clone(shared), None));
                }
            }
        }
    }

    /// Ctrl-C is taken when it is waited for.
    #[cfg(not(unix))]
    pub(super) fn take() -> std::io::Result<Self> {
        Ok(Self {})
    }

    /// Waits for Ctrl-C.
    #[cfg(not(unix))]
    pub(super) async fn until_the_end(self, _: &Arc<Shared>) -> std::io::Result<()> {
        tokio::signal::ctrl_c().await
    }
}

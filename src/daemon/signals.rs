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
        let reloading = Arc::clone(shared);
        // A task of its own: a file that can't be read must not keep SIGTERM from being heard. Signals that come while
        // one is served are one.
        tokio::spawn(async move {
            while self.hangup.recv().await.is_some() {
                // What comes of it stands in the log and in `status`.
                drop(crate::daemon::admin::reload(Arc::clone(&reloading), None).await);
            }
        });
        tokio::select! {
            _ = self.terminate.recv() => Ok(()),
            _ = self.interrupt.recv() => Ok(()),
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

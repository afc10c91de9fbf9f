//! Signals: SIGTERM and SIGINT end the daemon, SIGHUP reads the configuration again.

use std::sync::Arc;

use crate::daemon::state::Shared;

/// Serves signals until one says to end.
#[cfg(unix)]
pub(super) async fn until_the_end(shared: &Arc<Shared>) -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = hangup.recv() => {
                // What came of it stands in the log and in `status`.
                drop(crate::daemon::admin::reload(Arc::clone(shared), None).await);
            }
        }
    }
}

/// Waits for Ctrl-C.
#[cfg(not(unix))]
pub(super) async fn until_the_end(_: &Arc<Shared>) -> std::io::Result<()> {
    tokio::signal::ctrl_c().await
}

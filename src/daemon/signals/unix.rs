//! SIGTERM and SIGINT end the daemon, SIGHUP reads the configuration again.

use std::io;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::daemon::admin;
use crate::daemon::front::Front;

pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    pub(super) fn take() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())?, hangup: signal(SignalKind::hangup())? })
    }

    pub(super) async fn until_the_end(mut self, front: &Arc<Front>) {
        let reloading = Arc::clone(front);
        // A task of its own: a file that can't be read must not keep SIGTERM from being heard. Signals that come while
        // one is served are one.
        tokio::spawn(async move {
            while self.hangup.recv().await.is_some() {
                // What comes of it stands in the log and in `status`.
                drop(admin::reload(Arc::clone(&reloading), None).await);
            }
        });
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

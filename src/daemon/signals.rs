//! Signals: what ends the daemon, and on Unix what lets it read the configuration again.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use std::io;
use std::sync::Arc;

use crate::daemon::front::Front;

#[cfg(unix)]
use unix as system;
#[cfg(windows)]
use windows as system;

/// The signals that the daemon takes. From when it is made, none of them ends the process on the spot.
pub(super) struct Signals(system::Signals);

impl Signals {
    /// Takes them, before anything is there that an abrupt end would leave behind.
    pub(super) fn take() -> io::Result<Self> {
        system::Signals::take().map(Self)
    }

    /// Serves signals until one says to end.
    pub(super) async fn until_the_end(self, front: &Arc<Front>) {
        self.0.until_the_end(front).await;
    }
}

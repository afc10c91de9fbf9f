//! Ctrl-C and Ctrl-Break end the daemon, and so do closing its console and shutting the machine down.

use std::io;
use std::sync::Arc;

use tokio::signal::windows::{CtrlBreak, CtrlC, CtrlClose, CtrlShutdown, ctrl_break, ctrl_c, ctrl_close, ctrl_shutdown};

use crate::daemon::front::Front;

pub(super) struct Signals {
    c: CtrlC,
    r#break: CtrlBreak,
    close: CtrlClose,
    shutdown: CtrlShutdown,
}

impl Signals {
    pub(super) fn take() -> io::Result<Self> {
        Ok(Self { c: ctrl_c()?, r#break: ctrl_break()?, close: ctrl_close()?, shutdown: ctrl_shutdown()? })
    }

    /// After the last two, Windows ends the process within 5 s: the daemon needs less.
    pub(super) async fn until_the_end(mut self, _: &Arc<Front>) {
        tokio::select! {
            _ = self.c.recv() => {}
            _ = self.r#break.recv() => {}
            _ = self.close.recv() => {}
            _ = self.shutdown.recv() => {}
        }
    }
}

//! The service manager's watchdog: fed while the daemon answers a caller, as itself one, and not otherwise.

use std::path::PathBuf;
use std::time::Duration;

use crate::client::blocking::Client;
use crate::environment::Environment;
use crate::platform;
use crate::protocol::request::Op;

/// Feeds the watchdog until the process ends, where the service manager has one for it.
pub(crate) fn begin(socket: PathBuf) -> std::io::Result<()> {
    let Some(limit) = platform::watchdog() else { return Ok(()) };
    tracing::debug!(?limit, "the watchdog is fed");
    std::thread::Builder::new().name("gollmd-watchdog".to_owned()).spawn(move || feed(&socket, limit)).map(drop)
}

fn feed(socket: &std::path::Path, limit: Duration) {
    let mut client: Option<Client> = None;
    loop {
        // Over a connection like any caller's, and with the lock that every lease takes.
        let asked = client.take().map_or_else(|| Client::builder().socket(socket).timeout(limit / 4).connect_blocking(&Environment::default()), Ok);
        match asked.and_then(|client| client.call(Op::Status).map(|_| client)) {
            Ok(answered) => {
                client = Some(answered);
                if let Err(why) = platform::notify(&platform::Phase::Alive) {
                    tracing::warn!(error = %why, "the service manager can't be told");
                }
            }
            Err(why) => tracing::error!(error = %why, "the daemon does not answer itself: the watchdog is not fed"),
        }
        std::thread::sleep(limit / 3);
    }
}

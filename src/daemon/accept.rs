//! Takes connections, a bounded number at a time, and waits for them at the end.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;

use crate::daemon::answer::Asker;
use crate::daemon::connection::Connection;
use crate::daemon::state::Shared;
use crate::endpoint::Stream;
use crate::endpoint::listen::{Listener, Peer};
use crate::protocol::error::ErrorCode;
use crate::time::Steady;
use crate::time::clock::Clock;

/// Connections at a time.
const CONNECTIONS_MAX: u64 = 4096;

/// Descriptors that the store, the log and live checks need.
const DESCRIPTORS_KEPT: u64 = 64;

/// How long to wait where the process has no descriptor for another connection.
const PAUSE: Duration = Duration::from_millis(200);

/// How often at most the log tells of connections that could not be taken.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// How long the answers in hand may take when the daemon ends.
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// Takes connections until `stop` says so, and lets those that are open answer what is in hand.
pub(crate) async fn accept(shared: Arc<Shared>, listener: Listener, mut stop: watch::Receiver<bool>) {
    let most = CONNECTIONS_MAX.min(crate::platform::descriptors().saturating_sub(DESCRIPTORS_KEPT));
    let mut told: Option<Steady> = None;
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => begin(&shared, stream, peer, most, stop.clone()),
                Err(why) => {
                    let now = shared.clock.now().steady;
                    if told.is_none_or(|told| now.since(told) >= TELL_EVERY) {
                        tracing::warn!(error = %why, "a connection was refused");
                        told = Some(now);
                    }
                    if !is_the_callers(&why) {
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            },
            _ = stop.changed() => break,
        }
    }
    drop(listener);
    for _ in 0..100 {
        if shared.connections.load(Ordering::Acquire) == 0 {
            return;
        }
        tokio::time::sleep(DRAIN_TIME / 100).await;
    }
}

/// Errors that end with one caller: it left, or the kernel does not name it. Of others, such as a lack of descriptors, the
/// next attempt would only find the same.
fn is_the_callers(why: &io::Error) -> bool {
    matches!(why.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted)
}

fn begin(shared: &Arc<Shared>, stream: Stream, peer: Peer, most: u64, stop: watch::Receiver<bool>) {
    let asker = Asker { caller: shared.access.admit(peer.uid), gid: peer.gid, pid: peer.pid };
    let open = shared.connections.fetch_add(1, Ordering::AcqRel);
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        let (reader, writer) = stream.split();
        let mut connection = Connection::new(Arc::clone(&shared), asker, writer);
        if open < most {
            connection.serve(reader, stop).await;
        } else {
            connection.refuse(ErrorCode::Overloaded, format!("{most} connections are open already")).await;
        }
        connection.holds(0);
        shared.connections.fetch_sub(1, Ordering::AcqRel);
    });
}

//! Takes connections, a bounded number at a time, and waits for them at the end.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::access::Caller;
use crate::daemon::answer::Asker;
use crate::daemon::connection::Connection;
use crate::daemon::front::Front;
use crate::daemon::state::{Phase, Shared};
use crate::endpoint::Stream;
use crate::endpoint::listen::{Listener, Peer};
use crate::protocol::error::ErrorCode;
use crate::protocol::reply::Role;
use crate::time::Steady;

/// Connections at a time.
const CONNECTIONS_MAX: u64 = 4096;

/// Connections that only admins get.
const KEPT_FOR_ADMINS: u64 = 64;

/// Descriptors that the store, the log and live checks need.
const DESCRIPTORS_KEPT: u64 = 64;

/// How long to wait where the process has no descriptor for another connection.
const PAUSE: Duration = Duration::from_millis(200);

/// How often at most the log tells of connections that could not be taken.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// When the daemon ends: a pause of so long says that nobody waits to be taken.
const LAST_CALLERS: Duration = Duration::from_millis(5);

/// How long the answers in hand may take when the daemon ends.
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// Takes connections until the daemon ends, and lets those that are open answer what is in hand. When it returns, no
/// connection is left.
pub(crate) async fn accept(front: Arc<Front>, listener: Listener, phase: watch::Sender<Phase>) {
    let most = CONNECTIONS_MAX.min(crate::platform::descriptors().saturating_sub(DESCRIPTORS_KEPT));
    let mut ending = phase.subscribe();
    let mut serving = JoinSet::new();
    let mut told: Option<Steady> = None;
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => drop(serving.spawn(serve(Arc::clone(&front), stream, peer, most, phase.subscribe()))),
                Err(why) => {
                    let now = front.desk.uptime().steady;
                    if told.is_none_or(|told| now.since(told) >= TELL_EVERY) {
                        tracing::warn!(error = %why, "a connection was refused");
                        told = Some(now);
                    }
                    if !is_the_callers(&why) {
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            },
            Some(_) = serving.join_next() => {}
            () = front.desk.audience.notified() => open(&front.serving(), &listener),
            _ = ending.changed() => break,
        }
    }
    // Nobody new finds the socket; who connected before is served.
    listener.hide();
    for _ in 0..most {
        match tokio::time::timeout(LAST_CALLERS, listener.accept()).await {
            Ok(Ok((stream, peer))) => drop(serving.spawn(serve(Arc::clone(&front), stream, peer, most, phase.subscribe()))),
            Ok(Err(why)) if is_the_callers(&why) => {}
            _ => break,
        }
    }
    drop(listener);
    let all_answered = async { while serving.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN_TIME, all_answered).await.is_err() {
        phase.send_replace(Phase::Over);
        while serving.join_next().await.is_some() {}
    }
}

/// Lets those connect whom the rules may let in.
pub(crate) fn open(shared: &Shared, listener: &Listener) {
    if let Err(why) = listener.open_to(shared.live().access.audience()) {
        tracing::error!(error = %why, "the socket can't be opened to those whom `access` lets in");
    }
}

/// Errors that end with one caller: it left, or the kernel does not name it. Of others, such as a lack of descriptors, the
/// next attempt would only find the same.
fn is_the_callers(why: &io::Error) -> bool {
    matches!(why.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted)
}

async fn serve(front: Arc<Front>, stream: Stream, peer: Peer, most: u64, phase: watch::Receiver<Phase>) {
    let caller = Caller { unit: front.desk.services.of(&peer), ..front.serving().live().access.admit(&peer) };
    let asker = Asker { caller, peer: Arc::new(peer), unit: Arc::default() };
    let (uid, place) = (asker.caller.uid, front.desk.of_users.take(asker.caller.uid, asker.caller.role));
    // The last places are for admins, and for the daemon's own look at itself.
    let kept = if asker.caller.role == Role::Admin { 0 } else { KEPT_FOR_ADMINS.min(most / 2) };
    let open = front.desk.connections.fetch_add(1, Ordering::AcqRel);
    let (reader, writer) = stream.split();
    let mut connection = Connection::new(Arc::clone(&front), asker, writer);
    let mut over = phase.clone();
    let served = async {
        if let Err(most) = place {
            connection.refuse(ErrorCode::Overloaded, format!("uid {uid} has {most} connections open already")).await;
        } else if open < most.saturating_sub(kept) {
            connection.serve(reader, phase).await;
        } else {
            connection.refuse(ErrorCode::Overloaded, format!("{most} connections are open already")).await;
        }
    };
    tokio::select! {
        () = served => {}
        // Without a sender the daemon is gone too.
        _ = over.wait_for(|phase| *phase == Phase::Over) => {}
    }
    connection.end().await;
    front.desk.connections.fetch_sub(1, Ordering::AcqRel);
    if place.is_ok() {
        front.desk.of_users.give_back(uid);
    }
}

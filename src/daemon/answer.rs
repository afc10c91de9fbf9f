//! One request: is the caller let in, and what is it answered? The gates stand in one visible order.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot::error::RecvError;

use crate::access::Caller;
use crate::broker::{Broker, Grant, Moment};
use crate::daemon::safe::Entry;
use crate::daemon::state::{Core, Durable, Shared, unwritable};
use crate::daemon::{admin, checker, status};
use crate::event::Granted;
use crate::id::{KeyId, LeaseId};
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::outcome::Outcome;
use crate::protocol::reply::{Lease, Reply, Reported, You};
use crate::protocol::request::{Op, Renew, Report, Select, Statistics};
use crate::time::clock::Clock;
use crate::usage::TooManyRows;

/// A lease on a key whose secret can't be opened is given back, and another key is tried this often.
const SEALED_TRIES: usize = 16;

/// What has no deadline of its own, such as forgetting old usage, is looked at this often.
const TICK_LATEST: Duration = Duration::from_secs(3600);

/// An answer that stands, or one that is on its way.
pub(crate) enum Answer {
    /// It stands.
    Now(Reply),
    /// It stands once the store holds what was decided.
    Durable(Reply, Durable),
    /// It takes its time.
    Later(Pin<Box<dyn Future<Output = Reply> + Send>>),
}

/// Who asks: what the kernel says of the peer, and what that makes it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asker {
    pub(crate) caller: Caller,
    pub(crate) gid: u32,
    pub(crate) pid: Option<i32>,
}

impl Answer {
    fn of(result: Result<Reply, ErrorReply>) -> Self {
        Answer::Now(result.unwrap_or_else(Reply::Error))
    }
}

/// `reply` once the store holds what was decided, else why it does not.
pub(crate) async fn when_durable(reply: Reply, durable: Durable) -> Reply {
    if_durable(reply, durable.await)
}

/// `reply` where the store holds what was decided, else why it does not.
pub(crate) fn if_durable(reply: Reply, durable: Result<Result<(), String>, RecvError>) -> Reply {
    match durable {
        Ok(Ok(())) => reply,
        Ok(Err(why)) => Reply::Error(ErrorReply::new(
            ErrorCode::Internal,
            format!("the store can't be written: {why}; what was asked is kept and tried again, and a report that is repeated counts once"),
        )),
        Err(_) => Reply::Error(ErrorReply::new(ErrorCode::Internal, "the daemon is stopping; ask again, a report that is repeated counts once")),
    }
}

/// Answers a request.
pub(crate) fn answer(shared: &Arc<Shared>, asker: Asker, op: Op) -> Answer {
    if !asker.caller.may(&op) {
        tracing::warn!(target: "gollm::audit", uid = %asker.caller.uid, pid = asker.pid, act = op.name(), result = "denied", "denied");
        return Answer::Now(Reply::Error(ErrorReply::new(
            ErrorCode::Denied,
            format!("uid {} may not ask for `{}`: only root and the daemon's own user are served", asker.caller.uid, op.name()),
        )));
    }
    match op {
        Op::Whoami => Answer::Now(Reply::You(you(asker))),
        Op::Select(request) => select(shared, asker.caller, &request),
        Op::Report(request) => report(shared, asker.caller, &request),
        Op::Renew(request) => renew(shared, asker.caller, &request),
        Op::Record(request) => durable(shared, |broker, moment| broker.record(asker.caller, &request, moment).map(Reply::Reported)),
        Op::Status => Answer::Now(Reply::Status(Box::new(status::status(shared)))),
        Op::Keys(request) => Answer::of(status::keys(shared, request.provider.as_ref())),
        Op::Health => {
            let now = shared.clock.now();
            Answer::Now(Reply::Health(shared.lock().broker.health(now)))
        }
        Op::Statistics(request) => {
            if let Err(refused) = request.check() {
                return Answer::Now(Reply::Error(ErrorReply::new(ErrorCode::BadRequest, refused.to_string())));
            }
            Answer::Later(Box::pin(statistics(Arc::clone(shared), request)))
        }
        Op::Validate(request) => Answer::Later(Box::pin(checker::validate(Arc::clone(shared), request))),
        Op::KeySet(request) => {
            let id = KeyId { provider: request.provider.clone(), key: request.key_name.clone() };
            admin::act(shared, asker, "key_set", &id, |core| admin::key_set(shared, core, &request))
        }
        Op::KeyRemove(request) => {
            let id = KeyId { provider: request.provider, key: request.key_name };
            admin::act(shared, asker, "key_remove", &id, |core| admin::key_remove(shared, core, &id))
        }
        Op::KeyEnable(request) => {
            let id = KeyId { provider: request.provider, key: request.key_name };
            admin::act(shared, asker, "key_enable", &id, |core| admin::key_enable(shared, core, &id))
        }
        Op::KeyDisable(request) => {
            let id = KeyId { provider: request.provider, key: request.key_name };
            let span = request.for_ms.map(Duration::from_millis);
            admin::act(shared, asker, "key_disable", &id, |core| core.decide(shared, |broker, moment| broker.key_disable(&id, span, moment)))
        }
        Op::Reload => {
            // It goes on though its caller leaves.
            let reload = tokio::spawn(admin::reload(Arc::clone(shared), Some(asker)));
            Answer::Later(Box::pin(async {
                reload.await.unwrap_or_else(|_| Reply::Error(ErrorReply::new(ErrorCode::Internal, "the reload failed; the daemon's log says why")))
            }))
        }
    }
}

/// Adds up usage off the thread that serves, a few at a time: the place is kept until the work ends, whoever waits for it.
async fn statistics(shared: Arc<Shared>, request: Statistics) -> Reply {
    let place = Arc::clone(&shared.statistics).acquire_owned().await;
    let ledger = shared.lock().broker.ledger();
    let work = move || {
        let answer = ledger.answer(&request);
        drop(place);
        match answer {
            Ok(answer) => Reply::Statistics(answer),
            Err(TooManyRows) => {
                Reply::Error(ErrorReply::new(ErrorCode::TooLarge, "these are too many rows for one answer: ask for a shorter time, or split by less"))
            }
        }
    };
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|_| Reply::Error(ErrorReply::new(ErrorCode::Internal, "the request failed in the daemon; its log says why")))
}

fn you(asker: Asker) -> You {
    You {
        uid: asker.caller.uid,
        gid: asker.gid,
        pid: asker.pid,
        unit: asker.pid.and_then(crate::platform::unit_of),
        role: asker.caller.role,
        rule: asker.caller.rule.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// Decides something whose answer waits until it is durable.
fn durable(shared: &Arc<Shared>, decision: impl FnOnce(&mut Broker, &mut Moment<'_>) -> Result<Reply, ErrorReply>) -> Answer {
    let mut core = shared.lock();
    if let Err(refused) = core.writable() {
        return Answer::Now(Reply::Error(refused));
    }
    match core.decide(shared, decision) {
        Ok(reply) => Answer::Durable(reply, core.until_durable(shared)),
        Err(refused) => Answer::Now(Reply::Error(refused)),
    }
}

fn select(shared: &Arc<Shared>, caller: Caller, request: &Select) -> Answer {
    for _ in 0..SEALED_TRIES {
        let mut core = shared.lock();
        let (grant, entry) = match granted(shared, &mut core, caller, request) {
            Ok(granted) => granted,
            Err(refused) => return Answer::Now(Reply::Error(refused)),
        };
        let wait = grant.must_wait.then(|| core.until_durable(shared));
        if wait.is_none() {
            core.wake_journal(shared);
        }
        drop(core);
        let lease = entry.as_ref().and_then(|entry| entry.open(&shared.vault).ok()).and_then(|secret| leased(shared, &grant, secret));
        if let Some(lease) = lease {
            let Some(wait) = wait else {
                return Answer::Now(Reply::Lease(lease));
            };
            let held = Held { shared: Arc::clone(shared), caller, lease: Some(grant.lease) };
            return Answer::Later(Box::pin(lease_when_durable(held, lease, wait)));
        }
        give_back(shared, caller, &grant.lease);
    }
    Answer::Now(Reply::Error(ErrorReply::new(ErrorCode::Internal, "no secret can be opened; the daemon's log says why")))
}

/// A lease that was given and is not handed out yet. It is given back when it is dropped: when the store can't be written, or
/// its caller left.
struct Held {
    shared: Arc<Shared>,
    caller: Caller,
    lease: Option<Granted>,
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(lease) = self.lease.take() {
            let mut core = self.shared.lock();
            cancel(&self.shared, &mut core, self.caller, &lease);
            core.wake_journal(&self.shared);
        }
    }
}

/// The lease once its limits are durable.
async fn lease_when_durable(mut held: Held, lease: Lease, durable: Durable) -> Reply {
    let reply = when_durable(Reply::Lease(lease), durable).await;
    if matches!(reply, Reply::Lease(_)) {
        held.lease = None;
    }
    reply
}

fn granted(shared: &Shared, core: &mut Core, caller: Caller, request: &Select) -> Result<(Grant, Option<Arc<Entry>>), ErrorReply> {
    core.leasable()?;
    let grant = core.decide(shared, |broker, moment| broker.select(caller, request, moment))?;
    if grant.must_wait
        && let Some(why) = core.failing.clone()
    {
        cancel(shared, core, caller, &grant.lease);
        return Err(unwritable(&why));
    }
    if core.tick_at.is_some_and(|tick_at| grant.lease.expires < tick_at) {
        core.tick_at = None;
        shared.sooner.notify_one();
    }
    let entry = core.safe.entry(&grant.lease.key).cloned();
    Ok((grant, entry))
}

fn cancel(shared: &Shared, core: &mut Core, caller: Caller, lease: &Granted) {
    let token = "gl_internal".parse::<LeaseId>();
    let Ok(token) = token else { return };
    let cancelled = core.decide(shared, |broker, moment| broker.report(caller, lease, &Report::of(token, Outcome::Cancelled), moment));
    if let Err(why) = cancelled {
        tracing::error!(key = %lease.key, error = %why, "a lease can't be given back");
    }
}

/// The secret can't be opened: its key is sealed, and the lease was never used.
fn give_back(shared: &Shared, caller: Caller, lease: &Granted) {
    let mut core = shared.lock();
    tracing::error!(key = %lease.key, "the secret of this key can't be opened: the key is sealed until another one is set");
    core.broker.set_sealed(&lease.key, true);
    cancel(shared, &mut core, caller, lease);
    core.wake_journal(shared);
}

/// The lease as its caller gets it.
fn leased(shared: &Shared, grant: &Grant, secret: crate::secret::Secret) -> Option<Lease> {
    let plain = bincode::serde::encode_to_vec(&grant.lease, bincode::config::standard()).ok()?;
    let token = shared.vault.seal_token(&plain).ok()?;
    Some(Lease {
        lease: format!("gl_{token}").parse().ok()?,
        provider: grant.lease.key.provider.clone(),
        key_name: grant.lease.key.key.clone(),
        secret,
        base_url: grant.base_url.clone(),
        strategy: grant.lease.strategy,
        fallback_from: grant.lease.fallback_from.clone(),
        model: None,
        last_used: grant.last_used,
        expires: grant.expires,
    })
}

/// What a lease's token says; an error where it is none of this store.
fn open_token(shared: &Shared, lease: &LeaseId) -> Result<Granted, ErrorReply> {
    let unknown = || ErrorReply::new(ErrorCode::UnknownLease, "this lease is not known: this daemon's store did not give it");
    let text = lease.as_str().strip_prefix("gl_").ok_or_else(unknown)?;
    let plain = shared.vault.open_token(text).map_err(|_| unknown())?;
    let decoded = bincode::serde::decode_from_slice(&plain, bincode::config::standard().with_limit::<4096>());
    decoded.map(|(lease, _)| lease).map_err(|_| unknown())
}

fn report(shared: &Arc<Shared>, caller: Caller, request: &Report) -> Answer {
    let lease = match open_token(shared, &request.lease) {
        Ok(lease) => lease,
        Err(unknown) => return Answer::Now(Reply::Error(unknown)),
    };
    if request.outcome == Outcome::AuthFailed {
        shared.suspect.notify_one();
    }
    durable(shared, |broker, moment| broker.report(caller, &lease, request, moment).map(|reported: Reported| Reply::Reported(reported)))
}

fn renew(shared: &Arc<Shared>, caller: Caller, request: &Renew) -> Answer {
    let lease = match open_token(shared, &request.lease) {
        Ok(lease) => lease,
        Err(unknown) => return Answer::Now(Reply::Error(unknown)),
    };
    let secret = shared.secret_of(&lease.key).and_then(|entry| entry.open(&shared.vault).ok());
    let Some(secret) = secret else {
        return Answer::Now(Reply::Error(ErrorReply::new(
            ErrorCode::UnknownKey,
            format!("`{}` has no secret any more; select another key", lease.key),
        )));
    };
    durable(shared, |broker, moment| {
        let grant = broker.renew(caller, &lease, moment)?;
        let mut renewed = leased(shared, &grant, secret).ok_or_else(|| ErrorReply::new(ErrorCode::Internal, "the lease can't be sealed"))?;
        renewed.lease = request.lease.clone();
        Ok(Reply::Lease(renewed))
    })
}

/// Ends what is due, and says after how long to come again.
pub(crate) fn tick(shared: &Shared) -> Duration {
    let mut core = shared.lock();
    core.decide(shared, |broker, moment| broker.tick(moment));
    core.wake_journal(shared);
    let now = shared.clock.now().steady;
    let latest = now.after(TICK_LATEST);
    let tick_at = core.broker.next_deadline().map_or(latest, |next| next.min(latest));
    core.tick_at = Some(tick_at);
    tick_at.since(now)
}

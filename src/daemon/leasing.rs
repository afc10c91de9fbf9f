//! From a grant to a lease in its caller's hands: waiting for a key, opening its secret, sealing the token; and giving back
//! what nobody takes.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::access::Caller;
use crate::broker::{Grant, Selected, Served, Ticket};
use crate::daemon::answer::{Answer, Handed, when_durable};
use crate::daemon::logging as log;
use crate::daemon::news;
use crate::daemon::safe::Entry;
use crate::daemon::state::{Core, Durable, Shared, unwritable};
use crate::event::Granted;
use crate::id::LeaseId;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::reply::{Lease, Reply};
use crate::protocol::request::Select;
use crate::secret::Secret;
use crate::time::clock::Clock;

/// A lease on a key whose secret can't be opened is given back, and another key is tried this often.
const SEALED_TRIES: usize = 16;

/// A grant, and what it takes to hand it out.
pub(crate) struct Given {
    grant: Grant,
    entry: Option<Arc<Entry>>,
    /// The store must hear of it first.
    wait: Option<Durable>,
}

/// Hands a grant, or why there is none, to who waits for it.
pub(crate) type Handover = oneshot::Sender<Result<Given, ErrorReply>>;

/// The secret can't be opened, and the lease was given back.
struct Sealed;

/// Answers `select`: now, when the store holds what it must, or when a key is free.
pub(crate) fn select(shared: &Arc<Shared>, caller: &Caller, request: &Select) -> Answer {
    for _ in 0..SEALED_TRIES {
        let mut core = shared.lock();
        let given = match core.select(shared, caller, request) {
            Ok(Selected::Granted(grant)) => core.given(shared, grant),
            Ok(Selected::Queued(ticket)) => {
                let (handover, answer) = oneshot::channel();
                core.queue.insert(ticket, handover);
                core.serve(shared);
                let queued = Queued { shared: Arc::clone(shared), ticket, answer: Some(answer) };
                return Answer::Later(Box::pin(when_free(queued, caller.clone(), request.clone())));
            }
            Err(refusal) => Err(refusal),
        };
        core.serve(shared);
        drop(core);
        match given.map(|given| hand_out(shared, given)) {
            // The usual way: nothing is waited for, and the answer is written at once.
            Ok(Ok(Out { lease, granted: _, wait: None })) => return Answer::Now(Reply::Lease(lease)),
            Ok(Ok(out)) => return Answer::Later(Box::pin(out.when_durable(Arc::clone(shared)))),
            Ok(Err(Sealed)) => {}
            Err(refusal) => {
                tell_refusal(shared, caller, request, &refusal);
                return Answer::Now(Reply::Error(refusal));
            }
        }
    }
    Answer::Now(Reply::Error(ErrorReply::new(ErrorCode::Internal, "no secret can be opened; the daemon's log says why")))
}

/// Tells those who listen of a select that got no key.
fn tell_refusal(shared: &Shared, caller: &Caller, request: &Select, why: &ErrorReply) {
    shared.desk.metrics.refused(&request.provider, shared.live().settings.policy.provider(&request.provider).is_some(), why);
    if why.code == ErrorCode::NoKeyAvailable && shared.desk.news.is_heard() {
        shared.desk.news.tell(news::refused(caller, request, why, shared.clock.now().wall));
    }
}

/// Waits for its turn.
async fn when_free(mut queued: Queued, caller: Caller, request: Select) -> Handed {
    let shared = Arc::clone(&queued.shared);
    let (began, version) = (shared.clock.now().steady, shared.access_version());
    let served = match &mut queued.answer {
        Some(answer) => answer.await.unwrap_or_else(|_| Err(stopping())),
        None => Err(stopping()),
    };
    queued.answer = None;
    match served.map(|given| hand_out(&shared, given)) {
        Ok(Ok(out)) => out.when_durable(shared).await,
        Ok(Err(Sealed)) => {
            let left = request.wait().saturating_sub(shared.clock.now().steady.since(began));
            let again = Select { wait_ms: u64::try_from(left.as_millis()).ok(), ..request };
            if shared.access_version() != version {
                return Reply::Error(ErrorReply::new(ErrorCode::Overloaded, "who is served was changed while this select waited: ask again")).into();
            }
            select(&shared, &caller, &again).settled().await
        }
        Err(refusal) => {
            tell_refusal(&shared, &caller, &request, &refusal);
            Reply::Error(refusal).into()
        }
    }
}

fn stopping() -> ErrorReply {
    ErrorReply::new(ErrorCode::Internal, "the daemon is stopping; ask again")
}

/// A place in the queue. It is given up when it is dropped: its caller left.
struct Queued {
    shared: Arc<Shared>,
    ticket: Ticket,
    answer: Option<oneshot::Receiver<Result<Given, ErrorReply>>>,
}

impl Drop for Queued {
    fn drop(&mut self) {
        let Some(mut answer) = self.answer.take() else { return };
        let mut core = self.shared.lock();
        core.queue.remove(&self.ticket);
        match answer.try_recv() {
            Ok(Ok(given)) => core.give_back(&self.shared, &given.grant.lease),
            _ => core.broker.leave(self.ticket),
        }
    }
}

/// A lease that was given and is not in its caller's hands yet. It is given back when it is dropped: when the store can't be
/// written, or its caller left.
pub(crate) struct Held {
    shared: Arc<Shared>,
    lease: Option<Granted>,
}

impl Held {
    /// Its caller has it.
    pub(crate) fn handed_over(mut self) {
        self.lease = None;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(lease) = self.lease.take() {
            self.shared.lock().give_back(&self.shared, &lease);
        }
    }
}

/// A lease on its way out.
struct Out {
    lease: Lease,
    granted: Granted,
    /// The store must hear of it first.
    wait: Option<Durable>,
}

impl Out {
    /// The lease once its limits are durable.
    async fn when_durable(self, shared: Arc<Shared>) -> Handed {
        let held = Held { shared, lease: Some(self.granted) };
        let lease = Reply::Lease(self.lease);
        let reply = match self.wait {
            Some(wait) => when_durable(lease, wait).await,
            None => lease,
        };
        let held = matches!(reply, Reply::Lease(_)).then_some(held);
        Handed { reply, held }
    }
}

/// Opens the secret and makes the lease.
fn hand_out(shared: &Arc<Shared>, given: Given) -> Result<Out, Sealed> {
    let Given { grant, entry, wait } = given;
    let lease = entry.and_then(|entry| entry.open(&shared.vault()).ok()).and_then(|secret| leased(shared, &grant, secret));
    let Some(lease) = lease else {
        let mut core = shared.lock();
        tracing::error!(target: log::STORE, provider = %grant.lease.key.provider, key = %grant.lease.key.key, "the secret of this key can't be opened: the key is sealed until another one is set");
        core.broker.set_sealed(&grant.lease.key, true);
        core.give_back(shared, &grant.lease);
        return Err(Sealed);
    };
    Ok(Out { lease, granted: grant.lease, wait })
}

impl Core {
    fn select(&mut self, shared: &Shared, caller: &Caller, request: &Select) -> Result<Selected, ErrorReply> {
        self.leasable()?;
        if self.closing {
            return self.at_once(shared, |broker, moment| broker.select(caller, request, moment)).map(Selected::Granted);
        }
        self.at_once(shared, |broker, moment| broker.select_or_wait(caller, request, moment))
    }

    /// What it takes to hand out a grant.
    fn given(&mut self, shared: &Shared, grant: Grant) -> Result<Given, ErrorReply> {
        if grant.must_wait
            && let Some(why) = self.failing.clone()
        {
            self.give_back(shared, &grant.lease);
            return Err(unwritable(&why));
        }
        let wait = grant.must_wait.then(|| self.until_durable(shared));
        if wait.is_none() {
            self.wake_journal(shared);
        }
        let entry = self.safe.entry(&grant.lease.key).cloned();
        Ok(Given { grant, entry, wait })
    }

    /// Hands over what came of a wait. What nobody takes is given back.
    pub(crate) fn hand_over(&mut self, shared: &Shared, served: Served) {
        let Some(handover) = self.queue.remove(&served.ticket) else {
            if let Ok(grant) = served.result {
                self.give_back(shared, &grant.lease);
            }
            return;
        };
        let given = served.result.and_then(|grant| self.given(shared, grant));
        if let Err(Ok(given)) = handover.send(given) {
            self.give_back(shared, &given.grant.lease);
        }
    }

    /// Takes back a lease that was not handed out.
    fn give_back(&mut self, shared: &Shared, lease: &Granted) {
        self.decide(shared, |broker, moment| broker.give_back(lease, moment));
        self.wake_journal(shared);
    }
}

/// The lease as its caller gets it.
pub(crate) fn leased(shared: &Shared, grant: &Grant, secret: Secret) -> Option<Lease> {
    let plain = bincode::serde::encode_to_vec(&grant.lease, bincode::config::standard()).ok()?;
    let token = shared.vault().seal_token(&plain).ok()?;
    let lease = &grant.lease;
    Some(Lease {
        lease: LeaseId::of_token(&token),
        provider: lease.key.provider.clone(),
        key_name: lease.key.key.clone(),
        secret,
        base_url: grant.base_url.clone(),
        strategy: lease.strategy,
        fallback_from: lease.fallback_from.clone(),
        model: lease.model.clone().filter(|_| lease.fallback_from.is_some()),
        last_used: grant.last_used,
        expires: grant.expires,
    })
}

/// What a lease's token says; an error where it is none of this store.
pub(crate) fn open_token(shared: &Shared, lease: &LeaseId) -> Result<Granted, ErrorReply> {
    let unknown = || ErrorReply::new(ErrorCode::UnknownLease, "this lease is not known: this daemon's store did not give it");
    let text = lease.as_str().strip_prefix("gl_").ok_or_else(unknown)?;
    let plain = shared.vault().open_token(text).map_err(|_| unknown())?;
    let decoded = bincode::serde::decode_from_slice(&plain, bincode::config::standard().with_limit::<4096>());
    decoded.map(|(lease, _)| lease).map_err(|_| unknown())
}

//! One request: is the caller let in, and what is it answered? The gates stand in one visible order.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::oneshot::error::RecvError;
use tokio::task::JoinHandle;

use crate::access::{Caller, whole_path};
use crate::alert::Notice;
use crate::broker::{Broker, Moment, Told};
use crate::catalogue;
use crate::config;
use crate::daemon::front::Front;
use crate::daemon::leasing::Held;
use crate::daemon::news::Subscription;
use crate::daemon::state::{Durable, Shared, TICK_AWAITED};
use crate::daemon::{admin, checker, copies, leasing, locking, news, status, trail, webhooks};
use crate::endpoint::listen::{Cgroup, Peer};
use crate::id::KeyId;
use crate::platform;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::outcome::Outcome;
use crate::protocol::reply::{self, Reply, Reported, Role, You};
use crate::protocol::request::{self, Op, Renew, Report, Select, Statistics};
use crate::time::clock::Clock;
use crate::usage::TooManyRows;

/// What has no deadline of its own, such as forgetting old usage, is looked at this often.
const TICK_LATEST: Duration = Duration::from_secs(3600);

/// An answer that stands, or one that is on its way.
pub(crate) enum Answer {
    /// It stands.
    Now(Reply),
    /// It stands once the store holds what was decided.
    Durable(Reply, Durable),
    /// It takes its time.
    Later(Pin<Box<dyn Future<Output = Handed> + Send>>),
    /// There is one for each thing that happens.
    Stream(Box<Subscription>),
}

/// An answer that took its time. A lease in it is given back where `held` is dropped before the answer is written.
pub(crate) struct Handed {
    pub(crate) reply: Reply,
    pub(crate) held: Option<Held>,
}

impl From<Reply> for Handed {
    fn from(reply: Reply) -> Self {
        Self { reply, held: None }
    }
}

/// Who asks: what the kernel says of the peer, and what that makes it.
#[derive(Debug, Clone)]
pub(crate) struct Asker {
    pub(crate) caller: Caller,
    pub(crate) peer: Arc<Peer>,
    /// Its unit, once somebody asked: a look through the tree of control groups, once a connection.
    pub(crate) unit: Arc<OnceLock<Option<String>>>,
}

impl Asker {
    /// The systemd unit of the process; none is looked for where nobody let it in.
    pub(crate) fn unit(&self) -> Option<String> {
        if self.caller.role == Role::None {
            return None;
        }
        self.unit.get_or_init(|| self.peer.cgroup.as_ref().and_then(Cgroup::unit)).clone()
    }
}

impl Answer {
    /// The reply, once it stands.
    pub(crate) async fn settled(self) -> Handed {
        match self {
            Answer::Now(reply) => reply.into(),
            Answer::Durable(reply, durable) => when_durable(reply, durable).await.into(),
            Answer::Later(reply) => reply.await,
            Answer::Stream(mut subscription) => subscription.next().await.into(),
        }
    }

    /// An answer that takes its time and holds no lease.
    fn later(reply: impl Future<Output = Reply> + Send + 'static) -> Self {
        Answer::Later(Box::pin(async { reply.await.into() }))
    }

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
pub(crate) fn answer(front: &Arc<Front>, asker: &Asker, op: Op) -> Answer {
    let shared = &front.serving();
    let caller = &asker.caller;
    if !asker.caller.may(&op) {
        return Answer::Now(Reply::Error(denied(shared, asker, &op)));
    }
    let is_for_locked = matches!(op, Op::Whoami | Op::Status | Op::Access(_) | Op::Lock | Op::Unlock(_) | Op::Slots);
    if let Some(why) = shared.locked.as_ref().filter(|_| !is_for_locked) {
        return Answer::Now(Reply::Error(locking::locked(why)));
    }
    match op {
        Op::Whoami => Answer::Now(Reply::You(you(asker))),
        Op::Select(request) => trail::noted(shared, asker, leasing::select(shared, caller, &request)),
        Op::Explain(request) => Answer::of(explain(shared, caller, &request)),
        Op::Report(request) => report(shared, caller, &request),
        Op::Renew(request) => renew(shared, caller, &request),
        Op::Record(request) => durable(shared, |broker, moment| broker.record(caller, &request, moment).map(Reply::Reported)),
        Op::Status => Answer::Now(Reply::Status(Box::new(status::status(shared, caller)))),
        Op::Keys(request) => Answer::of(status::keys(shared, caller, request.provider.as_ref())),
        Op::Health => Answer::Now(health(shared, caller)),
        Op::Statistics(request) => Answer::later(statistics(Arc::clone(shared), caller.clone(), request)),
        Op::Validate(request) => Answer::later(checker::validate(Arc::clone(shared), asker.clone(), request)),
        Op::KeySet(request) if request.validate == Some(true) && shared.live().settings.key_validation => {
            Answer::later(checker::set_checked(Arc::clone(shared), asker.clone(), request))
        }
        Op::KeySet(request) => admin::act(shared, asker, "key_set", &request.id(), |core| admin::key_set(shared, core, &request)),
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
        Op::Rekey => to_the_end(copies::rekey(Arc::clone(front), asker.clone())),
        Op::Export => Answer::Now(export(shared)),
        Op::Backup(request) => to_the_end(copies::backup(Arc::clone(front), asker.clone(), request)),
        Op::BackupPart(request) => Answer::of(copies::part(shared, request)),
        Op::RestorePart(request) => Answer::of(copies::take_part(shared, request)),
        Op::Restore(request) => to_the_end(copies::restore(Arc::clone(front), asker.clone(), request)),
        Op::Audit(request) => off_thread(shared, move |shared| trail::answer(shared, &request)),
        // Names may be looked up over a network.
        Op::Access(request) => off_thread(shared, move |shared| access(shared, &request)),
        Op::Reload => to_the_end(admin::reload(Arc::clone(front), Some(asker.clone()))),
        Op::Lock => to_the_end(locking::lock(Arc::clone(front), asker.clone())),
        Op::Unlock(request) => to_the_end(locking::unlock(Arc::clone(front), asker.clone(), request)),
        Op::ChangePassword(request) => to_the_end(locking::change_password(Arc::clone(front), asker.clone(), request)),
        Op::Slots => Answer::of(locking::list(shared)),
        Op::SlotAdd(request) => to_the_end(locking::slot_add(Arc::clone(front), asker.clone(), request)),
        Op::Subscribe(request) => match Subscription::new(front, asker, request) {
            Ok(subscription) => Answer::Stream(Box::new(subscription)),
            Err(refused) => Answer::Now(Reply::Error(refused)),
        },
        Op::Alerts => Answer::Now(alerts(shared, caller)),
        Op::AlertTest => to_the_end(webhooks::test(Arc::clone(shared), asker.clone())),
        Op::SlotRemove(request) => to_the_end(locking::slot_remove(Arc::clone(front), asker.clone(), request.slot)),
    }
}

/// What would hold up the thread that serves.
fn off_thread(shared: &Arc<Shared>, work: impl FnOnce(&Shared) -> Result<Reply, ErrorReply> + Send + 'static) -> Answer {
    let shared = Arc::clone(shared);
    joined(tokio::task::spawn_blocking(move || work(&shared).unwrap_or_else(Reply::Error)))
}

/// An act that goes on though its caller leaves.
fn to_the_end(act: impl Future<Output = Reply> + Send + 'static) -> Answer {
    joined(tokio::spawn(act))
}

fn joined(work: JoinHandle<Reply>) -> Answer {
    Answer::later(async {
        work.await.unwrap_or_else(|_| Reply::Error(ErrorReply::new(ErrorCode::Internal, "the request failed in the daemon; its log says why")))
    })
}

fn alerts(shared: &Shared, caller: &Caller) -> Reply {
    let core = shared.lock();
    let mut alerts: Vec<_> = core.broker.alerts().into_iter().map(Notice::told).collect();
    alerts.retain(|alert| news::may_hear_alert(caller, alert));
    Reply::Alerts(alerts)
}

fn health(shared: &Shared, caller: &Caller) -> Reply {
    let mut health = shared.lock().broker.health(shared.clock.now());
    health.retain(|provider, _| caller.may_use(provider));
    Reply::Health(health)
}

fn export(shared: &Shared) -> Reply {
    let live = shared.live();
    let policy = admin::whole_policy(&live.settings, &shared.lock().safe);
    Reply::Export(config::show::show_with(&live.settings, &policy))
}

fn explain(shared: &Shared, caller: &Caller, request: &Select) -> Result<Reply, ErrorReply> {
    let mut core = shared.lock();
    // Whoever waits comes before the select that is asked about.
    core.serve(shared);
    let explanation = core.decide(shared, |broker, moment| broker.explain(caller, request, moment))?;
    Ok(Reply::Explanation(Box::new(explanation)))
}

/// Adds up usage off the thread that serves, a few at a time: the place is kept until the work ends, whoever waits for it.
async fn statistics(shared: Arc<Shared>, caller: Caller, request: Statistics) -> Reply {
    if let Err(refused) = request.check() {
        return Reply::Error(ErrorReply::new(ErrorCode::BadRequest, refused.to_string()));
    }
    let place = Arc::clone(&shared.statistics).acquire_owned().await;
    let ledger = shared.lock().broker.ledger();
    let work = move || {
        let answer = ledger.answer(&request, &|provider| caller.may_use(provider));
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

/// What a user may do whose process is where the request says.
fn access(shared: &Shared, request: &request::Access) -> Result<Reply, ErrorReply> {
    let Some(account) = platform::account(&request.user) else {
        return Err(ErrorReply::new(ErrorCode::BadRequest, format!("there is no user `{}` on this machine", request.user)));
    };
    let cgroup = request.unit.as_deref().map(|unit| Cgroup::Path(whole_path(unit)));
    let peer = Peer { uid: account.uid, gid: account.gid, groups: account.groups.as_slice().into(), pid: None, cgroup };
    let Caller { uid, role, grants, unit: _ } = shared.live().access.admit(&peer);
    Ok(Reply::Access(reply::Access {
        uid,
        groups: account.groups,
        role,
        rule: grants.rule.clone(),
        providers: grants.providers.clone(),
        rate_limit: grants.limits.rate,
        cost_limit: grants.limits.cost,
        reveal: grants.reveal,
    }))
}

/// Why a request is refused, of which the audit log hears too.
fn denied(shared: &Shared, asker: &Asker, op: &Op) -> ErrorReply {
    let caller = &asker.caller;
    shared.desk.metrics.denied();
    trail::note_denial(shared, asker, op.name());
    let why = match caller.role {
        Role::None => "no rule lets it in; `access` in the configuration says who is served",
        _ if !caller.grants.reveal && matches!(op, Op::Select(_) | Op::Renew(_) | Op::Record(_)) => {
            "its rule has `reveal: false`: it may not see a key"
        }
        _ => "that is for admins",
    };
    ErrorReply::new(ErrorCode::Denied, format!("uid {} may not ask for `{}`: {why}", caller.uid, op.name()))
}

fn you(asker: &Asker) -> You {
    You {
        uid: asker.caller.uid,
        gid: asker.peer.gid,
        pid: asker.peer.pid,
        unit: asker.unit(),
        role: asker.caller.role,
        rule: asker.caller.grants.rule.clone(),
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

fn report(shared: &Arc<Shared>, caller: &Caller, request: &Report) -> Answer {
    let lease = match leasing::open_token(shared, &request.lease) {
        Ok(lease) => lease,
        Err(unknown) => return Answer::Now(Reply::Error(unknown)),
    };
    // An answer of the provider is read before the lock is taken.
    let api = request.response.as_ref().and_then(|_| shared.lock().broker.api_of(&lease.key.provider));
    let told = match Told::of(request, api.unwrap_or(catalogue::any())) {
        Ok(told) => told,
        Err(refused) => return Answer::Now(Reply::Error(refused)),
    };
    if told.outcome == Outcome::AuthFailed {
        shared.suspect.notify_one();
    }
    durable(shared, |broker, moment| {
        let reported: Reported = broker.report(caller, &lease, &told, moment)?;
        Ok(Reply::Reported(reported))
    })
}

fn renew(shared: &Arc<Shared>, caller: &Caller, request: &Renew) -> Answer {
    let lease = match leasing::open_token(shared, &request.lease) {
        Ok(lease) => lease,
        Err(unknown) => return Answer::Now(Reply::Error(unknown)),
    };
    let secret = shared.secret_of(&lease.key).and_then(|entry| entry.open(&shared.vault()).ok());
    let Some(secret) = secret else {
        return Answer::Now(Reply::Error(ErrorReply::new(
            ErrorCode::UnknownKey,
            format!("`{}` has no secret any more; select another key", lease.key),
        )));
    };
    durable(shared, |broker, moment| {
        let grant = broker.renew(caller, &lease, moment)?;
        let mut renewed = leasing::leased(shared, &grant, secret).ok_or_else(|| ErrorReply::new(ErrorCode::Internal, "the lease can't be sealed"))?;
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
    let latest = now.after(if core.broker.is_awaited() { TICK_AWAITED } else { TICK_LATEST });
    let tick_at = core.broker.next_deadline().map_or(latest, |next| next.min(latest));
    core.tick_at = Some(tick_at);
    tick_at.since(now)
}

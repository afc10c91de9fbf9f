//! Alerts on their way to webhooks: in order, tried again over restarts, each webhook by itself.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio::task::JoinSet;

use crate::alert::Notice;
use crate::alert::post::{PostId, Retry, Subscriber, is_stale};
use crate::config::Settings;
use crate::config::secrets::Fetched;
use crate::config::webhook::is_address;
use crate::daemon::answer::Asker;
use crate::daemon::logging as log;
use crate::daemon::state::{Core, Shared};
use crate::daemon::trail::{self, Noted};
use crate::http;
use crate::notify::{NotTaken, Target};
use crate::platform;
use crate::protocol::alert::Delivery;
use crate::protocol::reply::Reply;
use crate::time::Steady;
use crate::time::clock::Clock;

/// Takes up the webhooks of the configuration. Returns what an admin should know.
pub(crate) fn take_up(shared: &Shared, core: &mut Core, settings: &Settings, fetched: &mut Fetched) -> Vec<String> {
    let (mut targets, mut subscribers, mut warnings) = (Vec::new(), Vec::new(), Vec::new());
    for (number, (webhook, address)) in settings.webhooks.iter().zip(fetched.take_webhooks()).enumerate() {
        let address = match address {
            Ok(address) if is_address(address.url.expose()) && http::address(address.url.expose()).is_ok() => address,
            Ok(_) => {
                warnings.push(format!("webhooks[{number}].url: what was found there is no URL; it is told of nothing"));
                continue;
            }
            Err(why) => {
                warnings.push(format!("webhooks[{number}]: {why}; it is told of nothing"));
                continue;
            }
        };
        let id = PostId(shared.vault().fingerprint(&address.url).into());
        if subscribers.iter().any(|other: &Subscriber| other.id == id) {
            warnings.push(format!("webhooks[{number}].url: the same as that of another; it is told of nothing"));
            continue;
        }
        subscribers.push(Subscriber { id: id.clone(), kinds: webhook.kinds.clone() });
        targets.push(Arc::new(Target::new(id, number, address, webhook.format)));
    }
    core.broker.set_webhooks(subscribers);
    shared.set_webhooks(targets);
    warnings
}

/// One message that was sent.
struct Sent {
    target: Arc<Target>,
    notice: Arc<Notice>,
    result: Result<u16, NotTaken>,
}

/// Sends what waits, for as long as the daemon serves.
pub(crate) async fn deliver(shared: Arc<Shared>) {
    let host = platform::host_name();
    let mut retries: HashMap<PostId, Retry> = HashMap::new();
    let mut under_way: HashSet<PostId> = HashSet::new();
    let mut sending: JoinSet<Sent> = JoinSet::new();
    loop {
        let mut next = None;
        for target in shared.webhooks().iter().filter(|target| !under_way.contains(&target.id)).cloned().collect::<Vec<_>>() {
            match due(&shared, &target, retries.entry(target.id.clone()).or_default()) {
                Due::Now(notice) => {
                    under_way.insert(target.id.clone());
                    sending.spawn(send(Arc::clone(&shared), target, notice, host.clone()));
                }
                Due::At(at) => next = Some(next.map_or(at, |next: Steady| next.min(at))),
                Due::Nothing => {}
            }
        }
        let pause = next.map(|next| next.since(shared.clock.now().steady));
        tokio::select! {
            Some(Ok(sent)) = sending.join_next() => {
                under_way.remove(&sent.target.id);
                settle(&shared, &sent, retries.entry(sent.target.id.clone()).or_default());
            }
            () = shared.posts.notified() => {}
            () = tokio::time::sleep(pause.unwrap_or_default()), if pause.is_some() => {}
        }
    }
}

/// When something is to be sent.
enum Due {
    Now(Arc<Notice>),
    At(Steady),
    Nothing,
}

fn due(shared: &Shared, target: &Target, retry: &Retry) -> Due {
    let now = shared.clock.now();
    loop {
        let mut core = shared.lock();
        let Some((notice, _)) = core.broker.next_post(&target.id) else { return Due::Nothing };
        if !is_stale(notice.at.wall, now.wall) {
            return retry.at(now.steady).map_or(Due::Now(notice), Due::At);
        }
        tracing::error!(target: log::WEBHOOK, host = target.host, alert = %notice.cause.kind(), id = notice.id, "an alert could not be delivered and is given up");
        core.posted(shared, &target.id, notice.id, true);
    }
}

async fn send(shared: Arc<Shared>, target: Arc<Target>, notice: Arc<Notice>, host: String) -> Sent {
    let notifier = Arc::clone(&shared.live().notifier);
    let result = notifier.send(&target, &notice.told(), &host, shared.clock.now().wall).await;
    Sent { target, notice, result }
}

/// Takes note of what came of a message.
fn settle(shared: &Shared, sent: &Sent, retry: &mut Retry) {
    let Sent { target, notice, result } = sent;
    match result {
        Ok(_) => {
            *retry = Retry::default();
            if target.note(None).is_some() {
                tracing::info!(target: log::WEBHOOK, host = target.host, "the webhook takes alerts again");
            }
            shared.lock().posted(shared, &target.id, notice.id, false);
        }
        Err(why) => {
            retry.failed(shared.clock.now().steady, fastrand::f64());
            if target.note(Some(why.to_string())).is_none() {
                tracing::warn!(target: log::WEBHOOK, host = target.host, error = %why, "the webhook does not take an alert; it is tried again");
            } else {
                tracing::debug!(target: log::WEBHOOK, host = target.host, error = %why, "the webhook still does not take an alert");
            }
        }
    }
}

impl Core {
    fn posted(&mut self, shared: &Shared, webhook: &PostId, notice: u64, given_up: bool) {
        self.at_once(shared, |broker, _| broker.posted(webhook, notice, given_up));
        self.wake_journal(shared);
    }
}

/// Answers `alert_test`: makes an alert that nothing brought about, and sends it to every webhook, once.
pub(crate) async fn test(shared: Arc<Shared>, asker: Asker) -> Reply {
    let notice = {
        let mut core = shared.lock();
        let notice = core.at_once(&shared, |broker, moment| broker.alert_test(moment.now));
        core.wake_journal(&shared);
        Arc::new(notice)
    };
    let host = platform::host_name();
    let mut sending = JoinSet::new();
    for target in shared.webhooks().iter().cloned() {
        sending.spawn(send(Arc::clone(&shared), target, Arc::clone(&notice), host.clone()));
    }
    let mut deliveries: Vec<Delivery> = sending.join_all().await.iter().map(delivery).collect();
    deliveries.sort_by_key(|delivery| delivery.webhook);
    let taken = deliveries.iter().filter(|delivery| delivery.delivered).count();
    let detail = Some(format!("taken by {taken} of {} webhooks", deliveries.len()));
    let noted = Noted { act: "alert_test", detail, ..Noted::default() };
    trail::noted_first(&shared, Some(&asker), noted, Reply::Deliveries(deliveries)).await
}

fn delivery(sent: &Sent) -> Delivery {
    let Sent { target, result, .. } = sent;
    let (status, message) = match result {
        Ok(status) => (Some(*status), "taken".to_owned()),
        Err(NotTaken::Refused(status)) => (Some(*status), "refused".to_owned()),
        Err(NotTaken::Unreached(why)) => (None, why.clone()),
    };
    Delivery { webhook: target.number as u64, host: target.host.clone(), delivered: result.is_ok(), status, message }
}

/// What an admin should know of webhooks.
pub(crate) fn warnings(shared: &Shared, core: &Core) -> Vec<String> {
    let mut warnings = Vec::new();
    for target in shared.webhooks().iter() {
        let waiting = core.broker.next_post(&target.id).map_or(0, |(_, waiting)| waiting);
        if let Some(why) = target.trouble() {
            warnings.push(format!("the webhook at {} does not take alerts: {why}; {waiting} wait", target.host));
        }
        let given_up = core.broker.posts_given_up(&target.id);
        if given_up > 0 {
            warnings.push(format!("{given_up} alerts could not be delivered to the webhook at {} and were given up", target.host));
        }
    }
    warnings
}

//! The client against a daemon that misbehaves.

use std::time::Duration;

use crate::client::buffer::Inbox;
use crate::client::fake::{self, SECRET, Talk, grant, hears, place, reported};
use crate::client::{Client, Error, Lease, Usage};
use crate::endpoint::{Endpoint, listen::Listener};
use crate::environment::Environment;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::outcome::Outcome;
use crate::protocol::reply::{Reply, Reported};
use crate::protocol::request::{Op, Report, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const SHORT: Duration = Duration::from_millis(300);

async fn impatient(endpoint: &Endpoint) -> Result<Client, Error> {
    Client::builder().socket(endpoint.path()).timeout(SHORT).connect(&Environment::default()).await
}

/// A client, and the daemon's side of its connection.
async fn pair(endpoint: &Endpoint) -> (Client, Listener, Talk) {
    let listener = Listener::bind(endpoint).unwrap();
    let (client, talk) = tokio::join!(impatient(endpoint), Talk::accept(&listener));
    (client.unwrap(), listener, talk)
}

#[tokio::test]
async fn a_lease_is_taken_used_and_reported() {
    let (_directory, endpoint) = place();
    let (heard, _daemon) = fake::serve(Listener::bind(&endpoint).unwrap());
    let client = Client::connect(&endpoint).await.unwrap();
    let lease = client.lease("openai").await.unwrap();
    assert_eq!(lease.secret().expose(), SECRET);
    assert_eq!((lease.provider().as_str(), lease.key_name().as_str()), ("openai", "primary"));
    assert!(!lease.ok(Usage::tokens(1000, 500)).await.unwrap().duplicate);
    drop(lease);
    client.lease("openai").await.unwrap().rate_limited(None).await.unwrap();
    assert_eq!(*heard.lock().unwrap(), ["select openai", "report gl_1 ok 1000", "select openai", "report gl_3 rate_limited"]);
}

#[tokio::test]
async fn replies_out_of_order_find_their_requests() {
    let (_directory, endpoint) = place();
    let (client, _listener, mut talk) = pair(&endpoint).await;
    let daemon = async {
        let mut ids = Vec::new();
        for _ in 0..8 {
            let request = talk.hear().await.unwrap();
            let Op::Report(report) = request.op else { panic!("a report was asked") };
            ids.push((request.id, report.outcome));
        }
        for (id, outcome) in ids.into_iter().rev() {
            talk.say(id, Reply::Reported(reported(outcome == Some(Outcome::Ok)))).await;
        }
    };
    let asks = (0..8).map(|turn| {
        let (client, outcome) = (client.clone(), if turn % 2 == 0 { Outcome::Ok } else { Outcome::Timeout });
        tokio::spawn(async move { client.report(Report::of("gl_a".parse().unwrap(), outcome)).await.map(|done| done.duplicate == (turn % 2 == 0)) })
    });
    let asks: Vec<_> = asks.collect();
    daemon.await;
    for ask in asks {
        assert!(ask.await.unwrap().unwrap());
    }
}

#[tokio::test]
async fn a_request_that_times_out_disturbs_no_other() {
    let (_directory, endpoint) = place();
    let (client, _listener, mut talk) = pair(&endpoint).await;
    let late = client.health().await;
    assert!(matches!(late, Err(Error::TimedOut { op: "health", within: SHORT })), "{late:?}");
    let first = talk.hear().await.unwrap().id;
    let daemon = async {
        let second = talk.hear().await.unwrap().id;
        talk.say(first, Reply::Done).await;
        talk.say(second, Reply::Reported(reported(false))).await;
    };
    let report = Report::of("gl_a".parse().unwrap(), Outcome::Ok);
    let (done, ()) = tokio::join!(client.report(report), daemon);
    assert!(done.is_ok());
}

#[tokio::test]
async fn a_lease_that_comes_too_late_is_given_back() {
    let (_directory, endpoint) = place();
    let (client, _listener, mut talk) = pair(&endpoint).await;
    assert!(matches!(client.lease("openai").await, Err(Error::TimedOut { op: "select", .. })));
    let asked = talk.hear().await.unwrap().id;
    talk.say(asked, Reply::Lease(grant(77))).await;
    let Some(Op::Report(report)) = talk.hear().await.map(|request| request.op) else { panic!("a report was expected") };
    assert_eq!((report.lease.as_str(), report.outcome), ("gl_77", Some(Outcome::Cancelled)));
}

#[tokio::test]
async fn a_lease_dropped_unused_is_given_back_and_one_whose_secret_was_read_is_not() {
    let (_directory, endpoint) = place();
    let (heard, _daemon) = fake::serve(Listener::bind(&endpoint).unwrap());
    let client = Client::connect(&endpoint).await.unwrap();
    let used = client.lease("openai").await.unwrap();
    let unused = client.lease("openai").await.unwrap();
    assert_eq!(used.secret().expose(), SECRET);
    drop(used);
    drop(unused);
    assert!(hears(&heard, "report gl_2 cancelled").await);
    assert!(!heard.lock().unwrap().iter().any(|words| words.contains("gl_1")));
}

#[tokio::test]
async fn after_a_restart_of_the_daemon_the_next_request_connects_anew() {
    let (_directory, endpoint) = place();
    let (heard, daemon) = fake::serve(Listener::bind(&endpoint).unwrap());
    let client = Client::connect(&endpoint).await.unwrap();
    let mut lease = client.lease("openai").await.unwrap();
    daemon.abort();
    assert!(daemon.await.is_err());
    let gone = client.lease("openai").await.map(|_| ());
    assert!(matches!(gone, Err(Error::NoDaemon { .. } | Error::ConnectionLost { .. })), "{gone:?}");
    let (heard_now, _daemon) = fake::serve(Listener::bind(&endpoint).unwrap());
    lease.renew().await.unwrap();
    assert_eq!(lease.expires().unix_millis(), 2_000);
    lease.report(Outcome::ServerError).await.unwrap();
    assert_eq!(heard.lock().unwrap().len(), 1);
    assert_eq!(heard_now.lock().unwrap().len(), 2);
}

/// A daemon that dies once it has heard a request, and then one that answers.
async fn dies_once(listener: Listener, mut talk: Talk) -> usize {
    talk.hear().await.unwrap();
    drop(talk);
    let Ok(mut talk) = tokio::time::timeout(SHORT / 2, Talk::accept(&listener)).await else { return 0 };
    let mut heard = 0;
    while let Ok(Some(request)) = tokio::time::timeout(SHORT / 2, talk.hear()).await {
        heard += 1;
        talk.say(request.id, Reply::Reported(reported(true))).await;
    }
    heard
}

#[tokio::test]
async fn a_report_that_met_the_daemons_end_is_sent_again() {
    let (_directory, endpoint) = place();
    let (client, listener, talk) = pair(&endpoint).await;
    let report = client.report(Report::of("gl_a".parse().unwrap(), Outcome::Ok));
    let (done, heard) = tokio::join!(report, dies_once(listener, talk));
    assert!(matches!(done, Ok(Reported { duplicate: true, .. })), "{done:?}");
    assert_eq!(heard, 1);
}

#[tokio::test]
async fn a_select_that_met_the_daemons_end_is_not_sent_again() {
    let (_directory, endpoint) = place();
    let (client, listener, talk) = pair(&endpoint).await;
    let (lost, heard) = tokio::join!(client.lease("openai"), dies_once(listener, talk));
    assert!(matches!(lost, Err(Error::ConnectionLost { op: "select", sent: true })), "{lost:?}");
    assert_eq!(heard, 0);
}

#[tokio::test]
async fn a_daemon_of_another_version_is_named() {
    let (_directory, endpoint) = place();
    let listener = Listener::bind(&endpoint).unwrap();
    let daemon = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"GLLM\x09").await.unwrap();
        stream
    };
    let (refused, _stream) = tokio::join!(Client::connect(&endpoint), daemon);
    assert!(matches!(refused.map(|_| ()), Err(Error::Version { daemon: 9, client: 1 })));
}

#[tokio::test]
async fn what_is_no_gollmd_is_no_daemon_to_talk_with() {
    let (_directory, endpoint) = place();
    let listener = Listener::bind(&endpoint).unwrap();
    let daemon = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400\r\n").await.unwrap();
        stream
    };
    let (refused, _stream) = tokio::join!(Client::connect(&endpoint), daemon);
    assert!(matches!(refused.map(|_| ()), Err(Error::Protocol { .. })));
}

#[tokio::test]
async fn a_daemon_that_says_nothing_is_not_waited_for_without_end() {
    let (_directory, endpoint) = place();
    let listener = Listener::bind(&endpoint).unwrap();
    let (refused, _silent) = tokio::join!(impatient(&endpoint), listener.accept());
    assert!(matches!(refused.map(|_| ()), Err(Error::TimedOut { op: "connect", .. })));
}

#[tokio::test]
async fn without_a_daemon_the_error_names_every_place() {
    let (directory, _) = place();
    let runtime = directory.path().to_str().unwrap();
    let environment: Environment = [("XDG_RUNTIME_DIR", runtime)].into_iter().collect();
    let Err(Error::NoDaemon { tried }) = Client::builder().socket(directory.path().join("none")).connect(&environment).await else {
        panic!("no daemon was there")
    };
    assert_eq!(tried.len(), 1);
    assert_eq!(tried[0].why, std::io::ErrorKind::NotFound);
}

#[tokio::test]
async fn an_oversized_frame_ends_the_connection_and_not_the_client() {
    let (_directory, endpoint) = place();
    let (client, listener, mut talk) = pair(&endpoint).await;
    let daemon = async {
        talk.hear().await.unwrap();
        talk.say_raw(&u32::MAX.to_le_bytes()).await;
        let mut next = Talk::accept(&listener).await;
        let id = next.hear().await.unwrap().id;
        next.say(id, Reply::Lease(grant(5))).await;
        next
    };
    let asks = async {
        let garbled = client.lease("openai").await.map(|_| ());
        assert!(matches!(garbled, Err(Error::Protocol { .. })), "{garbled:?}");
        client.lease("openai").await
    };
    let (lease, _next) = tokio::join!(asks, daemon);
    assert_eq!(lease.unwrap().id().as_str(), "gl_5");
}

#[tokio::test]
async fn a_refusal_comes_back_with_its_code() {
    let (_directory, endpoint) = place();
    let (client, _listener, mut talk) = pair(&endpoint).await;
    let daemon = async {
        let id = talk.hear().await.unwrap().id;
        let refusal = ErrorReply { retry_after_ms: Some(41_000), ..ErrorReply::new(ErrorCode::NoKeyAvailable, "no key of openai is free") };
        talk.say(id, Reply::Error(refusal)).await;
    };
    let (refused, ()) = tokio::join!(client.lease("openai"), daemon);
    let refused = refused.map(|_| ()).unwrap_err();
    assert_eq!((refused.code(), refused.retry_after()), (Some(ErrorCode::NoKeyAvailable), Some(Duration::from_secs(41))));
}

#[tokio::test]
async fn the_last_words_of_a_daemon_that_closes_are_told() {
    let (_directory, endpoint) = place();
    let (client, _listener, mut talk) = pair(&endpoint).await;
    let daemon = async move {
        talk.hear().await.unwrap();
        talk.say_about(None, Reply::Error(ErrorReply::new(ErrorCode::Overloaded, "too many connections"))).await;
    };
    let (refused, ()) = tokio::join!(client.status(), daemon);
    assert_eq!(refused.unwrap_err().code(), Some(ErrorCode::Overloaded));
}

#[tokio::test]
async fn neither_a_lease_nor_its_errors_show_the_secret() {
    let (_directory, endpoint) = place();
    let (_heard, _daemon) = fake::serve(Listener::bind(&endpoint).unwrap());
    let client = Client::connect(&endpoint).await.unwrap();
    let lease: Lease = client.lease("openai").await.unwrap();
    let shown = format!("{lease:?}");
    assert!(shown.contains("primary") && !shown.contains("WXYZ") && !shown.contains("gl_"), "{shown}");
    assert!(!format!("{:?}", client.lease(SECRET).await.map(|_| ()).unwrap_err()).contains("0123"));
}

#[tokio::test]
async fn a_request_dropped_half_sent_leaves_the_connection_whole() {
    let (_directory, endpoint) = place();
    let listener = Listener::bind(&endpoint).unwrap();
    let (client, accepted) = tokio::join!(impatient(&endpoint), async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut hello = [0; 5];
        stream.read_exact(&mut hello).await.unwrap();
        stream.write_all(&hello).await.unwrap();
        stream
    });
    let (client, mut stream) = (client.unwrap(), accepted);
    // Nobody reads: the socket fills up, and requests give up before, between and after their bytes.
    for _ in 0..200 {
        let report = Report::of(format!("gl_{}", "x".repeat(1000)).parse().unwrap(), Outcome::Ok);
        let asked = client.with_timeout(Duration::from_millis(1)).report(report).await;
        assert!(matches!(asked, Err(Error::TimedOut { .. })), "{asked:?}");
    }
    let daemon = async {
        let mut inbox = Inbox::new();
        let mut reports = 0;
        loop {
            match inbox.take::<Request>().unwrap() {
                Some(Request { op: Op::Report(_), .. }) => reports += 1,
                Some(request) => return (reports, request.op.name()),
                None => {
                    let count = stream.read(inbox.space()).await.unwrap();
                    assert!(count > 0);
                    inbox.filled(count);
                }
            }
        }
    };
    let (_unanswered, (reports, last)) = tokio::join!(client.status(), daemon);
    assert_eq!(last, "status");
    assert!((10..200).contains(&reports), "{reports}");
}

#[tokio::test]
async fn a_daemon_that_owes_every_reply_is_left_for_a_new_connection() {
    let (_directory, endpoint) = place();
    let (client, listener, _silent) = pair(&endpoint).await;
    let hasty = client.with_timeout(Duration::from_millis(10));
    let asks: Vec<_> = (0..256)
        .map(|_| {
            tokio::spawn({
                let hasty = hasty.clone();
                async move { hasty.whoami().await.is_err() }
            })
        })
        .collect();
    for ask in asks {
        assert!(ask.await.unwrap());
    }
    let (_heard, _daemon) = fake::serve(listener);
    assert!(client.lease("openai").await.is_ok());
}

#[tokio::test]
async fn where_the_first_place_has_no_daemon_the_next_one_serves() {
    let (directory, endpoint) = place();
    let stale = Endpoint::at(directory.path().join("stale.sock"));
    drop(std::os::unix::net::UnixListener::bind(stale.path()).unwrap());
    let (_heard, _daemon) = fake::serve(Listener::bind(&endpoint).unwrap());
    let client = Client::open(vec![stale, endpoint], SHORT).await.unwrap();
    assert!(client.lease("openai").await.is_ok());
}

#[tokio::test]
async fn a_hundred_tasks_share_one_connection() {
    let (_directory, endpoint) = place();
    let (heard, _daemon) = fake::serve(Listener::bind(&endpoint).unwrap());
    let client = Client::connect(&endpoint).await.unwrap();
    let tasks: Vec<_> = (0..100)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move {
                let lease = client.lease("openai").await.unwrap();
                lease.ok(Usage::tokens(1, 1)).await.unwrap();
                lease.id().to_string()
            })
        })
        .collect();
    let mut ids = std::collections::BTreeSet::new();
    for task in tasks {
        ids.insert(task.await.unwrap());
    }
    assert_eq!(ids.len(), 100);
    assert_eq!(heard.lock().unwrap().len(), 200);
}

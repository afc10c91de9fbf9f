//! The client without a runtime against a daemon that misbehaves.

use std::time::Duration;

use crate::client::Usage;
use crate::client::blocking::Client;
use crate::client::error::Error;
use crate::client::fake::{self, SECRET, Talk, grant, hears, place, reported};
use crate::endpoint::{Endpoint, listen::Listener};
use crate::environment::Environment;
use crate::protocol::outcome::Outcome;
use crate::protocol::reply::Reply;
use crate::protocol::request::{Op, Report};
use tokio::io::AsyncWriteExt;

const SHORT: Duration = Duration::from_millis(300);

fn impatient(endpoint: &Endpoint) -> Result<Client, Error> {
    Client::builder().socket(endpoint.path()).timeout(SHORT).connect_blocking(&Environment::default())
}

/// Runs the program without a runtime beside the daemon's task.
async fn program<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(run).await.unwrap()
}

#[tokio::test]
async fn a_lease_is_taken_renewed_and_reported() {
    let (_directory, endpoint) = place();
    let (heard, _daemon) = fake::serve(Listener::bind(&endpoint).unwrap());
    program(move || {
        let client = Client::connect(&endpoint).unwrap();
        let mut lease = client.lease("openai").unwrap();
        assert_eq!(lease.secret().expose(), SECRET);
        lease.renew().unwrap();
        lease.ok(Usage::tokens(1000, 500)).unwrap();
    })
    .await;
    assert_eq!(*heard.lock().unwrap(), ["select openai", "renew", "report gl_2 ok 1000"]);
}

#[tokio::test]
async fn a_lease_dropped_unused_is_given_back_and_its_reply_passed_over() {
    let (_directory, endpoint) = place();
    let (heard, _daemon) = fake::serve(Listener::bind(&endpoint).unwrap());
    program(move || {
        let client = Client::connect(&endpoint).unwrap();
        drop(client.lease("openai").unwrap());
        let used = client.lease("openai").unwrap();
        assert!(!used.secret().expose().is_empty());
    })
    .await;
    assert!(hears(&heard, "report gl_1 cancelled").await);
    assert_eq!(heard.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn a_daemon_that_does_not_answer_is_left_at_the_deadline() {
    let (_directory, endpoint) = place();
    let listener = Listener::bind(&endpoint).unwrap();
    let asks = program(move || {
        let client = impatient(&endpoint).unwrap();
        let first = client.status().map(|_| ());
        (first, client.lease("openai").map(|lease| lease.id().to_string()))
    });
    let daemon = async {
        let mut silent = Talk::accept(&listener).await;
        silent.hear().await.unwrap();
        let mut talk = Talk::accept(&listener).await;
        let id = talk.hear().await.unwrap().id;
        talk.say(id, Reply::Lease(grant(9))).await;
        (silent, talk)
    };
    let ((first, second), _talks) = tokio::join!(asks, daemon);
    assert!(matches!(first, Err(Error::TimedOut { op: "status", within: SHORT })), "{first:?}");
    assert_eq!(second.unwrap(), "gl_9");
}

#[tokio::test]
async fn a_daemon_that_says_nothing_at_all_is_left_at_the_deadline() {
    let (_directory, endpoint) = place();
    let listener = Listener::bind(&endpoint).unwrap();
    let (refused, _silent) = tokio::join!(program(move || impatient(&endpoint).map(|_| ())), listener.accept());
    assert!(matches!(refused, Err(Error::TimedOut { op: "connect", .. })), "{refused:?}");
}

#[tokio::test]
async fn reports_are_sent_again_after_the_daemons_end_and_selects_are_not() {
    let (_directory, endpoint) = place();
    let listener = Listener::bind(&endpoint).unwrap();
    let asks = program(move || {
        let client = impatient(&endpoint).unwrap();
        let report = client.report(Report::of("gl_a".parse().unwrap(), Outcome::Ok));
        (report, client.lease("openai").map(|_| ()))
    });
    let daemon = async {
        Talk::accept(&listener).await.hear().await.unwrap();
        let mut talk = Talk::accept(&listener).await;
        let request = talk.hear().await.unwrap();
        assert!(matches!(request.op, Op::Report(_)));
        talk.say(request.id, Reply::Reported(reported(true))).await;
        assert!(matches!(talk.hear().await.unwrap().op, Op::Select(_)));
    };
    let ((report, select), ()) = tokio::join!(asks, daemon);
    assert!(report.unwrap().duplicate);
    assert!(matches!(select, Err(Error::ConnectionLost { op: "select", sent: true })), "{select:?}");
}

#[tokio::test]
async fn a_select_on_a_connection_that_ended_while_idle_goes_out_on_a_new_one() {
    let (_directory, endpoint) = place();
    let (_heard, daemon) = fake::serve(Listener::bind(&endpoint).unwrap());
    let place = endpoint.clone();
    let client = program(move || Client::connect(&place).unwrap()).await;
    daemon.abort();
    assert!(daemon.await.is_err());
    let (_heard, _daemon) = fake::serve(Listener::bind(&endpoint).unwrap());
    assert_eq!(program(move || client.lease("openai").map(|lease| lease.id().to_string())).await.unwrap(), "gl_1");
}

#[tokio::test]
async fn a_daemon_of_another_version_is_named_and_a_missing_one_too() {
    let (_directory, endpoint) = place();
    let missing = impatient(&endpoint).map(|_| ());
    assert!(matches!(missing, Err(Error::NoDaemon { .. })), "{missing:?}");
    let listener = Listener::bind(&endpoint).unwrap();
    let daemon = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"GLLM\x09").await.unwrap();
        stream
    };
    let (refused, _stream) = tokio::join!(program(move || impatient(&endpoint).map(|_| ())), daemon);
    assert!(matches!(refused, Err(Error::Version { daemon: 9, client: 1 })), "{refused:?}");
}

//! A daemon of the tests: says over a real socket what a test tells it to.

use std::sync::{Arc, Mutex};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::client::buffer::Inbox;
use crate::endpoint::{Endpoint, Stream, listen::Listener};
use crate::protocol::outcome::Outcome;
use crate::protocol::reply::{KeyState, Lease, Reply, Reported, Response};
use crate::protocol::request::{Op, Request};
use crate::protocol::strategy::Strategy;
use crate::protocol::{PREAMBLE, frame};
use crate::secret::Secret;
use crate::time::Timestamp;

pub(super) const SECRET: &str = "sk-0123456789abcdefWXYZ";

pub(super) fn place() -> (TempDir, Endpoint) {
    let directory = tempfile::tempdir().unwrap();
    let endpoint = Endpoint::at(directory.path().join("gollmd.sock"));
    (directory, endpoint)
}

/// One connection, from the daemon's side.
pub(super) struct Talk {
    stream: Stream,
    inbox: Inbox,
}

impl Talk {
    pub(super) async fn accept(listener: &Listener) -> Self {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut hello = [0; 5];
        stream.read_exact(&mut hello).await.unwrap();
        assert_eq!(hello, PREAMBLE);
        let mut talk = Self { stream, inbox: Inbox::new() };
        talk.say_raw(&PREAMBLE).await;
        talk
    }

    /// The next request; nothing when the client has gone.
    pub(super) async fn hear(&mut self) -> Option<Request> {
        loop {
            if let Some(request) = self.inbox.take().unwrap() {
                return Some(request);
            }
            match self.stream.read(self.inbox.space()).await {
                Ok(0) | Err(_) => return None,
                Ok(count) => self.inbox.filled(count),
            }
        }
    }

    pub(super) async fn say(&mut self, id: u64, reply: Reply) {
        self.say_about(Some(id), reply).await;
    }

    pub(super) async fn say_about(&mut self, id: Option<u64>, reply: Reply) {
        let mut bytes = Vec::new();
        frame::encode(&Response { id, reply }, &mut bytes).unwrap();
        self.say_raw(&bytes).await;
    }

    pub(super) async fn say_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }
}

/// What a lease with this number is.
pub(super) fn grant(number: u64) -> Lease {
    Lease {
        lease: format!("gl_{number}").parse().unwrap(),
        provider: "openai".parse().unwrap(),
        key_name: "primary".parse().unwrap(),
        secret: Secret::new(SECRET.to_owned()).unwrap(),
        base_url: "https://api.openai.com/v1".to_owned(),
        strategy: Strategy::RoundRobin,
        fallback_from: None,
        model: None,
        last_used: None,
        expires: Timestamp::from_unix_millis(1_000),
    }
}

pub(super) fn reported(duplicate: bool) -> Reported {
    Reported {
        provider: "openai".parse().unwrap(),
        key_name: "primary".parse().unwrap(),
        cost_usd: "0.06".parse().unwrap(),
        priced: true,
        duplicate,
        state: KeyState::Healthy,
    }
}

/// What a daemon was asked, in words.
pub(super) type Heard = Arc<Mutex<Vec<String>>>;

/// Answers as a daemon would, on every connection, until the task is aborted.
pub(super) fn serve(listener: Listener) -> (Heard, tokio::task::JoinHandle<()>) {
    let heard = Heard::default();
    let notes = Arc::clone(&heard);
    let task = tokio::spawn(async move {
        let mut talks = tokio::task::JoinSet::new();
        loop {
            let talk = Talk::accept(&listener).await;
            talks.spawn(converse(talk, Arc::clone(&notes)));
        }
    });
    (heard, task)
}

async fn converse(mut talk: Talk, heard: Heard) {
    while let Some(Request { id, op }) = talk.hear().await {
        let (words, reply) = match op {
            Op::Select(select) => (format!("select {}", select.provider), Reply::Lease(grant(id))),
            Op::Report(report) => {
                let tokens = report.input_tokens.map_or_else(String::new, |count| format!(" {count}"));
                (format!("report {} {}{tokens}", report.lease, report.outcome.map_or("response", Outcome::name)), Reply::Reported(reported(false)))
            }
            Op::Renew(_) => ("renew".to_owned(), Reply::Lease(Lease { expires: Timestamp::from_unix_millis(2_000), ..grant(id) })),
            other => (other.name().to_owned(), Reply::Done),
        };
        heard.lock().unwrap().push(words);
        talk.say(id, reply).await;
    }
}

/// Waits, for two seconds at most, until the daemon has heard `words`.
pub(super) async fn hears(heard: &Heard, words: &str) -> bool {
    for _ in 0..400 {
        if heard.lock().unwrap().iter().any(|said| said == words) {
            return true;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    false
}

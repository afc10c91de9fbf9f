//! A webhook on this machine: it takes what it is sent, refuses it, or does not answer, as a test tells it to.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;

/// What it does with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Takes,
    Refuses,
    Hangs,
}

/// A message that it got.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) path: String,
    pub(crate) signature: Option<String>,
    pub(crate) body: String,
    /// Was it taken?
    pub(crate) taken: bool,
}

impl Message {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

type Shared<T> = Arc<Mutex<T>>;

/// A webhook that serves until it is dropped.
pub(crate) struct Hook {
    pub(crate) origin: String,
    mood: Shared<Mood>,
    got: Shared<Vec<Message>>,
    _runtime: tokio::runtime::Runtime,
}

impl Hook {
    pub(crate) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let (mood, got) = (Arc::new(Mutex::new(Mood::Takes)), Shared::default());
        runtime.spawn(serve(listener, Arc::clone(&mood), Arc::clone(&got)));
        Self { origin, mood, got, _runtime: runtime }
    }

    pub(crate) fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    /// Every message so far, those that it did not take too.
    pub(crate) fn got(&self) -> Vec<Message> {
        self.got.lock().unwrap().clone()
    }

    /// The kinds and states of what it took at that path, in order.
    pub(crate) fn taken(&self, path: &str) -> Vec<String> {
        let taken = self.got().into_iter().filter(|message| message.path == path && message.taken);
        taken.map(|message| format!("{} {}", message.json()["kind"].as_str().unwrap(), message.json()["state"].as_str().unwrap())).collect()
    }
}

async fn serve(listener: TcpListener, mood: Shared<Mood>, got: Shared<Vec<Message>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (mood, got) = (Arc::clone(&mood), Arc::clone(&got));
        let service = service_fn(move |request| respond(request, Arc::clone(&mood), Arc::clone(&got)));
        tokio::spawn(async move {
            // One that is not answered goes away in the middle.
            drop(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

async fn respond(request: Request<Incoming>, mood: Shared<Mood>, got: Shared<Vec<Message>>) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let signature = request.headers().get("gollm-signature").map(|value| value.to_str().unwrap().to_owned());
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let mood = *mood.lock().unwrap();
    got.lock().unwrap().push(Message { path, signature, body: String::from_utf8(body.to_vec()).unwrap(), taken: mood == Mood::Takes });
    match mood {
        Mood::Takes => Ok(Response::new(Full::default())),
        Mood::Refuses => Ok(Response::builder().status(503).body(Full::default()).unwrap()),
        Mood::Hangs => std::future::pending().await,
    }
}

//! A provider on this machine: it answers what a test tells it to, and remembers what it was asked.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

type Answer = Arc<dyn Fn(&str) -> Reply + Send + Sync>;

/// What it answers to a request.
pub(crate) struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
}

impl Reply {
    /// JSON.
    pub(crate) fn new(status: u16, body: impl Into<Bytes>) -> Self {
        Self { status, headers: vec![("content-type", "application/json".to_owned())], body: body.into() }
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.retain(|(other, _)| *other != name);
        self.headers.push((name, value.into()));
        self
    }
}

impl From<(u16, String)> for Reply {
    fn from((status, body): (u16, String)) -> Self {
        Self::new(status, body)
    }
}

/// A provider that serves until it is dropped.
pub(crate) struct Provider {
    pub(crate) base_url: String,
    seen: Arc<Mutex<Vec<String>>>,
    _runtime: tokio::runtime::Runtime,
}

impl Provider {
    /// `answer` gets the head of each request.
    pub(crate) fn start<R: Into<Reply>>(answer: impl Fn(&str) -> R + Send + Sync + 'static) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let base_url = format!("http://{}/v1", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        runtime.spawn(serve(listener, Arc::new(move |head: &str| answer(head).into()), Arc::clone(&seen)));
        Self { base_url, seen, _runtime: runtime }
    }

    /// Its URL without a path.
    pub(crate) fn origin(&self) -> &str {
        self.base_url.strip_suffix("/v1").unwrap()
    }

    /// The heads of all requests so far.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

async fn serve(listener: TcpListener, answer: Answer, seen: Arc<Mutex<Vec<String>>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (answer, seen) = (Arc::clone(&answer), Arc::clone(&seen));
        let service = service_fn(move |request| std::future::ready(Ok::<_, Infallible>(respond(&request, &answer, &seen))));
        tokio::spawn(async move {
            // A client that has read enough goes away in the middle.
            drop(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

fn respond(request: &Request<Incoming>, answer: &Answer, seen: &Mutex<Vec<String>>) -> Response<Full<Bytes>> {
    let headers: Vec<String> = request.headers().iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    let head = format!("{} {}\n{}", request.method(), request.uri(), headers.join("\n"));
    seen.lock().unwrap().push(head.clone());
    let Reply { status, headers, body } = answer(&head);
    let response = headers.into_iter().fold(Response::builder().status(status), |response, (name, value)| response.header(name, value));
    response.body(Full::new(body)).unwrap()
}

//! A stand-in for OpenAI's API on this machine: it knows the example's keys, and answers as OpenAI does.

use std::convert::Infallible;
use std::io;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// The keys that it takes, made up.
pub(crate) const KEYS: [(&str, &str); 2] =
    [("primary", "sk-proj-example1-0123456789abcdefghijklmnopqrstuvwxyz"), ("secondary", "sk-proj-example2-0123456789abcdefghijklmnopqrstuvwxyz")];

const MODELS: &str = r#"{"object":"list","data":[{"id":"gpt-4","object":"model","created":1687882411,"owned_by":"openai"}]}"#;
const WRONG_KEY: &str = r#"{"error":{"message":"Incorrect API key provided.","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}"#;
const NO_SUCH_PATH: &str = r#"{"error":{"message":"Unknown request URL.","type":"invalid_request_error","param":null,"code":"unknown_url"}}"#;

/// Starts it within this runtime, on a port that the system chooses, and answers with its base URL.
pub(crate) async fn start() -> io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let base_url = format!("http://{}/v1", listener.local_addr()?);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let service = service_fn(|request: Request<Incoming>| async move { Ok::<_, Infallible>(answer(&request)) });
                // A client that has read enough goes away in the middle.
                drop(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
            });
        }
    });
    Ok(base_url)
}

fn answer(request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let sent = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let (status, body) = match (request.method(), request.uri().path()) {
        _ if !KEYS.iter().any(|(_, secret)| Some(*secret) == sent) => (StatusCode::UNAUTHORIZED, WRONG_KEY),
        (&Method::GET, "/v1/models") => (StatusCode::OK, MODELS),
        _ => (StatusCode::NOT_FOUND, NO_SUCH_PATH),
    };
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("application/json"));
    response
}

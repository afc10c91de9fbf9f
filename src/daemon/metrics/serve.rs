//! Scrapes over HTTP: `/metrics` on a loopback address or a Unix socket, and nothing else.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HOST, HeaderValue, ORIGIN};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
#[cfg(unix)]
use tokio::net::UnixListener;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

use super::picture::Picture;
use crate::config::metrics::ScrapeAddress;
use crate::daemon::front::Front;
use crate::daemon::logging as log;
use crate::daemon::state::Live;

/// Scrapes at a time.
const SCRAPES_AT_ONCE: usize = 16;

/// How long one scrape may be under way.
const SCRAPE_TIME: Duration = Duration::from_secs(10);

/// How long the head of a request may take.
const HEAD_TIME: Duration = Duration::from_secs(5);

/// How long to wait where no connection can be taken.
const PAUSE: Duration = Duration::from_millis(200);

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What is listened on.
enum Listener {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(UnixListener),
}

/// Metrics that are served. Dropped, they are no longer.
pub(crate) struct Served {
    address: ScrapeAddress,
    task: AbortHandle,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
        if let ScrapeAddress::Unix(path) = &self.address {
            // One that is gone already is as well.
            drop(std::fs::remove_file(path));
        }
    }
}

/// Serves metrics as the configuration in force says. Keys are leased though that can't be: any program may have taken the port.
pub(crate) fn serve(front: &Arc<Front>) {
    let shared = front.serving();
    let live = shared.live();
    if let Err(why) = take_up(front, live.settings.metrics.as_ref()) {
        tracing::warn!(target: log::CONFIG, "{why}");
        let warnings = live.warnings.iter().cloned().chain([why]).collect();
        shared.set_live(Live { warnings, ..Live::clone(&live) });
    }
}

/// Serves metrics where the configuration says so, and no longer where it did.
///
/// # Errors
/// The address can't be listened on: what was served before goes on.
pub(crate) fn take_up(front: &Arc<Front>, wanted: Option<&ScrapeAddress>) -> Result<(), String> {
    let mut served = front.metrics.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if served.as_ref().map(|served| &served.address) == wanted {
        return Ok(());
    }
    let next = match wanted {
        None => None,
        Some(address) => {
            let listener = bind(address).map_err(|why| format!("metrics.listen: {address} can't be listened on: {why}"))?;
            let task = tokio::spawn(accept(Arc::clone(front), listener)).abort_handle();
            Some(Served { address: address.clone(), task })
        }
    };
    front.desk.metrics.switch(next.is_some());
    *served = next;
    Ok(())
}

fn bind(address: &ScrapeAddress) -> io::Result<Listener> {
    match address {
        ScrapeAddress::Tcp(address) => {
            let listener = std::net::TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            Ok(Listener::Tcp(TcpListener::from_std(listener)?))
        }
        #[cfg(unix)]
        ScrapeAddress::Unix(path) => bind_socket(path).map(Listener::Unix),
        #[cfg(not(unix))]
        ScrapeAddress::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// Makes the socket for its owner and group; one that nobody listens on any more is replaced, another file is not.
#[cfg(unix)]
fn bind_socket(path: &std::path::Path) -> io::Result<UnixListener> {
    use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
    if let Ok(found) = std::fs::symlink_metadata(path) {
        if !found.file_type().is_socket() {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file of that name that is no socket"));
        }
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        std::fs::remove_file(path)?;
    }
    // The umask keeps it closed until its mode is set.
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}

async fn accept(front: Arc<Front>, listener: Listener) {
    let places = Arc::new(Semaphore::new(SCRAPES_AT_ONCE));
    loop {
        // The semaphore is never closed.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let front = Arc::clone(&front);
        let taken = match &listener {
            Listener::Tcp(listener) => listener.accept().await.map(|(stream, _)| {
                tokio::spawn(async move {
                    answer(front, stream, true).await;
                    drop(place);
                })
            }),
            #[cfg(unix)]
            Listener::Unix(listener) => listener.accept().await.map(|(stream, _)| {
                tokio::spawn(async move {
                    answer(front, stream, false).await;
                    drop(place);
                })
            }),
        };
        if taken.is_err() {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Answers one request; `open`: any program of this machine may have sent it, a browser among them.
async fn answer(front: Arc<Front>, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, open: bool) {
    let service = service_fn(move |request| respond(Arc::clone(&front), request, open));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // Whoever left before it was answered is nobody's trouble.
    drop(tokio::time::timeout(SCRAPE_TIME, connection).await);
}

async fn respond(front: Arc<Front>, request: Request<Incoming>, open: bool) -> Result<Response<Full<Bytes>>, Infallible> {
    let plain = |status: StatusCode, text: &'static str| {
        let mut response = Response::new(Full::from(text));
        *response.status_mut() = status;
        response
    };
    // A page in a browser can have its own name stand for this machine (DNS rebinding).
    if open && (request.headers().contains_key(ORIGIN) || !request.headers().get(HOST).is_some_and(is_this_machine)) {
        return Ok(plain(StatusCode::FORBIDDEN, "ask for it by a loopback address\n"));
    }
    if request.uri().path() != "/metrics" {
        return Ok(plain(StatusCode::NOT_FOUND, "the metrics are at /metrics\n"));
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut refused = plain(StatusCode::METHOD_NOT_ALLOWED, "GET it\n");
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return Ok(refused);
    }
    let written = tokio::task::spawn_blocking(move || front.desk.metrics.written(&Picture::of(&front.serving()))).await;
    let Ok(Ok(text)) = written else { return Ok(plain(StatusCode::INTERNAL_SERVER_ERROR, "the metrics can't be written\n")) };
    let mut response = Response::new(Full::from(text));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(OPENMETRICS));
    Ok(response)
}

/// Does a Host header name this machine by a loopback address, or as localhost?
fn is_this_machine(host: &HeaderValue) -> bool {
    host.to_str().is_ok_and(crate::policy::is_here)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_host_that_is_this_machine_is_one() {
        let of = |host: &'static str| is_this_machine(&HeaderValue::from_static(host));
        assert!(["localhost", "localhost:9464", "127.0.0.1:9464", "[::1]:9464", "127.3.2.1"].into_iter().all(of));
        assert!(!["evil.example", "evil.example:9464", "127.0.0.1.evil.example", "10.0.0.1", ""].into_iter().any(of));
    }
}

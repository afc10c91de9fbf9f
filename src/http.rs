//! HTTP requests: certificates, proxy, no redirects, and bounded answers. Who sends one makes it up, and says how long it may take.

use std::error::Error;
use std::io::ErrorKind;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Certificate, Client, ClientBuilder, Method, NoProxy, Proxy, Url, redirect};

use crate::catalogue::answer::{Answer, BODY_MAX};
use crate::environment::Environment;

/// This machine is never reached through a proxy.
const NEVER_PROXIED: &str = "localhost,127.0.0.0/8,::1";

/// One client, whose connections are kept and used again. A clone shares them.
#[derive(Debug, Clone)]
pub struct Http(Client);

/// Why nothing can be sent at all.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The proxy of the environment has no usable URL, which is not repeated: it may hold a password.
    #[error("HTTPS_PROXY is no URL of a proxy: write it as http://HOST:PORT, or unset it")]
    Proxy,
    /// The HTTP client did not start, even with the certificates that come with gollm.
    #[error("the HTTP client did not start: {0}")]
    Client(String),
}

/// A request that may hold a secret: no Debug.
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Option<String>,
}

/// Why a host did not answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreached {
    /// The URL is unusable.
    #[error("that is no http or https URL with a host")]
    Address,
    /// The key can't stand in a header.
    #[error("the key holds a character that no header can carry")]
    Key,
    /// No connection came about.
    #[error("no connection to {host}: {cause}")]
    Connect {
        host: String,
        cause: String,
        /// This machine has no way to any other.
        no_network: bool,
    },
    /// The connection ended before the answer did.
    #[error("the connection to {host} broke: {cause}")]
    Broken { host: String, cause: String },
}

/// A URL that something can be sent to.
pub(crate) fn address(url: &str) -> Result<Url, Unreached> {
    let url = Url::parse(url).map_err(|_| Unreached::Address)?;
    if matches!(url.scheme(), "https" | "http") && url.has_host() { Ok(url) } else { Err(Unreached::Address) }
}

/// The host of a URL, for people.
pub(crate) fn host(url: &str) -> String {
    Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default()
}

/// The same with its port, where that is not the usual one.
pub(crate) fn place(url: &str) -> String {
    let port = Url::parse(url).ok().and_then(|url| url.port());
    port.map_or_else(|| host(url), |port| format!("{}:{port}", host(url)))
}

impl Call {
    /// Posts a JSON text.
    pub(crate) fn post(url: &str, headers: &[(&'static str, String)], body: String) -> Result<Self, Unreached> {
        let json = ("content-type", "application/json".to_owned());
        let mut all = HeaderMap::new();
        for (name, value) in headers.iter().chain([&json]) {
            all.insert(HeaderName::from_static(name), HeaderValue::from_str(value).map_err(|_| Unreached::Key)?);
        }
        Ok(Self { method: Method::POST, url: address(url)?, headers: all, body: Some(body) })
    }
}

impl Http {
    /// A client that trusts the system's certificates, where it has any, else the Mozilla list that is built in. `HTTPS_PROXY` and
    /// `NO_PROXY` of `environment` are respected for https; http and this machine are always reached directly. Redirects are not followed.
    ///
    /// # Errors
    /// The proxy's URL is unusable, or the client did not start.
    pub fn new(environment: &Environment) -> Result<Self, HttpError> {
        // An error says that another part of the process chose a provider before: it serves as well.
        let _chosen_before = rustls::crypto::ring::default_provider().install_default().is_err();
        let builder = || -> Result<ClientBuilder, HttpError> {
            let agent = concat!("gollm/", env!("CARGO_PKG_VERSION"));
            // First none at all: the client must not read the environment by itself.
            let builder = Client::builder().user_agent(agent).redirect(redirect::Policy::none()).referer(false).no_proxy();
            Ok(match proxy(environment)? {
                Some(proxy) => builder.proxy(proxy),
                None => builder,
            })
        };
        if let Ok(client) = builder()?.build() {
            return Ok(Self(client));
        }
        let bundled = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().filter_map(|der| Certificate::from_der(der).ok());
        builder()?.tls_certs_only(bundled).build().map(Self).map_err(|error| HttpError::Client(cause(&error)))
    }

    /// Sends one request and reads its answer, of the body [`BODY_MAX`] bytes and a sign that there are more.
    pub(crate) async fn send(&self, call: Call) -> Result<Answer, Unreached> {
        let host = call.url.host_str().unwrap_or_default().to_owned();
        let failed = |error: reqwest::Error| {
            let (host, cause) = (host.clone(), cause(&error));
            if error.is_connect() { Unreached::Connect { host, cause, no_network: no_network(&error) } } else { Unreached::Broken { host, cause } }
        };
        let mut request = self.0.request(call.method, call.url).headers(call.headers);
        if let Some(body) = call.body {
            request = request.body(body);
        }
        let mut response = request.send().await.map_err(&failed)?;
        let mut body = Vec::new();
        while body.len() <= BODY_MAX
            && let Some(chunk) = response.chunk().await.map_err(&failed)?
        {
            let room = (BODY_MAX + 1).saturating_sub(body.len());
            body.extend(chunk.iter().take(room));
        }
        let headers = response.headers().iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
        Ok(Answer::new(response.status().as_u16(), headers, &body))
    }
}

/// The proxy for https, as curl(1) reads it: the name in lower case wins.
fn proxy(environment: &Environment) -> Result<Option<Proxy>, HttpError> {
    let either = |lower: &str, upper: &str| environment.value(lower).or_else(|| environment.value(upper)).map(str::to_owned);
    let Some(url) = either("https_proxy", "HTTPS_PROXY") else {
        return Ok(None);
    };
    let listed = either("no_proxy", "NO_PROXY").unwrap_or_default();
    let direct = NoProxy::from_string(&format!("{listed},{NEVER_PROXIED}"));
    Proxy::https(url).map(|proxy| Some(proxy.no_proxy(direct))).map_err(|_| HttpError::Proxy)
}

/// Did the system say that there is no network to send anything to?
fn no_network(error: &reqwest::Error) -> bool {
    let mut next: Option<&(dyn Error + 'static)> = error.source();
    while let Some(error) = next {
        let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        if matches!(kind, Some(ErrorKind::NetworkUnreachable | ErrorKind::NetworkDown)) {
            return true;
        }
        next = error.source();
    }
    false
}

/// The innermost reason: the outer ones name the URL and say less.
fn cause(error: &reqwest::Error) -> String {
    let mut innermost: Option<&dyn Error> = error.source();
    while let Some(next) = innermost.and_then(Error::source) {
        innermost = Some(next);
    }
    innermost.map_or_else(|| "no reason is known".to_owned(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_that_is_no_url_is_refused_and_not_repeated() {
        let environment = [("HTTPS_PROXY", "http://user:hunter2@[bad")].into_iter().collect();
        let error = Http::new(&environment).unwrap_err();
        assert!(matches!(error, HttpError::Proxy));
        assert!(!error.to_string().contains("hunter2"));
    }
}

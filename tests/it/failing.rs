//! Providers that fail in every way: none of it says anything of a key, holds up the daemon, or takes a key where it does not belong.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use serde_json::{Value, json};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::harness::lines::text;
use crate::harness::provider::{Provider, Reply};
use crate::harness::{Site, until};

const KEY: &str = "key-of-a-test-0123456789";

/// A host that hands each connection to `serve`, in a thread of its own. Returns its address.
fn host(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let serve = Arc::clone(&serve);
            std::thread::spawn(move || serve(stream.unwrap()));
        }
    });
    address
}

/// A host that reads the beginning of a request and then writes this.
fn says(answer: &'static [u8]) -> String {
    host(move |mut stream| {
        // The client may be gone already.
        stream.read(&mut [0; 64]).and_then(|_| stream.write_all(answer)).ok();
    })
}

/// Never done: until the client goes away.
fn wait_for_the_end(mut stream: TcpStream) {
    while stream.read(&mut [0; 1024]).is_ok_and(|count| count > 0) {}
}

/// A host that takes no more connections: whoever connects waits. The connections that fill its queue are kept open.
fn full() -> (String, TcpListener, Vec<TcpStream>) {
    let listener = socket();
    let address = listener.local_addr().unwrap();
    let mut kept = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, std::time::Duration::from_millis(200)) {
        kept.push(stream);
        assert!(kept.len() < 64, "the queue of {address} does not fill");
    }
    (address.to_string(), listener, kept)
}

/// A listener with the shortest queue.
fn socket() -> TcpListener {
    use rustix::net::{AddressFamily, SocketType, bind, listen, socket};
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&socket, &std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 0)).unwrap();
    listen(&socket, 0).unwrap();
    socket.into()
}

/// A host with a certificate that nobody vouches for.
fn self_signed() -> String {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider())).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key.into()).unwrap());
    host(move |stream| {
        let mut tls = StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream);
        let mut bytes = Vec::new();
        // The handshake fails, as it should.
        tls.read_to_end(&mut bytes).ok();
        assert!(bytes.is_empty(), "something was sent to a host that nobody vouches for");
    })
}

fn config(hosts: &[(&str, String)]) -> String {
    let provider = |(name, base_url): &(&str, String)| {
        format!(
            "  {name}:\n    kind: openai\n    base_url: {base_url}\n    api_keys: [{{name: a, key: {KEY}-{name}}}]\n    rotation: {{health_check: false}}\n"
        )
    };
    let providers: String = hosts.iter().map(provider).collect();
    format!("global: {{key_validation: false, key_timeout: 2s}}\nproviders:\n{providers}")
}

#[test]
fn no_failure_of_a_provider_says_anything_of_a_key() {
    let thief = Provider::start(|_: &str| Reply::new(200, r#"{"data":[]}"#));
    let elsewhere = thief.base_url.clone();
    let redirecting = Provider::start(move |_: &str| Reply::new(307, "").header("location", elsewhere.clone()));
    let (full, _listener, _connections) = full();
    let http = |address: String| format!("http://{address}/v1");
    // Each takes as long as it takes: nothing, headers that never end, a body that never ends, a handshake that never ends.
    let endless = |head: &'static [u8]| {
        host(move |mut stream| {
            stream.read(&mut [0; 64]).and_then(|_| stream.write_all(head)).ok();
            while stream.write_all(b" ").is_ok() {
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
        })
    };
    let hosts = [
        ("closed", "http://127.0.0.1:1/v1".to_owned(), "no connection to 127.0.0.1: "),
        ("full", http(full), "no answer from 127.0.0.1 in 2s"),
        ("silent", http(host(wait_for_the_end)), "no answer from 127.0.0.1 in 2s"),
        ("endless-head", http(endless(b"HTTP/1.1 200 OK\r\nx-endless: ")), "no answer from 127.0.0.1 in 2s"),
        ("endless-body", http(endless(b"HTTP/1.1 200 OK\r\ncontent-length: 9000\r\n\r\n{\"data\":")), "no answer from 127.0.0.1 in 2s"),
        ("silent-tls", format!("https://{}/v1", host(wait_for_the_end)), "no answer from 127.0.0.1 in 2s"),
        ("hangs-up", http(host(drop)), "the connection to 127.0.0.1 broke: "),
        ("cut", http(says(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"data\":[")), "the connection to 127.0.0.1 broke: "),
        ("not-http", http(says(b"SSH-2.0-OpenSSH_9.6\r\n")), "the connection to 127.0.0.1 broke: "),
        ("no-status", http(says(b"HTTP/1.1 999999 No\r\n\r\n")), "the connection to 127.0.0.1 broke: "),
        ("not-tls", format!("https://{}/v1", says(b"HTTP/1.1 400 This is no TLS\r\n\r\n")), "no connection to 127.0.0.1: "),
        (
            "self-signed",
            format!("https://localhost:{}/v1", self_signed().rsplit_once(':').unwrap().1),
            "no connection to localhost: invalid peer certificate",
        ),
        ("no-json", http(says(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nHi there.")), "answered HTTP 200"),
        ("redirecting", redirecting.base_url.clone(), "a redirect, which is not followed"),
    ];
    let named: Vec<(&str, String)> = hosts.iter().map(|(name, base_url, _)| (*name, base_url.clone())).collect();
    let site = Site::new(&config(&named));
    let mut daemon = site.start();
    let mut lines = site.lines();
    let validations = lines.expect("validations", &json!({"validate": {}}));
    for (name, _, why) in &hosts {
        let validation = validations.as_array().unwrap().iter().find(|validation| validation["provider"] == *name).unwrap();
        assert_eq!(validation["verdict"], "inconclusive", "{validation}");
        let message = text(&validation["message"]);
        assert!(message.starts_with("Key could not be checked: ") && message.contains(why), "{name}: {message}");
        assert_eq!(lines.row(name, "a")["state"], "unknown");
        assert_eq!(lines.key(name), "a");
    }
    assert!(thief.seen().is_empty(), "{:?}", thief.seen());
    assert!(daemon.lives());
    assert!(!site.log().contains(KEY));
    let warnings = lines.expect("status", &json!("status"))["warnings"].to_string();
    assert!(warnings.contains("closed is not reached since") && !warnings.contains("redirecting"), "{warnings}");
}

#[test]
fn ten_megabytes_are_neither_kept_nor_too_many() {
    let list = format!(r#"{{"data":["{}"]}}"#, "x".repeat(10 << 20));
    let refusal = format!(r#"{{"error":{{"message":"{}{KEY}"}}}}"#, "x".repeat(10 << 20));
    let long = Provider::start(move |_: &str| Reply::new(200, list.clone()));
    let refusing = Provider::start(move |_: &str| Reply::new(401, refusal.clone()));
    let site = Site::new(&config(&[("long", long.base_url.clone()), ("refusing", refusing.base_url.clone())]));
    let daemon = site.start();
    let mut lines = site.lines();
    let before = daemon.memory("VmRSS:");
    for _ in 0..5 {
        let validations = lines.expect("validations", &json!({"validate": {}}));
        assert_eq!((&validations[0]["verdict"], &validations[1]["verdict"]), (&json!("valid"), &json!("invalid")), "{validations}");
        assert!(!validations.to_string().contains(KEY));
    }
    let grown = daemon.memory("VmRSS:").saturating_sub(before);
    assert!(grown < 20 << 10, "{grown} KiB more");
}

#[test]
fn a_provider_that_is_down_is_told_from_a_network_that_is_down_and_comes_back() {
    let up = Provider::start(|_: &str| Reply::new(200, r#"{"data":[]}"#));
    let site = Site::new(&config(&[("down", "http://127.0.0.1:1/v1".to_owned()), ("up", up.base_url.clone())]));
    let _daemon = site.start();
    let mut lines = site.lines();
    lines.expect("validations", &json!({"validate": {}}));
    let warnings = |lines: &mut crate::harness::lines::Lines| lines.expect("status", &json!("status"))["warnings"].clone();
    let found = warnings(&mut lines);
    let one = found.as_array().unwrap().iter().filter(|warning| text(warning).contains("down is not reached")).count();
    assert_eq!((one, found.to_string().contains("network")), (1, false), "{found}");
    until("the log tells of it", || site.log().contains("the provider is not reached").then_some(()));
    let health = lines.expect("health", &json!("health"));
    assert!(text(&health["down"]["a"]["message"]).contains("its provider was not reached by the last check"), "{health}");
    assert_eq!((&health["down"]["a"]["healthy"], &health["up"]["a"]["message"]), (&json!(true), &json!("good")));
    // Whoever got an answer has reached it.
    let lease = lines.lease(&json!({"provider": "down"}));
    lines.report(&lease, "ok");
    assert_eq!(warnings(&mut lines).as_array().unwrap().iter().filter(|warning| text(warning).contains("not reached")).count(), 0);
    assert_eq!(lines.expect("health", &json!("health"))["down"]["a"]["last_checked"], Value::Null);
}

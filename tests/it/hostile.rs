//! Nothing that a client sends stops the daemon, or holds up others: malformed messages by the thousand, and clients that dawdle.

mod mutation;

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;
use gollm::protocol::reply::Reply;
use gollm::protocol::{MESSAGE_MAX, PREAMBLE, frame};
use serde_json::{Value, json};

use crate::harness::binary;
use crate::harness::lines::Lines;
use crate::harness::{LONGEST, Site, until};
use crate::hostile::mutation::{frame_body, line};

const CONFIG: &str = "
providers:
  openai:
    base_url: http://127.0.0.1:1/v1
    api_keys: [{key: sk-a, name: a}, {key: sk-b, name: b}]
    rotation: {health_check: false}
global: {key_validation: false, lease_ttl: 1s}
";

/// Malformed requests over each codec.
const TIMES: u32 = 5_000;

/// Memory that the daemon may take, in KiB: far above what it needs, far below what each message kept would take.
const MEMORY_MAX: u64 = 400 * 1024;

/// A client that behaves: it must be answered all the time.
fn behave(site: &Site, stop: &AtomicBool, served: &AtomicU64) {
    let mut lines = site.lines();
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        let lease = lines.lease(&json!({"provider": "openai"}));
        assert_eq!(lines.report(&lease, "ok")["duplicate"], false);
        assert!(began.elapsed() < LONGEST / 2, "a good client waited for {:?}", began.elapsed());
        served.fetch_add(1, Ordering::Relaxed);
    }
}

/// Lets a good client be served while `attack` goes on.
fn beside(site: &Site, attack: impl FnOnce()) {
    /// Ends the good client also where the attack's own checks fail.
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let (stop, served) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| behave(site, &stop, &served));
        let stop = Stop(&stop);
        attack();
        drop(stop);
    });
    assert!(served.load(Ordering::Relaxed) > 0);
}

#[test]
fn ten_thousand_malformed_requests_are_each_answered_or_closed() {
    let seed = std::env::var("GOLLM_TEST_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    eprintln!("GOLLM_TEST_SEED={seed}");
    let mut rng = Rng::with_seed(seed);
    let site = Site::new(CONFIG);
    let mut daemon = site.start();
    beside(&site, || {
        malformed_lines(&site, &mut rng);
        malformed_frames(&site, &mut rng);
        random_bytes(&site, &mut rng);
    });
    assert!(daemon.lives());
    assert!(daemon.memory("VmRSS:") < MEMORY_MAX, "{} KiB", daemon.memory("VmRSS:"));
    let status = site.lines().expect("status", &json!("status"));
    assert_eq!(status["global"]["keys_total"], 2, "no malformed request changed a key");
    assert!(daemon.terminate().success());
    assert!(!site.log().contains("panicked"), "{}", site.log());
}

/// Each line gets a reply; what is no request gets an error.
fn malformed_lines(site: &Site, rng: &mut Rng) {
    let mut lines = site.lines();
    for _ in 0..TIMES {
        let bytes = line(rng);
        let well_formed = gollm::protocol::json::decode_request(&bytes).is_ok();
        let sent = lines.send(&bytes).and_then(|()| lines.send(b"\n"));
        let answer = sent.and_then(|()| lines.read());
        let Ok(Some(mut answer)) = answer else {
            // A line that begins the connection with a byte of no codec closes it.
            lines = site.lines();
            continue;
        };
        let code = answer["reply"]["error"]["code"].take();
        assert!(well_formed || code == "bad_request", "{} was answered with {code} {answer}", String::from_utf8_lossy(&bytes));
    }
}

fn malformed_frames(site: &Site, rng: &mut Rng) {
    let mut stream = binary::greeted(&site.socket());
    for _ in 0..TIMES {
        let body = frame_body(rng);
        let well_formed = frame::decode::<gollm::protocol::request::Request>(&body).is_ok();
        let length = u32::try_from(body.len()).unwrap().to_le_bytes();
        // The length may say more or less than there is: then the connection is of no use any more.
        let wrong = rng.u32(0..50) == 0;
        let header = if wrong { [rng.u8(..), rng.u8(..), rng.u8(16..), rng.u8(..)] } else { length };
        stream.write_all(&[&header[..], &body].concat()).unwrap();
        let answer = binary::response(&mut stream);
        if wrong {
            assert!(answer.is_none_or(|answer| matches!(answer.reply, Reply::Error(_))));
            stream = binary::greeted(&site.socket());
            continue;
        }
        let answer = answer.expect("a malformed frame leaves the connection");
        assert!(well_formed || matches!(answer.reply, Reply::Error(_)), "{body:?}");
    }
}

/// Whole connections of noise: each is answered or closed, and closed at the end.
fn random_bytes(site: &Site, rng: &mut Rng) {
    for _ in 0..200 {
        let hello: &[u8] = [b"".as_slice(), b"{", b"G", b"GLLM", &PREAMBLE, b"\n"][rng.usize(0..6)];
        let noise: Vec<u8> = (0..rng.usize(0..2000)).map(|_| rng.u8(..)).collect();
        let mut stream = binary::connect(&site.socket(), hello);
        // The daemon may close while the rest is on its way.
        stream.write_all(&noise).ok();
        stream.shutdown(std::net::Shutdown::Write).ok();
        let mut heard = Vec::new();
        match stream.read_to_end(&mut heard) {
            Ok(_) => {}
            Err(why) => assert_eq!(why.kind(), std::io::ErrorKind::ConnectionReset, "{why}"),
        }
    }
}

#[test]
fn clients_that_dawdle_hold_up_nobody() {
    let site = Site::new(CONFIG);
    let mut daemon = site.start();
    let idle: Vec<UnixStream> = (0..200).map(|_| binary::connect(&site.socket(), b"\n")).collect();
    let half: Vec<UnixStream> = (0..50).map(|_| binary::connect(&site.socket(), br#"{"id":1,"op":{"select":"#)).collect();
    let framed: Vec<UnixStream> = (0..50).map(|_| binary::connect(&site.socket(), b"GLLM\x01\x00\x00\x10\x00half")).collect();
    beside(&site, || {
        never_reads(&site);
        slow_line(&site);
        gone_at_once(&site);
    });
    let mut lines = site.lines();
    let open = lines.expect("status", &json!("status"))["counts"]["connections"].as_u64().unwrap();
    assert!(open >= 250, "{open}");
    drop((idle, half, framed));
    until("the end of the connections", || {
        let open = lines.expect("status", &json!("status"))["counts"]["connections"].as_u64().unwrap();
        (open < 10).then_some(())
    });
    assert!(daemon.lives() && daemon.memory("VmRSS:") < MEMORY_MAX, "{} KiB", daemon.memory("VmRSS:"));
}

/// Asks for much and reads nothing: the daemon stops reading from it, and its own memory does not grow with it.
fn never_reads(site: &Site) {
    let stream = binary::connect(&site.socket(), b"");
    stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut stream = stream;
    let request = [json!({"id": 1, "op": "status"}).to_string(), "\n".to_owned()].concat();
    let many = request.repeat(1000);
    let mut taken = 0;
    while taken < 64 * MESSAGE_MAX {
        match stream.write(many.as_bytes()) {
            Ok(count) => taken += count,
            Err(_) => return,
        }
    }
    panic!("the daemon took {taken} bytes from a client that reads nothing");
}

/// A line that comes a byte at a time is a line.
fn slow_line(site: &Site) {
    let mut lines = site.lines();
    for byte in b"{\"id\":9,\"op\":\"whoami\"}\n" {
        lines.send(&[*byte]).unwrap();
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(lines.reply()["id"], 9);
}

/// A client that asks and goes away leaves no lease that lasts for ever, and no connection.
fn gone_at_once(site: &Site) {
    for _ in 0..100 {
        let mut lines = site.lines();
        lines.request(&json!({"select": {"provider": "openai"}})).unwrap();
        lines.request(&json!({"statistics": {"by": ["key", "model", "caller"]}})).unwrap();
    }
    let mut lines: Lines = site.lines();
    until("the end of the leases", || {
        let open: Value = lines.expect("status", &json!("status"))["counts"]["leases_open"].take();
        (open.as_u64().unwrap() < 5).then_some(())
    });
}

/// A client that asks much at once has each answer, and the others have theirs meanwhile.
#[test]
fn many_requests_at_once_hold_up_nobody() {
    let keys: String = (0..300).map(|number| format!("{{key: sk-{number}, name: k{number}}}, ")).collect();
    let site = Site::new(&CONFIG.replace("[{key: sk-a, name: a}, {key: sk-b, name: b}]", &format!("[{keys}]")));
    let _daemon = site.start();
    let asker = binary::connect(&site.socket(), b"");
    let mut reader = Lines::of(asker.try_clone().unwrap());
    let mut asker = asker;
    let mut lines = site.lines();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for id in 0..300 {
                asker.write_all(format!("{}\n", json!({"id": id, "op": "keys"})).as_bytes()).unwrap();
            }
        });
        let answers = scope.spawn(move || (0..300).map(|_| reader.reply()["id"].as_u64().unwrap()).collect::<Vec<_>>());
        let mut longest = Duration::ZERO;
        while !answers.is_finished() {
            let began = Instant::now();
            lines.expect("you", &json!("whoami"));
            longest = longest.max(began.elapsed());
        }
        assert_eq!(answers.join().unwrap(), (0..300).collect::<Vec<_>>());
        assert!(longest < Duration::from_secs(5), "a client waited for {longest:?}");
    });
}

#[test]
fn what_asks_too_much_is_refused() {
    let site = Site::new(CONFIG);
    let _daemon = site.start();
    let mut lines = site.lines();
    let refused = lines.try_ask(&json!({"statistics": {"by": vec!["key"; 80_000]}})).unwrap();
    assert_eq!(refused["error"]["code"], "bad_request", "{refused}");
    lines.expect("statistics", &json!({"statistics": {"by": ["key", "model", "caller", "provider"]}}));
    lines.send(b"[1,\"status\"]\n").unwrap();
    assert_eq!(lines.reply()["reply"]["error"]["code"], "bad_request");
    for _ in 0..20 {
        lines.request(&json!({"statistics": {}})).unwrap();
    }
    for _ in 0..20 {
        assert!(lines.reply()["reply"]["statistics"].is_object());
    }
}

#[test]
fn long_messages_that_do_not_end_have_one_bound() {
    let site = Site::new(CONFIG);
    let mut daemon = site.start();
    let begun = [b"{".as_slice(), &b" ".repeat(MESSAGE_MAX - 1)].concat();
    let mut open: Vec<UnixStream> = (0..80)
        .map(|_| {
            let mut stream = binary::connect(&site.socket(), b"{");
            // The daemon may close before all of it is sent.
            stream.write_all(begun.get(1..).unwrap()).ok();
            stream
        })
        .collect();
    let refused = until("a refusal", || {
        open.iter_mut().find_map(|stream| {
            let mut heard = [0; 256];
            stream.set_nonblocking(true).unwrap();
            stream.read(&mut heard).ok().map(|count| String::from_utf8_lossy(&heard[..count]).into_owned())
        })
    });
    assert!(refused.contains("overloaded"), "{refused}");
    let mut lines = site.lines();
    lines.send(b"{\"id\":1,").unwrap();
    std::thread::sleep(Duration::from_millis(50));
    lines.send(b"\"op\":\"whoami\"}\n").unwrap();
    assert_eq!(lines.reply()["id"], 1, "a short message comes in all the same");
    assert!(daemon.lives() && daemon.memory("VmRSS:") < MEMORY_MAX, "{} KiB", daemon.memory("VmRSS:"));
}

#[test]
fn a_connection_that_says_nothing_ends_and_holds_up_no_stop() {
    let site = Site::new(CONFIG);
    let daemon = site.start();
    let mut silent = binary::connect(&site.socket(), b"");
    let mut half = binary::connect(&site.socket(), b"GLL");
    let began = Instant::now();
    assert_eq!(silent.read(&mut [0; 8]).unwrap(), 0);
    assert_eq!(half.read(&mut [0; 8]).unwrap(), 0);
    assert!(began.elapsed() >= Duration::from_secs(8), "{:?}", began.elapsed());
    let _silent = binary::connect(&site.socket(), b"");
    let _served = binary::greeted(&site.socket());
    let began = Instant::now();
    assert!(daemon.terminate().success());
    assert!(began.elapsed() < Duration::from_secs(5), "the stop took {:?}", began.elapsed());
}

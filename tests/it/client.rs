//! The library's clients against a real daemon: over restarts, with leases that are used and leases that are not.

use std::time::Duration;

use gollm::blocking;
use gollm::environment::Environment;
use gollm::protocol::error::ErrorCode;
use gollm::protocol::request::{Keys, Select, Statistics};
use gollm::{Client, Error, Outcome, Usage};

use crate::harness::{LONGEST, Site, until};

const CONFIG: &str = "
providers:
  openai:
    api_keys: [{key: sk-a, name: a, rate_limit: 300}, {key: sk-b, name: b, rate_limit: 300}]
    models: [{name: gpt-4, input_cost_per_1k_tokens: 0.03, output_cost_per_1k_tokens: 0.06}]
    rotation: {health_check: false}
  groq:
    api_keys: [{key: gsk-a, name: a, rate_limit: 1}]
    rotation: {health_check: false, fallback_enabled: false}
global: {key_validation: false}
";

fn blocking(site: &Site) -> blocking::Client {
    Client::builder().socket(site.socket()).timeout(LONGEST).connect_blocking(&Environment::default()).unwrap()
}

async fn asynchronous(site: &Site) -> Client {
    Client::builder().socket(site.socket()).timeout(LONGEST).connect(&Environment::default()).await.unwrap()
}

#[test]
fn the_blocking_client_leases_reports_and_outlives_a_restart() {
    let site = Site::new(CONFIG);
    let daemon = site.start();
    let client = blocking(&site);
    let lease = client.lease("openai").unwrap();
    assert_eq!((lease.secret().expose(), lease.base_url()), ("sk-a", "https://api.openai.com/v1"));
    let usage = Usage { model: Some("gpt-4".parse().unwrap()), ..Usage::tokens(1000, 500) };
    let reported = lease.ok(usage).unwrap();
    assert!(reported.priced && !reported.duplicate);
    assert_eq!(reported.cost_usd.nanos(), 60_000_000);
    assert!(lease.report(Outcome::Ok).unwrap().duplicate);
    let mut held = client.lease("openai").unwrap();
    assert!(daemon.terminate().success());
    assert!(matches!(client.status(), Err(Error::ConnectionLost { .. } | Error::NoDaemon { .. })));
    assert!(matches!(client.lease("openai"), Err(Error::NoDaemon { .. })));
    let daemon = site.start();
    // The connection is made anew, and the lease of before is good.
    let before = held.expires();
    held.renew().unwrap();
    assert!(held.expires() >= before);
    assert!(!held.report(Outcome::Ok).unwrap().duplicate);
    daemon.kill();
    let _daemon = site.start();
    assert_eq!(client.statistics(Statistics::default()).unwrap().total.requests, 2);
    refusals(&client);
}

fn refusals(client: &blocking::Client) {
    client.lease("groq").map(|lease| lease.secret().expose().len()).ok();
    let why = loop {
        match client.lease("groq") {
            Ok(lease) => drop(lease.secret().expose()),
            Err(why) => break why,
        }
    };
    assert_eq!(why.code(), Some(ErrorCode::NoKeyAvailable));
    assert!(why.retry_after().is_some_and(|wait| wait <= Duration::from_secs(3660)));
    assert_eq!(client.lease("nobody").unwrap_err().code(), Some(ErrorCode::UnknownProvider));
    assert!(matches!(client.lease("No Name"), Err(Error::Name(_))));
}

#[test]
fn a_lease_that_nobody_read_is_given_back() {
    let site = Site::new(CONFIG);
    let _daemon = site.start();
    let client = blocking(&site);
    drop(client.lease("openai").unwrap());
    until("the end of the lease", || (client.status().unwrap().counts.leases_open == 0).then_some(()));
    let places = || client.keys(Keys::default()).unwrap().iter().map(|row| row.requests_last_hour).sum::<u64>();
    assert_eq!(places(), 0);
    let read = client.lease("openai").unwrap();
    assert!(!read.secret().expose().is_empty());
    drop(read);
    assert_eq!((client.status().unwrap().counts.leases_open, places()), (1, 1));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let asynchronous = asynchronous(&site).await;
        drop(asynchronous.lease("openai").await.unwrap());
        // A select that nobody waits for any more is given back when its answer comes.
        let dropped = asynchronous.clone();
        tokio::time::timeout(Duration::ZERO, dropped.lease("openai")).await.ok();
        for _ in 0..1000 {
            if asynchronous.status().await.unwrap().counts.leases_open == 1 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("leases that nobody read are still open");
    });
    assert_eq!(places(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tasks_share_a_client_over_crashes() {
    let site = Site::new(CONFIG);
    let mut daemon = site.start();
    let client = asynchronous(&site).await;
    for _ in 0..3 {
        let tasks: Vec<_> = (0..20).map(|_| tokio::spawn(lease_and_report(client.clone()))).collect();
        for task in tasks {
            task.await.unwrap();
        }
        daemon.kill();
        daemon = site.start();
    }
    let total = client.statistics(Statistics::default()).await.unwrap().total;
    assert_eq!((total.requests, total.input_tokens), (60, 60 * 7));
    assert_eq!(client.whoami().await.unwrap().pid, i32::try_from(std::process::id()).ok());
    assert!(daemon.terminate().success());
    assert!(matches!(client.status().await, Err(Error::NoDaemon { .. } | Error::ConnectionLost { .. })));
}

/// A select that met the end of the daemon is not repeated by the client, so it is here; a report is.
async fn lease_and_report(client: Client) {
    let lease = loop {
        match client.select(Select::any("openai".parse().unwrap())).await {
            Ok(lease) => break lease,
            Err(Error::ConnectionLost { .. }) => {}
            Err(why) => panic!("{why}"),
        }
    };
    assert!(lease.secret().expose().starts_with("sk-"));
    let reported = lease.ok(Usage::tokens(7, 0)).await.unwrap();
    assert_eq!(reported.key_name, *lease.key_name());
}

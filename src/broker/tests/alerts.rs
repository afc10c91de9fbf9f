//! Alerts: each once a cause and period, over restarts, and a word when it has passed.

use std::time::Duration;

use super::any;
use crate::alert::post::{PostId, Subscriber};
use crate::alert::{Cause, Purse};
use crate::broker::Outside;
use crate::broker::tests::world::{World, key, limited, openai, policy, usd};
use crate::health::checked::{Checked, Contact};
use crate::limits::Limits;
use crate::protocol::alert::AlertKind::{
    AccountExhausted, CostLimit, CostThreshold, KeyInvalid, MasterInFile, NetworkDown, NoHealthyKey, ProviderUnreachable, StoreFailing,
};
use crate::protocol::alert::AlertState::{Raised, Recovered};
use crate::protocol::outcome::Outcome;
use crate::protocol::reply::KeyVerdict;
use crate::protocol::request::Record;

const SECOND: Duration = Duration::from_secs(1);

fn spends(world: &mut World, name: &str, dollars: f64) {
    let record = Record {
        provider: "openai".parse().unwrap(),
        key_name: name.parse().unwrap(),
        outcome: None,
        model: None,
        input_tokens: None,
        output_tokens: None,
        cached_tokens: None,
        cost_usd: Some(usd(dollars)),
    };
    world.record(&record).unwrap();
}

#[test]
fn a_cost_limit_is_told_at_its_threshold_and_when_it_is_reached_once_a_day() {
    let mut spent = key("a");
    spent.cost_limit = Some(usd(10.0));
    let mut rules = policy(vec![openai(&[spent])]);
    rules.daily_cost_limit = Some(usd(20.0));
    let mut world = World::new(rules);
    spends(&mut world, "a", 7.9);
    assert_eq!(world.alerts(), []);
    spends(&mut world, "a", 0.1);
    assert_eq!(world.alerts(), [(CostThreshold, Raised)]);
    assert!(world.broker.warnings(world.now).iter().any(|warning| warning.contains("openai/a") && warning.contains("$8.00")));
    spends(&mut world, "a", 2.0);
    world.crash();
    spends(&mut world, "a", 1.0);
    world.pass(SECOND * 2);
    assert_eq!(world.alerts(), [(CostLimit, Raised)]);
    let message = world.broker.alerts()[1].message.clone();
    assert_eq!(message, "openai/a: $10.00 is spent today, the limit of $10.00 is reached; nothing is leased on it before 00:00 UTC");
    spends(&mut world, "a", 5.0);
    assert_eq!(world.alerts(), [(CostThreshold, Raised)], "of all keys together");
    let midnight = world.now.midnight().since(world.now.steady);
    world.pass(midnight);
    assert_eq!(world.alerts(), [(CostThreshold, Recovered), (CostThreshold, Recovered), (CostLimit, Recovered)]);
    spends(&mut world, "a", 8.0);
    assert_eq!(world.alerts(), [(CostThreshold, Raised)]);
}

#[test]
fn a_limit_that_is_raised_ends_its_alert_and_is_told_of_anew_when_it_is_reached() {
    let mut rules = policy(vec![openai(&[key("a")])]);
    rules.daily_cost_limit = Some(usd(1.0));
    rules.cost_alert_threshold = 1.0;
    let mut world = World::new(rules.clone());
    spends(&mut world, "a", 1.0);
    assert_eq!(world.alerts(), [(CostLimit, Raised)], "with a threshold of 1 there is one alert, not two");
    rules.daily_cost_limit = Some(usd(2.0));
    world.reconfigure(rules);
    world.pass(SECOND);
    assert_eq!(world.alerts(), [(CostLimit, Recovered)]);
    spends(&mut world, "a", 1.0);
    assert_eq!(world.alerts(), [(CostLimit, Raised)]);
}

#[test]
fn a_callers_limit_is_told_of_when_it_reports_and_recovers_at_midnight() {
    let mut world = World::new(policy(vec![openai(&[key("a")])]));
    let caller = limited(1000, Limits { rate: None, cost: Some(usd(1.0)) }, None);
    let grant = world.select_as(caller.clone(), &any()).unwrap();
    let lease = grant.lease.clone();
    let told = crate::broker::Told::of(
        &crate::protocol::request::Report { cost_usd: Some(usd(1.0)), ..crate::protocol::request::Report::of("gl_x".parse().unwrap(), Outcome::Ok) },
        crate::catalogue::any(),
    )
    .unwrap();
    world.decide(|broker, moment| broker.report(&caller, &lease, &told, moment)).unwrap();
    assert_eq!(world.alerts(), [(CostThreshold, Raised), (CostLimit, Raised)]);
    assert!(world.broker.alerts().iter().any(|notice| notice.cause == Cause::CostLimit(Purse::Caller(caller.uid))));
    world.pass(SECOND * 60);
    assert_eq!(world.alerts(), []);
    let midnight = world.now.midnight().since(world.now.steady);
    world.pass(midnight);
    assert_eq!(world.alerts(), [(CostThreshold, Recovered), (CostLimit, Recovered)]);
}

#[test]
fn an_invalid_key_is_told_of_and_with_the_last_one_that_none_is_left() {
    let mut world = World::new(policy(vec![openai(&[key("a"), key("b")])]));
    world.probe("a", KeyVerdict::Invalid);
    world.pass(SECOND);
    assert_eq!(world.alerts(), [(KeyInvalid, Raised)]);
    world.probe("b", KeyVerdict::Invalid);
    world.pass(SECOND);
    assert_eq!(world.alerts(), [(KeyInvalid, Raised), (NoHealthyKey, Raised)]);
    world.restart();
    world.pass(SECOND * 90);
    assert_eq!(world.alerts(), []);
    world.probe("a", KeyVerdict::Valid);
    world.pass(SECOND);
    assert_eq!(world.alerts(), [(KeyInvalid, Recovered), (NoHealthyKey, Recovered)]);
    // It comes again within the hour: that is told when the hour is over, if it is there still.
    world.probe("a", KeyVerdict::Invalid);
    world.pass(SECOND);
    assert_eq!(world.alerts(), []);
    assert_eq!(world.broker.next_deadline().map(|at| at.since(world.now.steady) <= SECOND * 3600), Some(true), "it is looked for without an event");
    world.pass(SECOND * 3600);
    assert_eq!(world.alerts(), [(KeyInvalid, Raised), (NoHealthyKey, Raised)]);
}

#[test]
fn keys_that_are_switched_off_or_cool_down_for_a_moment_are_no_alert() {
    let mut world = World::new(policy(vec![openai(&[key("a")])]));
    world.set_aside("a", SECOND * 59);
    world.pass(SECOND);
    assert_eq!(world.alerts(), []);
    world.disable("a", None);
    world.pass(SECOND);
    assert_eq!(world.alerts(), []);
    world.enable("a");
    world.set_aside("a", SECOND * 600);
    world.pass(SECOND);
    assert_eq!(world.alerts(), [(NoHealthyKey, Raised)]);
    world.pass(SECOND * 600);
    assert_eq!(world.alerts(), [(NoHealthyKey, Recovered)]);
}

#[test]
fn an_exhausted_account_is_told_of_until_a_trial_finds_it_filled() {
    let mut world = World::new(policy(vec![openai(&[key("a"), key("b")])]));
    world.learn_account("a", "org-1");
    let request = crate::protocol::request::Select { key_name: Some("a".parse().unwrap()), ..any() };
    let grant = world.select(&request).unwrap();
    world.report(&grant, Outcome::QuotaExhausted);
    world.pass(SECOND);
    assert_eq!(world.alerts(), [(AccountExhausted, Raised)]);
    assert_eq!(world.broker.alerts()[0].told().account.map(|account| account.to_string()).as_deref(), Some("org-1"));
    world.pass(SECOND * 3600);
    assert_eq!(world.alerts(), []);
    let trial = world.select(&request).unwrap();
    world.report(&trial, Outcome::Ok);
    world.pass(SECOND);
    assert_eq!(world.alerts(), [(AccountExhausted, Recovered)]);
}

#[test]
fn a_provider_that_fails_is_told_of_until_it_answers_over_a_restart_too() {
    let mut world = World::new(policy(vec![openai(&[key("a")])]));
    for _ in 0..5 {
        let grant = world.select(&any()).unwrap();
        world.report(&grant, Outcome::ServerError);
    }
    world.pass(SECOND);
    assert_eq!(world.alerts(), [(ProviderUnreachable, Raised)]);
    world.restart();
    world.pass(SECOND * 300);
    assert_eq!(world.alerts(), [], "nobody has seen it answer");
    let grant = world.select(&any()).unwrap();
    world.report(&grant, Outcome::Ok);
    world.pass(SECOND);
    assert_eq!(world.alerts(), [(ProviderUnreachable, Recovered)]);
}

#[test]
fn with_the_network_down_there_is_one_alert_and_not_one_a_provider() {
    let mut other = openai(&[key("a")]);
    other.name = "gemini".parse().unwrap();
    other.kind = "gemini";
    let mut world = World::new(policy(vec![openai(&[key("a")]), other]));
    let missed = Checked::unproven(None, Contact::Missed { why: "no network".to_owned(), no_network: true }, "no network");
    for id in ["openai/a", "gemini/a"] {
        world.probe_found(&id.parse().unwrap(), &missed);
    }
    world.pass(SECOND);
    assert_eq!(world.alerts(), [(NetworkDown, Raised)]);
    let reached = Checked { verdict: KeyVerdict::Valid, contact: Contact::Reached, ..missed };
    for id in ["openai/a", "gemini/a"] {
        world.probe_found(&id.parse().unwrap(), &reached);
    }
    world.pass(SECOND);
    assert_eq!(world.alerts(), [(NetworkDown, Recovered)]);
}

#[test]
fn what_the_broker_does_not_see_is_told_of_as_soon_as_it_hears() {
    let mut world = World::new(policy(vec![openai(&[key("a")])]));
    let now = world.now;
    world.broker.note_outside(Outside { store_failing: Some("disk full".to_owned()), master_in_file: true }, now);
    assert_eq!(world.alerts(), [(StoreFailing, Raised), (MasterInFile, Raised)]);
    world.broker.note_outside(Outside { store_failing: Some("still full".to_owned()), master_in_file: true }, now);
    assert_eq!(world.alerts(), []);
    world.broker.note_outside(Outside::default(), now);
    assert_eq!(world.alerts(), [(StoreFailing, Recovered), (MasterInFile, Recovered)]);
}

#[test]
fn what_a_webhook_has_not_taken_waits_for_it_over_crashes_and_restarts() {
    let id = PostId("hook".into());
    let subscribers = || vec![Subscriber { id: PostId("hook".into()), kinds: Some(vec![KeyInvalid]) }];
    let mut world = World::new(policy(vec![openai(&[key("a"), key("b")])]));
    world.broker.set_webhooks(subscribers());
    world.probe("a", KeyVerdict::Invalid);
    world.pass(SECOND);
    for round in 0..2 {
        if round == 0 {
            world.crash();
        } else {
            world.restart();
        }
        world.broker.set_webhooks(subscribers());
        let (notice, waiting) = world.broker.next_post(&id).unwrap();
        assert_eq!((notice.cause.kind(), waiting), (KeyInvalid, 1));
    }
    let (notice, _) = world.broker.next_post(&id).unwrap();
    world.broker.posted(&id, notice.id, false);
    world.flush();
    world.crash();
    world.broker.set_webhooks(subscribers());
    assert!(world.broker.next_post(&id).is_none());
    assert_eq!((world.broker.posts_waiting(), world.broker.posts_given_up(&id)), (0, 0));
}

//! Waiting: in order of arrival, until a place frees, and no longer than was asked for.

use std::time::Duration;

use crate::access::Caller;
use crate::broker::tests::world::{World, client, key, openai, policy, usd};
use crate::broker::tests::{admin, any};
use crate::broker::{Selected, Served, Ticket};
use crate::protocol::error::ErrorCode;
use crate::protocol::outcome::Outcome;
use crate::protocol::request::{Estimate, Select};

fn waiting(seconds: u64) -> Select {
    Select { wait_ms: Some(seconds * 1000), ..any() }
}

/// A world in which `openai/a` may be leased so often in an hour.
fn limited(rate: u64) -> World {
    let mut limited = key("a");
    limited.rate_limit = Some(rate);
    World::new(policy(vec![openai(&[limited])]))
}

fn queued(world: &mut World, request: &Select) -> Ticket {
    match world.select_or_wait(request).unwrap() {
        Selected::Queued(ticket) => ticket,
        Selected::Granted(grant) => panic!("{} is free", grant.lease.key),
    }
}

/// The tickets that were served with a lease.
fn leased(served: &[Served]) -> Vec<Ticket> {
    served.iter().filter(|served| served.result.is_ok()).map(|served| served.ticket).collect()
}

#[test]
fn one_place_that_frees_is_one_grant_in_order_of_arrival() {
    let mut world = limited(1);
    let grant = world.select(&any()).unwrap();
    let tickets: Vec<Ticket> = (0..5).map(|_| queued(&mut world, &waiting(60))).collect();
    assert!(world.served().is_empty());
    world.report(&grant, Outcome::Cancelled);
    let served = world.served();
    assert_eq!(leased(&served), [tickets[0]]);
    // Nobody who comes now, or gave up, is served before those who wait.
    world.broker.leave(tickets[1]);
    let next = served.into_iter().next().unwrap().result.unwrap();
    world.report(&next, Outcome::Cancelled);
    assert_eq!(world.select(&any()).unwrap_err().code, ErrorCode::NoKeyAvailable);
    assert_eq!(leased(&world.served()), [tickets[2]]);
    assert_eq!(world.broker.provider_rows(world.now)[0].waiting, 2);
}

#[test]
fn whoever_asks_for_something_else_is_not_held_up() {
    let mut world = World::new(policy(vec![openai(&[key("a"), key("b")])]));
    for name in ["a", "b"] {
        world.disable(name, Some(Duration::from_secs(3600)));
    }
    let only = |name: &str| Select { key_name: Some(name.parse().unwrap()), ..waiting(60) };
    let first = queued(&mut world, &only("a"));
    let second = queued(&mut world, &only("b"));
    let third = queued(&mut world, &waiting(60));
    world.enable("b");
    assert_eq!(leased(&world.served()), [second, third]);
    world.enable("a");
    assert_eq!(leased(&world.served()), [first]);
    assert!(!world.broker.is_awaited());
}

#[test]
fn time_wakes_those_who_wait() {
    let mut world = World::new(policy(vec![openai(&[key("a")])]));
    let grant = world.select(&any()).unwrap();
    world.report(&grant, Outcome::RateLimited);
    let ticket = queued(&mut world, &waiting(600));
    world.pass(Duration::ZERO);
    let next = world.broker.next_deadline().unwrap();
    let cool_down = next.since(world.now.steady);
    assert!(cool_down >= Duration::from_secs(30) && cool_down <= Duration::from_secs(33), "{cool_down:?}");
    world.pass(cool_down - Duration::from_millis(1));
    assert!(world.served().is_empty());
    world.pass(Duration::from_millis(1));
    assert_eq!(leased(&world.served()), [ticket]);
}

#[test]
fn midnight_wakes_those_who_wait() {
    let mut limited = key("a");
    limited.cost_limit = Some(usd(1.0));
    let mut world = World::new(policy(vec![openai(&[limited])]));
    let grant = world.select(&any()).unwrap();
    world.report_cost(&grant, usd(1.0));
    let ticket = queued(&mut world, &waiting(86_400));
    world.pass(Duration::ZERO);
    assert_eq!(world.broker.next_deadline(), Some(world.now.midnight()));
    world.pass(world.now.midnight().since(world.now.steady));
    assert_eq!(leased(&world.served()), [ticket]);
}

#[test]
fn a_lease_that_runs_out_frees_its_reserve_and_a_limit_that_is_raised_its_places() {
    let mut spent = key("a");
    spent.cost_limit = Some(usd(1.0));
    let mut world = World::new(policy(vec![openai(&[spent])]));
    let costly = |seconds| Select { estimate: Some(Estimate { cost_usd: Some(usd(0.6)), ..Estimate::default() }), ..waiting(seconds) };
    let grant = world.select(&costly(0)).unwrap();
    let ticket = queued(&mut world, &costly(60));
    world.report(&grant, Outcome::BadRequest);
    assert_eq!(leased(&world.served()), [ticket]);
    let mut world = limited(1);
    world.select(&any()).unwrap();
    let ticket = queued(&mut world, &waiting(60));
    let mut rules = world.policy().clone();
    rules.providers[0].keys[0].rate_limit = Some(2);
    world.reconfigure(rules);
    assert_eq!(leased(&world.served()), [ticket]);
}

#[test]
fn a_wait_ends_with_the_reasons_when_its_time_is_up() {
    let mut world = limited(1);
    world.select(&any()).unwrap();
    let short = queued(&mut world, &waiting(5));
    let long = queued(&mut world, &waiting(50));
    world.pass(Duration::from_secs(5));
    let served = world.served();
    assert_eq!(served.len(), 1);
    let refusal = served[0].result.as_ref().unwrap_err();
    assert_eq!((served[0].ticket, refusal.code, refusal.keys.len()), (short, ErrorCode::NoKeyAvailable, 1));
    world.broker.send_all_away(world.now);
    let served = world.broker.take_served();
    assert_eq!((served[0].ticket, served.len()), (long, 1));
    assert_eq!(world.broker.next_deadline().map(|next| next > world.now.steady), Some(true));
}

#[test]
fn what_is_gone_is_told_and_not_waited_for() {
    let mut world = World::new(policy(vec![openai(&[key("a"), key("b")])]));
    world.disable("a", None);
    let ticket = queued(&mut world, &Select { key_name: Some("a".parse().unwrap()), ..waiting(60) });
    world.reconfigure(policy(vec![openai(&[key("b")])]));
    let served = world.served();
    assert_eq!((served[0].ticket, served[0].result.as_ref().unwrap_err().code), (ticket, ErrorCode::UnknownKey));
    assert_eq!(world.select_or_wait(&Select { wait_ms: Some(86_400_001), ..any() }).unwrap_err().code, ErrorCode::BadRequest);
}

#[test]
fn the_queue_is_bounded_and_nobody_takes_it_all() {
    let mut world = limited(1);
    world.select(&any()).unwrap();
    let mut fill = |caller: &dyn Fn() -> Caller, most: usize| {
        (0..most).take_while(|_| world.decide(|broker, moment| broker.select_or_wait(&caller(), &waiting(60), moment)).is_ok()).count()
    };
    for uid in 1..=3 {
        assert_eq!(fill(&|| client(uid), 600), 512);
    }
    // The last places are the admins'.
    assert_eq!(fill(&|| client(4), 600), 512 - 64);
    assert_eq!(fill(&admin, 600), 64);
    world.pass(Duration::from_secs(60));
    assert_eq!(world.served().len(), 2048);
}

#[test]
fn a_store_that_fails_ends_no_wait() {
    let mut world = limited(1);
    let grant = world.select(&any()).unwrap();
    let ticket = queued(&mut world, &waiting(60));
    world.report(&grant, Outcome::Cancelled);
    world.stalled = true;
    assert!(world.served().is_empty());
    world.stalled = false;
    assert_eq!(leased(&world.served()), [ticket]);
}

#[test]
fn nobody_who_reserves_less_overtakes_whom_what_is_given_back_will_do() {
    let mut spent = key("a");
    spent.cost_limit = Some(usd(10.0));
    let mut world = World::new(policy(vec![openai(&[spent])]));
    let costly =
        |dollars: f64, seconds: u64| Select { estimate: Some(Estimate { cost_usd: Some(usd(dollars)), ..Estimate::default() }), ..waiting(seconds) };
    let open: Vec<_> = (0..2).map(|_| world.select(&costly(4.0, 0)).unwrap()).collect();
    let large = queued(&mut world, &costly(6.0, 600));
    // There is room for it, and it is kept for the one who came first; who reserves nothing takes none.
    let small = queued(&mut world, &costly(2.0, 600));
    assert_eq!(world.select(&costly(2.0, 0)).unwrap_err().keys[0].reason, crate::protocol::error::Reason::CostLimited);
    assert!(world.explain(&costly(2.0, 0)).unwrap().chosen.is_none());
    assert!(world.select(&any()).is_ok());
    world.report_cost(&open[0], usd(0.0));
    assert_eq!(leased(&world.served()), [large]);
    world.report_cost(&open[1], usd(0.0));
    assert_eq!(leased(&world.served()), [small]);
}

#[test]
fn room_is_kept_for_nobody_whom_it_can_t_help_today() {
    let mut spent = key("a");
    spent.cost_limit = Some(usd(10.0));
    let mut world = World::new(policy(vec![openai(&[spent])]));
    let costly =
        |dollars: f64, seconds: u64| Select { estimate: Some(Estimate { cost_usd: Some(usd(dollars)), ..Estimate::default() }), ..waiting(seconds) };
    let grant = world.select(&costly(5.0, 0)).unwrap();
    world.report_cost(&grant, usd(5.0));
    let large = queued(&mut world, &costly(6.0, 86_400));
    let grant = world.select(&costly(5.0, 0)).unwrap();
    // Behind it in the same line.
    let small = queued(&mut world, &costly(4.0, 600));
    world.report_cost(&grant, usd(1.0));
    assert_eq!(leased(&world.served()), [small]);
    world.pass(world.now.midnight().since(world.now.steady));
    assert_eq!(leased(&world.served()), [large]);
}

#[test]
fn who_gives_up_gives_up_the_room_that_was_kept() {
    let mut spent = key("a");
    spent.cost_limit = Some(usd(10.0));
    let mut world = World::new(policy(vec![openai(&[spent])]));
    let costly =
        |dollars: f64, seconds: u64| Select { estimate: Some(Estimate { cost_usd: Some(usd(dollars)), ..Estimate::default() }), ..waiting(seconds) };
    world.select(&costly(8.0, 0)).unwrap();
    let large = queued(&mut world, &costly(6.0, 600));
    let small = queued(&mut world, &costly(2.0, 600));
    world.broker.leave(large);
    assert_eq!(leased(&world.served()), [small]);
}

//! The broker as a whole: what it promises over strategies, states, restarts and changes of the clock.

mod alerts;
mod day;
mod promises;
mod simulation;
mod understanding;
mod waiting;
mod world;

use std::time::Duration;

use crate::broker::tests::world::{World, admin, key, openai, policy, usd};
use crate::catalogue::classify::Scope;
use crate::health::checked::{Checked, Contact};
use crate::id::KeyId;
use crate::limits::Limits;
use crate::policy::ChoicePer;
use crate::protocol::error::{ErrorCode, Reason};
use crate::protocol::outcome::Outcome;
use crate::protocol::reply::{Balance, KeyState, KeyVerdict};
use crate::protocol::request::{Estimate, Record, Select};
use crate::protocol::strategy::Strategy;

fn any() -> Select {
    Select::any("openai".parse().unwrap())
}

fn for_model(model: &str) -> Select {
    Select { model: Some(model.parse().unwrap()), ..any() }
}

fn taken(world: &mut World, request: &Select, times: usize) -> Vec<String> {
    (0..times).map(|_| world.select(request).unwrap().lease.key.key.to_string()).collect()
}

#[test]
fn round_robin_goes_on_where_it_stood_over_a_restart() {
    let mut world = World::new(policy(vec![openai(&[key("a"), key("b"), key("c")])]));
    assert_eq!(taken(&mut world, &any(), 4), ["a", "b", "c", "a"]);
    world.checkpoint();
    world.crash();
    assert_eq!(taken(&mut world, &any(), 2), ["b", "c"]);
}

#[test]
fn a_request_may_ask_for_another_strategy_or_one_key() {
    let mut world = World::new(policy(vec![openai(&[key("a"), key("b")])]));
    let single = Select { strategy: Some(Strategy::Single), ..any() };
    assert_eq!(taken(&mut world, &single, 2), ["a", "a"]);
    let only = Select { key_name: Some("b".parse().unwrap()), ..any() };
    assert_eq!(taken(&mut world, &only, 2), ["b", "b"]);
    assert_eq!(taken(&mut world, &any(), 2), ["a", "b"]);
    let unknown = Select { key_name: Some("x".parse().unwrap()), ..any() };
    assert_eq!(world.select(&unknown).unwrap_err().code, ErrorCode::UnknownKey);
    assert_eq!(world.select(&Select::any("nobody".parse().unwrap())).unwrap_err().code, ErrorCode::UnknownProvider);
}

#[test]
fn least_used_and_cost_optimized_follow_the_counters() {
    let mut world = World::new(policy(vec![openai(&[key("a"), key("b")])]));
    let least = Select { strategy: Some(Strategy::LeastUsed), ..any() };
    assert_eq!(taken(&mut world, &least, 3), ["a", "b", "a"]);
    let cheap = Select { strategy: Some(Strategy::CostOptimized), ..any() };
    let grant = world.select(&cheap).unwrap();
    assert_eq!(grant.lease.key.key.as_str(), "b");
    world.report_cost(&grant, usd(1.0));
    assert_eq!(taken(&mut world, &cheap, 2), ["a", "a"]);
}

#[test]
fn a_choice_is_kept_for_the_interval_while_it_stays_eligible() {
    let mut provider = openai(&[key("a"), key("b")]);
    provider.per = ChoicePer::Interval;
    let mut world = World::new(policy(vec![provider]));
    assert_eq!(taken(&mut world, &any(), 3), ["a", "a", "a"]);
    world.pass(Duration::from_secs(3600));
    assert_eq!(taken(&mut world, &any(), 2), ["b", "b"]);
    let other = Select { strategy: Some(Strategy::Single), ..any() };
    assert_eq!(taken(&mut world, &other, 1), ["a"]);
    let grant = world.select(&for_model("gpt-4")).unwrap();
    world.report(&grant, Outcome::PermissionDenied);
    assert_eq!(taken(&mut world, &for_model("gpt-4"), 1), ["a"]);
    assert_eq!(taken(&mut world, &any(), 1), ["b"]);
    let grant = world.select(&any()).unwrap();
    world.report(&grant, Outcome::RateLimited);
    assert_eq!(taken(&mut world, &any(), 2), ["a", "a"]);
}

#[test]
fn what_a_client_reports_can_always_be_read_again() {
    let mut world = World::new(policy(vec![openai(&[key("a")])]));
    for _ in 0..3 {
        let grant = world.select(&any()).unwrap();
        world.report_cost(&grant, crate::money::USD_MAX);
    }
    world.crash();
    world.restart();
    assert!(world.row("a").cost_today_usd > crate::money::USD_MAX);
    let record = Record {
        provider: "openai".parse().unwrap(),
        key_name: "a".parse().unwrap(),
        outcome: None,
        model: Some("gpt-4".parse().unwrap()),
        input_tokens: Some(u64::MAX),
        output_tokens: None,
        cached_tokens: None,
        cost_usd: None,
    };
    assert_eq!(world.record(&record).unwrap_err().code, ErrorCode::BadRequest);
    assert!(world.record(&Record { input_tokens: Some(1_000_000_000_000), ..record }).is_ok());
    world.crash();
}

#[test]
fn the_fallback_chain_is_tried_and_named() {
    let mut gemini = openai(&[key("g")]);
    gemini.name = "gemini".parse().unwrap();
    let mut rules = policy(vec![openai(&[key("a")]), gemini]);
    rules.fallback_chain = vec!["openai".parse().unwrap(), "gemini".parse().unwrap()];
    let mut world = World::new(rules);
    let grant = world.select(&for_model("gpt-4")).unwrap();
    world.report(&grant, Outcome::QuotaExhausted);
    let other = world.select(&for_model("gpt-4")).unwrap();
    assert_eq!((other.lease.key.to_string().as_str(), other.lease.model.clone()), ("gemini/g", None));
    assert_eq!(other.lease.fallback_from.unwrap().as_str(), "openai");
    let refused = world.select(&Select { fallback: Some(false), ..any() }).unwrap_err();
    assert_eq!((refused.code, refused.keys.len()), (ErrorCode::NoKeyAvailable, 1));
    assert_eq!(refused.keys[0].reason, Reason::Exhausted);
    assert!(refused.retry_after_ms.is_some());
    let back = world.select(&Select::any("gemini".parse().unwrap())).unwrap();
    assert_eq!(back.lease.key.provider.as_str(), "gemini");
}

#[test]
fn a_provider_that_fails_is_passed_over_and_served_where_nobody_else_can() {
    let mut other = openai(&[key("o")]);
    other.name = "other".parse().unwrap();
    let mut rules = policy(vec![openai(&[key("a")]), other]);
    rules.fallback_chain = vec!["openai".parse().unwrap(), "other".parse().unwrap()];
    let mut world = World::new(rules);
    for _ in 0..5 {
        let grant = world.select(&any()).unwrap();
        world.report(&grant, Outcome::ServerError);
    }
    assert!(!world.broker.provider_rows(world.now)[0].reachable);
    assert_eq!(world.select(&any()).unwrap().lease.key.provider.as_str(), "other");
    assert_eq!(world.select(&Select { fallback: Some(false), ..any() }).unwrap().lease.key.provider.as_str(), "openai");
    world.pass(Duration::from_secs(31));
    // One lease finds out whether it has recovered; the others do not flood it meanwhile.
    let trial = world.select(&any()).unwrap();
    assert_eq!(trial.lease.key.provider.as_str(), "openai");
    assert_eq!(world.select(&any()).unwrap().lease.key.provider.as_str(), "other");
    world.report(&trial, Outcome::Timeout);
    assert_eq!(world.select(&any()).unwrap().lease.key.provider.as_str(), "other");
    world.pass(Duration::from_secs(31));
    // A trial that tells nothing is waited for as long as it was open, whoever insists on the provider meanwhile.
    assert_eq!(world.select(&any()).unwrap().lease.key.provider.as_str(), "openai");
    world.pass(Duration::from_secs(29));
    assert_eq!(world.select(&Select { fallback: Some(false), ..any() }).unwrap().lease.key.provider.as_str(), "openai");
    assert_eq!(world.select(&any()).unwrap().lease.key.provider.as_str(), "other");
    world.pass(Duration::from_secs(1));
    let trial = world.select(&any()).unwrap();
    world.report(&trial, Outcome::Ok);
    for _ in 0..3 {
        assert_eq!(world.select(&any()).unwrap().lease.key.provider.as_str(), "openai");
    }
}

#[test]
fn a_quota_of_one_model_sets_its_account_aside_for_that_model_alone() {
    let mut keys = [key("a"), key("b"), key("c")];
    for shared in keys.iter_mut().take(2) {
        shared.account = Some("team".parse().unwrap());
    }
    let mut world = World::new(policy(vec![openai(&keys)]));
    let flash = Select { key_name: Some("a".parse().unwrap()), ..for_model("flash") };
    let grant = world.select(&flash).unwrap();
    let daily = r#"{"error":{"code":429,"details":[{"violations":[{"quotaId":"GenerateRequestsPerDayPerProjectPerModel"}]},{"retryDelay":"22s"}]}}"#;
    world.answered(&grant, "gemini", 429, daily);
    assert_eq!(taken(&mut world, &for_model("flash"), 2), ["c", "c"]);
    assert_eq!(taken(&mut world, &for_model("pro"), 3), ["a", "b", "c"]);
    // Until midnight or for the interval, of an hour here, and then by one lease.
    world.pass(Duration::from_secs(3601));
    assert_eq!(taken(&mut world, &for_model("flash"), 4), ["a", "b", "c", "c"]);
    // The same said of no model is said of the account.
    let grant = world.select(&Select { key_name: Some("c".parse().unwrap()), ..any() }).unwrap();
    assert_eq!(world.answered(&grant, "gemini", 429, daily).state, KeyState::Exhausted);
}

#[test]
fn a_quota_of_one_key_leaves_the_others_of_its_account_alone() {
    let mut keys = [key("a"), key("b")];
    for shared in &mut keys {
        shared.account = Some("team".parse().unwrap());
    }
    let mut world = World::new(policy(vec![openai(&keys)]));
    let trial_key = Select { key_name: Some("a".parse().unwrap()), ..any() };
    let grant = world.select(&trial_key).unwrap();
    let monthly = r#"{"message":"You are using a Trial key, which is limited to 1000 API calls / month."}"#;
    world.answered(&grant, "cohere", 429, monthly);
    assert!(world.select(&trial_key).is_err());
    assert_eq!(taken(&mut world, &any(), 2), ["b", "b"]);
    // A check says the same of the other one.
    let spent = Checked {
        verdict: KeyVerdict::NoQuota,
        outcome: Some(Outcome::QuotaExhausted),
        scope: Scope::Key,
        ..Checked::unproven(None, Contact::Reached, "")
    };
    world.probe_found(&"openai/b".parse().unwrap(), &spent);
    assert!(world.select(&any()).is_err());
    world.pass(Duration::from_secs(3601));
    assert_eq!(taken(&mut world, &any(), 2), ["a", "b"]);
}

#[test]
fn a_rate_limit_of_the_account_cools_all_its_keys_whatever_the_model() {
    let mut keys = [key("a"), key("b"), key("c")];
    for shared in keys.iter_mut().take(2) {
        shared.account = Some("team".parse().unwrap());
    }
    let mut world = World::new(policy(vec![openai(&keys)]));
    let grant = world.select(&Select { key_name: Some("a".parse().unwrap()), ..for_model("gpt-4") }).unwrap();
    world.answered(&grant, "openai", 429, r#"{"error":{"code":"slow_down","message":"Your request rate increased too quickly."}}"#);
    assert_eq!(taken(&mut world, &for_model("other"), 3), ["c", "c", "c"]);
    let grant = world.select(&for_model("gpt-4")).unwrap();
    world.answered(&grant, "openai", 429, r#"{"error":{"code":"rate_limit_exceeded"}}"#);
    assert_eq!(taken(&mut world, &for_model("other"), 1), ["c"]);
}

#[test]
fn one_provider_that_is_not_reached_is_told_apart_from_no_network() {
    let mut other = openai(&[key("o")]);
    other.name = "other".parse().unwrap();
    let mut own = openai(&[key("l")]);
    own.name = "own".parse().unwrap();
    own.base_url = "http://127.0.0.1:11434".to_owned();
    let mut world = World::new(policy(vec![openai(&[key("a"), key("b")]), other, own]));
    let missed = Checked::unproven(None, Contact::Missed { why: "no connection to h".to_owned(), no_network: false }, "no connection to h");
    let probe = |world: &mut World, id: &str, checked: &Checked| world.probe_found(&id.parse().unwrap(), checked);
    let warnings = |world: &World| world.broker.warnings(world.now).join("\n");
    probe(&mut world, "openai/a", &missed);
    assert!(warnings(&world).contains("openai is not reached since 2026-01-01T10:00:00Z: no connection to h"), "{}", warnings(&world));
    assert_eq!(world.row("a").state, KeyState::Unknown);
    // One key of it finds out, later; the other providers' keys are probed as ever.
    let due = |world: &World| world.broker.probes_due(world.now, None).iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(due(&world), ["other/o", "own/l"]);
    assert_eq!(world.broker.next_probe(world.now.steady), Some(world.now.after(Duration::from_secs(30)).steady));
    probe(&mut world, "own/l", &Checked { contact: Contact::Reached, ..missed.clone() });
    probe(&mut world, "other/o", &missed);
    assert!(
        warnings(&world).starts_with("no provider is reached since 2026-01-01T10:00:00Z: the network of this machine seems to be down"),
        "{}",
        warnings(&world)
    );
    assert!(!warnings(&world).contains("other is not reached"));
    world.pass(Duration::from_secs(30));
    // One key of each, another the next time.
    let ours = |world: &World| due(world).into_iter().filter(|id| id.starts_with("openai/")).collect::<Vec<_>>();
    let first = ours(&world);
    assert_eq!((first.len(), due(&world).len()), (1, 3), "{first:?}");
    probe(&mut world, &first[0], &missed);
    assert_eq!(ours(&world), [""; 0]);
    world.pass(Duration::from_secs(60));
    assert!(ours(&world).len() == 1 && ours(&world) != first, "{:?}", ours(&world));
    // A page of some portal's says nothing, and is no reason to ask again at once.
    let second = ours(&world);
    probe(&mut world, &second[0], &Checked::unproven(None, Contact::Untried, ""));
    assert_eq!(ours(&world), [""; 0]);
    assert!(
        world
            .broker
            .next_probe(world.now.steady)
            .is_some_and(|next| next > world.now.steady || due(&world).iter().any(|id| !id.starts_with("openai")))
    );
    let id: KeyId = "other/o".parse().unwrap();
    assert!(world.broker.health(world.now)[&id.provider][&id.key].message.contains("not reached by the last check"));
    // An answer that somebody got says that it is reached.
    let grant = world.select(&any()).unwrap();
    world.report(&grant, Outcome::ServerError);
    assert!(warnings(&world).contains("network"));
    let grant = world.select(&any()).unwrap();
    world.report(&grant, Outcome::Ok);
    assert!(warnings(&world).starts_with("other is not reached since 2026-01-01T10:00:00Z: no connection to h"), "{}", warnings(&world));
}

#[test]
fn what_is_left_of_a_keys_money_is_shown_until_its_secret_changes() {
    let mut world = World::new(policy(vec![openai(&[key("a")])]));
    let balance = Balance { currency: "USD".to_owned(), left: 7.5, limit: None, resets: None };
    let id: KeyId = "openai/a".parse().unwrap();
    let checked = Checked {
        verdict: KeyVerdict::Valid,
        outcome: Some(Outcome::Ok),
        balances: Some(vec![balance.clone()]),
        ..Checked::unproven(None, Contact::Reached, "")
    };
    world.probe_found(&id, &checked);
    let shown = |world: &World| world.broker.health(world.now)[&id.provider][&id.key].balance.clone();
    assert_eq!(shown(&world), [balance]);
    // A completion tells nothing of it.
    world.probe_found(&id, &Checked { verdict: KeyVerdict::Valid, outcome: Some(Outcome::Ok), ..Checked::unproven(None, Contact::Reached, "") });
    assert_eq!(shown(&world).len(), 1);
    world.broker.secret_replaced(&id, world.now);
    assert_eq!(shown(&world), []);
}

#[test]
fn a_callers_own_limits_count_over_all_keys_and_survive_a_crash() {
    let mut world = World::new(policy(vec![openai(&[key("a"), key("b")])]));
    let limits = Limits { rate: Some(3), cost: Some(usd(1.0)) };
    let bounded = |uid| world::limited(uid, limits, None);
    for expected in ["a", "b", "a"] {
        assert_eq!(world.select_as(bounded(7), &any()).unwrap().lease.key.key.as_str(), expected);
    }
    let refused = world.select_as(bounded(7), &any()).unwrap_err();
    assert_eq!((refused.code, refused.keys[0].reason), (ErrorCode::NoKeyAvailable, Reason::CallerRateLimited));
    assert!(refused.retry_after_ms.is_some());
    // Another user has limits of its own, and who has none is not counted against any.
    let other = world.select_as(bounded(8), &any()).unwrap();
    assert!(world.select(&any()).is_ok());
    world.crash();
    assert_eq!(world.select_as(bounded(7), &any()).unwrap_err().keys[0].reason, Reason::CallerRateLimited);
    // A crash may cost places and gives none back.
    let left = (0..5).take_while(|_| world.select_as(bounded(8), &any()).is_ok()).count();
    assert!(left <= 2, "{left}");
    world.pass(Duration::from_secs(3660));
    let estimate = Some(Estimate { cost_usd: Some(usd(0.7)), ..Estimate::default() });
    assert!(world.select_as(bounded(8), &Select { estimate, ..any() }).is_ok());
    let refused = world.select_as(bounded(8), &Select { estimate, ..any() }).unwrap_err();
    assert_eq!(refused.keys[0].reason, Reason::CallerCostLimited);
    world.report_as(world::client(8), &other, Outcome::Cancelled).unwrap();
    world.checkpoint();
    world.restart();
    assert_eq!(world.select_as(bounded(8), &Select { estimate, ..any() }).unwrap_err().keys[0].reason, Reason::CallerCostLimited);
    world.pass(Duration::from_secs(86_400));
    assert!(world.select_as(bounded(8), &Select { estimate, ..any() }).is_ok());
    // Of whom nothing counts any more, nothing is kept, in the store neither.
    let kept = |world: &mut World| {
        world.checkpoint();
        world.callers_kept()
    };
    assert!(kept(&mut world) >= 1);
    for _ in 0..3 {
        world.pass(Duration::from_secs(86_400));
    }
    assert_eq!(kept(&mut world), 0);
}

#[test]
fn a_caller_gets_keys_of_its_own_providers_alone_and_learns_of_no_other() {
    let mut other = openai(&[key("o")]);
    other.name = "other".parse().unwrap();
    let mut rules = policy(vec![openai(&[key("a")]), other]);
    rules.fallback_chain = vec!["openai".parse().unwrap(), "other".parse().unwrap()];
    let mut world = World::new(rules);
    let bounded = || world::limited(7, Limits::default(), Some(vec!["openai".parse().unwrap()]));
    for name in ["other", "there-is-none"] {
        let refused = world.select_as(bounded(), &Select::any(name.parse().unwrap())).unwrap_err();
        assert_eq!((refused.code, refused.message), (ErrorCode::Denied, format!("uid 7 may not use the provider `{name}`")));
    }
    world.disable("a", None);
    // It falls back to nothing that it may not use.
    let refused = world.select_as(bounded(), &any()).unwrap_err();
    assert_eq!((refused.code, refused.keys.len()), (ErrorCode::NoKeyAvailable, 1));
    assert_eq!(world.select(&any()).unwrap().lease.key.provider.as_str(), "other");
}

#[test]
fn an_expired_lease_charges_its_estimate_and_a_late_report_replaces_it() {
    let mut world = World::new(policy(vec![openai(&[key("a")])]));
    let estimate = Some(Estimate { cost_usd: Some(usd(2.0)), ..Estimate::default() });
    let grant = world.select(&Select { estimate, ..any() }).unwrap();
    assert_eq!(world.row("a").reserved_usd, usd(2.0));
    world.pass(Duration::from_secs(601));
    let row = world.row("a");
    assert_eq!((row.cost_today_usd, row.reserved_usd), (usd(2.0), usd(0.0)));
    world.crash();
    world.report_cost(&grant, usd(0.5));
    assert_eq!(world.row("a").cost_today_usd, usd(0.5));
    let total = world.broker.ledger().answer(&Default::default(), &|_| true).unwrap().total;
    assert_eq!((total.requests, total.cost_usd), (1, usd(0.5)));
    assert!(world.report_cost(&grant, usd(0.5)).duplicate);
    assert_eq!(world.row("a").cost_today_usd, usd(0.5));
}

#[test]
fn a_cancelled_lease_gives_back_its_place_and_its_estimate() {
    let mut limited = key("a");
    limited.rate_limit = Some(1);
    let mut world = World::new(policy(vec![openai(&[limited])]));
    let grant = world.select(&any()).unwrap();
    assert_eq!(world.select(&any()).unwrap_err().keys[0].reason, Reason::RateLimited);
    world.report(&grant, Outcome::Cancelled);
    assert!(world.select(&any()).is_ok());
    assert_eq!(world.broker.ledger().answer(&Default::default(), &|_| true).unwrap().total.requests, 0);
}

#[test]
fn a_lease_that_a_crash_made_unknown_can_still_be_reported() {
    let mut limited = key("a");
    limited.cost_limit = Some(usd(100.0));
    let mut world = World::new(policy(vec![openai(&[limited])]));
    world.flush();
    let estimate = Some(Estimate { cost_usd: Some(usd(0.1)), ..Estimate::default() });
    let first = world.select(&Select { estimate, ..any() }).unwrap();
    assert!(first.must_wait);
    world.flush();
    let second = world.select(&Select { estimate, ..any() }).unwrap();
    assert!(!second.must_wait);
    world.crash();
    assert!(world.row("a").reserved_usd >= usd(0.2) && world.row("a").reserved_usd <= usd(1.2), "{:?}", world.row("a").reserved_usd);
    assert!(!world.report_cost(&second, usd(0.05)).duplicate);
    assert!(world.report_cost(&second, usd(0.05)).duplicate);
    assert!(!world.report_cost(&first, usd(0.05)).duplicate);
    assert_eq!(world.row("a").cost_today_usd, usd(0.1));
    let third = world.select(&any()).unwrap();
    assert!(third.lease.number > second.lease.number);
}

#[test]
fn only_the_caller_of_a_lease_or_an_admin_may_report_it() {
    let mut world = World::new(policy(vec![openai(&[key("a")])]));
    let grant = world.select(&any()).unwrap();
    let refused = world.report_as(world::client(7), &grant, Outcome::Ok).unwrap_err();
    assert_eq!(refused.code, ErrorCode::Denied);
    assert!(world.report_as(admin(), &grant, Outcome::Ok).is_ok());
}

#[test]
fn outcomes_move_the_states_of_keys_and_accounts() {
    let mut world = World::new(policy(vec![openai(&[key("a"), key("b")])]));
    let grant = world.select(&any()).unwrap();
    assert_eq!(world.report(&grant, Outcome::Ok).state, KeyState::Healthy);
    let grant = world.select(&for_model("gpt-4")).unwrap();
    assert_eq!(world.report(&grant, Outcome::PermissionDenied).state, KeyState::Unknown);
    assert_eq!(world.row("b").state, KeyState::Unknown);
    assert_eq!(taken(&mut world, &for_model("gpt-4"), 2), ["a", "a"]);
    let grant = world.select(&Select { key_name: Some("b".parse().unwrap()), ..any() }).unwrap();
    assert_eq!(world.report(&grant, Outcome::AuthFailed).state, KeyState::CoolingDown);
    world.probe("b", KeyVerdict::Invalid);
    assert_eq!(world.row("b").state, KeyState::Invalid);
    world.crash();
    assert_eq!(world.row("b").state, KeyState::Invalid);
    world.probe("b", KeyVerdict::Valid);
    assert_eq!(world.row("b").state, KeyState::Healthy);
}

#[test]
fn two_rate_limits_within_ten_seconds_are_the_accounts() {
    let shared = |name: &str| {
        let mut key = key(name);
        key.account = Some("org-1".parse().unwrap());
        key
    };
    let mut world = World::new(policy(vec![openai(&[shared("a"), shared("b"), shared("c")])]));
    for _ in 0..2 {
        let grant = world.select(&any()).unwrap();
        world.report(&grant, Outcome::RateLimited);
    }
    assert_eq!(world.row("c").state, KeyState::CoolingDown);
    assert_eq!(world.select(&any()).unwrap_err().keys.len(), 3);
    world.crash();
    assert_eq!(world.row("c").state, KeyState::CoolingDown);
}

#[test]
fn a_key_on_trial_has_one_lease_at_a_time_until_one_is_ok() {
    let mut world = World::new(policy(vec![openai(&[key("a")])]));
    let grant = world.select(&any()).unwrap();
    world.report(&grant, Outcome::RateLimited);
    world.pass(Duration::from_secs(40));
    let trial = world.select(&any()).unwrap();
    assert_eq!(world.select(&any()).unwrap_err().keys[0].reason, Reason::OnTrial);
    world.flush();
    world.crash();
    assert_eq!(world.select(&any()).unwrap_err().keys[0].reason, Reason::OnTrial);
    world.report(&trial, Outcome::Ok);
    assert_eq!(taken(&mut world, &any(), 3).len(), 3);
}

#[test]
fn a_disabled_key_is_kept_from_selection_until_its_time_is_over() {
    let mut world = World::new(policy(vec![openai(&[key("a")])]));
    world.disable("a", Some(Duration::from_secs(7200)));
    world.crash();
    let refused = world.select(&any()).unwrap_err();
    assert_eq!((refused.keys[0].reason, refused.retry_after_ms), (Reason::Disabled, Some(7_200_000)));
    world.pass(Duration::from_secs(7200));
    assert!(world.select(&any()).is_ok());
    world.disable("a", None);
    assert_eq!(world.select(&any()).unwrap_err().retry_after_ms, None);
    world.enable("a");
    assert!(world.select(&any()).is_ok());
}

#[test]
fn usage_without_a_lease_is_recorded_and_unpriced_usage_is_counted() {
    let mut world = World::new(policy(vec![openai(&[key("a")])]));
    let record = Record {
        provider: "openai".parse().unwrap(),
        key_name: "a".parse().unwrap(),
        outcome: None,
        model: Some("no-such-model".parse().unwrap()),
        input_tokens: Some(10),
        output_tokens: None,
        cached_tokens: None,
        cost_usd: None,
    };
    let reported = world.record(&record).unwrap();
    assert!(!reported.priced);
    assert_eq!(world.broker.global_row(world.now).unpriced_today, 1);
    let priced = world.record(&Record { cost_usd: Some(usd(0.25)), ..record }).unwrap();
    assert_eq!((priced.priced, priced.cost_usd), (true, usd(0.25)));
    world.crash();
    assert_eq!(world.broker.ledger().answer(&Default::default(), &|_| true).unwrap().total.requests, 2);
}

#[test]
fn a_key_without_a_secret_is_sealed_and_a_disabled_model_is_refused() {
    let mut provider = openai(&[key("a")]);
    provider.models.push(crate::policy::ModelPolicy { name: "old".parse().unwrap(), price: None, max_tokens: None, enabled: false });
    let mut world = World::new(policy(vec![provider]));
    assert_eq!(world.select(&for_model("old")).unwrap_err().code, ErrorCode::UnknownModel);
    world.broker.set_sealed(&"openai/a".parse().unwrap(), true);
    assert_eq!(world.select(&any()).unwrap_err().keys[0].reason, Reason::Sealed);
    assert_eq!(world.row("a").state, KeyState::Sealed);
}

#[test]
fn what_a_lease_of_the_old_secret_says_is_not_about_the_new_one() {
    let mut provider = openai(&[key("a")]);
    provider.health_check = false;
    let mut world = World::new(policy(vec![provider]));
    let grant = world.select(&any()).unwrap();
    world.pass(Duration::from_secs(1));
    world.broker.secret_replaced(&"openai/a".parse().unwrap(), world.now);
    assert_eq!(world.report(&grant, Outcome::AuthFailed).state, KeyState::Unknown);
    // Within one millisecond nobody knows which of them a lease has.
    let at_once = world.select(&any()).unwrap();
    assert_eq!(world.report(&at_once, Outcome::AuthFailed).state, KeyState::Unknown);
    world.pass(Duration::from_millis(1));
    let grant = world.select(&any()).unwrap();
    assert_eq!(world.report(&grant, Outcome::AuthFailed).state, KeyState::Invalid);
}

#[test]
fn a_trial_ends_with_its_lease_though_the_key_left_the_account() {
    let of = |name: &str, account: &str| {
        let mut key = key(name);
        key.account = Some(account.parse().unwrap());
        key
    };
    let mut world = World::new(policy(vec![openai(&[of("a", "one"), of("b", "one")])]));
    let grant = world.select(&any()).unwrap();
    world.report(&grant, Outcome::QuotaExhausted);
    world.pass(Duration::from_secs(3601));
    let trial = world.select(&Select { key_name: Some("a".parse().unwrap()), ..any() }).unwrap();
    assert_eq!(world.select(&any()).unwrap_err().keys[0].reason, Reason::OnTrial);
    world.reconfigure(policy(vec![openai(&[of("a", "two"), of("b", "one")])]));
    world.report(&trial, Outcome::BadRequest);
    assert!(world.select(&Select { key_name: Some("b".parse().unwrap()), ..any() }).is_ok());
}

#[test]
fn while_the_store_can_not_be_written_only_what_it_need_not_hear_of_is_leased() {
    let mut limited = key("a");
    limited.rate_limit = Some(10);
    let mut world = World::new(policy(vec![openai(&[limited, key("b")])]));
    let only = |name: &str| Select { key_name: Some(name.parse().unwrap()), ..any() };
    world.select(&only("b")).unwrap();
    world.flush();
    world.stalled = true;
    let events = world.broker.emitted();
    assert_eq!(world.select(&only("a")).unwrap_err().code, ErrorCode::Internal);
    assert_eq!(world.broker.emitted(), events);
    assert!(world.select(&only("b")).is_ok());
}

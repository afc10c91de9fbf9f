//! What makes selection understandable: explanations, sessions, equivalent models, exclusion.

use std::time::Duration;

use crate::broker::tests::world::{World, key, openai, policy, usd};
use crate::broker::tests::{any, for_model, taken};
use crate::policy::{ChoicePer, ModelPolicy, Policy, ProviderPolicy};
use crate::protocol::error::{ErrorCode, Reason};
use crate::protocol::explanation::{Explanation, Why};
use crate::protocol::outcome::Outcome;
use crate::protocol::reply::{KeyState, KeyVerdict};
use crate::protocol::request::{Estimate, KeyRef, Select};
use crate::protocol::strategy::Strategy;

fn named(name: &str, keys: &[&str]) -> ProviderPolicy {
    let keys: Vec<_> = keys.iter().map(|name| key(name)).collect();
    ProviderPolicy { name: name.parse().unwrap(), ..openai(&keys) }
}

fn chained(providers: Vec<ProviderPolicy>) -> Policy {
    let fallback_chain = providers.iter().map(|provider| provider.name.clone()).collect();
    Policy { fallback_chain, ..policy(providers) }
}

fn in_session(name: &str) -> Select {
    Select { session: Some(name.parse().unwrap()), ..any() }
}

fn chosen(explanation: &Explanation) -> String {
    explanation.chosen.as_ref().map_or_else(String::new, |key| format!("{}/{}", key.provider, key.key_name))
}

fn order(explanation: &Explanation) -> Vec<String> {
    explanation.keys.iter().map(|key| format!("{}/{}", key.provider, key.key_name)).collect()
}

fn model(name: &str, enabled: bool) -> ModelPolicy {
    ModelPolicy { name: name.parse().unwrap(), price: None, max_tokens: None, enabled }
}

#[test]
fn an_explanation_has_every_key_in_order_with_the_one_reason_against_it() {
    let mut limited = key("b");
    limited.rate_limit = Some(1);
    let mut world = World::new(chained(vec![openai(&[key("a"), limited, key("c")]), named("gemini", &["g"])]));
    world.disable("a", Some(Duration::from_secs(60)));
    let only = Select { key_name: Some("b".parse().unwrap()), ..any() };
    world.select(&only).unwrap();
    let before = world.broker.emitted();
    let explained = world.explain(&any()).unwrap();
    assert_eq!((chosen(&explained).as_str(), explained.why), ("openai/c", Some(Why::Strategy)));
    assert_eq!(order(&explained), ["openai/a", "openai/b", "openai/c", "gemini/g"]);
    let reasons: Vec<_> = explained.keys.iter().map(|key| key.reason).collect();
    assert_eq!(reasons, [Some(Reason::Disabled), Some(Reason::RateLimited), None, None]);
    assert_eq!(explained.keys[0].until, Some(world.now.wall.after(Duration::from_secs(60))));
    assert_eq!((explained.keys[1].requests_last_hour, explained.keys[1].rate_limit), (1, Some(1)));
    assert!(explained.keys.iter().all(|key| key.chosen == (key.key_name.as_str() == "c")));
    assert_eq!(world.broker.emitted(), before);
    assert_eq!(world.explain(&only).unwrap().retry_after_ms, world.select(&only).unwrap_err().retry_after_ms);
    assert_eq!(world.select(&any()).unwrap().lease.key.to_string(), "openai/c");
    assert_eq!(world.explain(&Select::any("nobody".parse().unwrap())).unwrap_err().code, ErrorCode::UnknownProvider);
}

#[test]
fn an_explanation_says_why_another_than_the_next_is_taken() {
    let mut world = World::new(policy(vec![ProviderPolicy { per: ChoicePer::Interval, ..openai(&[key("a"), key("b")]) }]));
    world.select(&any()).unwrap();
    let kept = world.explain(&any()).unwrap();
    assert_eq!((chosen(&kept).as_str(), kept.why, order(&kept)), ("openai/a", Some(Why::Kept), vec!["openai/a".to_owned(), "openai/b".to_owned()]));
    let only = Select { key_name: Some("b".parse().unwrap()), ..any() };
    assert_eq!(world.explain(&only).unwrap().why, Some(Why::Named));
    world.select(&Select { strategy: Some(Strategy::Single), ..in_session("s") }).unwrap();
    assert_eq!(world.explain(&in_session("s")).unwrap().why, Some(Why::Session));
}

#[test]
fn chance_takes_what_was_explained() {
    let mut world = World::new(policy(vec![ProviderPolicy { strategy: Strategy::Random, ..openai(&[key("a"), key("b"), key("c")]) }]));
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..50 {
        let explained = chosen(&world.explain(&any()).unwrap());
        assert_eq!(world.select(&any()).unwrap().lease.key.to_string(), explained);
        seen.insert(explained);
    }
    assert_eq!(seen.len(), 3);
}

#[test]
fn a_session_keeps_its_key_and_moves_once() {
    let mut world = World::new(policy(vec![openai(&[key("a"), key("b"), key("c")])]));
    assert_eq!(taken(&mut world, &in_session("s"), 3), ["a", "a", "a"]);
    assert_eq!(taken(&mut world, &any(), 2), ["b", "c"]);
    assert_eq!(taken(&mut world, &in_session("t"), 2), ["a", "a"]);
    let grant = world.select(&in_session("s")).unwrap();
    world.report(&grant, Outcome::RateLimited);
    assert_eq!(taken(&mut world, &in_session("s"), 2), ["b", "b"]);
    world.pass(Duration::from_secs(3000));
    // Its first key is free again by now, and it stays where it is.
    assert_eq!(taken(&mut world, &in_session("s"), 1), ["b"]);
    world.pass(Duration::from_secs(3599));
    assert_eq!(taken(&mut world, &in_session("s"), 1), ["b"]);
    world.pass(Duration::from_secs(3600));
    assert_eq!(taken(&mut world, &in_session("s"), 1), ["c"]);
}

#[test]
fn a_session_survives_a_restart_and_is_its_callers_own() {
    let mut world = World::new(policy(vec![openai(&[key("a"), key("b")])]));
    taken(&mut world, &any(), 1);
    assert_eq!(taken(&mut world, &in_session("s"), 1), ["b"]);
    world.flush();
    world.crash();
    assert_eq!(taken(&mut world, &in_session("s"), 1), ["b"]);
    world.restart();
    assert_eq!(taken(&mut world, &in_session("s"), 1), ["b"]);
    let other = world.select_as(super::world::client(7), &in_session("s")).unwrap();
    assert_eq!(other.lease.key.key.as_str(), "a");
    world.pass(Duration::from_secs(3700));
    world.checkpoint();
    assert!(!world.keeps_sessions());
}

#[test]
fn a_session_stays_with_the_provider_it_fell_back_to() {
    let mut world = World::new(chained(vec![named("openai", &["a"]), named("gemini", &["g", "h"])]));
    let grant = world.select(&any()).unwrap();
    world.report(&grant, Outcome::RateLimited);
    let fallen = world.select(&in_session("s")).unwrap().lease.key.to_string();
    assert_eq!(fallen, "gemini/g");
    world.pass(Duration::from_secs(60));
    assert_eq!(world.select(&in_session("s")).unwrap().lease.key.to_string(), fallen);
    let refusing = Select { fallback: Some(false), ..in_session("s") };
    assert_eq!(world.select(&refusing).unwrap().lease.key.to_string(), "openai/a");
}

#[test]
fn limits_hold_over_all_sessions() {
    let mut limited = key("a");
    limited.rate_limit = Some(3);
    let mut world = World::new(policy(vec![openai(&[limited])]));
    for name in ["s", "t", "u"] {
        world.select(&in_session(name)).unwrap();
    }
    assert_eq!(world.select(&in_session("s")).unwrap_err().keys[0].reason, Reason::RateLimited);
}

#[test]
fn after_a_fallback_the_equivalent_model_is_named_and_decides() {
    let mut gemini = named("gemini", &["g"]);
    gemini.models = vec![model("off", false), model("flash", true)];
    let mut rules = chained(vec![named("openai", &["a"]), gemini]);
    let list = |models: &[&str]| models.iter().map(|id| id.parse().unwrap()).collect::<Vec<_>>();
    rules.equivalent_models = vec![list(&["openai/gpt-4", "gemini/off", "gemini/flash"]), list(&["openai/old", "gemini/off"])];
    let mut world = World::new(rules);
    let refuse = Select { key_name: Some("a".parse().unwrap()), ..any() };
    let grant = world.select(&refuse).unwrap();
    world.report(&grant, Outcome::QuotaExhausted);
    let fallen = world.select(&for_model("gpt-4")).unwrap();
    assert_eq!((fallen.lease.key.to_string(), fallen.lease.model.clone()), ("gemini/g".to_owned(), Some("flash".parse().unwrap())));
    // What happens to the model there is that model's matter.
    world.report(&fallen, Outcome::PermissionDenied);
    assert_eq!(world.select(&for_model("gpt-4")).unwrap_err().keys[1].reason, Reason::ModelDenied);
    // No equivalent is known: the caller must choose.
    assert_eq!(world.select(&for_model("gpt-5")).unwrap().lease.model, None);
    // The only one there is disabled.
    assert_eq!(world.select(&for_model("old")).unwrap_err().keys[1].reason, Reason::ModelDisabled);
    assert_eq!(world.explain(&for_model("old")).unwrap().keys[1].reason, Some(Reason::ModelDisabled));
}

#[test]
fn a_model_that_is_not_listed_is_refused_only_where_models_are_strict() {
    let mut provider = openai(&[key("a")]);
    provider.models = vec![model("known", true), model("off", false)];
    let mut world = World::new(policy(vec![provider.clone()]));
    assert!(world.select(&for_model("unheard-of")).is_ok());
    assert_eq!(world.select(&for_model("off")).unwrap_err().code, ErrorCode::UnknownModel);
    provider.strict_models = true;
    world.reconfigure(policy(vec![provider]));
    let refused = world.select(&for_model("unheard-of")).unwrap_err();
    assert_eq!(refused.code, ErrorCode::UnknownModel);
    assert!(refused.message.contains("strict_models"), "{}", refused.message);
    assert!(world.select(&for_model("known")).is_ok() && world.select(&any()).is_ok());
}

#[test]
fn an_excluded_key_is_passed_over() {
    let mut world = World::new(policy(vec![openai(&[key("a"), key("b")])]));
    let reference = |name: &str| KeyRef { provider: "openai".parse().unwrap(), key_name: name.parse().unwrap() };
    let without = |names: &[&str]| Select { exclude: Some(names.iter().map(|name| reference(name)).collect()), ..any() };
    assert_eq!(taken(&mut world, &without(&["a"]), 2), ["b", "b"]);
    let refused = world.select(&without(&["a", "b"])).unwrap_err();
    assert_eq!((refused.keys[0].reason, refused.retry_after_ms), (Reason::Excluded, None));
    let many = Select { exclude: Some(vec![reference("a"); 65]), ..any() };
    assert_eq!(world.select(&many).unwrap_err().code, ErrorCode::BadRequest);
}

#[test]
fn a_trial_for_one_model_holds_up_no_other_model() {
    let mut world = World::new(policy(vec![openai(&[key("a")])]));
    for name in ["gpt-4", "gpt-5"] {
        let grant = world.select(&for_model(name)).unwrap();
        world.report(&grant, Outcome::RateLimited);
    }
    world.pass(Duration::from_secs(40));
    let first = world.select(&for_model("gpt-4")).unwrap();
    assert!(first.lease.trial);
    assert_eq!(world.select(&for_model("gpt-4")).unwrap_err().keys[0].reason, Reason::OnTrial);
    let second = world.select(&for_model("gpt-5")).unwrap();
    assert!(second.lease.trial);
    assert!(!world.select(&any()).unwrap().lease.trial);
    world.flush();
    world.crash();
    assert_eq!(world.select(&for_model("gpt-5")).unwrap_err().keys[0].reason, Reason::OnTrial);
    world.report(&first, Outcome::Ok);
    assert!(world.select(&for_model("gpt-4")).is_ok());
    assert_eq!(world.select(&for_model("gpt-5")).unwrap_err().keys[0].reason, Reason::OnTrial);
    world.report(&second, Outcome::Ok);
    assert!(world.select(&for_model("gpt-5")).is_ok());
}

#[test]
fn what_an_estimate_would_pass_is_explained() {
    let mut limited = key("a");
    limited.cost_limit = Some(usd(1.0));
    let mut world = World::new(policy(vec![openai(&[limited])]));
    let costly = |dollars: f64| Select { estimate: Some(Estimate { cost_usd: Some(usd(dollars)), ..Estimate::default() }), ..any() };
    world.select(&costly(0.75)).unwrap();
    let explained = world.explain(&costly(0.5)).unwrap();
    let key = &explained.keys[0];
    assert_eq!((key.reason, key.reserved_usd, key.cost_limit), (Some(Reason::CostLimited), usd(0.75), Some(usd(1.0))));
    assert!(world.explain(&costly(0.25)).unwrap().keys[0].eligible);
}

#[test]
fn another_secret_clears_what_was_learned_of_the_old_one() {
    let mut world = World::new(policy(vec![openai(&[key("a")])]));
    let id = "openai/a".parse().unwrap();
    world.learn_account("a", "org-old");
    let grant = world.select(&any()).unwrap();
    world.report(&grant, Outcome::QuotaExhausted);
    assert_eq!((world.row("a").state, world.row("a").account), (KeyState::Exhausted, Some("org-old".parse().unwrap())));
    world.broker.secret_replaced(&id, world.now);
    assert_eq!((world.row("a").state, world.row("a").account), (KeyState::Unknown, None));
    let grant = world.select(&any()).unwrap();
    world.report(&grant, Outcome::QuotaExhausted);
    world.broker.secret_replaced(&id, world.now);
    world.flush();
    world.crash();
    assert_eq!(world.row("a").state, KeyState::Unknown);
    assert!(world.select(&any()).is_ok());
}

#[test]
fn an_invalid_key_is_free_at_the_latest_when_it_is_probed_again() {
    let mut world = World::new(policy(vec![openai(&[key("a")])]));
    world.probe("a", KeyVerdict::Invalid);
    let refused = world.select(&any()).unwrap_err();
    assert_eq!((refused.keys[0].reason, refused.retry_after_ms.is_some()), (Reason::Invalid, true));
}

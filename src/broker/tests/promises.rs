//! Properties: whatever happens in whatever order, no limit is passed and no state moves between keys.

use std::collections::HashMap;
use std::time::Duration;

use proptest::prelude::*;

use crate::broker::Grant;
use crate::broker::tests::world::{World, key, openai, policy, usd};
use crate::money::Usd;
use crate::policy::Policy;
use crate::protocol::outcome::Outcome;
use crate::protocol::reply::KeyState;
use crate::protocol::request::{Estimate, Select};
use crate::protocol::strategy::Strategy;
use crate::time::{Day, Timestamp};

#[derive(Debug, Clone)]
enum Step {
    Select { strategy: usize, estimate: u8 },
    Report { which: usize, share: u8 },
    Cancel { which: usize },
    Pass { seconds: u64 },
    SetWall { hours: i8 },
    Checkpoint,
    Crash,
    Restart,
    Shuffle,
}

fn step() -> impl Strategy_<Value = Step> {
    prop_oneof![
        8 => (0_usize..5, 0_u8..5).prop_map(|(strategy, estimate)| Step::Select { strategy, estimate }),
        5 => (any::<usize>(), 0_u8..=100).prop_map(|(which, share)| Step::Report { which, share }),
        1 => any::<usize>().prop_map(|which| Step::Cancel { which }),
        3 => (0_u64..90).prop_map(|seconds| Step::Pass { seconds }),
        1 => (600_u64..4000).prop_map(|seconds| Step::Pass { seconds }),
        1 => (-30_i8..30).prop_map(|hours| Step::SetWall { hours }),
        1 => Just(Step::Checkpoint),
        2 => Just(Step::Crash),
        1 => Just(Step::Restart),
        1 => Just(Step::Shuffle),
    ]
}

use proptest::strategy::Strategy as Strategy_;

const RATE: u64 = 3;
const GLOBAL_RATE: u64 = 7;

fn rules() -> Policy {
    let limited = |name: &str| {
        let mut key = key(name);
        key.rate_limit = Some(RATE);
        key.cost_limit = Some(usd(5.0));
        key
    };
    let mut rules = policy(vec![openai(&[limited("a"), limited("b"), limited("c")])]);
    rules.global_rate_limit = Some(GLOBAL_RATE);
    rules.daily_cost_limit = Some(usd(9.0));
    rules
}

/// What the test itself saw: every lease that was answered.
#[derive(Default)]
struct Model {
    open: Vec<(Grant, Usd)>,
    /// When each lease that was not cancelled was given: key, steady second, number.
    given: Vec<(String, u64, u64)>,
    /// Cost by key and by the day on which the lease was given.
    costs: HashMap<(String, Day), Usd>,
}

impl Model {
    fn check(&self, now: u64) -> Result<(), TestCaseError> {
        let recent = || self.given.iter().filter(|(_, at, _)| at + 3600 > now);
        for name in ["a", "b", "c"] {
            let count = recent().filter(|(key, ..)| key == name).count() as u64;
            prop_assert!(count <= RATE, "{name} was leased {count} times in an hour");
        }
        prop_assert!(recent().count() as u64 <= GLOBAL_RATE, "{} leases in an hour", recent().count());
        let mut days: HashMap<Day, Usd> = HashMap::new();
        for ((key, day), cost) in &self.costs {
            prop_assert!(*cost <= usd(5.0), "{key} cost {cost} on {day}");
            let sum = days.entry(*day).or_default();
            *sum = sum.saturating_add(*cost);
        }
        for (day, cost) in days {
            prop_assert!(cost <= usd(9.0), "{cost} on {day}");
        }
        Ok(())
    }

    fn take(&mut self, which: usize) -> Option<(Grant, Usd)> {
        if self.open.is_empty() { None } else { Some(self.open.swap_remove(which % self.open.len())) }
    }
}

fn run(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut world = World::new(rules());
    let mut model = Model::default();
    for step in steps {
        match step {
            Step::Select { strategy, estimate } => {
                // Without an estimate nothing needs the store, so that a crash can make the lease unknown.
                let estimate = usd(f64::from(estimate.saturating_sub(2)) * 1.1);
                let strategy = Strategy::ALL.get(strategy).map(|(_, strategy)| *strategy);
                let asked = (estimate > Usd::ZERO).then_some(Estimate { cost_usd: Some(estimate), ..Estimate::default() });
                let request = Select { strategy, estimate: asked, ..Select::any("openai".parse().unwrap()) };
                if let Ok(grant) = world.select(&request) {
                    model.given.push((grant.lease.key.key.to_string(), world.now.steady.millis() / 1000, grant.lease.number));
                    model.open.push((grant, estimate));
                }
            }
            Step::Report { which, share } => {
                if let Some((grant, estimate)) = model.take(which) {
                    let cost = estimate.share(f64::from(share) / 100.0);
                    prop_assert!(!world.report_cost(&grant, cost).duplicate);
                    prop_assert!(world.report_cost(&grant, cost).duplicate);
                    let day = grant.lease.at.wall.day();
                    let sum = model.costs.entry((grant.lease.key.key.to_string(), day)).or_default();
                    *sum = sum.saturating_add(cost);
                }
            }
            Step::Cancel { which } => {
                if let Some((grant, _)) = model.take(which) {
                    world.report(&grant, Outcome::Cancelled);
                    model.given.retain(|(_, _, number)| *number != grant.lease.number);
                }
            }
            Step::Pass { seconds } => world.pass(Duration::from_secs(seconds)),
            Step::SetWall { hours } => {
                let by = Duration::from_secs(u64::from(hours.unsigned_abs()) * 3600);
                let wall = if hours < 0 { world.now.wall.before(by) } else { world.now.wall.after(by) };
                world.set_wall(wall);
            }
            Step::Checkpoint => world.checkpoint(),
            Step::Crash => world.crash(),
            Step::Restart => world.restart(),
            Step::Shuffle => {
                let mut rules = world.policy().clone();
                rules.providers[0].keys.rotate_left(1);
                world.reconfigure(rules);
            }
        }
        model.check(world.now.steady.millis() / 1000)?;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]
    #[test]
    fn no_schedule_passes_a_limit_or_counts_a_report_twice(steps in proptest::collection::vec(step(), 1..120)) {
        run(steps)?;
    }

    #[test]
    fn no_state_moves_between_keys_when_the_file_changes(edits in proptest::collection::vec(edit(), 1..60)) {
        shuffle(edits)?;
    }
}

/// What happens between two looks at the keys.
#[derive(Debug, Clone)]
enum Edit {
    /// The file has these keys, in this order.
    File {
        order: Vec<usize>,
    },
    /// A lease of one key is reported with this cost, in tenths of a dollar.
    Use {
        key: usize,
        cost: u8,
    },
    /// One key is rate limited for so many minutes.
    Limited {
        key: usize,
        minutes: u8,
    },
    Disabled {
        key: usize,
    },
    Enabled {
        key: usize,
    },
    /// A session asks for a key.
    Session {
        name: u8,
    },
    Restart,
}

fn edit() -> impl Strategy_<Value = Edit> {
    let key = 0_usize..NAMES.len();
    prop_oneof![
        4 => Just((0..NAMES.len()).collect::<Vec<_>>()).prop_shuffle().prop_flat_map(|order| (Just(order), 1..=NAMES.len()))
            .prop_map(|(order, kept)| Edit::File { order: order.into_iter().take(kept).collect() }),
        4 => (key.clone(), any::<u8>()).prop_map(|(key, cost)| Edit::Use { key, cost }),
        1 => (key.clone(), 1_u8..100).prop_map(|(key, minutes)| Edit::Limited { key, minutes }),
        1 => key.clone().prop_map(|key| Edit::Disabled { key }),
        1 => key.prop_map(|key| Edit::Enabled { key }),
        2 => (0_u8..3).prop_map(|name| Edit::Session { name }),
        1 => Just(Edit::Restart),
    ]
}

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// What belongs to one key, whatever the file says.
#[derive(Debug, Clone, Default, PartialEq)]
struct Own {
    requests: u64,
    cost: Usd,
    set_aside: Option<Timestamp>,
    disabled: bool,
}

fn shuffle(edits: Vec<Edit>) -> Result<(), TestCaseError> {
    let mut world = World::new(policy(vec![openai(&NAMES.map(key))]));
    let mut own: HashMap<&str, Own> = NAMES.map(|name| (name, Own::default())).into();
    let mut sessions: HashMap<u8, String> = HashMap::new();
    for edit in edits {
        let present: Vec<String> = world.policy().providers[0].keys.iter().map(|key| key.name.to_string()).collect();
        let is_there = |key: usize| present.iter().any(|name| name == NAMES[key]);
        match edit {
            Edit::File { order } => {
                let keys: Vec<_> = order.into_iter().map(|place| key(NAMES[place])).collect();
                world.reconfigure(policy(vec![openai(&keys)]));
            }
            Edit::Use { key, cost } if is_there(key) => {
                let only = Select { key_name: Some(NAMES[key].parse().unwrap()), ..Select::any("openai".parse().unwrap()) };
                let mine = own.get_mut(NAMES[key]).unwrap();
                let grant = world.select(&only);
                prop_assert_eq!(grant.is_ok(), mine.set_aside.is_none() && !mine.disabled);
                if let Ok(grant) = grant {
                    let cost = usd(f64::from(cost) / 10.0);
                    world.report_cost(&grant, cost);
                    mine.requests += 1;
                    mine.cost = mine.cost.saturating_add(cost);
                }
            }
            Edit::Limited { key, minutes } if is_there(key) && !own[NAMES[key]].disabled => {
                let wait = Duration::from_secs(u64::from(minutes) * 60);
                world.set_aside(NAMES[key], wait);
                let mine = own.get_mut(NAMES[key]).unwrap();
                mine.set_aside = mine.set_aside.max(Some(world.now.wall.after(wait)));
            }
            Edit::Disabled { key } if is_there(key) => {
                world.disable(NAMES[key], None);
                own.get_mut(NAMES[key]).unwrap().disabled = true;
            }
            Edit::Enabled { key } if is_there(key) => {
                world.enable(NAMES[key]);
                let mine = own.get_mut(NAMES[key]).unwrap();
                (mine.disabled, mine.set_aside) = (false, None);
            }
            Edit::Session { name } => {
                let request = Select { session: Some(format!("s{name}").parse().unwrap()), ..Select::any("openai".parse().unwrap()) };
                let usable = |key: &str| present.iter().any(|name| name == key) && own[key].set_aside.is_none() && !own[key].disabled;
                let kept = sessions.get(&name).filter(|key| usable(key)).cloned();
                if let Ok(grant) = world.select(&request) {
                    let key = grant.lease.key.key.to_string();
                    prop_assert!(usable(&key) && kept.is_none_or(|kept| kept == key), "session {name} moved to {key}");
                    own.get_mut(key.as_str()).unwrap().requests += 1;
                    sessions.insert(name, key);
                    world.report_cost(&grant, Usd::ZERO);
                }
            }
            Edit::Restart => world.restart(),
            _ => {}
        }
        each_has_its_own(&world, &own)?;
    }
    Ok(())
}

fn each_has_its_own(world: &World, own: &HashMap<&str, Own>) -> Result<(), TestCaseError> {
    for row in world.broker.key_rows(None, world.now).unwrap() {
        let set_aside = row.until.filter(|_| row.state == KeyState::CoolingDown);
        let disabled = row.state == KeyState::Disabled;
        let mine = &own[row.key_name.as_str()];
        prop_assert_eq!((row.requests_total, row.requests_last_hour, row.cost_today_usd), (mine.requests, mine.requests, mine.cost));
        prop_assert_eq!(disabled, mine.disabled);
        prop_assert_eq!(set_aside, mine.set_aside.filter(|_| !disabled));
    }
    Ok(())
}

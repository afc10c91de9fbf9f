//! A day with everything that happens to keys, in simulated time: a request every five seconds, the daemon's own probes, and what
//! the providers answer by a script. What was selected when stands in a table, and no request goes to a key that is known to be dead.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use crate::broker::tests::world::{World, key, openai, policy};
use crate::health::checked::{Checked, Contact};
use crate::id::KeyId;
use crate::protocol::outcome::Outcome;
use crate::protocol::provider::ProviderResponse;
use crate::protocol::reply::KeyVerdict;
use crate::protocol::request::Select;
use crate::time::{Now, Steady};

const STEP: Duration = Duration::from_secs(5);

/// What goes on at a time of the day, in hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weather {
    Fair,
    /// Its owner revoked the key.
    Revoked,
    /// The account has no credit.
    Broke,
    /// The provider answers nobody.
    Down,
    /// The account is too fast.
    Storm,
}

/// `openai/a` and `openai/b` are of one account, `openai/c` has one of its own; `anthropic/d` is another provider.
fn weather(key: &str, hour: f64) -> Weather {
    let during = |from: f64, to: f64| (from..to).contains(&hour);
    match key {
        "openai/a" if during(2.0, 3.5) => Weather::Revoked,
        "openai/a" | "openai/b" if during(5.0, 8.25) => Weather::Broke,
        "openai/a" | "openai/b" | "openai/c" if during(10.0, 11.0) => Weather::Down,
        "openai/a" | "openai/b" if during(13.0, 13.5) => Weather::Storm,
        "openai/c" | "anthropic/d" if during(16.0, 18.0) => Weather::Revoked,
        _ => Weather::Fair,
    }
}

/// What a completion is answered; none: nothing.
fn answer(weather: Weather) -> Option<ProviderResponse> {
    let (status, headers, body) = match weather {
        Weather::Fair => (200, None, r#"{"model":"m-1","usage":{"prompt_tokens":12,"completion_tokens":5}}"#),
        Weather::Revoked => (401, None, r#"{"error":{"code":"invalid_api_key","message":"Incorrect API key provided"}}"#),
        Weather::Broke => (429, None, r#"{"error":{"type":"insufficient_quota","code":"insufficient_quota"}}"#),
        Weather::Storm => (429, Some(("retry-after", "20")), r#"{"error":{"type":"requests","code":"rate_limit_exceeded"}}"#),
        Weather::Down => return None,
    };
    let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Some(ProviderResponse { status, headers, body: Some(body.to_owned()) })
}

/// What a free check finds: credit does not show in it, nor does haste.
fn check(weather: Weather) -> Checked {
    let found = |verdict, outcome| Checked { verdict, outcome: Some(outcome), ..Checked::unproven(None, Contact::Reached, "") };
    match weather {
        Weather::Revoked => found(KeyVerdict::Invalid, Outcome::AuthFailed),
        Weather::Down => Checked::unproven(None, Contact::Missed { why: "no connection".to_owned(), no_network: false }, "no connection"),
        Weather::Fair | Weather::Broke | Weather::Storm => found(KeyVerdict::Valid, Outcome::Ok),
    }
}

/// Requests and probes of one key in one hour.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    passed: u32,
    failed: u32,
    probes: u32,
}

struct Day {
    world: World,
    began: Now,
    last_round: Option<Steady>,
    counts: BTreeMap<(u64, String), Count>,
    refused: BTreeMap<u64, u32>,
}

impl Day {
    fn new() -> Self {
        let mut keys = [key("a"), key("b"), key("c")];
        for shared in keys.iter_mut().take(2) {
            shared.account = Some("team".parse().unwrap());
        }
        let mut anthropic = openai(&[key("d")]);
        anthropic.name = "anthropic".parse().unwrap();
        anthropic.base_url = "https://api.anthropic.com".to_owned();
        let mut rules = policy(vec![openai(&keys), anthropic]);
        rules.fallback_chain = vec!["openai".parse().unwrap(), "anthropic".parse().unwrap()];
        let mut world = World::new(rules);
        world.now = Now { wall: "2026-01-01T00:00:00Z".parse().unwrap(), ..world.now };
        Self { began: world.now, world, last_round: None, counts: BTreeMap::new(), refused: BTreeMap::new() }
    }

    fn hour(&self) -> f64 {
        self.world.now.steady.since(self.began.steady).as_secs_f64() / 3600.0
    }

    fn count(&mut self, key: &KeyId) -> &mut Count {
        let hour = self.world.now.steady.since(self.began.steady).as_secs() / 3600;
        self.counts.entry((hour, key.to_string())).or_default()
    }

    /// The keys whose probe is due are probed, as the daemon's rounds do.
    fn probe(&mut self) {
        let now = self.world.now;
        let due = self.world.broker.probes_due(now, self.last_round);
        if self.last_round.is_none_or(|last| last.after(Duration::from_secs(300)) <= now.steady) {
            self.last_round = Some(now.steady);
        }
        let mut missed = BTreeSet::new();
        for id in due {
            // Once a provider was not reached, its other keys need not try.
            if missed.contains(&id.provider) {
                continue;
            }
            let checked = check(weather(&id.to_string(), self.hour()));
            if checked.contact != Contact::Reached {
                missed.insert(id.provider.clone());
            }
            self.world.probe_found(&id, &checked);
            self.count(&id).probes += 1;
        }
    }

    /// One request of a program that takes what it gets and reports what came of it.
    fn request(&mut self) {
        let hour = self.hour();
        let grant = match self.world.select(&Select::any("openai".parse().unwrap())) {
            Ok(grant) => grant,
            Err(_) => {
                *self.refused.entry(hour as u64).or_default() += 1;
                return;
            }
        };
        let id = grant.lease.key.clone();
        let passed = match answer(weather(&id.to_string(), hour)) {
            Some(response) => {
                let passed = response.status == 200;
                self.world.responded(&grant, "openai", response);
                passed
            }
            None => {
                self.world.report(&grant, Outcome::Timeout);
                false
            }
        };
        let count = self.count(&id);
        if passed { count.passed += 1 } else { count.failed += 1 }
    }

    fn step(&mut self) {
        self.probe();
        self.request();
        self.world.pass(STEP);
    }

    /// What was selected in each hour: requests that passed, `!` those that failed, and how many got no key.
    fn table(&self) -> String {
        let mut table = String::from("hour  openai/a  openai/b  openai/c  anthropic/d  none\n");
        for hour in 0..24 {
            let cell = |key: &str| {
                let count = self.counts.get(&(hour, key.to_owned())).copied().unwrap_or_default();
                if count.failed > 0 { format!("{}!{}", count.passed, count.failed) } else { count.passed.to_string() }
            };
            let cells = ["openai/a", "openai/b", "openai/c", "anthropic/d"].map(cell);
            let [a, b, c, d] = cells;
            let none = self.refused.get(&hour).copied().unwrap_or_default();
            writeln!(table, "{hour:>4}  {a:>8}  {b:>8}  {c:>8}  {d:>11}  {none:>4}").unwrap();
        }
        table
    }

    fn failed(&self, key: &str, hours: std::ops::Range<u64>) -> u32 {
        hours.filter_map(|hour| self.counts.get(&(hour, key.to_owned()))).map(|count| count.failed).sum()
    }

    fn probes(&self, key: &str, hours: std::ops::Range<u64>) -> u32 {
        hours.filter_map(|hour| self.counts.get(&(hour, key.to_owned()))).map(|count| count.probes).sum()
    }
}

#[test]
fn a_day_of_revoked_keys_spent_accounts_a_provider_that_is_down_and_storms_of_429() {
    let mut day = Day::new();
    while day.hour() < 24.0 {
        // An admin gives the key that was revoked another secret, in the afternoon both that were.
        for (hour, id) in [(3.5, "openai/a"), (18.0, "openai/c"), (18.0, "anthropic/d")] {
            if (day.hour() - hour).abs() < 1e-6 {
                day.world.broker.secret_replaced(&id.parse().unwrap(), day.world.now);
            }
        }
        day.step();
    }
    let table = day.table();
    assert_eq!(table, TABLE, "\n{table}");
    let failed = |keys: &[&str], hours: std::ops::Range<u64>| keys.iter().map(|key| day.failed(key, hours.clone())).sum::<u32>();
    // One request finds out that a key is revoked, and none goes to one that a probe found out.
    assert_eq!((failed(&["openai/a"], 2..4), failed(&["openai/c"], 16..19), failed(&["anthropic/d"], 0..24)), (1, 1, 0));
    // An account without credit is tried once an hour, with one of its keys.
    assert_eq!(failed(&["openai/a", "openai/b"], 5..9), 4);
    // A provider that is down gets five requests, and then one each half minute.
    assert!(failed(&["openai/a", "openai/b", "openai/c"], 10..11) <= 5 + 120);
    // A storm gets one request of each key each 20 seconds, as it asked for.
    assert!(failed(&["openai/a", "openai/b"], 13..14) <= 2 * 90);
    // Keys in use are not probed but once, when nothing is known of them; a revoked one ever more seldom; one that is down by one key.
    assert_eq!(day.probes("openai/b", 0..5), 1);
    assert!((3..=6).contains(&day.probes("openai/c", 16..18)), "{}", day.probes("openai/c", 16..18));
    let down: u32 = ["openai/a", "openai/b", "openai/c"].map(|key| day.probes(key, 10..11)).iter().sum();
    assert!((10..=16).contains(&down), "{down}");
    assert_eq!(day.refused.values().sum::<u32>(), 0);
}

const TABLE: &str = "\
hour  openai/a  openai/b  openai/c  anthropic/d  none
   0       240       240       240            0     0
   1       240       240       240            0     0
   2       0!1       360       359            0     0
   3       120       300       300            0     0
   4       240       240       240            0     0
   5       0!1         0       719            0     0
   6       0!1         0       719            0     0
   7       0!1         0       719            0     0
   8       0!1         0       719            0     0
   9       240       240       240            0     0
  10      0!41      0!41      0!42          596     0
  11       239       239       238            4     0
  12       240       240       240            0     0
  13    120!72    120!72       336            0     0
  14       240       240       240            0     0
  15       240       240       240            0     0
  16       360       359       0!1            0     0
  17       360       360         0            0     0
  18       240       240       240            0     0
  19       240       240       240            0     0
  20       240       240       240            0     0
  21       240       240       240            0     0
  22       240       240       240            0     0
  23       240       240       240            0     0
";

//! `explain`: what `select` would do now, and why.

use crate::access::Caller;
use crate::broker::choice::{Choice, Query};
use crate::broker::{Broker, KeyIx, Moment, ProviderEntry};
use crate::protocol::error::ErrorReply;
use crate::protocol::explanation::{ConsideredKey, Explanation, Why};
use crate::protocol::reply::{GlobalStatus, Role};
use crate::protocol::request::{KeyRef, Select};
use crate::rotation;

impl Broker {
    /// Which key `select` would lease now, and what is against each other one. Changes nothing; chance is not used up, so
    /// that the next select draws what was explained.
    ///
    /// # Errors
    /// As `select`, but for a lack of eligible keys, which is an explanation.
    pub fn explain(&self, caller: &Caller, request: &Select, moment: &Moment<'_>) -> Result<Explanation, ErrorReply> {
        let query = self.query(caller, request, moment.now)?;
        let rng = moment.rng.clone().fork();
        let choice = self.choose(&query, &rng);
        let mut keys = Vec::new();
        for provider in query.chain.iter().filter_map(|name| self.providers.get(name)) {
            let ordered = self.in_order(provider, &query, &rng);
            keys.extend(ordered.into_iter().map(|key| self.considered_key(key, provider, &query, choice.as_ref())));
        }
        // A key that the session has, or that is kept, is looked at before any other.
        let by_order = choice.as_ref().is_none_or(|choice| choice.why == Why::Strategy);
        keys.sort_by_key(|key: &ConsideredKey| by_order || !key.chosen);
        let first = if choice.is_none() { self.first_free(&query) } else { None };
        let wait = first.map(|first| first.since(moment.now.steady));
        Ok(Explanation {
            provider: request.provider.clone(),
            model: request.model.clone(),
            chosen: choice.as_ref().map(|choice| {
                let id = self.keys[choice.key].id.clone();
                KeyRef { provider: id.provider, key_name: id.key }
            }),
            why: choice.map(|choice| choice.why),
            retry_after_ms: wait.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1)),
            keys,
            global: if caller.role == Role::Admin { self.global_row(moment.now) } else { GlobalStatus::of(&self.rows_for(caller, moment.now)) },
        })
    }

    /// A provider's keys in the order in which its strategy considers them.
    fn in_order(&self, provider: &ProviderEntry, query: &Query<'_>, rng: &fastrand::Rng) -> Vec<KeyIx> {
        if let Some(only) = query.only {
            return vec![only];
        }
        let order = self.field(provider, query.now, |field| rotation::order(query.strategy(provider), field, &mut rng.clone()));
        order.into_iter().filter_map(|place| provider.keys.get(place).copied()).collect()
    }

    fn considered_key(&self, key: KeyIx, provider: &ProviderEntry, query: &Query<'_>, choice: Option<&Choice>) -> ConsideredKey {
        let now = query.now;
        let ask = self.ask(provider, query);
        let (eligible, on_trial, against) = match self.consider(key, ask) {
            Ok(trial) => (true, trial, None),
            Err(against) => (false, false, Some(against)),
        };
        let row = self.key_row(key, now);
        ConsideredKey {
            provider: row.provider,
            key_name: row.key_name,
            eligible,
            chosen: choice.is_some_and(|choice| choice.key == key),
            reason: against.map(|(reason, _)| reason),
            until: against.and_then(|(_, until)| until).map(|until| now.wall_at(until)),
            on_trial,
            state: row.state,
            strategy: query.strategy(provider),
            model: ask.model.cloned(),
            reachable: self.is_reachable(provider, now.steady),
            requests_last_hour: row.requests_last_hour,
            rate_limit: row.rate_limit,
            cost_today_usd: row.cost_today_usd,
            reserved_usd: row.reserved_usd,
            cost_limit: row.cost_limit,
            account: row.account,
            weight: row.weight,
        }
    }
}

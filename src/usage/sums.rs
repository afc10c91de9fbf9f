//! What every key and model used since the store began, whatever days are still kept.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::{KeyId, ModelName};
use crate::usage::day::{OTHER_MODELS, Totals};

/// Models of one key that are told apart; further ones share one row, so that callers, who name them, can't make it grow without bound.
const MODELS_MAX: usize = 100;

/// Sums by key and model.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sums(BTreeMap<KeyId, BTreeMap<Option<ModelName>, Totals>>);

impl Sums {
    /// The sums of a key and a model.
    pub(super) fn row(&mut self, key: &KeyId, model: Option<&ModelName>) -> &mut Totals {
        let models = self.0.entry(key.clone()).or_default();
        let model = model.cloned();
        let place = if models.len() < MODELS_MAX || models.contains_key(&model) { model } else { OTHER_MODELS.parse().ok() };
        models.entry(place).or_default()
    }

    /// Adds other sums.
    pub(super) fn join(&mut self, other: &Self) {
        for (key, model, totals) in other.rows() {
            self.row(key, model).join(totals);
        }
    }

    /// Every row: a key, a model that its callers named, and the sums.
    pub fn rows(&self) -> impl Iterator<Item = (&KeyId, Option<&ModelName>, &Totals)> {
        self.0.iter().flat_map(|(key, models)| models.iter().map(move |(model, totals)| (key, model.as_ref(), totals)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_that_callers_make_up_share_a_row_past_a_bound() {
        let mut sums = Sums::default();
        let key: KeyId = "openai/a".parse().unwrap();
        for number in 0..500 {
            sums.row(&key, Some(&format!("model-{number}").parse().unwrap())).requests += 1;
        }
        assert_eq!(sums.rows().count(), MODELS_MAX + 1);
        let other = sums.rows().find(|(_, model, _)| model.is_some_and(|model| model.as_str() == OTHER_MODELS)).unwrap();
        assert_eq!(other.2.requests, 400);
        assert_eq!(sums.rows().map(|(_, _, totals)| totals.requests).sum::<u64>(), 500);
    }
}

//! What models cost.

mod table;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::money::Usd;

/// The day the built-in prices were compiled. They are estimates: the configuration may name better ones.
pub const COMPILED: &str = "2026-11-23";

/// Stands in the table for every model of a provider.
const ANY_MODEL: &str = "*";

/// The price of a model, in dollars a thousand tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Price {
    /// Tokens sent.
    pub input: Usd,
    /// Tokens answered.
    pub output: Usd,
    /// Input tokens that the provider read from its cache; none: as `input`.
    pub cached_input: Option<Usd>,
}

impl Price {
    /// The cost of a request; `cached` tokens are part of `input`.
    #[must_use]
    pub fn cost(&self, input: u64, cached: u64, output: u64) -> Usd {
        let cached = cached.min(input);
        let fresh = self.input.per_thousand(input - cached);
        let read = self.cached_input.unwrap_or(self.input).per_thousand(cached);
        fresh.saturating_add(read).saturating_add(self.output.per_thousand(output))
    }
}

/// What models cost where the configuration says nothing: the built-in list, or a file's in its place.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PriceList(Option<Arc<Listed>>);

/// A list that replaces the built-in one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listed {
    /// The day for which it holds, as its file says it.
    pub date: Option<String>,
    /// By kind of provider and model.
    pub prices: BTreeMap<String, BTreeMap<String, Price>>,
}

impl From<Listed> for PriceList {
    fn from(listed: Listed) -> Self {
        Self(Some(Arc::new(listed)))
    }
}

impl PriceList {
    /// The price of a model of the provider `kind`: by its exact name, or by its name without a date at the end
    /// (`-20240229`, `-2024-08-06`), never by a likeness.
    #[must_use]
    pub fn lookup(&self, kind: &str, model: &str) -> Option<Price> {
        let exact = |model: &str| match &self.0 {
            Some(listed) => listed.prices.get(kind)?.get(model).copied(),
            None => built_in(kind, model),
        };
        exact(model).or_else(|| exact(without_date(model)?)).or_else(|| exact(ANY_MODEL))
    }

    /// The day for which it holds, where it says one.
    #[must_use]
    pub fn date(&self) -> Option<&str> {
        match &self.0 {
            Some(listed) => listed.date.as_deref(),
            None => Some(COMPILED),
        }
    }

    /// Every price: kind of provider, model, price.
    pub fn all(&self) -> impl Iterator<Item = (&str, &str, Price)> {
        let built_in = if self.0.is_none() { table::PRICES } else { &[] };
        let built_in = built_in.iter().flat_map(|(kind, models)| models.iter().map(|(model, price)| (*kind, *model, *price)));
        let listed = self.0.iter().flat_map(|listed| &listed.prices);
        let listed = listed.flat_map(|(kind, models)| models.iter().map(|(model, price)| (kind.as_str(), model.as_str(), *price)));
        built_in.chain(listed)
    }
}

/// The built-in price of a model by its exact name.
fn built_in(kind: &str, model: &str) -> Option<Price> {
    let (_, models) = table::PRICES.iter().find(|(name, _)| *name == kind)?;
    models.iter().find(|(name, _)| *name == model).map(|(_, price)| *price)
}

/// The name before a date at its end; none where it ends with none.
fn without_date(model: &str) -> Option<&str> {
    let all_digits = |text: &str, count: usize| text.len() == count && text.bytes().all(|b| b.is_ascii_digit());
    let (name, last) = model.rsplit_once('-')?;
    if all_digits(last, 8) {
        return Some(name);
    }
    let (name, month) = name.rsplit_once('-')?;
    let (name, year) = name.rsplit_once('-')?;
    (all_digits(last, 2) && all_digits(month, 2) && all_digits(year, 4)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(kind: &str, model: &str) -> Option<Price> {
        PriceList::default().lookup(kind, model)
    }

    #[test]
    fn a_date_at_the_end_of_a_name_is_no_other_model() {
        assert_eq!(without_date("gpt-4o-2024-08-06"), Some("gpt-4o"));
        assert_eq!(without_date("claude-3-sonnet-20240229"), Some("claude-3-sonnet"));
        assert_eq!(without_date("gpt-4o"), None);
        assert_eq!(without_date("gpt-4-0613"), None);
        assert_eq!(without_date("model-24-08-06"), None);
        assert_eq!(lookup("openai", "gpt-4o-2099-01-31"), lookup("openai", "gpt-4o"));
        assert!(lookup("openai", "gpt-4o").is_some());
    }

    #[test]
    fn a_list_of_ones_own_replaces_the_built_in_one() {
        let own = Price { input: Usd::from_nanos(5), output: Usd::from_nanos(7), cached_input: None };
        let prices = BTreeMap::from([("openai".to_owned(), BTreeMap::from([("gpt-4o".to_owned(), own), ("mine".to_owned(), own)]))]);
        let list = PriceList::from(Listed { date: Some("2027-01-01".to_owned()), prices });
        assert_eq!((list.lookup("openai", "gpt-4o-2024-08-06"), list.lookup("openai", "mine")), (Some(own), Some(own)));
        assert_eq!(list.lookup("openai", "gpt-4.1"), None);
        assert_eq!((list.date(), list.all().count()), (Some("2027-01-01"), 2));
        let built_in = PriceList::default();
        assert_eq!(built_in.lookup("openai", "gpt-4o"), super::built_in("openai", "gpt-4o"));
        assert!(built_in.lookup("openai", "gpt-4o").is_some());
        assert_eq!(built_in.date(), Some(COMPILED));
        assert!(built_in.all().count() > 200);
    }

    #[test]
    fn nothing_is_priced_by_likeness() {
        assert_eq!(lookup("openai", "gpt-4o-turbo-deluxe"), None);
        assert_eq!(lookup("openai", "GPT-4O"), None);
        assert_eq!(lookup("openai", "*"), None);
        assert_eq!(lookup("openai_compatible", "llama"), None);
        assert_eq!(lookup("nobody", "gpt-4o"), None);
    }

    #[test]
    fn prices_a_million_on_the_page_are_prices_a_thousand_here() {
        let price = lookup("openai", "gpt-4o").unwrap();
        assert_eq!(price.input, Usd::from_dollars(0.0025).unwrap());
        assert_eq!(price.output, Usd::from_dollars(0.01).unwrap());
        assert_eq!(price.cost(1_000_000, 0, 0), Usd::from_dollars(2.5).unwrap());
    }

    #[test]
    fn every_model_of_a_local_host_costs_nothing() {
        assert_eq!(lookup("ollama", "llama3").map(|price| price.cost(1000, 0, 1000)), Some(Usd::ZERO));
    }

    #[test]
    fn the_table_names_known_providers_and_each_model_once() {
        for (kind, models) in table::PRICES {
            assert!(crate::catalogue::find(kind).is_some(), "{kind}");
            for (model, price) in *models {
                assert_eq!(models.iter().filter(|(other, _)| other == model).count(), 1, "{kind} {model}");
                // A free read of tokens that cost something is a gap in a source, not a price.
                let read_fits = |read: Usd| read <= price.input && (read > Usd::ZERO || price.input == Usd::ZERO);
                assert!(price.cached_input.is_none_or(read_fits), "{kind} {model}");
            }
        }
    }
}

//! What models cost.

mod table;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::catalogue::usage::Usage;
use crate::money::Usd;

/// The day the built-in prices were compiled. They are estimates: the configuration may name better ones.
pub const COMPILED: &str = "2026-11-23";

/// Fireworks names its models by their whole path.
const PATH_OF_MODELS: &str = "accounts/fireworks/models/";

/// Stands in the table for every model of a provider.
const ANY_MODEL: &str = "*";

/// What a request of a model costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Price {
    /// What its tokens cost.
    pub rates: Rates,
    /// What they cost instead in a request with a long input.
    pub long: Option<LongPrompts>,
}

/// What tokens cost, in dollars a thousand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rates {
    /// Tokens sent.
    pub input: Usd,
    /// Tokens answered.
    pub output: Usd,
    /// Input tokens that the provider read from its cache; none: as `input`.
    pub cached_input: Option<Usd>,
    /// Input tokens that the provider wrote to its cache; none: as `input`.
    pub cache_write: Option<Usd>,
}

/// The price of a whole request, once its input is long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LongPrompts {
    /// It holds where the input, cached tokens included, is more tokens than this.
    pub above: u64,
    /// What all tokens of the request cost then.
    pub rates: Rates,
}

impl Price {
    /// The cost of a request.
    #[must_use]
    pub fn cost(&self, used: &Usage) -> Usd {
        let long = self.long.filter(|long| used.input > long.above && !used.summed);
        long.map_or(self.rates, |long| long.rates).cost(used)
    }
}

impl Rates {
    fn cost(&self, used: &Usage) -> Usd {
        let cached = used.cached.min(used.input);
        let written = used.written.min(used.input - cached);
        let parts = [
            (self.input, used.input - cached - written),
            (self.cached_input.unwrap_or(self.input), cached),
            (self.cache_write.unwrap_or(self.input), written),
            (self.output, used.output),
        ];
        parts.into_iter().fold(Usd::ZERO, |sum, (rate, tokens)| sum.saturating_add(rate.per_thousand(tokens)))
    }

    /// The names that files and `--json` give them.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, Usd)> {
        let always = [(INPUT, self.input), (OUTPUT, self.output)];
        let some = [(CACHED_INPUT, self.cached_input), (CACHE_WRITE, self.cache_write)];
        always.into_iter().chain(some.into_iter().filter_map(|(name, rate)| Some((name, rate?))))
    }
}

/// Names of the rates in files.
pub const INPUT: &str = "input_cost_per_1k_tokens";
/// See [`INPUT`].
pub const OUTPUT: &str = "output_cost_per_1k_tokens";
/// See [`INPUT`].
pub const CACHED_INPUT: &str = "cached_input_cost_per_1k_tokens";
/// See [`INPUT`].
pub const CACHE_WRITE: &str = "cache_write_cost_per_1k_tokens";

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
        let model = model.strip_prefix(PATH_OF_MODELS).unwrap_or(model);
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
        let rates = Rates { input: Usd::from_nanos(5), output: Usd::from_nanos(7), cached_input: None, cache_write: None };
        let own = Price { rates, long: None };
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
        assert!(lookup("fireworks", "accounts/fireworks/models/gpt-oss-20b").is_some());
        assert_eq!(lookup("openai_compatible", "llama"), None);
        assert_eq!(lookup("nobody", "gpt-4o"), None);
    }

    fn nanos(price: Price, input: u64, cached: u64, written: u64, output: u64) -> i64 {
        price.cost(&Usage { input, cached, written, output, ..Usage::default() }).nanos()
    }

    #[test]
    fn prices_a_million_on_the_page_are_prices_a_thousand_here() {
        let price = lookup("openai", "gpt-4o").unwrap();
        assert_eq!(price.rates.input, Usd::from_dollars(0.0025).unwrap());
        assert_eq!(price.rates.output, Usd::from_dollars(0.01).unwrap());
        assert_eq!(nanos(price, 1_000_000, 0, 0, 0), 2_500_000_000);
    }

    #[test]
    fn every_model_of_a_local_host_costs_nothing() {
        assert_eq!(lookup("ollama", "llama3").map(|price| nanos(price, 1000, 0, 0, 1000)), Some(0));
    }

    #[test]
    fn reads_and_writes_of_a_cache_have_their_own_prices() {
        let price = lookup("anthropic", "claude-sonnet-4-5").unwrap();
        // $3 a million, $0.30 read, $3.75 written, $15 answered.
        assert_eq!(nanos(price, 1_000_000, 500_000, 100_000, 10_000), 1_200_000_000 + 150_000_000 + 375_000_000 + 150_000_000);
        // More cached than sent is nonsense, and costs no more than what was sent.
        assert_eq!(nanos(price, 1_000_000, 2_000_000, 2_000_000, 0), 300_000_000);
    }

    #[test]
    fn a_long_prompt_costs_more_for_the_whole_request() {
        let price = lookup("gemini", "gemini-2.5-pro").unwrap();
        assert_eq!(nanos(price, 200_000, 0, 0, 1000), 250_000_000 + 10_000_000);
        assert_eq!(nanos(price, 200_001, 0, 0, 1000), 500_002_500 + 15_000_000);
        let many = Usage { input: 200_001, output: 1000, summed: true, ..Usage::default() };
        assert_eq!(price.cost(&many).nanos(), 250_001_250 + 10_000_000);
        let read = price.rates.cached_input.unwrap();
        assert_eq!(price.long.unwrap().rates.cached_input, Some(read.saturating_add(read)));
    }

    #[test]
    fn the_table_names_known_providers_and_each_model_once() {
        for (kind, models) in table::PRICES {
            assert!(crate::catalogue::find(kind).is_some(), "{kind}");
            for (model, price) in *models {
                assert_eq!(models.iter().filter(|(other, _)| other == model).count(), 1, "{kind} {model}");
                let long = price.long.map(|long| long.rates);
                assert!(long.is_none_or(|long| long.input >= price.rates.input && long.output >= price.rates.output), "{kind} {model}");
                for rates in [Some(price.rates), long].into_iter().flatten() {
                    // A free read of tokens that cost something is a gap in a source, not a price.
                    let read_fits = |read: Usd| read <= rates.input && (read > Usd::ZERO || rates.input == Usd::ZERO);
                    assert!(rates.cached_input.is_none_or(read_fits), "{kind} {model}");
                    assert!(rates.cache_write.is_none_or(|write| write > rates.input), "{kind} {model}");
                }
            }
        }
    }
}

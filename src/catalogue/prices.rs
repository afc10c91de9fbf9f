//! What models cost.

use crate::money::Usd;

/// The price of a model, in dollars a thousand tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

/// The built-in price of a model of the API `kind`.
#[must_use]
pub fn lookup(kind: &str, model: &str) -> Option<Price> {
    let _ = (kind, model);
    None
}

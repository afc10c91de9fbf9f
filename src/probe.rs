//! One live check of one key, by its provider's free request only: no tokens are spent, and the key goes nowhere else.

pub mod answer;
pub mod classify;
pub mod redact;
mod rules;

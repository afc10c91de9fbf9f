//! The LLM services that gollm knows, as data.

pub mod prices;

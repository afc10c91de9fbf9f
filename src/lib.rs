//! gollm leases LLM API keys to the programs of one machine.
//!
//! A module uses only modules above it in this list; `tests/it/layers.rs` holds them to it.

// Words: ids, money, time, secrets.
pub mod id;
pub mod money;
pub mod secret;
pub mod time;
pub mod environment;

// Wire: all that a client needs.
#[cfg(feature = "client")]
pub mod protocol;
#[cfg(feature = "client")]
pub mod endpoint;
#[cfg(feature = "client")]
pub mod client;

// Facts.
#[cfg(feature = "settings")]
pub mod catalogue;

// Decisions: pure, (state, request, now, rng) → (answer, events).
#[cfg(feature = "settings")]
pub mod policy;

// Edges: each wraps one outside thing.
#[cfg(feature = "settings")]
pub mod config;
#[cfg(feature = "daemon")]
mod disk;
#[cfg(feature = "daemon")]
pub mod vault;
#[cfg(feature = "daemon")]
pub mod store;
#[cfg(feature = "daemon")]
pub mod probe;

// Programs.
#[cfg(feature = "ctl")]
pub mod ctl;

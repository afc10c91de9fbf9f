//! gollm leases LLM API keys to the programs of one machine.
//!
//! A module uses only modules above it in this list; `tests/it/layers.rs` holds them to it.

// Words: ids, money, time, secrets.
pub mod id;
pub mod money;
pub mod secret;
pub mod time;
pub mod environment;
#[cfg(any(feature = "daemon", feature = "ctl"))]
mod typed;

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
#[cfg(feature = "daemon")]
pub mod health;
#[cfg(feature = "daemon")]
pub mod alert;
#[cfg(feature = "daemon")]
pub mod event;
#[cfg(feature = "daemon")]
pub mod limits;
#[cfg(feature = "daemon")]
pub mod access;
#[cfg(feature = "daemon")]
pub mod lease;
#[cfg(feature = "daemon")]
pub mod session;
#[cfg(feature = "daemon")]
pub mod usage;
#[cfg(feature = "daemon")]
pub mod rotation;
#[cfg(feature = "daemon")]
pub mod broker;

// Edges: each wraps one outside thing.
#[cfg(feature = "settings")]
pub mod config;
#[cfg(feature = "daemon")]
mod disk;
#[cfg(feature = "daemon")]
pub mod vault;
#[cfg(feature = "daemon")]
pub mod audit;
#[cfg(feature = "daemon")]
pub mod store;
#[cfg(feature = "daemon")]
pub mod http;
#[cfg(feature = "daemon")]
pub mod probe;
#[cfg(feature = "daemon")]
pub mod notify;
#[cfg(feature = "daemon")]
pub mod platform;

// Programs.
#[cfg(feature = "daemon")]
pub mod daemon;
#[cfg(feature = "ctl")]
pub mod ctl;

#[cfg(feature = "client")]
pub use client::{CallError, Client, ClientBuilder, Error, Failed, Lease, Usage, blocking};
#[cfg(feature = "client")]
pub use protocol::{outcome::Outcome, provider::ProviderResponse, request::Select};

/// The README's Rust compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

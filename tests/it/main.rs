//! What holds for the programs as a whole: real `gollmd` and `gollmctl` processes, real sockets, real disks.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test fails by a panic, its limits against hangs are real time, and a seed is printed so that a failure can be repeated"
)]

mod harness;

mod access;
mod admin;
mod alerts;
mod audit;
mod backup;
mod client;
mod calls;
mod crash;
mod documents;
mod ending;
mod events;
mod exec;
mod failing;
mod hostile;
mod layers;
mod locking;
mod mending;
mod month;
mod old_store;
mod pages;
mod programs;
mod providers;
mod reload;
mod response;
mod secrets;
mod selection;
mod service;
mod understanding;
mod waiting;
mod wire;

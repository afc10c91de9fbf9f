//! What a live check of a key found.

use crate::catalogue::classify::Scope;
use crate::id::AccountName;
use crate::protocol::outcome::Outcome;
use crate::protocol::reply::{Balance, KeyVerdict};

/// What a check found.
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct Checked {
    /// What it says of the key.
    pub verdict: KeyVerdict,
    /// What a request would have got; none where the provider's API did not answer.
    pub outcome: Option<Outcome>,
    /// The same for people; the key is not in it.
    pub message: String,
    /// What a limit that it met holds for.
    pub scope: Scope,
    /// Was the provider reached?
    pub contact: Contact,
    /// The account that the provider's answer names.
    pub account: Option<AccountName>,
    /// What is left of the key's money; none: this was no answer that tells it.
    pub balances: Option<Vec<Balance>>,
}

/// Was the provider reached?
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contact {
    /// It was not tried.
    Untried,
    /// It answered, whatever it said.
    Reached,
    /// It was not: why, and whether this machine had no way out at all.
    Missed {
        /// For people.
        why: String,
        /// No network was there to send anything to.
        no_network: bool,
    },
}

impl Checked {
    /// Nothing can be said of the key.
    pub fn unproven(outcome: Option<Outcome>, contact: Contact, why: &str) -> Self {
        let message = format!("Key could not be checked: {why}");
        Self { verdict: KeyVerdict::Inconclusive, outcome, message, scope: Scope::Usual, contact, account: None, balances: None }
    }
}

//! Users and groups by their names.

use crate::id::Uid;

/// Where names of users and groups are looked up.
pub trait Names {
    /// The number of a user, by its name or its number.
    fn user(&self, name: &str) -> Option<u32>;
    /// The number of a group, by its name or its number.
    fn group(&self, name: &str) -> Option<u32>;
}

/// A user and the groups that a new process of it would have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its number.
    pub uid: Uid,
    /// Its own group.
    pub gid: u32,
    /// All its groups.
    pub groups: Vec<u32>,
}

//! Systemd units by number, so that a row of usage names its unit in four bytes.

use std::collections::{BTreeMap, HashMap};

use crate::id::UnitName;

/// Units that are told apart; callers in further ones count as in none.
const UNITS_MAX: usize = 1024;

/// The units that callers were in. Number 1 comes first; 0 stands for none.
#[derive(Debug, Clone, Default)]
pub struct Units {
    names: BTreeMap<u32, UnitName>,
    numbers: HashMap<UnitName, u32>,
}

/// What number a unit has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Numbered {
    /// This one.
    Known(u32),
    /// None yet; this one is to be its.
    Next(u32),
    /// None, and there are too many units to give it one.
    Full,
}

impl Units {
    /// The number of a unit.
    pub fn number(&self, unit: &UnitName) -> Numbered {
        match self.numbers.get(unit) {
            Some(number) => Numbered::Known(*number),
            None if self.names.len() < UNITS_MAX => Numbered::Next(self.names.last_key_value().map_or(1, |(last, _)| last.saturating_add(1))),
            None => Numbered::Full,
        }
    }

    /// Gives a unit its number; neither is given twice.
    pub fn put(&mut self, number: u32, name: UnitName) {
        if !self.names.contains_key(&number) && !self.numbers.contains_key(&name) {
            self.names.insert(number, name.clone());
            self.numbers.insert(name, number);
        }
    }

    /// The numbers that are given.
    pub fn numbers(&self) -> impl Iterator<Item = u32> + '_ {
        self.names.keys().copied()
    }

    /// The unit of that number.
    #[must_use]
    pub fn name(&self, number: u32) -> Option<&UnitName> {
        self.names.get(&number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_keeps_its_number_and_further_ones_are_none() {
        let mut units = Units::default();
        for number in 1..=1024 {
            let name: UnitName = format!("app{number}.service").parse().unwrap();
            assert_eq!(units.number(&name), Numbered::Next(number));
            units.put(number, name.clone());
            units.put(number + 1, name.clone());
            assert_eq!(units.number(&name), Numbered::Known(number));
        }
        assert_eq!(units.number(&"late.service".parse().unwrap()), Numbered::Full);
        assert_eq!(units.name(7).map(UnitName::as_str), Some("app7.service"));
        assert_eq!((units.name(0), units.name(1025)), (None, None));
    }
}

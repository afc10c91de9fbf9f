//! What a configuration says before anyone has checked it: a tree of values, each with its place.

use std::rc::Rc;

use zeroize::Zeroizing;

/// Where a value was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum At {
    /// In the file: the number that `file::place` turns into line and column.
    File(u32),
    /// In the environment variable of that name.
    Variable(Rc<str>),
}

/// A line and a column, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) line: usize,
    pub(super) column: usize,
}

/// A value and its place. It may hold a secret: it has no `Debug`.
pub(super) struct Node {
    pub(super) at: At,
    pub(super) value: Value,
}

/// A value.
pub(super) enum Value {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(Zeroizing<String>),
    List(Vec<Node>),
    /// In the order of the text, duplicates included.
    Map(Vec<Entry>),
}

/// One entry of a map.
pub(super) struct Entry {
    /// Where its name stands.
    pub(super) at: At,
    pub(super) name: String,
    pub(super) node: Node,
}

impl Node {
    /// A text.
    pub(super) fn text(at: At, text: &str) -> Self {
        Self { at, value: Value::Text(Zeroizing::new(text.to_owned())) }
    }

    /// A map without entries.
    pub(super) const fn empty_map(at: At) -> Self {
        Self { at, value: Value::Map(Vec::new()) }
    }

    /// The text that it is.
    pub(super) fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The entries of the map that it is; none for any other value.
    pub(super) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The items of the list that it is; none for any other value.
    pub(super) fn items(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    /// The last entry of that name: what was written later stands.
    pub(super) fn child(&self, name: &str) -> Option<&Node> {
        self.entries().iter().rev().find(|entry| entry.name == name).map(|entry| &entry.node)
    }

    /// The entry of that name, made where there is none; none if this is no map.
    pub(super) fn child_or_insert(&mut self, name: &str, at: &At) -> Option<&mut Node> {
        if matches!(self.value, Value::Null) {
            self.value = Value::Map(Vec::new());
        }
        let Value::Map(entries) = &mut self.value else {
            return None;
        };
        let index = match entries.iter().rposition(|entry| entry.name == name) {
            Some(index) => index,
            None => {
                entries.push(Entry { at: at.clone(), name: name.to_owned(), node: Node { at: at.clone(), value: Value::Null } });
                entries.len() - 1
            }
        };
        entries.get_mut(index).map(|entry| &mut entry.node)
    }

    /// The items of the list that it is, made where there is nothing; none for any other value.
    pub(super) fn items_mut(&mut self) -> Option<&mut Vec<Node>> {
        if matches!(self.value, Value::Null) {
            self.value = Value::List(Vec::new());
        }
        match &mut self.value {
            Value::List(items) => Some(items),
            _ => None,
        }
    }
}

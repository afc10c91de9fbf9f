//! YAML text to a plain tree in which every value knows its place. The only user of `serde_yaml`.

use std::cell::Cell;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use zeroize::Zeroizing;

use super::tree::{At, Entry, Node, Place, Value};

/// Largest file that is read, in bytes.
pub(super) const SIZE_MAX: usize = 256 * 1024;

/// Deepest nesting; the configuration itself needs six.
const DEPTH_MAX: usize = 32;

/// Most values in a file, those that aliases repeat included.
const NODES_MAX: u32 = 65_536;

/// Why a text is no YAML tree. It repeats nothing of the text.
#[derive(Debug)]
pub(super) struct Broken {
    /// From 1, where it is known.
    pub(super) place: Option<Place>,
    /// What is wrong.
    pub(super) what: String,
}

/// Reads a whole file. An empty one is [`Value::Null`].
pub(super) fn read(text: &str) -> Result<Node, Broken> {
    if text.len() > SIZE_MAX {
        return Err(Broken { place: None, what: format!("the file is larger than {} KiB", SIZE_MAX / 1024) });
    }
    if let Some(place) = too_deep(text) {
        return Err(Broken { place: Some(place), what: format!("brackets are nested more than {DEPTH_MAX} deep") });
    }
    let reader = Reader::new(None);
    reader.deserialize(serde_yaml::Deserializer::from_str(text)).map_err(|why| broken(&why, reader.refusal.get()))
}

/// Where the value or map key of that number stands.
///
/// The tree carries no lines, since `serde_yaml` gives them only to errors. So the text is read again, and the reader
/// fails on purpose at that number: the place is the parser's own, right for every way of writing YAML.
pub(super) fn place(text: &str, number: u32) -> Option<Place> {
    let reader = Reader::new(Some(number));
    let stopped = reader.deserialize(serde_yaml::Deserializer::from_str(text)).err()?;
    place_of(&stopped)
}

fn place_of(why: &serde_yaml::Error) -> Option<Place> {
    why.location().map(|at| Place { line: at.line(), column: at.column() })
}

fn broken(why: &serde_yaml::Error, refusal: Option<&'static str>) -> Broken {
    let text = why.to_string();
    let what = match refusal {
        Some(refusal) => refusal.to_owned(),
        // These quote the value, which may be a secret; the parser's other messages are fixed texts.
        None if ["invalid value", "invalid type", "invalid length"].iter().any(|quoting| text.contains(quoting)) => {
            "this is not of the form that its place or its YAML tag asks for".to_owned()
        }
        None if text.contains("more than one document") => "there is more than one YAML document (`---`); write one".to_owned(),
        None if text.contains("repetition limit") || text.contains("recursion limit") => "it is nested or repeated too often".to_owned(),
        None => format!("this is not YAML: {text}"),
    };
    Broken { place: place_of(why), what }
}

/// Where brackets are nested too deep. The parser takes quadratic time on those, so this is asked before it runs.
fn too_deep(text: &str) -> Option<Place> {
    let mut depth = 0_usize;
    for (row, line) in text.lines().enumerate() {
        for (at, c) in line.char_indices() {
            match c {
                '#' if line.get(..at).is_some_and(|before| before.is_empty() || before.ends_with([' ', '\t'])) => break,
                '[' | '{' => depth += 1,
                ']' | '}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth > DEPTH_MAX {
                return Some(Place { line: row + 1, column: at + 1 });
            }
        }
    }
    None
}

/// Builds the tree, and numbers values and map keys in the order of the text.
struct Reader {
    next: Cell<u32>,
    stop_at: Option<u32>,
    refusal: Cell<Option<&'static str>>,
}

impl Reader {
    fn new(stop_at: Option<u32>) -> Self {
        Self { next: Cell::new(0), stop_at, refusal: Cell::new(None) }
    }

    fn refuse<T, E: de::Error>(&self, why: &'static str) -> Result<T, E> {
        self.refusal.set(Some(why));
        Err(E::custom(why))
    }

    fn number<E: de::Error>(&self) -> Result<At, E> {
        let number = self.next.get();
        if self.stop_at == Some(number) {
            return self.refuse("here");
        }
        if number >= NODES_MAX {
            return self.refuse("there are too many values, or aliases repeat too many");
        }
        self.next.set(number + 1);
        Ok(At::File(number))
    }

    fn leaf<E: de::Error>(&self, value: Value) -> Result<Node, E> {
        Ok(Node { at: self.number()?, value })
    }
}

impl<'de> DeserializeSeed<'de> for &Reader {
    type Value = Node;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &Reader {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Node, E> {
        self.leaf(Value::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Node, E> {
        self.leaf(Value::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Node, E> {
        self.leaf(Value::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Node, E> {
        self.leaf(Value::Integer(i128::from(value)))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Node, E> {
        self.leaf(Value::Integer(i128::from(value)))
    }

    fn visit_i128<E: de::Error>(self, value: i128) -> Result<Node, E> {
        self.leaf(Value::Integer(value))
    }

    fn visit_u128<E: de::Error>(self, value: u128) -> Result<Node, E> {
        self.leaf(Value::Integer(i128::try_from(value).unwrap_or(i128::MAX)))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Node, E> {
        self.leaf(Value::Float(value))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Node, E> {
        self.leaf(Value::Text(Zeroizing::new(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let at = self.number()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        Ok(Node { at, value: Value::List(list) })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let at = self.number()?;
        let mut map = Vec::new();
        while let Some((at, name)) = entries.next_key_seed(MapKey(self))? {
            let node = entries.next_value_seed(self)?;
            map.push(Entry { at, name, node });
        }
        Ok(Node { at, value: Value::Map(map) })
    }

    fn visit_enum<A: de::EnumAccess<'de>>(self, _: A) -> Result<Node, A::Error> {
        self.refuse("YAML tags (`!…`) mean nothing here; put the text in quotes")
    }
}

/// A map key: any scalar, read as it is written.
struct MapKey<'a>(&'a Reader);

impl<'de> DeserializeSeed<'de> for MapKey<'_> {
    type Value = (At, String);
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(At, String), D::Error> {
        struct Name<'a>(&'a Reader);
        impl Visitor<'_> for Name<'_> {
            type Value = (At, String);
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a field")
            }
            fn visit_str<E: de::Error>(self, name: &str) -> Result<(At, String), E> {
                Ok((self.0.number()?, name.to_owned()))
            }
        }
        deserializer.deserialize_str(Name(self.0))
    }
}

/// Is `text` YAML that gives the same text back? For tests of what `show` writes.
#[cfg(test)]
pub(super) fn scalar(text: &str) -> Option<String> {
    use serde::Deserialize as _;
    String::deserialize(serde_yaml::Deserializer::from_str(text)).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn what(text: &str) -> String {
        read(text).err().map(|broken| broken.what).unwrap_or_default()
    }

    #[test]
    fn values_know_their_line_and_column() {
        let text = "a:\n  - b: 1\n    \"c d\": [x, {e: 2}]\n";
        let root = read(text).unwrap();
        let item = &root.child("a").unwrap().items()[0];
        let at = |at: &At| match at {
            At::File(number) => place(text, *number).map(|place| (place.line, place.column)),
            At::Variable(_) => None,
        };
        assert_eq!(at(&item.child("b").unwrap().at), Some((2, 8)));
        assert_eq!(at(&item.entries()[1].at), Some((3, 5)));
        assert_eq!(at(&item.child("c d").unwrap().items()[1].child("e").unwrap().at), Some((3, 20)));
    }

    #[test]
    fn nothing_is_an_empty_configuration() {
        for text in ["", "# only a comment\n", "---\n", "\u{feff}"] {
            assert!(matches!(read(text).map(|node| node.value), Ok(Value::Null)), "{text:?}");
        }
    }

    #[test]
    fn bombs_are_refused_at_once() {
        assert!(what(&"{a: ".repeat(40_000)).contains("nested"));
        assert!(what(&"[".repeat(100_000)).contains("nested"));
        assert!(!what(&"- ".repeat(100_000)).is_empty());
        assert!(!what(&"? ".repeat(100_000)).is_empty());
        assert!(what(&"x".repeat(SIZE_MAX + 1)).contains("larger than 256 KiB"));
        let laughs: String = (1..10).map(|n| format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 9].join(", "))).collect();
        assert!(!what(&format!("a0: &a0 [x]\n{laughs}")).is_empty());
        let wide = format!("a: &a [{}]\nb: [{}]\n", vec!["x"; 10_000].join(","), vec!["*a"; 10_000].join(","));
        assert!(what(&wide).contains("too many values"));
    }

    #[test]
    fn brackets_in_a_comment_do_not_count_as_nesting() {
        assert!(read(&format!("# {}\na: 1 # {}\n", "[".repeat(50), "{".repeat(50))).is_ok());
    }

    #[test]
    fn what_is_no_plain_yaml_is_refused_without_repeating_it() {
        for text in [
            "a: !secret PLANTED",
            "a: !!int PLANTED",
            "PLANTED: [",
            "a: \"PLANTED",
            "a: *PLANTED",
            "a: 'PLANTED\n---\nb: c",
            "a: PLANTED: PLANTED",
            "? [PLANTED]\n: b",
            "a: 1\n---\nPLANTED: 2",
            "a: @PLANTED",
            "a: \"\\qPLANTED\"",
            "%PLANTED",
            "PLANTED\tx: 1\n\tPLANTED: 2",
        ] {
            let what = what(text);
            assert!(!what.is_empty() && !what.contains("PLANTED"), "{text:?}: {what}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[a-z:{}\\[\\]&*!?'\"#|> \n-]{0,80}") {
            if let Ok(Node { at: At::File(number), value }) = read(&text) {
                prop_assert!(place(&text, number).is_some() || matches!(value, Value::Null));
            }
        }
    }
}

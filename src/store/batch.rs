//! Sealed rows as bytes: the parts of a checkpoint in the journal.

use super::Tree;
use super::segment::take;

/// One key of one tree with its sealed value, or its removal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) tree: Tree,
    pub(super) key: Vec<u8>,
    pub(super) value: Option<Vec<u8>>,
}

/// Bytes after which a new part begins. A part is a record, and at most one record is on its way to the disk at a time.
const PART: usize = 1 << 20;

/// The rows in parts of about a mebibyte.
pub(super) fn encode(rows: &[Row]) -> Vec<Vec<u8>> {
    let mut parts: Vec<Vec<u8>> = Vec::new();
    for row in rows {
        if parts.last().is_none_or(|part| part.len() >= PART) {
            parts.push(Vec::new());
        }
        let Some(part) = parts.last_mut() else { continue };
        part.push(row.tree.code());
        put(part, &row.key);
        part.push(u8::from(row.value.is_some()));
        put(part, row.value.as_deref().unwrap_or_default());
    }
    parts
}

/// The rows of one part.
pub(super) fn decode(mut part: &[u8]) -> Option<Vec<Row>> {
    let mut rows = Vec::new();
    while !part.is_empty() {
        let [tree] = take(&mut part)?;
        let key = cut(&mut part)?;
        let [kept] = take(&mut part)?;
        let value = cut(&mut part)?;
        rows.push(Row { tree: Tree::of_code(tree)?, key, value: (kept == 1).then_some(value) });
    }
    Some(rows)
}

fn put(part: &mut Vec<u8>, bytes: &[u8]) {
    part.extend_from_slice(&u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_le_bytes());
    part.extend_from_slice(bytes);
}

fn cut(part: &mut &[u8]) -> Option<Vec<u8>> {
    let length = usize::try_from(u64::from_le_bytes(take(part)?)).ok()?;
    let (bytes, rest) = part.split_at_checked(length)?;
    *part = rest;
    Some(bytes.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rows_read_back() {
        let row = |size: usize, value| Row { tree: Tree::Usage, key: vec![1; size], value };
        let rows = vec![row(0, None), row(3, Some(Vec::new())), row(9, Some(vec![7; PART])), row(1, Some(vec![2]))];
        let parts = encode(&rows);
        assert_eq!(parts.len(), 2);
        assert_eq!(parts.iter().flat_map(|part| decode(part).unwrap()).collect::<Vec<_>>(), rows);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _rows = decode(&bytes);
        }
    }
}

//! The records of a store as a backup: parts of about a mebibyte, each a list of records.

use std::collections::BTreeSet;

use zeroize::Zeroizing;

use super::segment::take;
use super::{Record, Tree};

/// Bytes after which a new part begins.
const PART: usize = 1 << 20;

/// The records in parts.
pub(crate) fn parts(records: &[Record]) -> Vec<Zeroizing<Vec<u8>>> {
    let mut parts: Vec<Zeroizing<Vec<u8>>> = Vec::new();
    for record in records {
        let size = record.key.len() + record.value.len() + 9;
        if parts.last().is_none_or(|part| part.len() + size > part.capacity()) {
            // A part never grows: growing would leave copies behind.
            parts.push(Zeroizing::new(Vec::with_capacity(PART.max(size))));
        }
        let Some(part) = parts.last_mut() else { continue };
        part.push(record.tree.code());
        put(part, &record.key);
        put(part, &record.value);
    }
    parts
}

/// The records of all parts; none: they are none of a store.
pub(crate) fn records(parts: &[Zeroizing<Vec<u8>>]) -> Option<Vec<Record>> {
    let (mut records, mut met) = (Vec::new(), BTreeSet::new());
    for part in parts {
        let mut rest = part.as_slice();
        while !rest.is_empty() {
            let [tree] = take(&mut rest)?;
            let key = cut(&mut rest)?.to_vec();
            let value = Zeroizing::new(cut(&mut rest)?.to_vec());
            let tree = Tree::of_code(tree)?;
            if !met.insert((tree, key.clone())) {
                return None;
            }
            records.push(Record { tree, key, value });
        }
    }
    Some(records)
}

fn put(part: &mut Vec<u8>, bytes: &[u8]) {
    part.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
    part.extend_from_slice(bytes);
}

fn cut<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(u32::from_le_bytes(take(rest)?)).ok()?;
    let (bytes, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn records_read_back_from_their_parts() {
        let record = |name: u8, size: usize| Record { tree: Tree::Usage, key: vec![name; 9], value: Zeroizing::new(vec![7; size]) };
        let all = [record(1, 0), record(2, PART), record(3, 3 * PART), record(4, 5)];
        let parts = parts(&all);
        assert_eq!(parts.len(), 4);
        let read = records(&parts).unwrap();
        assert!(read.iter().zip(&all).all(|(read, whole)| read.key == whole.key && read.value == whole.value) && read.len() == 4);
        assert!(records(&super::parts(&[record(1, 0), record(1, 5)])).is_none(), "a record twice");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _records = records(&[Zeroizing::new(bytes)]);
        }
    }
}

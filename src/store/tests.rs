//! The store against damage, crashes and full disks: each is mended exactly, or refused with words.

mod crash;
mod damage;
mod generation;
mod repair;
mod journal;
mod model;
mod scene;

use super::Tree;
use super::backend::Backend;
use super::batch::Row;
use super::memory::Memory;
use super::sled::Sled;
use scene::{Scene, change, events, rows};

#[test]
fn what_was_appended_is_there_at_the_next_start() {
    let scene = Scene::new();
    let mut opened = scene.open().unwrap();
    assert!(opened.fresh);
    opened.store.append(b"one").unwrap();
    opened.store.append(b"two").unwrap();
    drop(opened);
    let mut opened = scene.open().unwrap();
    assert!(!opened.fresh);
    assert_eq!(events(&opened), [b"one", b"two"]);
    assert!(opened.store.journal_bytes_since_checkpoint() > 0);
    opened.store.checkpoint(&[change("a", "1"), change("b", "2")]).unwrap();
    assert_eq!(opened.store.journal_bytes_since_checkpoint(), 0);
    opened.store.append(b"three").unwrap();
    drop(opened);
    let opened = scene.open().unwrap();
    assert_eq!(events(&opened), [b"three"]);
    assert_eq!(rows(&opened), [("a", "1"), ("b", "2")]);
    opened.store.close().unwrap();
}

#[test]
fn of_several_changes_of_one_key_the_last_counts() {
    let scene = Scene::new();
    let mut opened = scene.open().unwrap();
    opened.store.checkpoint(&[change("a", "1"), change("a", "2"), change("b", "1")]).unwrap();
    opened.store.checkpoint(&[scene::removal("b"), change("c", "3")]).unwrap();
    opened.store.checkpoint(&[]).unwrap();
    drop(opened);
    assert_eq!(rows(&scene.open().unwrap()), [("a", "2"), ("c", "3")]);
}

#[test]
fn segments_are_removed_once_a_checkpoint_covers_them() {
    let scene = Scene::new();
    let mut opened = scene.open().unwrap();
    for number in 0..40 {
        opened.store.append(&[number; 700]).unwrap();
    }
    assert!(scene.segments().len() > 3);
    opened.store.checkpoint(&[change("a", "1")]).unwrap();
    assert_eq!(scene.segments().len(), 1);
    opened.store.append(&[1; 30_000]).unwrap();
    drop(opened);
    assert_eq!(events(&scene.open().unwrap()), [[1; 30_000]]);
}

#[test]
fn a_second_daemon_is_told_of_the_first() {
    let scene = Scene::new();
    let opened = scene.open().unwrap();
    assert!(scene.refusal().contains("another gollmd uses"));
    drop(opened);
    assert!(scene.open().is_ok());
}

#[test]
fn a_record_that_is_too_long_is_refused_alone() {
    let scene = Scene::new();
    let mut opened = scene.open().unwrap();
    assert!(opened.store.append(&vec![0; super::BODY_MAX + 1]).is_err());
    assert!(opened.store.checkpoint(&[change("a", &"x".repeat(super::BODY_MAX))]).is_err());
    opened.store.append(b"short").unwrap();
    drop(opened);
    assert_eq!(events(&scene.open().unwrap()), [b"short"]);
}

#[test]
fn a_large_checkpoint_goes_in_parts() {
    let scene = Scene::new();
    let mut opened = scene.open().unwrap();
    let large: Vec<_> = (0..40).map(|key| change(&format!("{key:02}"), &"x".repeat(100_000))).collect();
    opened.store.checkpoint(&large).unwrap();
    let copy = scene.copy();
    drop(opened);
    assert_eq!(copy.open().unwrap().records.len(), 40);
}

#[cfg(unix)]
#[test]
fn all_files_belong_to_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let scene = Scene::new();
    let mut opened = scene.open().unwrap();
    opened.store.checkpoint(&[change("a", "1")]).unwrap();
    let mut dirs = vec![scene.dir.path().to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
            let mode = entry.metadata().unwrap().permissions().mode() & 0o7777;
            let is_dir = entry.file_type().unwrap().is_dir();
            assert_eq!(mode, if is_dir { 0o700 } else { 0o600 }, "{}", entry.path().display());
            dirs.extend(is_dir.then(|| entry.path()));
        }
    }
}

#[test]
fn no_tree_shares_its_name_or_number_with_another() {
    for tree in Tree::ALL {
        assert_eq!((Tree::named(tree.name()), Tree::of_code(tree.code())), (Some(tree), Some(tree)));
    }
}

#[test]
fn the_store_can_be_given_to_a_thread() {
    fn is_send<T: Send>() {}
    is_send::<super::Opened>();
}

#[test]
fn the_lock_of_the_database_before_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let before = Sled::open(dir.path()).unwrap();
    let closing = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(200));
        drop(before);
    });
    assert!(Sled::open(dir.path()).is_ok());
    closing.join().unwrap();
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 20, failure_persistence: None, ..Default::default() })]
    #[test]
    fn sled_keeps_what_memory_keeps(changes in proptest::collection::vec((0_usize..7, 0_u8..20, proptest::option::of(0_u8..5)), 0..60)) {
        let dir = tempfile::tempdir().unwrap();
        let mut memory = Memory::default();
        for (epoch, part) in (1..).zip(changes.chunks(9)) {
            let row = |(tree, key, value): &(usize, u8, Option<u8>)| Row { tree: Tree::ALL[*tree], key: vec![*key], value: value.map(|v| vec![v]) };
            let rows: Vec<Row> = part.iter().map(row).collect();
            let mut sled = Sled::open(dir.path()).unwrap();
            sled.apply(epoch, &rows).unwrap();
            sled.sync().unwrap();
            memory.apply(epoch, &rows).unwrap();
            proptest::prop_assert_eq!(sled.load().unwrap(), memory.load().unwrap());
        }
    }
}

//! Another data key, and other records: whatever ends in between leaves the one store or the other.

use crate::store::fault::{Step, strike};
use crate::store::{Record, Tree, open_again, replace};

use super::scene::{Scene, change, events, rows};

/// A store with many records, of which a checkpoint changed one after the copy was begun.
fn begun() -> (Scene, crate::store::Opened, crate::store::generation::Next) {
    let scene = Scene::new();
    let mut opened = scene.open().unwrap();
    let changes: Vec<_> = (0..600).map(|number| change(&format!("k{number:03}"), "1")).collect();
    opened.store.checkpoint(&changes).unwrap();
    let mut next = opened.store.rekey().unwrap();
    assert!(!opened.store.rekey_step(&mut next).unwrap());
    opened.store.append(b"meanwhile").unwrap();
    (scene, opened, next)
}

fn checked(scene: &Scene, value: &str) -> Vec<Vec<u8>> {
    let found = scene.open().unwrap();
    assert_eq!((rows(&found).len(), rows(&found)[7]), (600, ("k007", value)));
    let left = std::fs::read_dir(scene.dir.path())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_str().unwrap().starts_with("generation"))
        .count();
    assert!(left <= 1, "{left} generations are left");
    events(&found)
}

#[test]
fn after_a_rotation_the_records_are_there_under_another_key() {
    let (scene, mut opened, next) = begun();
    let before = scene.copy();
    opened.store.checkpoint(&[change("k007", "2")]).unwrap();
    let vault = opened.store.rekeyed(next).unwrap();
    opened.store.append(b"after").unwrap();
    assert!(!scene.path("sled").exists() && scene.path("generation-1").exists());
    drop(opened);
    assert_eq!(checked(&scene, "2"), [b"after"]);
    assert_eq!(checked(&before, "1"), [b"meanwhile"]);
    // And once more.
    let mut opened = scene.open().unwrap();
    assert!(opened.vault.open_token(&vault.seal_token(b"x").unwrap()).is_ok());
    opened.store.checkpoint(&[]).unwrap();
    let next = opened.store.rekey().unwrap();
    opened.store.rekeyed(next).unwrap();
    drop(opened);
    assert!(checked(&scene, "2").is_empty() && scene.path("generation-2").exists());
}

#[test]
fn a_crash_at_any_point_of_a_rotation_leaves_a_store_that_opens() {
    // At its start, in the middle, and right before the header names the new files.
    let (scene, opened, next) = begun();
    let middle = scene.copy();
    drop((opened, next));
    assert_eq!(checked(&middle, "1"), [b"meanwhile"]);
    for step in [Step::Segment, Step::Switch] {
        let (scene, mut opened, next) = begun();
        opened.store.checkpoint(&[change("k007", "2")]).unwrap();
        strike(&[(step, 0)]);
        assert!(opened.store.rekeyed(next).is_err(), "{step:?}");
        strike(&[]);
        let copy = scene.copy();
        // What failed changes nothing: the store goes on.
        opened.store.append(b"after").unwrap();
        drop(opened);
        assert_eq!(checked(&scene, "2"), [b"after"], "{step:?}");
        assert!(checked(&copy, "2").is_empty(), "{step:?}");
    }
}

#[test]
fn events_that_no_checkpoint_holds_keep_a_rotation_from_ending() {
    let (scene, mut opened, next) = begun();
    assert!(opened.store.rekeyed(next).is_err());
    drop(opened);
    assert_eq!(checked(&scene, "1"), [b"meanwhile"]);
}

#[test]
fn other_records_take_the_place_of_all_that_were_there() {
    let (scene, opened, next) = begun();
    let (vault, source) = (opened.vault.clone(), opened.master);
    drop((opened, next));
    let record = |key: &str| Record { tree: Tree::Usage, key: key.into(), value: b"3".to_vec().into() };
    replace(scene.dir.path(), &vault, vec![record("a"), record("b")], b"after it").unwrap();
    let found = open_again(scene.dir.path(), vault, source).unwrap();
    assert_eq!((rows(&found), events(&found)), (vec![("a", "3"), ("b", "3")], vec![b"after it".to_vec()]));
    drop(found);
    assert_eq!(rows(&scene.open().unwrap()), [("a", "3"), ("b", "3")]);
}

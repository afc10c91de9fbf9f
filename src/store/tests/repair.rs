//! A damaged store is repaired as far as it can be opened, and says what it lost.

use crate::environment::Environment;
use crate::store::opening::Scale;
use crate::store::repair::{Repaired, repair_with};
use crate::vault::kdf::Cost;
use crate::vault::master::MasterSetting;

use super::scene::{SEGMENT, Scene, change, events, put_back, removal, rows};

fn repaired(scene: &Scene) -> Repaired {
    let environment: Environment = [("GOLLM_MASTER_PASSWORD", "correct horse")].into_iter().collect();
    repair_with(scene.dir.path(), &MasterSetting::Auto, &environment, Scale { segment: SEGMENT, cost: Cost::LEAST }).unwrap()
}

/// A store with two records, closed, and two events behind them.
fn scene() -> Scene {
    let scene = Scene::new();
    let mut opened = scene.open().unwrap();
    opened.store.checkpoint(&[change("a", "1"), change("b", "2")]).unwrap();
    opened.store.append(b"one").unwrap();
    opened.store.append(b"two").unwrap();
    opened.store.close().unwrap();
    scene
}

#[test]
fn a_whole_store_is_left_as_it_is() {
    let scene = scene();
    let found = repaired(&scene);
    assert_eq!((found.was_damaged, found.lost.len(), found.damaged), (false, 0, None));
    assert_eq!(events(&scene.open().unwrap()), [b"one", b"two"]);
}

#[test]
fn a_lost_manifest_loses_no_record() {
    let scene = scene();
    std::fs::remove_file(scene.path("manifest")).unwrap();
    scene.refusal();
    let found = repaired(&scene);
    assert!(found.was_damaged && found.lost.len() == 1 && found.lost[0].contains("manifest"), "{found:?}");
    let opened = scene.open().unwrap();
    assert_eq!((rows(&opened), events(&opened)), (vec![("a", "1"), ("b", "2")], vec![b"one".to_vec(), b"two".to_vec()]));
}

#[test]
fn a_cut_journal_gives_what_stands_before_the_cut_and_the_loss_is_told() {
    let scene = scene();
    let newest = scene.segments().pop().unwrap();
    super::scene::edit(&newest, |bytes| {
        let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
        bytes[end - 30] ^= 1;
    });
    scene.refusal();
    let found = repaired(&scene);
    assert!(found.lost.iter().any(|lost| lost.contains("journal")), "{found:?}");
    assert!(found.damaged.unwrap().join("journal").exists());
    let opened = scene.open().unwrap();
    assert_eq!((rows(&opened), events(&opened)), (vec![("a", "1"), ("b", "2")], vec![b"one".to_vec()]));
}

#[test]
fn an_empty_database_and_a_lost_journal_are_told_tree_by_tree() {
    let scene = scene();
    std::fs::remove_dir_all(scene.path("sled")).unwrap();
    std::fs::remove_dir_all(scene.path("journal")).unwrap();
    scene.refusal();
    let found = repaired(&scene);
    assert!(found.lost.iter().any(|lost| lost.contains("2 of 2 records of the tree `usage`")), "{found:?}");
    assert!(rows(&scene.open().unwrap()).is_empty());
}

#[test]
fn a_wrong_password_repairs_nothing() {
    let scene = scene();
    std::fs::remove_file(scene.path("manifest")).unwrap();
    let environment: Environment = [("GOLLM_MASTER_PASSWORD", "wrong")].into_iter().collect();
    assert!(repair_with(scene.dir.path(), &MasterSetting::Auto, &environment, Scale { segment: SEGMENT, cost: Cost::LEAST }).is_err());
    assert!(!scene.path("generation-1").exists());
}

/// A segment of the journal holds many checkpoints: those before the damage are older than the database.
#[test]
fn a_journal_that_ends_before_the_database_brings_nothing_back() {
    let scene = Scene::new();
    let mut opened = scene.open().unwrap();
    opened.store.checkpoint(&[change("a", "1"), change("gone", "1")]).unwrap();
    opened.store.append(b"early").unwrap();
    opened.store.checkpoint(&[change("a", "2"), removal("gone")]).unwrap();
    opened.store.close().unwrap();
    let oldest = scene.segments().remove(0);
    super::scene::edit(&oldest, |bytes| {
        let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
        bytes[end - 30] ^= 1;
    });
    scene.refusal();
    let found = repaired(&scene);
    assert!(found.lost.iter().any(|lost| lost.contains("journal")), "{found:?}");
    assert_eq!(rows(&scene.open().unwrap()), [("a", "2")]);
}

#[test]
fn older_copies_under_the_newest_manifest_are_told() {
    let scene = scene();
    let old = scene.copy();
    let mut opened = scene.open().unwrap();
    opened.store.append(b"three").unwrap();
    opened.store.checkpoint(&[change("a", "5")]).unwrap();
    opened.store.close().unwrap();
    for name in ["journal", "sled"] {
        put_back(&old.path(name), &scene.path(name));
    }
    scene.refusal();
    let found = repaired(&scene);
    let told = found.lost.join("; ");
    assert!(told.contains("of the journal") && told.contains("the newest records of the tree `usage`"), "{told}");
}

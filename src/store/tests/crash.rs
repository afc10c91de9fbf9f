//! Crashes and full disks at each step.

use crate::store::error::AppendError;
use crate::store::fault::{Step, strike};

use super::scene::{Scene, change, events, rows};

/// A store with the record `a` = `1` and the event `one`.
fn scene() -> (Scene, crate::store::Opened) {
    let scene = Scene::new();
    let mut opened = scene.open().unwrap();
    opened.store.checkpoint(&[change("a", "1")]).unwrap();
    opened.store.append(b"one").unwrap();
    (scene, opened)
}

#[test]
fn a_crash_at_each_step_of_a_checkpoint_leaves_the_state_before_it_or_after_it() {
    for step in [Step::Write, Step::Sync, Step::Journaled, Step::Applied, Step::Flushed, Step::Listed] {
        for after in 0..2 {
            let (scene, mut opened) = scene();
            strike(&[(step, after), (Step::Erase, 0)]);
            let result = opened.store.checkpoint(&[change("a", "2"), change("b", "2")]);
            let copy = scene.copy();
            strike(&[]);
            drop(opened);
            for scene in [copy, scene] {
                let found = scene.open().unwrap();
                let before = rows(&found) == [("a", "1")] && events(&found) == [b"one"];
                let behind = rows(&found) == [("a", "2"), ("b", "2")] && found.events.is_empty();
                match &result {
                    Ok(()) | Err(AppendError::Behind { .. }) => assert!(behind, "{step:?} {after}"),
                    // What was refused may have happened: a sync that failed may have reached the disk.
                    Err(_) => assert!(before || behind, "{step:?} {after} {:?} {:?}", rows(&found), events(&found)),
                }
            }
        }
    }
}

#[test]
fn a_full_disk_refuses_and_recovers() {
    for step in [Step::Write, Step::Sync] {
        let (scene, mut opened) = scene();
        strike(&[(step, 0)]);
        for _ in 0..3 {
            assert!(opened.store.append(b"refused").is_err());
        }
        strike(&[]);
        opened.store.append(b"two").unwrap();
        drop(opened);
        assert_eq!(events(&scene.open().unwrap()), [b"one", b"two"]);
    }
}

#[test]
fn a_failed_erasure_is_made_up_for_before_anything_is_written() {
    let (scene, mut opened) = scene();
    // The record is written, its sync fails, and so does its erasure.
    strike(&[(Step::Sync, 0), (Step::Erase, 0)]);
    assert!(opened.store.append(b"refused").is_err());
    assert!(opened.store.append(b"refused").is_err());
    strike(&[]);
    opened.store.append(b"two").unwrap();
    drop(opened);
    assert_eq!(events(&scene.open().unwrap()), [b"one", b"two"]);
}

#[test]
fn no_room_for_a_segment_refuses_and_recovers() {
    let (scene, mut opened) = scene();
    strike(&[(Step::Segment, 0)]);
    let mut taken = 0_u8;
    while opened.store.append(&[taken; 700]).is_ok() {
        taken += 1;
    }
    // The segment that is there has room for this one; the next one may be on the disk all the same.
    assert!(opened.store.append(b"short").is_err());
    let copy = scene.copy();
    strike(&[]);
    opened.store.append(b"two").unwrap();
    drop(opened);
    let events = events(&scene.open().unwrap());
    assert_eq!((events.len(), events.last().unwrap().as_slice()), (usize::from(taken) + 2, b"two".as_slice()));
    assert_eq!(copy.open().unwrap().events.len(), usize::from(taken) + 1);
}

#[test]
fn a_checkpoint_that_stays_behind_is_completed_by_the_next_one() {
    for step in [Step::Journaled, Step::Applied, Step::Flushed] {
        let (scene, mut opened) = scene();
        strike(&[(step, 0)]);
        assert!(matches!(opened.store.checkpoint(&[change("a", "2")]), Err(AppendError::Behind { .. })));
        // Events go on, over several segments; none may be removed by the checkpoint that comes late.
        for number in 0..40 {
            opened.store.append(&[number; 700]).unwrap();
        }
        strike(&[(Step::Write, 0)]);
        assert!(opened.store.checkpoint(&[change("a", "3")]).is_err());
        strike(&[]);
        let copy = scene.copy();
        assert_eq!(copy.open().unwrap().events.len(), 40);
        assert_eq!(rows(&copy.open().unwrap()), [("a", "2")]);
        opened.store.checkpoint(&[change("a", "3")]).unwrap();
        drop(opened);
        let found = scene.open().unwrap();
        assert_eq!((rows(&found), found.events.len()), (vec![("a", "3")], 0));
    }
}

#[test]
fn a_first_start_that_was_cut_off_is_begun_anew() {
    let scene = Scene::new();
    strike(&[(Step::Segment, 0)]);
    assert!(scene.open().is_err());
    strike(&[]);
    assert!(scene.path("header").exists());
    let opened = scene.open().unwrap();
    assert!(opened.fresh);
    drop(opened);
    assert!(!scene.open().unwrap().fresh);
}

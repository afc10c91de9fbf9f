//! Damage to the journal.

use std::fs;

use crate::store::segment::BODY;

use super::damage::{assert_whole, old, refused, written, young};
use super::scene::{Scene, edit, events, put_back};

#[test]
fn a_journal_that_was_cut() {
    refused(|scene| edit(scene.segments().last().unwrap(), |bytes| bytes.truncate(bytes.len() / 2)), "cut");
}

#[test]
fn a_journal_that_was_emptied() {
    refused(|scene| edit(scene.segments().last().unwrap(), Vec::clear), "damaged");
}

#[test]
fn a_journal_whose_records_were_erased() {
    refused(|scene| edit(scene.segments().last().unwrap(), |bytes| bytes[BODY..].fill(0)), "ends before its last record");
}

#[test]
fn a_journal_that_was_changed_in_the_middle() {
    refused(|scene| edit(scene.segments().last().unwrap(), |bytes| bytes[BODY + 40] ^= 1), "a record was changed");
}

#[test]
fn a_journal_whose_last_record_was_changed() {
    let flip = |scene: &Scene| {
        edit(scene.segments().last().unwrap(), |bytes| {
            let end = written(bytes);
            bytes[end - 20] ^= 1;
        });
    };
    refused(flip, "a record was changed");
}

#[test]
fn a_journal_whose_label_was_changed() {
    refused(|scene| edit(scene.segments().last().unwrap(), |bytes| bytes[20] ^= 1), "its label was changed");
}

#[test]
fn a_journal_that_was_deleted() {
    refused(|scene| fs::remove_dir_all(scene.path("journal")).unwrap(), "the journal is missing");
    refused(|scene| scene.segments().iter().for_each(|path| fs::remove_file(path).unwrap()), "the journal is missing");
}

#[test]
fn a_journal_that_lacks_a_segment() {
    for (index, words) in [(0, "does not fit"), (1, "a segment is missing"), (2, "a segment is missing")] {
        let scene = Scene::new();
        let mut opened = scene.open().unwrap();
        for round in 0..60 {
            opened.store.append(&[round; 400]).unwrap();
        }
        drop(opened);
        fs::remove_file(&scene.segments()[index]).unwrap();
        let refusal = scene.refusal();
        assert!(refusal.contains(words), "{refusal}");
    }
}

#[test]
fn a_journal_that_was_put_back_to_an_older_copy() {
    for scene in [young(), old()] {
        let before = scene.copy();
        let mut opened = scene.open().unwrap();
        opened.store.append(b"three").unwrap();
        opened.store.close().unwrap();
        put_back(&before.path("journal"), &scene.path("journal"));
        assert!(scene.refusal().contains("ends before its last record"));
    }
}

#[test]
fn a_journal_of_another_course_of_events() {
    let scene = young();
    let other = scene.copy();
    for (scene, event) in [(&scene, b"three"), (&other, b"drei!")] {
        let mut opened = scene.open().unwrap();
        opened.store.append(event).unwrap();
        opened.store.close().unwrap();
    }
    put_back(&other.path("journal"), &scene.path("journal"));
    assert!(scene.refusal().contains("does not fit the manifest"));
}

#[test]
fn a_last_record_that_was_cut_off_was_never_acknowledged() {
    let scene = old();
    let mut opened = scene.open().unwrap();
    opened.store.append(&[9; 2000]).unwrap();
    drop(opened);
    edit(scene.segments().last().unwrap(), |bytes| {
        let end = written(bytes);
        bytes[end / 512 * 512..].fill(0);
    });
    assert_whole(&scene);
    let mut opened = scene.open().unwrap();
    opened.store.append(b"three").unwrap();
    drop(opened);
    assert_eq!(events(&scene.open().unwrap()), [b"one".as_slice(), b"two", b"three"]);
}

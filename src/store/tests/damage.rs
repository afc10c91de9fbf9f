//! One test for each damage that was ever seen, or is to be feared.

use std::fs;

use crate::store::backend::Backend;
use crate::store::batch::Row;
use crate::store::error::OpenError;
use crate::store::sled::Sled;
use crate::store::{Change, Tree};
use crate::vault::VaultError;

use super::scene::{Scene, change, edit, events, open_at, put_back, rows};

/// A store with 40 records of 20 checkpoints, and two events behind them. Its journal holds all of that.
pub(super) fn young() -> Scene {
    filled(1 << 20)
}

/// The same, but its journal holds the last checkpoints only.
pub(super) fn old() -> Scene {
    filled(super::scene::SEGMENT)
}

fn filled(segment: u64) -> Scene {
    let scene = Scene::new();
    let environment = [("GOLLM_MASTER_PASSWORD", "correct horse")].into_iter().collect();
    let scale = crate::store::opening::Scale { segment, cost: crate::vault::kdf::Cost::LEAST };
    let setting = crate::vault::master::MasterSetting::Auto;
    let mut opened = crate::store::opening::open(scene.dir.path(), &setting, true, &environment, scale).unwrap();
    for round in 0..20 {
        opened.store.append(&[round; 100]).unwrap();
        opened.store.checkpoint(&[change(&format!("a{round:02}"), &"x".repeat(300)), change(&format!("b{round:02}"), "y")]).unwrap();
    }
    opened.store.append(b"one").unwrap();
    opened.store.append(b"two").unwrap();
    opened.store.close().unwrap();
    scene
}

pub(super) fn assert_whole(scene: &Scene) {
    let opened = scene.open().unwrap();
    assert_eq!(opened.records.len(), 40);
    assert_eq!(rows(&opened)[39], ("b19", "y"));
    assert_eq!(events(&opened), [b"one", b"two"]);
    drop(opened);
    assert!(scene.open().unwrap().warnings.is_empty(), "it was mended for good");
}

/// A young store is mended, an old one refused, and the same again at the next try.
fn mended_or_refused(hurt: impl Fn(&Scene), words: &str) {
    let scene = young();
    hurt(&scene);
    assert_whole(&scene);
    let scene = old();
    hurt(&scene);
    let refusal = scene.refusal();
    assert!(refusal.contains(words), "{refusal}");
}

pub(super) fn refused(hurt: impl Fn(&Scene), words: &str) {
    for scene in [young(), old()] {
        hurt(&scene);
        let refusal = scene.refusal();
        assert!(refusal.contains(words), "{refusal}");
    }
}

#[test]
fn an_unhurt_store_opens() {
    assert_whole(&young());
    assert_whole(&old());
}

/// Where a file ends that was filled with zeros ahead.
pub(super) fn written(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).unwrap()
}

#[test]
fn a_database_that_was_cut() {
    let mut refusals = 0;
    for eighth in 0..8 {
        let cut = |bytes: &mut Vec<u8>| bytes.truncate(written(bytes) * eighth / 8);
        let scene = young();
        scene.edit("sled/db", cut);
        assert_whole(&scene);
        // What is lost of an old one may be no more than its journal holds.
        let scene = old();
        scene.edit("sled/db", cut);
        if scene.open().is_ok() {
            assert_whole(&scene);
        } else {
            assert!(scene.refusal().contains("has lost records"));
            refusals += 1;
        }
    }
    assert!(refusals > 2, "{refusals}");
}

#[test]
fn a_database_that_was_emptied() {
    mended_or_refused(|scene| scene.edit("sled/db", Vec::clear), "0 of 40 usage records");
}

#[test]
fn a_database_that_was_deleted() {
    mended_or_refused(|scene| fs::remove_dir_all(scene.path("sled")).unwrap(), "0 of 40 usage records");
}

#[test]
fn a_database_whose_beginning_was_overwritten() {
    mended_or_refused(|scene| scene.edit("sled/db", |bytes| bytes[..16].fill(0xee)), "has lost records");
}

#[test]
fn a_database_with_flipped_bytes() {
    for place in 1..12 {
        let scene = young();
        scene.edit("sled/db", |bytes| {
            let at = written(bytes) * place / 12;
            bytes[at] ^= 0x40;
            bytes[at + 1] ^= 0x01;
        });
        assert_whole(&scene);
    }
}

#[test]
fn a_database_that_was_put_back_to_an_older_copy() {
    let scene = young();
    let before = scene.copy();
    let mut opened = scene.open().unwrap();
    opened.store.checkpoint(&[change("a00", "new")]).unwrap();
    drop(opened);
    put_back(&before.path("sled"), &scene.path("sled"));
    let opened = scene.open().unwrap();
    assert_eq!(rows(&opened)[0], ("a00", "new"));
    assert_eq!(opened.warnings.len(), 1);
}

#[test]
fn an_older_copy_of_the_database_that_the_journal_does_not_reach() {
    let scene = old();
    let before = scene.copy();
    let mut opened = scene.open().unwrap();
    opened.store.checkpoint(&[change("a00", "new")]).unwrap();
    for round in 0..60 {
        opened.store.append(&[round; 400]).unwrap();
    }
    opened.store.checkpoint(&[change("a01", "new")]).unwrap();
    drop(opened);
    put_back(&before.path("sled"), &scene.path("sled"));
    let refusal = scene.refusal();
    assert!(refusal.contains("40 usage records of which some are not the newest"), "{refusal}");
}

#[test]
fn a_snapshot_that_was_left_half_made() {
    let scene = old();
    fs::write(scene.path("sled/snap.0000000000000010.generating"), b"half").unwrap();
    assert_whole(&scene);
}

#[test]
fn two_values_that_were_swapped() {
    let swap = |scene: &Scene| {
        let mut sled = Sled::open(&scene.path("sled")).unwrap();
        let (epoch, rows) = sled.load().unwrap();
        let at = |key: &str| (Tree::Usage, key.as_bytes().to_vec());
        let row = |key: &str, value: &str| Row { tree: Tree::Usage, key: key.into(), value: rows.get(&at(value)).cloned() };
        sled.apply(epoch, &[row("a00", "a01"), row("a01", "a00")]).unwrap();
        sled.sync().unwrap();
    };
    mended_or_refused(swap, "40 usage records of which some are not the newest");
}

#[test]
fn a_secret_that_cannot_be_opened_is_told_by_its_key() {
    let scene = Scene::new();
    let mut opened = scene.open().unwrap();
    let secret = |key: &str| Change { tree: Tree::Secrets, ..change(key, "sk-example") };
    opened.store.checkpoint(&[secret("p/a"), secret("p/b"), change("u", "1")]).unwrap();
    for round in 0..60 {
        opened.store.append(&[round; 400]).unwrap();
    }
    opened.store.checkpoint(&[change("u", "2")]).unwrap();
    drop(opened);
    let mut sled = Sled::open(&scene.path("sled")).unwrap();
    let epoch = sled.load().unwrap().0;
    sled.apply(epoch, &[Row { tree: Tree::Secrets, key: b"p/a".to_vec(), value: Some(vec![1; 40]) }]).unwrap();
    sled.sync().unwrap();
    drop(sled);
    let mut opened = scene.open().unwrap();
    assert_eq!(opened.unreadable, [(Tree::Secrets, b"p/a".to_vec())]);
    assert_eq!(rows(&opened), [("p/b", "sk-example"), ("u", "2")]);
    opened.store.checkpoint(&[secret("p/a")]).unwrap();
    drop(opened);
    assert!(scene.open().unwrap().unreadable.is_empty());
}

#[test]
fn a_header_that_was_deleted_or_changed() {
    refused(|scene| fs::remove_file(scene.path("header")).unwrap(), "it is missing, and the keys of the store with it");
    refused(|scene| scene.edit("header", |bytes| bytes[60] ^= 1), "the header of the store is damaged");
    refused(|scene| scene.edit("header", Vec::clear), "the header of the store is damaged");
}

#[test]
fn a_manifest_that_was_deleted_or_changed() {
    refused(|scene| fs::remove_file(scene.path("manifest")).unwrap(), "it is missing");
    refused(|scene| scene.edit("manifest", |bytes| bytes[60] ^= 1), "it was changed");
    refused(|scene| scene.edit("manifest", Vec::clear), "it was changed");
}

#[test]
fn a_manifest_that_was_put_back_to_an_older_copy() {
    for (rounds, opens) in [(1, true), (60, false)] {
        let scene = young();
        let manifest = fs::read(scene.path("manifest")).unwrap();
        let mut opened = open_at(scene.dir.path(), "correct horse").unwrap();
        for round in 0..rounds {
            opened.store.append(&vec![round; 20_000]).unwrap();
        }
        opened.store.checkpoint(&[change("a00", "new")]).unwrap();
        drop(opened);
        fs::write(scene.path("manifest"), manifest).unwrap();
        if opens {
            assert_eq!(rows(&scene.open().unwrap())[0], ("a00", "new"));
        } else {
            assert!(scene.refusal().contains("does not fit the manifest"));
        }
    }
}

#[test]
fn a_wrong_password_is_told_from_damage_and_changes_nothing() {
    let scene = old();
    let manifest = fs::read(scene.path("manifest")).unwrap();
    let refused = open_at(scene.dir.path(), "wrong").map(drop);
    assert!(matches!(refused, Err(OpenError::Vault(VaultError::WrongPassword { .. }))));
    assert!(matches!(open_at(scene.dir.path(), "").map(drop), Err(OpenError::Vault(VaultError::NoMaster { .. }))));
    assert_eq!(fs::read(scene.path("manifest")).unwrap(), manifest);
    assert_whole(&scene);
}

#[test]
fn no_flipped_bit_of_any_file_goes_unseen() {
    let bases = [young(), old()];
    let mut seed = 1_u64;
    for round in 0..60 {
        let scene = bases[round % 2].copy();
        let names = ["header", "manifest", "sled/db", "sled/conf", "journal"];
        let path = match names[round % names.len()] {
            "journal" => scene.segments().pop().unwrap(),
            name => scene.path(name),
        };
        edit(&path, |bytes| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = usize::try_from(seed >> 33).unwrap() % (written(bytes) + 1);
            bytes[at] ^= 1 << (seed >> 20 & 7);
        });
        let opened = scene.open().map(drop);
        match opened {
            Ok(()) => assert_whole(&scene),
            Err(_) => assert!(scene.refusal().contains("; "), "{path:?} {}", scene.refusal()),
        }
    }
}

#[test]
fn a_lost_header_is_a_loss_in_whatever_generation_the_store_is() {
    let scene = young();
    let mut opened = scene.open().unwrap();
    opened.store.checkpoint(&[]).unwrap();
    let mut next = opened.store.rekey().unwrap();
    while !opened.store.rekey_step(&mut next).unwrap() {}
    opened.store.rekeyed(next).unwrap();
    opened.store.close().unwrap();
    let header = fs::read(scene.path("header")).unwrap();
    fs::remove_file(scene.path("header")).unwrap();
    assert!(scene.refusal().contains("it is missing"));
    fs::write(scene.path("header"), header).unwrap();
    assert_eq!(scene.open().unwrap().records.len(), 40);
}

#[cfg(unix)]
#[test]
fn a_link_in_the_place_of_a_file_is_refused_and_not_followed() {
    for name in ["header", "header.new", "manifest", "lock", "sled", "journal", "sled/conf"] {
        let scene = young();
        let outside = scene.path("outside");
        fs::rename(scene.path(name), &outside).or_else(|_| fs::write(&outside, "another's")).unwrap();
        let before = fs::metadata(&outside).unwrap().permissions();
        std::os::unix::fs::symlink(&outside, scene.path(name)).unwrap();
        assert!(scene.refusal().contains("it is a link"), "{name}");
        assert_eq!(fs::metadata(&outside).unwrap().permissions(), before, "{name}");
    }
}

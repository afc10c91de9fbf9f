//! The store against damage, crashes and full disks: each is mended exactly, or refused with words.

mod scene;

use super::*;
use scene::{Scene, change};

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
    assert_eq!(opened.events, [b"one", b"two"]);
    opened.store.checkpoint(&[change("a", "1"), change("b", "2")]).unwrap();
    opened.store.append(b"three").unwrap();
    drop(opened);
    let opened = scene.open().unwrap();
    assert_eq!(opened.events, [b"three"]);
    assert_eq!(scene::rows(&opened), [("a", "1"), ("b", "2")]);
    opened.store.close().unwrap();
}

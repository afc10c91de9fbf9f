//! Random histories with crashes, against a model that is a map and a list.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::store::Opened;
use crate::store::fault::{Step, strike};

use super::scene::{Scene, change, events, removal, rows};

#[derive(Debug, Clone)]
enum Act {
    Append(usize),
    Checkpoint(Vec<(u8, Option<u8>)>),
    /// The disk fails at a step, for one append and one checkpoint.
    Fail(Step),
    /// The power goes, and comes back.
    Crash,
    /// The daemon ends and starts.
    Restart,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let step = prop::sample::select(vec![Step::Write, Step::Sync, Step::Segment, Step::Journaled, Step::Applied, Step::Flushed, Step::Listed]);
    let act = prop_oneof![
        8 => (0_usize..1500).prop_map(Act::Append),
        3 => prop::collection::vec((0_u8..12, prop::option::of(any::<u8>())), 0..6).prop_map(Act::Checkpoint),
        1 => step.prop_map(Act::Fail),
        1 => Just(Act::Crash),
        1 => Just(Act::Restart),
    ];
    prop::collection::vec(act, 1..40)
}

#[derive(Default)]
struct Model {
    rows: BTreeMap<String, String>,
    events: Vec<Vec<u8>>,
    count: usize,
}

impl Model {
    fn append(&mut self, opened: &mut Opened, length: usize) {
        self.count += 1;
        let event = format!("{} {}", self.count, "x".repeat(length)).into_bytes();
        if opened.store.append(&event).is_ok() {
            self.events.push(event);
        }
    }

    fn checkpoint(&mut self, opened: &mut Opened, changes: &[(u8, Option<u8>)]) {
        let named = |(key, value): &(u8, Option<u8>)| match value {
            Some(value) => change(&format!("{key:03}"), &value.to_string()),
            None => removal(&format!("{key:03}")),
        };
        let changes: Vec<_> = changes.iter().map(named).collect();
        if matches!(opened.store.checkpoint(&changes), Ok(()) | Err(crate::store::error::AppendError::Behind { .. })) {
            for change in &changes {
                let key = String::from_utf8(change.key.clone()).unwrap();
                match &change.value {
                    Some(value) => self.rows.insert(key, String::from_utf8(value.to_vec()).unwrap()),
                    None => self.rows.remove(&key),
                };
            }
            self.events.clear();
        }
    }

    fn assert_is(&self, opened: &Opened) {
        let expected: Vec<_> = self.rows.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(rows(opened), expected);
        assert!(events(opened) == self.events, "{} events, not {}", opened.events.len(), self.events.len());
    }
}

fn play(acts: &[Act]) {
    let mut scene = Scene::new();
    let mut opened = scene.open().unwrap();
    let mut model = Model::default();
    for act in acts {
        match act {
            Act::Append(length) => model.append(&mut opened, *length),
            Act::Checkpoint(changes) => model.checkpoint(&mut opened, changes),
            Act::Fail(step) => {
                strike(&[(*step, 0)]);
                model.append(&mut opened, 900);
                model.checkpoint(&mut opened, &[(1, Some(1))]);
                strike(&[]);
            }
            Act::Crash => {
                let copy = scene.copy();
                drop(opened);
                scene = copy;
                opened = scene.open().unwrap();
                model.assert_is(&opened);
            }
            Act::Restart => {
                opened.store.close().unwrap();
                opened = scene.open().unwrap();
                model.assert_is(&opened);
            }
        }
    }
    drop(opened);
    model.assert_is(&scene.open().unwrap());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn every_history_ends_in_the_state_of_the_model(acts in acts()) {
        play(&acts);
    }
}

//! A damaged store: what can be opened is saved into another generation, what is lost is said, and the damaged files are kept.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk;
use crate::environment::Environment;
use crate::vault::header::{Header, Request};
use crate::vault::kdf::Cost;
use crate::vault::keyring::RING;
use crate::vault::master::MasterSetting;
use crate::vault::{Place, Vault};

use super::backend::Backend;
use super::error::{OpenError, TreeLoss};
use super::generation::{Next, after, dir_of, switch};
use super::ledger::{Ledger, Rows, apply};
use super::manifest::Manifest;
use super::opening::{self, Scale};
use super::replay::{Salvage, salvage};
use super::sled::Sled;
use super::{Record, SEALED, Tree};

/// What a repair came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repaired {
    /// Whether there was anything to repair.
    pub was_damaged: bool,
    /// Records that are there, by tree.
    pub kept: Vec<(Tree, usize)>,
    /// What is lost, a sentence each.
    pub lost: Vec<String>,
    /// Where the damaged files are.
    pub damaged: Option<PathBuf>,
}

/// Repairs the store in `dir`, which nobody else may have open. Slow.
///
/// # Errors
/// The header can't be read, the master secret is not the store's, or the disk fails; nothing was changed then.
pub fn repair(dir: &Path, master: &MasterSetting, environment: &Environment) -> Result<Repaired, OpenError> {
    repair_with(dir, master, environment, Scale::STANDARD)
}

pub(super) fn repair_with(dir: &Path, master: &MasterSetting, environment: &Environment, scale: Scale) -> Result<Repaired, OpenError> {
    let header = Header::read(dir)?
        .ok_or_else(|| OpenError::Damaged { path: dir.join("header"), what: "it is missing, and the keys of the store with it" })?;
    let encrypt = header.is_wrapped();
    let opens = opening::open(dir, master, encrypt, environment, scale);
    match opens {
        Ok(opened) => {
            let kept = counted(opened.records.iter().map(|record| record.tree));
            let lost = opened.unreadable.iter().map(|(tree, key)| unreadable(*tree, key)).collect();
            return Ok(Repaired { was_damaged: false, kept, lost, damaged: None });
        }
        Err(why @ (OpenError::Damaged { .. } | OpenError::Loss { .. } | OpenError::Backend { .. })) => {
            tracing::info!(error = %why, "the store is repaired")
        }
        Err(why) => return Err(why),
    }
    let _lock = opening::locked(dir)?;
    let request = Request { dir, setting: master, encrypt, environment, ring: &RING, cost: Cost::STANDARD };
    let generation = header.generation;
    let vault = Arc::new(header.unlock(&request)?.vault);
    save(dir, generation, &vault, scale)
}

fn save(home: &Path, generation: u32, vault: &Arc<Vault>, scale: Scale) -> Result<Repaired, OpenError> {
    let files = dir_of(home, generation);
    let mut lost = Vec::new();
    let manifest = Manifest::read(&files.join("manifest"), vault).ok().flatten().flatten();
    if manifest.is_none() {
        lost.push("the manifest: nobody can tell whether whole records are missing".to_owned());
    }
    let (epoch, mut rows) = Sled::open(&files.join("sled")).and_then(|backend| backend.load()).unwrap_or_else(|why| {
        lost.push(format!("the database can't be read ({why}): only what the journal still holds is there"));
        (0, Rows::new())
    });
    let Salvage { checkpoints, events, last, lost: of_journal } = salvage(&files.join("journal"), vault);
    let of_journal = of_journal.or_else(|| {
        let missing = manifest.as_ref().map_or(0, |manifest| manifest.journal.seq.saturating_sub(last));
        (missing > 0).then(|| format!("its last {missing} records are missing: it was cut, or is an older copy"))
    });
    lost.extend(
        of_journal
            .map(|why| format!("the end of the journal: {why}; what was acknowledged after it is lost, and limits may allow again what was spent")),
    );
    // What the database holds already is in it, and newer.
    let later: Vec<_> = checkpoints.iter().filter(|checkpoint| checkpoint.seq > epoch).collect();
    for checkpoint in &later {
        apply(&mut rows, &checkpoint.rows);
    }
    let reached = later.last().map_or(epoch, |newest| newest.seq);
    let newest = checkpoints.last().map(|newest| (newest.seq, newest.after.clone()));
    let expected =
        newest.into_iter().chain(manifest.map(|manifest| (manifest.epoch, manifest.ledger))).max_by_key(|(seq, _)| *seq).map(|(_, ledger)| ledger);
    if let Some(expected) = &expected {
        lost.extend(expected.losses(&Ledger::of(vault, &rows)).iter().map(missing));
    }
    let mut records = Vec::new();
    for ((tree, key), sealed) in &rows {
        match vault.open(&Place { tree: tree.name(), key, version: SEALED }, sealed) {
            Ok(value) => records.push(Record { tree: *tree, key: key.clone(), value }),
            Err(_) => lost.push(unreadable(*tree, key)),
        }
    }
    let kept = counted(records.iter().map(|record| record.tree));
    let number = after(home, generation)?;
    let mut next = Next::begin(home, number, Arc::clone(vault), Rows::new())?;
    next.fill(records)?;
    let mut journal = next.seal_off(scale.segment)?;
    for (_, bytes) in events.iter().filter(|(seq, _)| *seq > reached) {
        journal.append(super::frame::Kind::Events, bytes)?;
    }
    drop((journal, next));
    let header = Header::existing(home)?;
    let damaged = home.join(format!("damaged-{generation}"));
    set_aside(home, &files, &damaged, generation).map_err(|cause| OpenError::Io { path: damaged.clone(), cause })?;
    switch(header, home, vault, number)?;
    Ok(Repaired { was_damaged: true, kept, lost, damaged: Some(damaged) })
}

/// Copies the damaged files: until the header names the others, these are the store.
fn set_aside(home: &Path, files: &Path, damaged: &Path, generation: u32) -> std::io::Result<()> {
    disk::remove_dir(damaged)?;
    disk::private_dir(damaged)?;
    for name in ["manifest", "journal", "sled"] {
        disk::copy(&files.join(name), &damaged.join(name))?;
    }
    disk::copy(&home.join("header"), &damaged.join("header"))?;
    tracing::debug!(generation, "the damaged files were copied");
    disk::close_to_others(damaged)?;
    disk::sync_dir(damaged).and_then(|()| disk::sync_dir(home))
}

fn missing(TreeLoss { tree, expected, found }: &TreeLoss) -> String {
    if found < expected {
        format!("{} of {expected} records of the tree `{tree}`", expected - found)
    } else {
        format!("the newest records of the tree `{tree}`: what there is of it is older, or was changed")
    }
}

fn unreadable(tree: Tree, key: &[u8]) -> String {
    match tree {
        Tree::Secrets => format!("the secret of {}: set it again with `gollmctl key set`", String::from_utf8_lossy(key)),
        _ => format!("a record of the tree `{tree}`, which can't be opened"),
    }
}

fn counted(trees: impl Iterator<Item = Tree>) -> Vec<(Tree, usize)> {
    let trees: Vec<Tree> = trees.collect();
    let count = |tree| trees.iter().filter(|other| **other == tree).count();
    Tree::ALL.into_iter().map(|tree| (tree, count(tree))).filter(|(_, count)| *count > 0).collect()
}

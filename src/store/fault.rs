//! Where a crash or a full disk may strike; tests strike there, one step at a time. Outside tests nothing happens.

use std::io;

/// A step of the store that may be its last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// A record is about to be written.
    Write,
    /// A record is written, and not yet on the disk.
    Sync,
    /// A failed record is about to be erased.
    Erase,
    /// A segment is about to be made.
    Segment,
    /// A checkpoint is in the journal.
    Journaled,
    /// It is in the backend, and not yet on the disk.
    Applied,
    /// It is on the disk.
    Flushed,
    /// The manifest is written.
    Listed,
}

#[cfg(not(test))]
pub(super) fn reach(_: Step) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
thread_local! {
    static STRUCK: std::cell::Cell<Option<(Step, u32)>> = const { std::cell::Cell::new(None) };
}

/// Lets this thread's store fail at `step` until it is called again; `None` mends the disk. `after` visits go well before.
#[cfg(test)]
pub(super) fn strike(step: Option<Step>, after: u32) {
    STRUCK.set(step.map(|step| (step, after)));
}

#[cfg(test)]
pub(super) fn reach(step: Step) -> io::Result<()> {
    match STRUCK.get() {
        Some((struck, 0)) if struck == step => Err(io::Error::from(io::ErrorKind::StorageFull)),
        Some((struck, left)) if struck == step => {
            STRUCK.set(Some((struck, left - 1)));
            Ok(())
        }
        _ => Ok(()),
    }
}

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
    /// Another generation is about to be gone over to.
    Switch,
}

#[cfg(not(test))]
pub(super) fn reach(_: Step) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
thread_local! {
    static STRUCK: std::cell::RefCell<Vec<(Step, u32)>> = const { std::cell::RefCell::new(Vec::new()) };
}

/// Lets this thread's store fail at each of these steps, after so many visits that go well, until it is called again.
#[cfg(test)]
pub(super) fn strike(steps: &[(Step, u32)]) {
    STRUCK.set(steps.to_vec());
}

#[cfg(test)]
pub(super) fn reach(step: Step) -> io::Result<()> {
    STRUCK.with_borrow_mut(|struck| match struck.iter_mut().find(|(at, _)| *at == step) {
        Some((_, 0)) => Err(io::Error::from(io::ErrorKind::StorageFull)),
        Some((_, left)) => {
            *left -= 1;
            Ok(())
        }
        None => Ok(()),
    })
}

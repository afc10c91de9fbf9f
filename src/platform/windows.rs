//! Windows, where a named pipe's callers are known by the pipe's own access list.

use std::io;

use crate::id::Uid;
use crate::platform::Phase;

pub(super) fn own_uid() -> Uid {
    Uid(0)
}

pub(super) fn harden() -> Vec<String> {
    Vec::new()
}

pub(super) fn descriptors() -> u64 {
    u64::MAX
}

pub(super) fn notify(_: &Phase) -> io::Result<()> {
    Ok(())
}

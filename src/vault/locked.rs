//! Values that are not to reach the swap.

use std::ops::Deref;

/// A value on pages of its own, which the system is asked to keep in memory. What was copied to make it lay outside of them for a moment.
pub(super) struct Locked<T> {
    // Dropped first: once the pages are given back, others may have locked them.
    lock: Result<region::LockGuard, String>,
    page: Box<Page<T>>,
}

/// As far apart as the largest pages of the systems that gollm is built for, so that nobody else's lock is on them.
#[repr(align(16384))]
struct Page<T>(T);

impl<T> Locked<T> {
    pub(super) fn new(value: T) -> Self {
        let page = Box::new(Page(value));
        let lock = region::lock(&raw const *page, size_of::<Page<T>>()).map_err(|why| why.to_string());
        Self { lock, page }
    }

    /// Why the system does not keep it in memory; none: it does.
    pub(super) fn refused(&self) -> Option<&str> {
        self.lock.as_ref().err().map(String::as_str)
    }
}

impl<T> Deref for Locked<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.page.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locked_value_has_its_pages_for_itself() {
        let (one, other) = (Locked::new([1_u8; 40]), Locked::new([2_u8; 20_000]));
        assert_eq!((one[39], other[19_999]), (1, 2));
        for (address, size) in
            [((&raw const *one.page).addr(), size_of_val(&*one.page)), ((&raw const *other.page).addr(), size_of_val(&*other.page))]
        {
            assert_eq!((address % 16_384, size % 16_384), (0, 0));
        }
    }
}

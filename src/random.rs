//! Random bytes from the system, a few hundred at a time.

use std::cell::RefCell;

/// Bytes that one call to the system yields.
const AT_ONCE: usize = 512;

thread_local! {
    /// Unused random bytes.
    static UNUSED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The system yields no random bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system yields no random bytes")]
pub struct NoRandom;

/// `N` random bytes, at most 512.
///
/// # Errors
/// [`NoRandom`].
pub fn bytes<const N: usize>() -> Result<[u8; N], NoRandom> {
    UNUSED.with_borrow_mut(|unused| {
        if unused.len() < N {
            unused.resize(AT_ONCE.max(N), 0);
            if getrandom::fill(unused).is_err() {
                unused.clear();
                return Err(NoRandom);
            }
        }
        let taken = unused.split_off(unused.len() - N);
        taken.try_into().map_err(|_other_length| NoRandom)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_byte_is_given_twice() {
        let all: HashSet<[u8; 16]> = (0..10_000).map(|_| bytes().expect("random")).collect();
        assert_eq!(all.len(), 10_000);
    }
}

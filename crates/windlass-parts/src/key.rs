//! Names of cache entries: a hash of what an entry is made from.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// FNV-1a, 64 bits. Not against an adversary: it tells one pin of versions from another, and stays
/// the same from one compiler to the next, which the hasher of std does not promise.
pub(crate) struct Key(u64);

impl Key {
    pub(crate) fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    pub(crate) fn add(mut self, bytes: &[u8]) -> Self {
        // The length first, so that the border between two pieces counts.
        for byte in bytes.len().to_le_bytes().iter().chain(bytes) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        self
    }

    pub(crate) fn add_file(self, path: &Path) -> Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("read `{}`", path.display()))?;
        Ok(self.add(&bytes))
    }

    pub(crate) fn name(&self, prefix: &str) -> String {
        format!("{prefix}-{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_border_between_two_pieces_counts() {
        let one = Key::new().add(b"ab").add(b"c").name("x");
        let other = Key::new().add(b"a").add(b"bc").name("x");
        assert_ne!(one, other);
        assert_eq!(one, Key::new().add(b"ab").add(b"c").name("x"));
    }
}

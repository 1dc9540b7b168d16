//! The random ends of names.

/// Letters and digits that make no words. Source: `k8s.io/apimachinery/pkg/util/rand`.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// A stream of suffixes that a seed decides.
#[derive(Clone, Debug)]
pub(super) struct Suffixes {
    state: u64,
}

impl Suffixes {
    pub(super) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next suffix of so many characters.
    pub(super) fn next(&mut self, length: usize) -> String {
        // SplitMix64: every seed gives a full period, which names need and nothing else does.
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        encode(mixed ^ (mixed >> 31), length)
    }
}

/// So many characters that stand for a number.
pub(super) fn encode(number: u64, length: usize) -> String {
    let mut rest = number;
    (0..length)
        .map(|_| {
            let digit = usize::try_from(rest % 27).unwrap_or(0);
            rest /= 27;
            char::from(ALPHABET[digit])
        })
        .collect()
}

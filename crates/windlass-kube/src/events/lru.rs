use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// A map that forgets what was used longest ago.
#[derive(Debug)]
pub(super) struct Lru<K, V> {
    capacity: usize,
    clock: u64,
    entries: HashMap<K, (u64, V)>,
    by_use: BTreeMap<u64, K>,
}

impl<K: Clone + Eq + Hash, V> Lru<K, V> {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            clock: 0,
            entries: HashMap::new(),
            by_use: BTreeMap::new(),
        }
    }

    /// The value of `key`, made by `default` when it is not known.
    pub(super) fn entry(&mut self, key: &K, default: impl FnOnce() -> V) -> &mut V {
        self.clock += 1;
        let clock = self.clock;
        let value = self.entries.remove(key);
        let (used, value) = value.unwrap_or_else(|| (clock, default()));
        self.by_use.remove(&used);
        self.by_use.insert(clock, key.clone());
        if self.entries.len() >= self.capacity
            && let Some((_, oldest)) = self.by_use.pop_first()
        {
            self.entries.remove(&oldest);
        }
        &mut self.entries.entry(key.clone()).or_insert((clock, value)).1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_longest_ago_goes_first() {
        let mut lru = Lru::new(2);
        *lru.entry(&"a", || 0) = 1;
        *lru.entry(&"b", || 0) = 2;
        assert_eq!(*lru.entry(&"a", || 0), 1);
        *lru.entry(&"c", || 0) = 3;
        assert_eq!(*lru.entry(&"a", || 9), 1);
        assert_eq!(*lru.entry(&"b", || 9), 9);
    }
}

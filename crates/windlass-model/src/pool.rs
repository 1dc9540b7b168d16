use std::hash::Hash;
use std::sync::Arc;

use rustc_hash::FxHashSet;

/// Makes equal values pointer-equal: the same value put in twice comes out as the same [`Arc`].
#[derive(Clone, Debug)]
pub struct Pool<T> {
    values: FxHashSet<Arc<T>>,
}

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self {
            values: FxHashSet::default(),
        }
    }
}

impl<T: Eq + Hash> Pool<T> {
    /// The one shared copy of `value`.
    pub fn intern(&mut self, value: T) -> Arc<T> {
        if let Some(known) = self.values.get(&value) {
            return Arc::clone(known);
        }
        let shared = Arc::new(value);
        self.values.insert(Arc::clone(&shared));
        shared
    }

    /// Forgets the values that nobody but this pool holds any more.
    pub fn sweep(&mut self) {
        self.values.retain(|value| Arc::strong_count(value) > 1);
    }

    /// How many different values are held.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

//! The counters that devices of a pool share.

use windlass_model::{CounterSet, Quantity, SchedulerVersion, SmolStr};

use super::super::pools::Pool;
use super::{Place, Search};

impl<'a> Search<'a, '_> {
    /// Whether the pool's shared counters allow for the device. All of them are looked at: where
    /// one is overdrawn, no device that takes of any can be had.
    pub(super) fn has_counters(&mut self, place: Place) -> bool {
        let consumed = &self.device(place).consumes_counters;
        if consumed.is_empty() {
            return true;
        }
        let counting = self.counting_pool(place.0);
        let pool = &self.ground.pools[counting];
        pool.counter_sets().all(|set| {
            set.counters.iter().all(|most| {
                let key = (counting, set.name.clone(), most.name.clone());
                let taken = self.counters.get(&key).copied().unwrap_or(Quantity::ZERO);
                let before = self.counted_before(pool, &set.name, &most.name);
                let wanted = sum_of(consumed, &set.name, &most.name);
                taken.plus(before).plus(wanted) <= most.value
            })
        })
    }

    /// Takes the device's counters, or gives them back.
    pub(super) fn count(&mut self, place: Place, combine: impl Fn(Quantity, Quantity) -> Quantity) {
        let consumed = &self.device(place).consumes_counters;
        if consumed.is_empty() {
            return;
        }
        let counting = self.counting_pool(place.0);
        for set in consumed {
            for counter in &set.counters {
                let key = (counting, set.name.clone(), counter.name.clone());
                let sum = self.counters.entry(key).or_insert(Quantity::ZERO);
                *sum = combine(*sum, counter.value);
            }
        }
    }

    /// The pool whose counters stand for this one's: up to 1.36 the scheduler takes pools of one
    /// name for one, whatever their drivers, and the one that it comes upon first for all.
    fn counting_pool(&mut self, pool: usize) -> usize {
        if self.ground.version >= SchedulerVersion::V1_37 {
            return pool;
        }
        let name = self.ground.pools[pool].name;
        *self.counting.entry(name).or_insert(pool)
    }

    /// What allocated devices of the pool have taken of a counter.
    fn counted_before(&self, pool: &Pool<'a>, set: &SmolStr, counter: &SmolStr) -> Quantity {
        pool.all_devices()
            .filter(|device| self.ground.allocated.is_used(&pool.device_id(device)))
            .fold(Quantity::ZERO, |sum, device| {
                sum.plus(sum_of(&device.consumes_counters, set, counter))
            })
    }
}

/// What of these counters is of one name in one set.
fn sum_of(sets: &[CounterSet], set: &SmolStr, counter: &SmolStr) -> Quantity {
    sets.iter()
        .filter(|taken| taken.name == *set)
        .flat_map(|taken| &taken.counters)
        .filter(|taken| taken.name == *counter)
        .fold(Quantity::ZERO, |sum, taken| sum.plus(taken.value))
}

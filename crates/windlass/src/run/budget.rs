use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use windlass_core::{Budget, TimeLimit};
use windlass_model::Duration;

/// Limits by duration, measured on the wall clock.
#[derive(Debug, Default)]
pub(crate) struct WallClock {
    ends: Mutex<BTreeMap<TimeLimit, Instant>>,
}

impl WallClock {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<TimeLimit, Instant>> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Budget for WallClock {
    fn start(&self, limit: TimeLimit, allowed: Duration) {
        let allowed = allowed.try_into().unwrap_or_default();
        match Instant::now().checked_add(allowed) {
            Some(end) => self.lock().insert(limit, end),
            None => self.lock().remove(&limit),
        };
    }

    fn is_spent(&self, limit: TimeLimit) -> bool {
        self.lock()
            .get(&limit)
            .is_some_and(|end| *end <= Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_strikes_when_its_time_is_over() {
        let clock = WallClock::default();
        assert!(!clock.is_spent(TimeLimit::Binpacking));
        clock.start(TimeLimit::Binpacking, Duration::ZERO);
        clock.start(TimeLimit::SalvoScaleUp, Duration::from_hours(1));
        clock.start(TimeLimit::PendingPods, Duration::MAX);
        assert!(clock.is_spent(TimeLimit::Binpacking));
        assert!(!clock.is_spent(TimeLimit::SalvoScaleUp));
        assert!(!clock.is_spent(TimeLimit::PendingPods));
    }
}

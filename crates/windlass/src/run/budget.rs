use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use windlass_core::{Budget, Part, TimeLimit};
use windlass_model::Duration;

/// Limits by duration, measured on the wall clock, and how long the parts of a decision took.
#[derive(Debug, Default)]
pub(crate) struct WallClock {
    ends: Mutex<BTreeMap<TimeLimit, Instant>>,
    timings: Mutex<Timings>,
}

#[derive(Debug, Default)]
struct Timings {
    begun: Vec<(Part, Instant)>,
    ended: Vec<(Part, std::time::Duration)>,
}

impl WallClock {
    /// The parts that have ended, each with the time that it took.
    pub(crate) fn into_timings(self) -> Vec<(Part, std::time::Duration)> {
        let timings = self.timings.into_inner();
        timings.unwrap_or_else(PoisonError::into_inner).ended
    }

    fn timings(&self) -> MutexGuard<'_, Timings> {
        self.timings.lock().unwrap_or_else(PoisonError::into_inner)
    }

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

    fn begin(&self, part: Part) {
        self.timings().begun.push((part, Instant::now()));
    }

    fn end(&self, _: Part) {
        let mut timings = self.timings();
        if let Some((part, began)) = timings.begun.pop() {
            timings.ended.push((part, began.elapsed()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_timed_inside_one_another() {
        let clock = WallClock::default();
        clock.begin(Part::ScaleUp);
        clock.begin(Part::Estimate);
        clock.end(Part::Estimate);
        clock.end(Part::ScaleUp);
        let timings = clock.into_timings();
        let parts: Vec<Part> = timings.iter().map(|(part, _)| *part).collect();
        assert_eq!(parts, [Part::Estimate, Part::ScaleUp]);
        assert!(timings[0].1 <= timings[1].1);
    }

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

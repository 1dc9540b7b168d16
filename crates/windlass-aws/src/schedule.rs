//! When AWS is asked again. Pure.

use jiff::Timestamp;
use windlass_model::Duration;

/// Between two listings of all groups at rest. Under a minute, so that an outside change is seen
/// within one.
const LISTING: Duration = Duration::from_secs(55);
/// Pauses after listings that failed: the first, and the longest.
const FIRST_RETRY: Duration = Duration::from_secs(10);
const LONGEST_RETRY: Duration = Duration::from_secs(120);

/// When the listing of all groups, or another kind of call that is made again and again, is due.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListingSchedule {
    /// Nothing before the first.
    due: Option<Timestamp>,
    failures: u32,
}

impl ListingSchedule {
    /// Whether it is due.
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.due.is_none_or(|due| due <= now)
    }

    /// When it is due; none means at once.
    pub fn due(&self) -> Option<Timestamp> {
        self.due
    }

    /// Notes a listing that succeeded.
    pub fn succeeded(&mut self, now: Timestamp) {
        self.failures = 0;
        self.due = Some(later(now, LISTING));
    }

    /// Notes a listing that failed. `dice`, uniform in `[0, 1)`, spreads the retries: an API that
    /// throttles is not to be met by all clients at once again.
    pub fn failed(&mut self, now: Timestamp, dice: f64) {
        let doubled = FIRST_RETRY
            .saturating_mul(2_i32.saturating_pow(self.failures.min(8)))
            .min(LONGEST_RETRY);
        self.failures = self.failures.saturating_add(1);
        let spread = doubled.mul_f64(0.8 + 0.4 * dice.clamp(0.0, 1.0));
        self.due = Some(later(now, spread));
    }

    /// Makes it due at once, unless AWS is failing: then the pause stands.
    pub fn force(&mut self) {
        if self.failures == 0 {
            self.due = None;
        }
    }
}

/// The pause before a group with instances outstanding is looked at again, by how long they have
/// been so: fast while a failure can still be routed around, then slower, for AWS's own retries
/// come minutes apart.
pub fn poll_pause(outstanding_for: Duration) -> Duration {
    if outstanding_for < Duration::from_secs(15) {
        Duration::from_secs(1)
    } else if outstanding_for < Duration::from_mins(15) {
        Duration::from_secs(10)
    } else {
        Duration::from_secs(30)
    }
}

/// `now` and `pause`, or the end of time.
pub(crate) fn later(now: Timestamp, pause: Duration) -> Timestamp {
    now.checked_add(pause).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// Point 4 of the acceptance checklist, as far as the clock decides.
    #[test]
    fn checklist_04_one_listing_a_minute_and_one_more_when_forced() {
        let mut schedule = ListingSchedule::default();
        assert!(schedule.is_due(at(0)));
        schedule.succeeded(at(0));
        assert!(!schedule.is_due(at(50)));
        assert!(schedule.is_due(at(59)));
        schedule.force();
        assert!(schedule.is_due(at(1)));
    }

    #[test]
    fn failures_are_met_with_growing_pauses_that_nothing_cuts_short() {
        let mut schedule = ListingSchedule::default();
        let mut pauses = Vec::new();
        for _ in 0..6 {
            schedule.failed(at(0), 0.5);
            pauses.push(schedule.due().unwrap().as_second());
        }
        assert_eq!(pauses, [10, 20, 40, 80, 120, 120]);
        schedule.force();
        assert!(!schedule.is_due(at(100)));
    }

    #[test]
    fn outstanding_instances_are_watched_closely_at_first() {
        let pause = |seconds| poll_pause(Duration::from_secs(seconds)).as_secs();
        assert_eq!(
            [pause(0), pause(14), pause(15), pause(3600)],
            [1, 1, 10, 30]
        );
    }
}

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use windlass_config::Config;

/// Whether the loop lives: what `/health-check` answers. Source: `pkg/metrics/liveness.go`.
#[derive(Clone, Debug)]
pub(crate) struct Health {
    limits: Limits,
    times: Arc<Mutex<Option<Times>>>,
}

#[derive(Clone, Copy, Debug)]
struct Limits {
    inactivity: Duration,
    failing: Duration,
    startup: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Times {
    last_activity: Instant,
    last_success: Instant,
    has_succeeded: bool,
}

impl Health {
    /// Healthy, whatever happens, until [`Self::begin`].
    pub(crate) fn new(config: &Config) -> Self {
        let process = &config.process;
        Self {
            limits: Limits {
                inactivity: process.max_inactivity.unsigned_abs(),
                failing: process.max_failing_time.unsigned_abs(),
                startup: process.max_startup_time.unsigned_abs(),
            },
            times: Arc::default(),
        }
    }

    /// From now on the loop is expected to live.
    pub(crate) fn begin(&self, now: Instant) {
        *self.lock() = Some(Times {
            last_activity: now,
            last_success: now,
            has_succeeded: false,
        });
    }

    /// The loop is not expected to live any more: another leads.
    pub(crate) fn pause(&self) {
        *self.lock() = None;
    }

    /// A loop began.
    pub(crate) fn note_activity(&self, now: Instant) {
        if let Some(times) = self.lock().as_mut() {
            times.last_activity = now;
        }
    }

    /// A loop succeeded.
    pub(crate) fn note_success(&self, now: Instant) {
        if let Some(times) = self.lock().as_mut() {
            times.last_activity = now;
            times.last_success = now;
            times.has_succeeded = true;
        }
    }

    /// `Ok` while healthy, else the text of the answer 500.
    pub(crate) fn verdict(&self, now: Instant) -> Result<(), String> {
        let Some(times) = *self.lock() else {
            return Ok(());
        };
        let (inactivity, failing) = if times.has_succeeded {
            (self.limits.inactivity, self.limits.failing)
        } else {
            (self.limits.startup, self.limits.startup)
        };
        let since_activity = now.saturating_duration_since(times.last_activity);
        let since_success = now.saturating_duration_since(times.last_success);
        if since_activity <= inactivity && since_success <= failing {
            return Ok(());
        }
        Err(format!(
            "Error: last activity more {} ago, last success more than {} ago",
            in_go(since_activity),
            in_go(since_success)
        ))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Times>> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As Go prints a duration.
fn in_go(duration: Duration) -> String {
    let duration = windlass_model::Duration::try_from(duration);
    windlass_model::format_go_duration(duration.unwrap_or(windlass_model::Duration::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    fn begun() -> (Health, Instant) {
        let health = Health::new(&Config::default());
        let start = Instant::now();
        health.begin(start);
        (health, start)
    }

    #[test]
    fn a_candidate_is_healthy() {
        let health = Health::new(&Config::default());
        assert!(health.verdict(Instant::now() + 1000 * MINUTE).is_ok());
    }

    #[test]
    fn until_the_first_success_the_startup_limit_counts() {
        let (health, start) = begun();
        assert!(health.verdict(start + 19 * MINUTE).is_ok());
        assert!(health.verdict(start + 21 * MINUTE).is_err());
    }

    #[test]
    fn then_inactivity_and_failing_count() {
        let (health, start) = begun();
        health.note_success(start);
        assert!(health.verdict(start + 9 * MINUTE).is_ok());
        assert!(health.verdict(start + 11 * MINUTE).is_err());
        health.note_activity(start + 14 * MINUTE);
        assert!(health.verdict(start + 14 * MINUTE).is_ok());
        health.note_activity(start + 16 * MINUTE);
        let text = health.verdict(start + 16 * MINUTE).unwrap_err();
        assert_eq!(
            text,
            "Error: last activity more 0s ago, last success more than 16m0s ago"
        );
    }
}

//! The time, as tests may bend it.

use std::fmt;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// Where the time comes from.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// Whatever `now` says: the clock of the client under test, mostly, so that both agree.
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl Default for Clock {
    /// The wall clock at this moment and what has passed since by the runtime's clock, which a
    /// test may pause.
    fn default() -> Self {
        let (wall, started) = (Timestamp::now(), Instant::now());
        Self::new(move || {
            let elapsed = SignedDuration::try_from(started.elapsed()).unwrap_or_default();
            wall.checked_add(elapsed).unwrap_or(wall)
        })
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Clock(…)")
    }
}

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A token bucket: `burst` at once, then `rate` per second. Whoever comes when it is empty
/// waits in line.
#[derive(Debug)]
pub(crate) struct Limiter {
    interval: Duration,
    burst: u32,
    /// When the bucket would be full again.
    full_at: Mutex<Instant>,
}

impl Limiter {
    /// A rate that is not positive means no limit, as in client-go.
    pub(crate) fn new(rate: f64, burst: i64) -> Self {
        let interval = if rate > 0.0 {
            Duration::try_from_secs_f64(1.0 / rate).unwrap_or(Duration::MAX)
        } else {
            Duration::ZERO
        };
        Self {
            interval: interval.min(Duration::from_hours(1)),
            burst: u32::try_from(burst.max(1)).unwrap_or(u32::MAX),
            full_at: Mutex::new(Instant::now()),
        }
    }

    pub(crate) async fn take(&self) {
        tokio::time::sleep(self.reserve(Instant::now())).await;
    }

    /// Takes a token and says how long to wait for it.
    fn reserve(&self, now: Instant) -> Duration {
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        *full_at = (*full_at).max(now) + self.interval;
        let size = self.interval.saturating_mul(self.burst);
        (*full_at - now).saturating_sub(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_goes_at_once_and_the_rest_in_line() {
        let limiter = Limiter::new(2.0, 3);
        let now = Instant::now();
        let waits: Vec<u128> = (0..5).map(|_| limiter.reserve(now).as_millis()).collect();
        assert_eq!(waits, [0, 0, 0, 500, 1000]);
        assert_eq!(
            limiter.reserve(now + Duration::from_secs(10)).as_millis(),
            0
        );
    }

    #[test]
    fn no_rate_is_no_limit() {
        let limiter = Limiter::new(0.0, 1);
        let now = Instant::now();
        assert!((0..100).all(|_| limiter.reserve(now).is_zero()));
    }
}

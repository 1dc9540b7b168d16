//! How many calls a minute Windlass allows itself, shared by all callers.
//!
//! An account's API limits are shared with everything else that runs in it. An autoscaler that
//! answers throttling with more calls takes the whole account down with it, so the bound lies on
//! our side.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// What a call is for: reads give way, so that a storm of them never delays a decision's effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// Looking: waits while only the reserve is left.
    Read,
    /// Acting: may use the last token.
    Write,
}

/// A token bucket: holds a minute's calls when full, and refills evenly.
#[derive(Clone, Debug)]
pub struct TokenBucket {
    capacity: f64,
    per_second: f64,
    tokens: f64,
    refilled: Instant,
}

/// Share of a full bucket that reads leave to writes.
const RESERVE: f64 = 0.1;

impl TokenBucket {
    /// A full bucket of `calls_per_minute`, at least one.
    pub fn new(calls_per_minute: u32, now: Instant) -> Self {
        let capacity = f64::from(calls_per_minute.max(1));
        Self {
            capacity,
            per_second: capacity / 60.0,
            tokens: capacity,
            refilled: now,
        }
    }

    /// Takes one call's token.
    ///
    /// # Errors
    ///
    /// The time until there will be one.
    pub fn take(&mut self, priority: Priority, now: Instant) -> Result<(), Duration> {
        let elapsed = now.saturating_duration_since(self.refilled);
        self.refilled = now;
        self.tokens = (self.tokens + elapsed.as_secs_f64() * self.per_second).min(self.capacity);
        let floor = match priority {
            Priority::Read => self.capacity * RESERVE,
            Priority::Write => 0.0,
        };
        let needed = floor + 1.0;
        // A bucket of a few calls has less reserve than one call.
        let needed = needed.min(self.capacity);
        if self.tokens >= needed {
            self.tokens -= 1.0;
            return Ok(());
        }
        Err(Duration::from_secs_f64(
            (needed - self.tokens) / self.per_second,
        ))
    }
}

/// A [`TokenBucket`] that many tasks draw on.
#[derive(Debug)]
pub struct Budget {
    bucket: Mutex<TokenBucket>,
}

impl Budget {
    /// A full budget.
    pub fn new(calls_per_minute: u32) -> Self {
        Self {
            bucket: Mutex::new(TokenBucket::new(calls_per_minute, Instant::now())),
        }
    }

    /// Waits for a call's token.
    pub async fn acquire(&self, priority: Priority) {
        loop {
            let taken = self
                .bucket
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(priority, Instant::now());
            match taken {
                Ok(()) => return,
                Err(wait) => tokio::time::sleep(wait.max(Duration::from_millis(1))).await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_minute_holds_no_more_than_its_calls() {
        let budget = Budget::new(60);
        let start = Instant::now();
        for _ in 0..60 {
            budget.acquire(Priority::Write).await;
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        budget.acquire(Priority::Write).await;
        assert!(start.elapsed() >= Duration::from_secs(1));
    }

    #[test]
    fn reads_leave_a_reserve_to_writes() {
        let now = Instant::now();
        let mut bucket = TokenBucket::new(10, now);
        let reads = std::iter::repeat_with(|| bucket.take(Priority::Read, now))
            .take_while(Result::is_ok)
            .count();
        assert_eq!(reads, 9);
        assert!(bucket.take(Priority::Write, now).is_ok());
        assert!(bucket.take(Priority::Write, now).is_err());
    }

    #[test]
    fn the_smallest_budget_still_lets_reads_through() {
        let now = Instant::now();
        assert!(TokenBucket::new(1, now).take(Priority::Read, now).is_ok());
    }
}

//! When a failed call is tried again, and after how long. Pure: the caller brings the dice.

use std::time::Duration;

use crate::error::{CallErrorKind, ErrorClass};

/// First pause after a failure that is not AWS's request to slow down.
const BASE: Duration = Duration::from_millis(100);
/// First pause after throttling: a bucket of AWS's refills by some calls a second.
const THROTTLED_BASE: Duration = Duration::from_millis(500);
/// Longest pause, as in the SDKs' standard mode.
const LONGEST: Duration = Duration::from_secs(20);

/// Whether a repetition of a call can do harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// Reading, or writing a value that is the same the second time.
    Safe,
    /// Doing it twice is not doing it once (terminate-and-decrement walks the desired capacity
    /// down): only a call that AWS surely did not carry out is repeated.
    OnlyIfRefused,
}

/// Whether a call that failed with `error` is worth repeating.
pub fn is_retryable(error: &CallErrorKind, repeat: Repeat) -> bool {
    match error.class() {
        ErrorClass::Throttled | ErrorClass::Contention => true,
        ErrorClass::Transient => repeat == Repeat::Safe,
        ErrorClass::Denied
        | ErrorClass::Credentials
        | ErrorClass::NotFound
        | ErrorClass::Invalid
        | ErrorClass::Other => false,
    }
}

/// The pause before attempt `attempt` + 1: exponential with full jitter, so that callers that
/// were throttled together do not come back together. `dice` is uniform in `[0, 1)`.
pub fn pause(attempt: u32, class: ErrorClass, dice: f64) -> Duration {
    let base = match class {
        ErrorClass::Throttled | ErrorClass::Contention => THROTTLED_BASE,
        _ => BASE,
    };
    let longest = base
        .saturating_mul(2_u32.saturating_pow(attempt.saturating_sub(1)))
        .min(LONGEST);
    // Half is certain: a pause of nothing after throttling would only be throttled again.
    longest.mul_f64(0.5 + dice.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_up_to_a_bound() {
        assert_eq!(pause(1, ErrorClass::Transient, 1.0), BASE);
        assert_eq!(pause(3, ErrorClass::Transient, 1.0), 4 * BASE);
        assert_eq!(pause(60, ErrorClass::Throttled, 1.0), LONGEST);
        assert_eq!(pause(1, ErrorClass::Throttled, 0.0), THROTTLED_BASE / 2);
    }

    #[test]
    fn a_call_that_may_have_happened_is_not_repeated_where_that_does_harm() {
        let lost = CallErrorKind::Timeout {
            after: Duration::from_secs(10),
        };
        assert!(is_retryable(&lost, Repeat::Safe));
        assert!(!is_retryable(&lost, Repeat::OnlyIfRefused));
        let throttled = CallErrorKind::Service {
            status: 400,
            code: "Throttling".to_owned(),
            message: String::new(),
        };
        assert!(is_retryable(&throttled, Repeat::OnlyIfRefused));
    }
}

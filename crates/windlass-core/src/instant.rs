//! Instants that cannot overflow.

use windlass_model::{Duration, Timestamp};

/// `at` and then `wait`; the last representable instant where that is too far.
pub(crate) fn after(at: Timestamp, wait: Duration) -> Timestamp {
    at.checked_add(wait).unwrap_or(if wait.is_negative() {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    })
}

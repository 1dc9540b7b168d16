//! Groups whose scale-up failed are left alone for a while. Source:
//! `pkg/utils/backoff/exponential_backoff.go`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use windlass_config::ClusterHealth;
use windlass_model::{Duration, SmolStr, Timestamp};

/// A group's failed scale-ups.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Backoff {
    /// How long the group is left alone.
    pub duration: Duration,
    /// Until when, that instant included.
    pub until: Timestamp,
    /// When a scale-up failed last.
    pub last_failure: Timestamp,
    /// Why.
    pub error: ScaleUpError,
}

/// Why a scale-up failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScaleUpError {
    /// `OutOfResource` or `Other`.
    pub class: SmolStr,
    /// The error's type, or the cloud's code.
    pub code: SmolStr,
    /// The error's text.
    pub message: String,
}

/// Leaves `group` alone after a failure. A failure while it is left alone already begins the
/// same length of time again; a later one doubles it, up to the longest.
pub(crate) fn back_off(
    backoffs: &mut BTreeMap<SmolStr, Backoff>,
    group: &SmolStr,
    error: ScaleUpError,
    flags: &ClusterHealth,
    now: Timestamp,
) {
    let duration = match backoffs.get(group) {
        None => flags.initial_backoff,
        Some(known) if known.until < now => known
            .duration
            .saturating_add(known.duration)
            .min(flags.max_backoff),
        Some(known) => known.duration,
    };
    let until = now.checked_add(duration).unwrap_or(Timestamp::MAX);
    backoffs.insert(
        group.clone(),
        Backoff {
            duration,
            until,
            last_failure: now,
            error,
        },
    );
}

/// Whether `group` is left alone.
pub(crate) fn is_backed_off(
    backoffs: &BTreeMap<SmolStr, Backoff>,
    group: &str,
    now: Timestamp,
) -> bool {
    backoffs
        .get(group)
        .is_some_and(|backoff| now <= backoff.until)
}

/// Forgets failures that are long ago.
pub(crate) fn forget_stale(
    backoffs: &mut BTreeMap<SmolStr, Backoff>,
    flags: &ClusterHealth,
    now: Timestamp,
) {
    backoffs.retain(|_, backoff| {
        now.duration_since(backoff.last_failure) <= flags.backoff_reset_timeout
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minutes(count: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + Duration::from_mins(count)
    }

    fn fail_at(backoffs: &mut BTreeMap<SmolStr, Backoff>, at: Timestamp) -> Timestamp {
        let error = ScaleUpError {
            class: "Other".into(),
            code: "timeout".into(),
            message: String::new(),
        };
        back_off(
            backoffs,
            &"workers".into(),
            error,
            &ClusterHealth::default(),
            at,
        );
        backoffs["workers"].until
    }

    #[test]
    fn a_failure_after_the_backoff_doubles_it_up_to_the_longest() {
        let mut backoffs = BTreeMap::new();
        assert_eq!(fail_at(&mut backoffs, minutes(0)), minutes(5));
        assert_eq!(fail_at(&mut backoffs, minutes(6)), minutes(16));
        assert_eq!(fail_at(&mut backoffs, minutes(17)), minutes(37));
        assert_eq!(fail_at(&mut backoffs, minutes(38)), minutes(68));
        assert_eq!(fail_at(&mut backoffs, minutes(69)), minutes(99));
    }

    #[test]
    fn a_failure_during_the_backoff_begins_it_again() {
        let mut backoffs = BTreeMap::new();
        fail_at(&mut backoffs, minutes(0));
        assert_eq!(fail_at(&mut backoffs, minutes(3)), minutes(8));
        assert!(is_backed_off(&backoffs, "workers", minutes(8)));
        assert!(!is_backed_off(&backoffs, "workers", minutes(9)));
    }

    #[test]
    fn failures_long_ago_are_forgotten() {
        let mut backoffs = BTreeMap::new();
        fail_at(&mut backoffs, minutes(0));
        forget_stale(&mut backoffs, &ClusterHealth::default(), minutes(181));
        assert!(backoffs.is_empty());
    }
}

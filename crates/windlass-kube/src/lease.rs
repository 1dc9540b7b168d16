//! Who of several replicas acts: client-go's leader election on a `coordination.k8s.io/v1`
//! Lease, so that Windlass and the Go autoscaler can take turns on the same one.
//!
//! [`verdict`] is the algorithm, without clock or network. A candidate trusts only its own
//! clock: a lease is old when this process has seen it unchanged for the lease duration.
//! Source: `k8s.io/client-go/tools/leaderelection/leaderelection.go`.

mod elector;

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

pub use elector::{Elector, ElectorOptions, Leadership, Lost};

/// What a Lease says.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Record {
    /// `spec.holderIdentity`; empty when released.
    pub holder: String,
    /// `spec.leaseDurationSeconds`.
    pub duration: Duration,
    /// `spec.acquireTime`.
    pub acquired_at: Option<Timestamp>,
    /// `spec.renewTime`.
    pub renewed_at: Option<Timestamp>,
    /// `spec.leaseTransitions`: how often the holder changed.
    pub transitions: i32,
}

/// A record and when this process first saw it in this state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// The record.
    pub record: Record,
    /// By this process's clock.
    pub since: Instant,
}

impl Observed {
    /// `earlier`, if the Lease has not changed since, or `record` seen now.
    #[must_use]
    pub fn update(earlier: Option<Self>, record: Record, now: Instant) -> Self {
        match earlier {
            Some(earlier) if earlier.record == record => earlier,
            _ => Self { record, since: now },
        }
    }

    /// Whether the holder may still act.
    pub fn is_valid(&self, now: Instant) -> bool {
        self.since + self.record.duration > now
    }
}

/// What a candidate does about a Lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is none: make it.
    Create(Record),
    /// It is free, or its holder has not renewed it: take it.
    Acquire(Record),
    /// It is ours: renew it.
    Renew(Record),
    /// Another holds it.
    Wait,
}

/// What the candidate `identity` does about a Lease that it has observed so.
pub fn verdict(
    observed: Option<&Observed>,
    identity: &str,
    duration: Duration,
    now: Instant,
    wall_clock: Timestamp,
) -> Verdict {
    let fresh = Record {
        holder: identity.to_owned(),
        duration,
        acquired_at: Some(wall_clock),
        renewed_at: Some(wall_clock),
        transitions: 0,
    };
    let Some(observed) = observed else {
        return Verdict::Create(fresh);
    };
    let held = &observed.record;
    if held.holder == identity {
        Verdict::Renew(Record {
            acquired_at: held.acquired_at,
            transitions: held.transitions,
            ..fresh
        })
    } else if !held.holder.is_empty() && observed.is_valid(now) {
        Verdict::Wait
    } else {
        Verdict::Acquire(Record {
            transitions: held.transitions.saturating_add(1),
            ..fresh
        })
    }
}

/// What a holder writes when it goes: nobody holds it, and the next candidate need not wait.
pub fn released(held: &Record, wall_clock: Timestamp) -> Record {
    Record {
        holder: String::new(),
        duration: Duration::from_secs(1),
        acquired_at: Some(wall_clock),
        renewed_at: Some(wall_clock),
        transitions: held.transitions,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DURATION: Duration = Duration::from_secs(15);

    fn wall(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn held_by(holder: &str, transitions: i32) -> Record {
        Record {
            holder: holder.to_owned(),
            duration: DURATION,
            acquired_at: Some(wall(100)),
            renewed_at: Some(wall(150)),
            transitions,
        }
    }

    /// Judges, at `age` after it was first seen, a lease as `me`.
    fn judge(record: Option<Record>, age: Duration) -> Verdict {
        let since = Instant::now();
        let observed = record.map(|record| Observed { record, since });
        verdict(observed.as_ref(), "me", DURATION, since + age, wall(200))
    }

    #[test]
    fn verdicts() {
        let ours = |acquired_at, transitions| Record {
            holder: "me".to_owned(),
            duration: DURATION,
            acquired_at: Some(wall(acquired_at)),
            renewed_at: Some(wall(200)),
            transitions,
        };
        let table = [
            ("none", None, 0, Verdict::Create(ours(200, 0))),
            (
                "ours",
                Some(held_by("me", 3)),
                0,
                Verdict::Renew(ours(100, 3)),
            ),
            // A process of the same name that was started again holds its lease still.
            (
                "ours, long ago",
                Some(held_by("me", 3)),
                99,
                Verdict::Renew(ours(100, 3)),
            ),
            (
                "another's, fresh",
                Some(held_by("other", 3)),
                0,
                Verdict::Wait,
            ),
            (
                "another's, just not over",
                Some(held_by("other", 3)),
                14,
                Verdict::Wait,
            ),
            (
                "another's, over",
                Some(held_by("other", 3)),
                15,
                Verdict::Acquire(ours(200, 4)),
            ),
            (
                "released",
                Some(held_by("", 3)),
                0,
                Verdict::Acquire(ours(200, 4)),
            ),
        ];
        for (name, record, age, expected) in table {
            assert_eq!(judge(record, Duration::from_secs(age)), expected, "{name}");
        }
    }

    #[test]
    fn the_holders_own_duration_counts_not_ours() {
        let short = Record {
            duration: Duration::from_secs(5),
            ..held_by("other", 0)
        };
        assert_eq!(
            judge(Some(short.clone()), Duration::from_secs(4)),
            Verdict::Wait
        );
        assert!(matches!(
            judge(Some(short), Duration::from_secs(5)),
            Verdict::Acquire(_)
        ));
    }

    #[test]
    fn the_lease_is_as_old_as_this_process_has_seen_it() {
        let start = Instant::now();
        let first = Observed::update(None, held_by("other", 0), start);
        let later = start + Duration::from_secs(9);
        let unchanged = Observed::update(Some(first.clone()), held_by("other", 0), later);
        assert_eq!(unchanged.since, start);
        let renewed = Record {
            renewed_at: Some(wall(160)),
            ..held_by("other", 0)
        };
        assert_eq!(Observed::update(Some(first), renewed, later).since, later);
    }

    #[test]
    fn a_released_lease_is_free_at_once_and_keeps_its_count() {
        let record = released(&held_by("other", 7), wall(300));
        assert!(record.holder.is_empty());
        let Verdict::Acquire(next) = judge(Some(record), Duration::ZERO) else {
            panic!("a released lease is taken");
        };
        assert_eq!(next.transitions, 8);
    }
}

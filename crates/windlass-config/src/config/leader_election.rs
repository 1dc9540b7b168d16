use windlass_model::Duration;

use super::{seconds, text};
use crate::{flag::flag_group, value::ResourceLock};

flag_group! {
    /// Who of several replicas acts.
    struct LeaderElection in leader_election, "Leader election";

    /// Take the lease before acting.
    "leader-elect" => enabled: bool = true, Acted;

    /// How long the others wait after the last renewal that they saw.
    "leader-elect-lease-duration" => lease_duration: Duration = seconds(15), Acted;

    /// How long the leader tries to renew before it gives up. Less than the lease duration.
    "leader-elect-renew-deadline" => renew_deadline: Duration = seconds(10), Acted;

    /// Pause between two attempts. The renew deadline must be more than 1.2 times as long.
    "leader-elect-retry-period" => retry_period: Duration = seconds(2), Acted;

    /// Kind of the object that the leader holds. Only `leases`.
    "leader-elect-resource-lock" => resource_lock: ResourceLock = ResourceLock::Leases, Acted;

    /// Name of the lease, which lives in `--namespace`.
    "leader-elect-resource-name" => resource_name: String = text("cluster-autoscaler"), Acted;
}

/// By how much a retry may come later than its period, as client-go has it: one fifth.
const JITTER_PERCENT: i32 = 120;

impl LeaderElection {
    /// What client-go refuses about these times, each with the flags concerned.
    pub(crate) fn problems(&self) -> Vec<(&'static [&'static str], String)> {
        const LEASE: &str = "leader-elect-lease-duration";
        const RENEW: &str = "leader-elect-renew-deadline";
        const RETRY: &str = "leader-elect-retry-period";
        let mut problems: Vec<(&'static [&'static str], String)> = Vec::new();
        let least = Duration::from_nanos(1);
        for (flags, duration) in [
            (&[LEASE], self.lease_duration),
            (&[RENEW], self.renew_deadline),
            (&[RETRY], self.retry_period),
        ] {
            if duration < least {
                problems.push((flags, format!("`--{}` must be more than 0", flags[0])));
            }
        }
        if self.lease_duration <= self.renew_deadline {
            problems.push((
                &[LEASE, RENEW],
                format!("`--{LEASE}` must be greater than `--{RENEW}`"),
            ));
        }
        let jittered = self
            .retry_period
            .checked_mul(JITTER_PERCENT)
            .map_or(Duration::MAX, |product| product / 100);
        if self.renew_deadline <= jittered {
            problems.push((
                &[RENEW, RETRY],
                format!("`--{RENEW}` must be more than 1.2 times `--{RETRY}`"),
            ));
        }
        problems
    }
}

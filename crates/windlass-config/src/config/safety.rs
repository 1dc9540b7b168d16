use windlass_model::Duration;

use super::minutes;
use crate::flag::flag_group;

flag_group! {
    /// Bounds that the Go autoscaler does not have.
    struct Safety in safety, "Safety (not in the Go autoscaler)";

    /// Most nodes removed within an hour, counted back from now; or
    /// `--max-removals-per-hour-percentage` of the nodes where that is more.
    ///
    /// 0: no such bound.
    "max-removals-per-hour" => max_removals_per_hour: u64 = 20, Acted;

    /// The share of the nodes, in percent, that may be removed within an hour where that is
    /// more than `--max-removals-per-hour`.
    ///
    /// 0: the number alone counts.
    "max-removals-per-hour-percentage" => max_removals_per_hour_percentage: f64 = 25.0, Acted;

    /// Remove no node on a view of the cluster or the cloud that is older than this.
    ///
    /// 0: of any age.
    "max-cache-age" => max_cache_age: Duration = minutes(2), Acted;

    /// Begin the next drain only once the pods that earlier ones evicted are ready again on
    /// other nodes; wait for them no longer than this.
    ///
    /// 0: do not wait.
    "drain-wait-for-ready-replacements" => drain_wait_for_ready_replacements: Duration = Duration::ZERO, Acted;
}

impl Safety {
    /// How many nodes may be removed within an hour from a cluster of `nodes`; `None` for as
    /// many as one likes.
    ///
    /// The share is rounded down.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a float that is too large for an integer becomes the largest, and a \
                  negative one 0, which is what is meant"
    )]
    pub fn removals_per_hour(&self, nodes: usize) -> Option<u64> {
        if self.max_removals_per_hour == 0 {
            return None;
        }
        let share = (nodes as f64 * self.max_removals_per_hour_percentage / 100.0) as u64;
        Some(share.max(self.max_removals_per_hour))
    }
}

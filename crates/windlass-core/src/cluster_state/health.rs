//! Whether the cluster, and each group, is to be trusted with more nodes.

use windlass_config::ClusterHealth;

use super::{Counts, is_backed_off};
use crate::decide::Loop;

/// Judges each group, and says which of them nodes may be counted on from.
pub(super) fn judge(context: &mut Loop<'_>) {
    let flags = &context.config.cluster_health;
    for (group, state) in context.cluster.groups.iter().zip(&mut context.groups) {
        let open = context.memory.open_scale_ups.get(&group.name);
        let counts = &state.counts;
        let least =
            group.target_size - counts.long_unregistered - open.map_or(0, |open| open.increase);
        state.is_healthy = is_group_healthy(counts, group.target_size, least, flags);
        state.is_backed_off = is_backed_off(&context.memory.backoffs, &group.name, context.now);
        state.is_scaling_up = open.is_some() && state.upcoming > 0;
        state.counted_on = if state.is_scaling_up && !state.is_backed_off {
            state.upcoming
        } else {
            0
        };
    }
}

fn is_group_healthy(counts: &Counts, target: i64, least: i64, flags: &ClusterHealth) -> bool {
    if counts.is_empty() {
        return target == 0 || (least == 0 && target > 0);
    }
    let missing = (least - counts.ready - counts.suspended).max(0);
    let all = counts.ready + counts.unready + counts.not_started + counts.suspended;
    !is_too_many(missing, all, flags)
}

/// Whether the cluster as a whole is fit for scaling.
pub(crate) fn is_cluster_healthy(unready: i64, nodes: usize, flags: &ClusterHealth) -> bool {
    !is_too_many(unready, i64::try_from(nodes).unwrap_or(i64::MAX), flags)
}

fn is_too_many(bad: i64, of: i64, flags: &ClusterHealth) -> bool {
    bad > flags.ok_total_unready_count
        && bad as f64 > flags.max_total_unready_percentage / 100.0 * of as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_unready_nodes_are_tolerated_whatever_their_share() {
        let flags = ClusterHealth::default();
        assert!(is_cluster_healthy(3, 3, &flags));
        assert!(!is_cluster_healthy(4, 4, &flags));
        assert!(is_cluster_healthy(4, 10, &flags));
    }

    #[test]
    fn a_group_that_never_had_a_node_is_healthy_only_while_all_are_on_their_way() {
        let flags = ClusterHealth::default();
        let none = Counts::default();
        assert!(is_group_healthy(&none, 0, 0, &flags));
        assert!(is_group_healthy(&none, 2, 0, &flags));
        assert!(!is_group_healthy(&none, 2, 2, &flags));
    }
}

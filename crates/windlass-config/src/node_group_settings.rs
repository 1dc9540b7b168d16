//! The settings of one node group.

use windlass_model::{Duration, GroupOptions};

use crate::config::Config;

/// What counts for one group: its own option where it has one, else the flag.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NodeGroupSettings {
    /// How long a ready node must be unneeded before it is removed.
    pub scale_down_unneeded_time: Duration,
    /// How long an unready node must be unneeded before it is removed.
    pub scale_down_unready_time: Duration,
    /// Above this share of requested CPU or memory a node stays.
    pub scale_down_utilization_threshold: f64,
    /// The same for the GPUs of GPU nodes.
    pub scale_down_gpu_utilization_threshold: f64,
    /// How long a requested node may take to register.
    pub max_node_provision_time: Duration,
    /// How long a registered node may take to become ready.
    pub max_node_startup_time: Duration,
    /// The group is scaled to its maximum or to nothing. No flag sets it.
    pub zero_or_max_node_scaling: bool,
    /// With [`Self::zero_or_max_node_scaling`]: a smaller scale-up is allowed. No flag sets it.
    pub allow_non_atomic_scale_up_to_max: bool,
    /// `DaemonSet` pods do not count as utilisation.
    pub ignore_daemonsets_utilization: bool,
}

impl Config {
    /// The settings of a group without options of its own, and of nodes without a group.
    pub fn node_group_defaults(&self) -> NodeGroupSettings {
        NodeGroupSettings {
            scale_down_unneeded_time: self.scale_down.unneeded_time,
            scale_down_unready_time: self.scale_down.unready_time,
            scale_down_utilization_threshold: self.scale_down.utilization_threshold,
            scale_down_gpu_utilization_threshold: self.scale_down.gpu_utilization_threshold,
            max_node_provision_time: self.cluster_health.max_node_provision_time,
            max_node_startup_time: self.cluster_health.max_node_startup_time,
            zero_or_max_node_scaling: false,
            allow_non_atomic_scale_up_to_max: false,
            ignore_daemonsets_utilization: self.scale_down.ignore_daemon_sets_utilization,
        }
    }

    /// The settings of a group with these options.
    pub fn node_group_settings(&self, options: &GroupOptions) -> NodeGroupSettings {
        let GroupOptions {
            scale_down_unneeded_time,
            scale_down_unready_time,
            scale_down_utilization_threshold,
            scale_down_gpu_utilization_threshold,
            max_node_provision_time,
            max_node_startup_time,
            zero_or_max_node_scaling,
            allow_non_atomic_scale_up_to_max,
            ignore_daemonsets_utilization,
        } = options;
        let defaults = self.node_group_defaults();
        NodeGroupSettings {
            scale_down_unneeded_time: scale_down_unneeded_time
                .unwrap_or(defaults.scale_down_unneeded_time),
            scale_down_unready_time: scale_down_unready_time
                .unwrap_or(defaults.scale_down_unready_time),
            scale_down_utilization_threshold: scale_down_utilization_threshold
                .unwrap_or(defaults.scale_down_utilization_threshold),
            scale_down_gpu_utilization_threshold: scale_down_gpu_utilization_threshold
                .unwrap_or(defaults.scale_down_gpu_utilization_threshold),
            max_node_provision_time: max_node_provision_time
                .unwrap_or(defaults.max_node_provision_time),
            max_node_startup_time: max_node_startup_time.unwrap_or(defaults.max_node_startup_time),
            zero_or_max_node_scaling: zero_or_max_node_scaling
                .unwrap_or(defaults.zero_or_max_node_scaling),
            allow_non_atomic_scale_up_to_max: allow_non_atomic_scale_up_to_max
                .unwrap_or(defaults.allow_non_atomic_scale_up_to_max),
            ignore_daemonsets_utilization: ignore_daemonsets_utilization
                .unwrap_or(defaults.ignore_daemonsets_utilization),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_groups_own_option_wins_and_the_flag_fills_the_rest() {
        let (config, _) = Config::parse([
            "--scale-down-unneeded-time=1m",
            "--scale-down-utilization-threshold=0.7",
        ])
        .unwrap();
        let options = GroupOptions {
            scale_down_unneeded_time: Some(Duration::ZERO),
            ignore_daemonsets_utilization: Some(true),
            zero_or_max_node_scaling: Some(true),
            ..GroupOptions::default()
        };
        assert_eq!(
            config.node_group_settings(&options),
            NodeGroupSettings {
                scale_down_unneeded_time: Duration::ZERO,
                ignore_daemonsets_utilization: true,
                zero_or_max_node_scaling: true,
                ..config.node_group_defaults()
            }
        );
        assert_eq!(
            config.node_group_settings(&GroupOptions::default()),
            config.node_group_defaults()
        );
    }
}

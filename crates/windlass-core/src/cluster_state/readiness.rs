//! Whether a node is ready, and how it counts.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use windlass_config::Config;
use windlass_model::{Cluster, Condition, ConditionStatus, Duration, Node, SmolStr, Timestamp};

use crate::{decide::LoopNode, gpu, taints};

/// The reason that the loop gives a node whose devices are not there yet.
pub(crate) const RESOURCE_NOT_READY: &str = "cluster-autoscaler.kubernetes.io/resource-not-ready";
/// The reason that the loop gives a node with a startup taint.
pub(crate) const STARTUP_TAINT: &str = "cluster-autoscaler.kubernetes.io/startup-taint";

const NOT_READY_TAINTS: [&str; 3] = [
    "node.kubernetes.io/not-ready",
    "node.kubernetes.io/disk-pressure",
    "node.kubernetes.io/network-unavailable",
];

/// What a node's conditions and taints say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeReadiness {
    /// Whether pods can run.
    pub is_ready: bool,
    /// When that last changed, where anything says so.
    pub last_transition: Option<Timestamp>,
}

/// How a registered node counts; each counts once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// The cloud has no instance for it any more.
    Deleted,
    /// Its condition `Suspended` is true.
    Suspended,
    /// Ready, cordoned or not.
    Ready,
    /// Not ready, and young enough to become so.
    NotStarted,
    /// Not ready, and too old for an excuse.
    Unready {
        /// Devices are what is missing.
        is_resource: bool,
    },
}

/// Whether a node is ready, by its conditions and taints. A node without the condition `Ready`
/// is not. Source: `pkg/utils/kubernetes/ready.go`.
pub fn node_readiness(node: &Node) -> NodeReadiness {
    let mut is_ready = false;
    let mut is_hindered = false;
    let mut last_transition = None;
    for condition in &node.conditions {
        match condition.kind.as_str() {
            "Ready" => is_ready = condition.status == ConditionStatus::True,
            "DiskPressure" | "NetworkUnavailable" => {
                is_hindered |= condition.status == ConditionStatus::True;
            }
            _ => continue,
        }
        last_transition = last_transition.max(condition.last_transition);
    }
    for taint in &node.taints {
        if NOT_READY_TAINTS.contains(&taint.key.as_str()) {
            is_hindered = true;
            last_transition = last_transition.max(taint.time_added);
        }
    }
    NodeReadiness {
        is_ready: is_ready && !is_hindered,
        last_transition,
    }
}

/// The registered nodes with their groups and readiness, overrides applied: a node whose
/// devices are missing or that carries a startup taint does not count as ready.
pub(crate) fn observe_nodes(cluster: &Cluster, config: &Config, now: Timestamp) -> Vec<LoopNode> {
    let group_of_instance: FxHashMap<&str, usize> = cluster
        .groups
        .iter()
        .enumerate()
        .flat_map(|(index, group)| {
            group
                .instances
                .iter()
                .map(move |instance| (instance.provider_id.as_str(), index))
        })
        .collect();
    let devices = gpu::DevicePools::observe(cluster);
    cluster
        .nodes
        .iter()
        .map(|node| {
            let group = group_of_instance.get(node.provider_id.as_str()).copied();
            let startup_time = group
                .and_then(|group| cluster.groups[group].options.max_node_startup_time)
                .unwrap_or(config.cluster_health.max_node_startup_time);
            let node = with_override(node, || {
                // After that time the machine is one whose devices nobody has made usable.
                if is_starting(node, startup_time, now)
                    && group.is_some_and(|group| {
                        gpu::lacks_any(node, &cluster.groups[group].notices.devices)
                    })
                {
                    return Some(RESOURCE_NOT_READY);
                }
                override_reason(cluster, config, &devices, node, group)
            });
            let readiness = classify(&node, group.is_some(), startup_time, now);
            LoopNode {
                node,
                group,
                readiness,
                is_replaced: false,
            }
        })
        .collect()
}

fn classify(node: &Node, has_instance: bool, startup_time: Duration, now: Timestamp) -> Readiness {
    if !has_instance && node.taint(taints::TO_BE_DELETED).is_some() {
        return Readiness::Deleted;
    }
    let is_suspended = node
        .condition("Suspended")
        .is_some_and(|condition| condition.status == ConditionStatus::True);
    if is_suspended {
        return Readiness::Suspended;
    }
    if node_readiness(node).is_ready {
        return Readiness::Ready;
    }
    if is_starting(node, startup_time, now) {
        return Readiness::NotStarted;
    }
    let is_resource = node
        .condition("Ready")
        .is_some_and(|condition| condition.reason == RESOURCE_NOT_READY);
    Readiness::Unready { is_resource }
}

fn is_starting(node: &Node, startup_time: Duration, now: Timestamp) -> bool {
    let created_at = node.created_at.unwrap_or(Timestamp::UNIX_EPOCH);
    created_at
        .checked_add(startup_time)
        .is_ok_and(|until| until > now)
}

fn with_override(node: &Arc<Node>, reason: impl FnOnce() -> Option<&'static str>) -> Arc<Node> {
    if node.unschedulable || !node_readiness(node).is_ready {
        return Arc::clone(node);
    }
    let Some(reason) = reason() else {
        return Arc::clone(node);
    };
    let mut copy = Node::clone(node);
    copy.conditions
        .retain(|condition| condition.kind != "Ready");
    copy.conditions.push(Condition {
        kind: SmolStr::new_static("Ready"),
        status: ConditionStatus::False,
        reason: SmolStr::new_static(reason),
        last_transition: copy.created_at,
    });
    Arc::new(copy)
}

fn override_reason(
    cluster: &Cluster,
    config: &Config,
    devices: &gpu::DevicePools<'_>,
    node: &Node,
    group: Option<usize>,
) -> Option<&'static str> {
    let provider_template = group.and_then(|group| cluster.groups[group].template.as_ref());
    let lacks_devices = gpu::lacks_labelled_gpu(node)
        || provider_template.is_some_and(|template| devices.are_missing(node, template));
    let lacks_csi_driver = config.features.csi_node_aware_scheduling
        && provider_template
            .and_then(|template| template.csi_node.as_ref())
            .is_some_and(|wanted| {
                let present = cluster.csi_nodes.get(&node.name);
                wanted.drivers.iter().any(|(driver, _)| {
                    present.is_none_or(|csi| csi.drivers.iter().all(|(name, _)| name != driver))
                })
            });
    if lacks_devices || lacks_csi_driver {
        return Some(RESOURCE_NOT_READY);
    }
    node.taints
        .iter()
        .any(|taint| taints::is_startup_taint(&taint.key, &config.templates))
        .then_some(STARTUP_TAINT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use windlass_model::{Effect, Taint};

    fn condition(kind: &str, status: ConditionStatus) -> Condition {
        Condition {
            kind: kind.into(),
            status,
            reason: SmolStr::default(),
            last_transition: Some(Timestamp::UNIX_EPOCH),
        }
    }

    #[test]
    fn a_node_without_the_condition_ready_is_not_ready() {
        assert!(!node_readiness(&Node::default()).is_ready);
    }

    #[test]
    fn pressure_on_the_disk_outweighs_ready() {
        let node = Node {
            conditions: vec![
                condition("Ready", ConditionStatus::True),
                condition("DiskPressure", ConditionStatus::True),
            ],
            ..Node::default()
        };
        assert!(!node_readiness(&node).is_ready);
    }

    #[test]
    fn a_not_ready_taint_counts_and_dates_the_transition() {
        let added = Timestamp::UNIX_EPOCH + Duration::from_secs(5);
        let node = Node {
            conditions: vec![condition("Ready", ConditionStatus::True)],
            taints: vec![Taint {
                key: "node.kubernetes.io/not-ready".into(),
                value: SmolStr::default(),
                effect: Effect::NoSchedule,
                time_added: Some(added),
            }],
            ..Node::default()
        };
        let readiness = node_readiness(&node);
        assert!(!readiness.is_ready);
        assert_eq!(readiness.last_transition, Some(added));
    }
}

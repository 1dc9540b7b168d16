use std::hash::{Hash, Hasher};

use rustc_hash::{FxHashSet, FxHasher};

use crate::api;

/// A digest of a pod's specification as the Go autoscaler compares it when it groups the pods of
/// one controller: without volumes of type `projected` and their mounts, host name, environment
/// and place. Source: `pkg/utils/utils.go` `sanitizePodSpec`.
pub(crate) fn spec_digest(spec: &api::PodSpec) -> u64 {
    let api::PodSpec {
        node_name: _,
        node_selector,
        affinity,
        tolerations,
        containers,
        init_containers,
        volumes,
        overhead,
        resources,
        topology_spread_constraints,
        resource_claims,
        scheduling_gates,
        priority,
        priority_class_name,
        preemption_policy,
        scheduler_name,
        restart_policy,
        termination_grace_period_seconds,
        host_network,
        host_users,
        hostname: api::Skipped,
        ephemeral_containers,
        rest,
    } = spec;
    let projected: FxHashSet<&str> = volumes
        .iter()
        .filter(|volume| volume.projected.is_some())
        .map(|volume| volume.name.as_str())
        .collect();
    let mut hasher = FxHasher::default();
    node_selector
        .as_ref()
        .filter(|selector| !selector.0.is_empty())
        .hash(&mut hasher);
    (affinity, tolerations, overhead, resources).hash(&mut hasher);
    (
        topology_spread_constraints,
        resource_claims,
        scheduling_gates,
    )
        .hash(&mut hasher);
    (priority, priority_class_name, preemption_policy).hash(&mut hasher);
    (
        scheduler_name,
        restart_policy,
        termination_grace_period_seconds,
    )
        .hash(&mut hasher);
    (host_network, host_users, ephemeral_containers, rest).hash(&mut hasher);
    for volume in volumes.iter().filter(|volume| volume.projected.is_none()) {
        volume.hash(&mut hasher);
    }
    for (role, list) in [containers, init_containers].into_iter().enumerate() {
        for container in list {
            role.hash(&mut hasher);
            hash_container(container, &projected, &mut hasher);
        }
    }
    // 0 stands for "not computed".
    hasher.finish() | 1
}

fn hash_container(container: &api::Container, projected: &FxHashSet<&str>, hasher: &mut FxHasher) {
    let api::Container {
        name,
        ports,
        resources,
        restart_policy,
        restart_policy_rules,
        volume_mounts,
        env: api::Skipped,
        rest,
    } = container;
    (
        name,
        ports,
        resources,
        restart_policy,
        restart_policy_rules,
        rest,
    )
        .hash(hasher);
    for mount in volume_mounts {
        if !projected.contains(mount.name.as_str()) {
            mount.hash(hasher);
        }
    }
}

use std::sync::Arc;

use windlass_model::{
    Cluster, Node, OwnerReference, Pod, PodShape, PreemptionPolicy, SmolStr, Workload, WorkloadKind,
};

const CRITICAL: &str = "system-node-critical";

/// Which of the `DaemonSet`s without a pod on a node are expected there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    /// All that suit the node.
    All,
    /// Only those that displace others and that no node does without.
    CriticalOnly,
}

/// The pods of `DaemonSet`s that `present` lacks and that should run on `node`.
pub(super) fn missing_pods(
    cluster: &Cluster,
    node: &Node,
    present: &[Arc<Pod>],
    expected: Expected,
) -> Vec<Arc<Pod>> {
    cluster
        .workloads
        .iter()
        .filter(|workload| workload.kind == WorkloadKind::DaemonSet)
        .filter(|daemonset| !has_pod_of(present, daemonset))
        .filter_map(|daemonset| {
            let template = daemonset.template.as_ref()?;
            let wanted = expected == Expected::All || is_critical(&template.shape);
            (wanted && should_run(&template.shape, node))
                .then(|| Arc::new(pod_of(daemonset, template, node)))
        })
        .collect()
}

fn has_pod_of(pods: &[Arc<Pod>], daemonset: &Workload) -> bool {
    pods.iter().any(|pod| {
        pod.shape
            .controller
            .as_ref()
            .is_some_and(|owner| owner.kind == "DaemonSet" && owner.uid == daemonset.uid)
    })
}

fn is_critical(shape: &PodShape) -> bool {
    shape.priority_class_name == CRITICAL
        && shape.preemption_policy == PreemptionPolicy::PreemptLowerPriority
}

/// Source: `k8s.io/kubernetes/pkg/controller/daemon` `NodeShouldRunDaemonPod`.
fn should_run(shape: &PodShape, node: &Node) -> bool {
    let constraints = &shape.constraints;
    let selected = constraints.node_selector.as_ref().is_none_or(|selector| {
        selector
            .iter()
            .all(|(key, value)| node.labels.get(key) == Some(value))
    });
    let has_affinity = constraints
        .node_affinity
        .as_ref()
        .is_none_or(|affinity| affinity.matches(&node.labels, &node.name));
    let tolerates_all = constraints.tolerates_all(&node.taints);
    let is_named = constraints
        .node_name
        .as_ref()
        .is_none_or(|name| name.is_empty() || *name == node.name);
    is_named && selected && has_affinity && tolerates_all
}

fn pod_of(daemonset: &Workload, template: &Pod, node: &Node) -> Pod {
    let name = SmolStr::from(format!("{}-pod-{}", daemonset.name.name, node.name));
    let mut pod = template.clone();
    if pod.shape.controller.is_none() {
        Arc::make_mut(&mut pod.shape).controller = Some(OwnerReference {
            api_version: "apps/v1".into(),
            kind: "DaemonSet".into(),
            name: daemonset.name.name.clone(),
            uid: daemonset.uid.clone(),
        });
    }
    pod.uid.clone_from(&name);
    pod.name = name;
    pod.node_name = Some(node.name.clone());
    pod
}

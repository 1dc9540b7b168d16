use std::sync::Arc;

use windlass_model::{Node, NodeTemplate, Pod, ResourceSlice, SliceNodes, SmolStr};

use super::daemonsets::{Expected, missing_pods};
use crate::{decide::Loop, taints};

pub(super) const HOSTNAME_LABEL: &str = "kubernetes.io/hostname";
const TEMPLATE_LABEL: &str = "cluster-autoscaler.kubernetes.io/template-node";

/// Old labels, with the stable ones that say the same.
const DEPRECATED_LABELS: [(&str, &str); 3] = [
    (
        "beta.kubernetes.io/instance-type",
        "node.kubernetes.io/instance-type",
    ),
    (
        "failure-domain.beta.kubernetes.io/region",
        "topology.kubernetes.io/region",
    ),
    (
        "failure-domain.beta.kubernetes.io/zone",
        "topology.kubernetes.io/zone",
    ),
];

/// A template after the node at `index`, with the mirror and `DaemonSet` pods that run on it.
pub(super) fn from_real_node(context: &Loop<'_>, group: usize, index: usize) -> NodeTemplate {
    let real = &context.nodes[index].node;
    let node = sanitized_node(context, group, real);
    let mut pods = match context.snapshot.node_id(&real.name) {
        Some(id) => kept_pods(context.snapshot.pods_on(id), &node.name),
        None => Vec::new(),
    };
    let expected = if context.config.templates.force_daemon_sets {
        Expected::All
    } else {
        Expected::CriticalOnly
    };
    pods.extend(missing_pods(context.cluster, &node, &pods, expected));
    let csi_node = if context.config.features.csi_node_aware_scheduling {
        context.cluster.csi_nodes.get(&real.name).cloned()
    } else {
        None
    };
    NodeTemplate {
        resource_slices: local_slices(context, &real.name, &node.name),
        node: Arc::new(node),
        pods,
        csi_node,
    }
}

/// A template after the cloud's description.
pub(super) fn from_description(
    context: &Loop<'_>,
    group: usize,
    described: &NodeTemplate,
) -> NodeTemplate {
    let mut node = sanitized_node(context, group, &described.node);
    for (deprecated, stable) in DEPRECATED_LABELS {
        if let Some(value) = node.labels.get(stable).cloned() {
            node.labels.insert(deprecated, value);
        }
    }
    let mut pods = kept_pods(described.pods.iter(), &node.name);
    pods.extend(missing_pods(context.cluster, &node, &pods, Expected::All));
    NodeTemplate {
        node: Arc::new(node),
        pods,
        resource_slices: described.resource_slices.clone(),
        csi_node: described.csi_node.clone(),
    }
}

fn sanitized_node(context: &Loop<'_>, group: usize, model: &Node) -> Node {
    let flags = &context.config.templates;
    let name = SmolStr::from(format!(
        "template-node-for-{}",
        context.cluster.groups[group].name
    ));
    let mut node = model.clone();
    node.labels.insert(HOSTNAME_LABEL, name.clone());
    node.labels.insert(TEMPLATE_LABEL, "true");
    node.taints
        .retain(|taint| !taints::is_left_out_of_templates(&taint.key, flags));
    if flags.scale_from_unschedulable {
        node.unschedulable = false;
    }
    node.provider_id = SmolStr::default();
    node.uid.clone_from(&name);
    node.name = name;
    node
}

fn kept_pods<'a>(pods: impl Iterator<Item = &'a Arc<Pod>>, node: &SmolStr) -> Vec<Arc<Pod>> {
    pods.filter(|pod| pod.deletion_timestamp.is_none())
        .filter(|pod| pod.shape.safety.is_mirror || pod.shape.is_daemonset_pod())
        .map(|pod| {
            let name = SmolStr::from(format!("{}-{node}", pod.name));
            Arc::new(Pod {
                uid: name.clone(),
                name,
                node_name: Some(node.clone()),
                ..Pod::clone(pod)
            })
        })
        .collect()
}

/// The slices of devices that the model node has to itself, for the new node.
fn local_slices(context: &Loop<'_>, real: &str, new: &SmolStr) -> Vec<Arc<ResourceSlice>> {
    context
        .cluster
        .resource_slices
        .iter()
        .filter(|slice| matches!(&slice.nodes, SliceNodes::Node(name) if name == real))
        .map(|slice| {
            Arc::new(ResourceSlice {
                name: format!("{}-{new}", slice.name).into(),
                pool: format!("{}-{new}", slice.pool).into(),
                nodes: SliceNodes::Node(new.clone()),
                ..ResourceSlice::clone(slice)
            })
        })
        .collect()
}

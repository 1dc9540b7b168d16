//! What a new node of each group looks like. Source: `pkg/processors/nodeinfosprovider`,
//! `pkg/simulator/node_info_utils.go`.
//!
//! Of a group's real nodes the first that is ready, settled and schedulable is the model; then
//! the one remembered from an earlier loop; then the cloud's description; then any node.

mod cache;
mod daemonsets;
mod sanitize;

use std::sync::Arc;

use windlass_model::{
    CsiNode, Duration, Node, NodeTemplate, Pod, ResourceSlice, SliceNodes, SmolStr,
};
use windlass_scheduler::{NodeId, Snapshot};

pub use cache::TemplateCache;

use crate::{
    cluster_state::node_readiness,
    decide::{Loop, LoopNode},
    taints,
};

/// A node is taken as a model only when its readiness has not changed for so long.
const STABILIZATION: Duration = Duration::from_secs(60);

/// What a group's template was made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TemplateSource {
    /// This node of the group.
    Node(SmolStr),
    /// A node of the group that was seen in an earlier loop.
    Remembered,
    /// The cloud's description.
    Description,
}

/// A new node made from a template, not yet in a snapshot.
pub(crate) struct NewNode {
    pub(crate) node: Arc<Node>,
    pods: Vec<Arc<Pod>>,
    slices: Vec<Arc<ResourceSlice>>,
    csi_node: Option<Arc<CsiNode>>,
}

/// Finds the template of each group.
pub(crate) fn recompute(context: &mut Loop<'_>) {
    let cluster = context.cluster;
    let cache_time = context.config.templates.node_info_cache_expire_time;
    context
        .memory
        .templates
        .retain_groups(|name| cluster.groups.iter().any(|group| group.name == name));
    context.memory.templates.expire(context.now, cache_time);

    let mut models: Vec<Option<usize>> = vec![None; cluster.groups.len()];
    let mut others: Vec<Option<usize>> = vec![None; cluster.groups.len()];
    for (index, node) in context.nodes.iter().enumerate() {
        let Some(group) = node.group else { continue };
        let slot = if is_good_model(context, node) {
            &mut models[group]
        } else {
            &mut others[group]
        };
        slot.get_or_insert(index);
    }

    let mut templates = Vec::with_capacity(cluster.groups.len());
    let mut sources = Vec::with_capacity(cluster.groups.len());
    for (index, group) in cluster.groups.iter().enumerate() {
        let found = if let Some(node) = models[index] {
            let template = sanitize::from_real_node(context, index, node);
            context
                .memory
                .templates
                .store(&group.name, &template, context.now);
            Some((template, source_of(context, node)))
        } else if let Some(remembered) = context.memory.templates.get(&group.name) {
            Some((remembered.clone(), TemplateSource::Remembered))
        } else if let Some(described) = &group.template {
            let template = sanitize::from_description(context, index, described);
            Some((template, TemplateSource::Description))
        } else {
            others[index].map(|node| {
                let template = sanitize::from_real_node(context, index, node);
                (template, source_of(context, node))
            })
        };
        let (mut template, source) = found.unzip();
        if let (Some(template), Some(described)) = (&mut template, &group.template) {
            add_missing_resources(template, &described.node);
        }
        templates.push(template);
        sources.push(source);
    }
    context.templates = templates;
    context.template_sources = sources;
}

fn source_of(context: &Loop<'_>, node: usize) -> TemplateSource {
    TemplateSource::Node(context.nodes[node].node.name.clone())
}

fn is_good_model(context: &Loop<'_>, node: &LoopNode) -> bool {
    let readiness = node_readiness(&node.node);
    let is_settled = readiness
        .last_transition
        .is_none_or(|since| context.now.duration_since(since) > STABILIZATION);
    readiness.is_ready
        && is_settled
        && !node.node.unschedulable
        && node.node.taint(taints::TO_BE_DELETED).is_none()
}

/// Extended resources that the cloud describes reach templates made from real nodes so. Source:
/// `asg_tag_resource_node_info_provider.go`.
fn add_missing_resources(template: &mut NodeTemplate, described: &Node) {
    let lacks = |own: &windlass_model::ResourceList, other: &windlass_model::ResourceList| {
        other.iter().any(|(name, _)| own.get(name).is_none())
    };
    if !lacks(&template.node.capacity, &described.capacity)
        && !lacks(&template.node.allocatable, &described.allocatable)
    {
        return;
    }
    let node = Arc::make_mut(&mut template.node);
    for (own, other) in [
        (&mut node.capacity, &described.capacity),
        (&mut node.allocatable, &described.allocatable),
    ] {
        for (name, amount) in other.iter() {
            if own.get(name).is_none() {
                own.insert(name.clone(), amount);
            }
        }
    }
}

/// A copy of the template under a name of its own.
pub(crate) fn copy_of(template: &NodeTemplate, suffix: &str, annotation: Option<&str>) -> NewNode {
    let name = windlass_model::SmolStr::from(format!("{}-{suffix}", template.node.name));
    let mut node = Node::clone(&template.node);
    node.labels.insert(sanitize::HOSTNAME_LABEL, name.clone());
    if let Some(annotation) = annotation {
        node.annotations.insert(annotation, "true");
    }
    let slices = template
        .resource_slices
        .iter()
        .map(|slice| Arc::new(slice_of_copy(slice, &name, suffix)))
        .collect();
    let csi_node = template.csi_node.as_ref().map(|csi| {
        Arc::new(CsiNode {
            name: name.clone(),
            ..CsiNode::clone(csi)
        })
    });
    node.name.clone_from(&name);
    node.uid = name;
    NewNode {
        node: Arc::new(node),
        pods: template.pods.clone(),
        slices,
        csi_node,
    }
}

fn slice_of_copy(slice: &ResourceSlice, node: &str, suffix: &str) -> ResourceSlice {
    ResourceSlice {
        name: format!("{}-{suffix}", slice.name).into(),
        pool: format!("{}-{suffix}", slice.pool).into(),
        nodes: SliceNodes::Node(node.into()),
        ..slice.clone()
    }
}

/// Adds the template itself, under its own name.
pub(crate) fn add_template(snapshot: &mut Snapshot, template: &NodeTemplate) -> NodeId {
    let id = snapshot.add_node_with(
        Arc::clone(&template.node),
        &template.resource_slices,
        template.csi_node.clone(),
    );
    for pod in &template.pods {
        snapshot.add_pod(pod, id);
    }
    id
}

/// Adds a new node with its pods.
pub(crate) fn add_new_node(snapshot: &mut Snapshot, new: NewNode) -> NodeId {
    let id = snapshot.add_node_with(new.node, &new.slices, new.csi_node);
    for pod in &new.pods {
        snapshot.add_pod(pod, id);
    }
    id
}

//! Nodes that are on their way.

use super::Readiness;
use crate::{decide::Loop, template};

/// Marks a node of the snapshot that stands for one on its way.
pub(crate) const UPCOMING_ANNOTATION: &str = "cluster-autoscaler.k8s.io/upcoming-node";

/// Puts copies of the templates into the snapshot for the nodes that were asked for and have
/// not started, and takes out those of them that have registered already.
pub(crate) fn inject_upcoming(context: &mut Loop<'_>) {
    for index in 0..context.groups.len() {
        let Some(template) = &context.templates[index] else {
            continue;
        };
        for number in 0..context.groups[index].counted_on {
            let suffix = format!("upcoming-{number}");
            let node = template::copy_of(template, &suffix, Some(UPCOMING_ANNOTATION));
            context.upcoming.insert(node.node.name.clone(), index);
            template::add_new_node(&mut context.snapshot, node);
        }
    }
    for node in &mut context.nodes {
        let is_counted = node
            .group
            .is_some_and(|group| context.groups[group].counted_on > 0);
        if !is_counted || node.readiness != Readiness::NotStarted {
            continue;
        }
        node.is_replaced = true;
        if let Some(id) = context.snapshot.node_id(&node.node.name) {
            context.snapshot.remove_node(id);
        }
    }
}

//! The beginning of removals.

use std::sync::Arc;

use windlass_model::{Effect, ObjectName, SmolStr, Taint};

use super::{Drain, Phase, evictions};
use crate::{
    Action, Event, EventObject, EventTiming, NodeRemoval, cluster_state::node_readiness,
    decide::Loop, scale_down::Removal, taints,
};

/// The beginning of the keys of annotations that delay a node's deletion.
const DELAY_ANNOTATION_PREFIX: &str = "delay-deletion.cluster-autoscaler.kubernetes.io/";

/// Whether an annotation of the node delays its deletion.
pub(super) fn delays_deletion(node: &windlass_model::Node) -> bool {
    node.annotations
        .iter()
        .any(|(key, _)| key.starts_with(DELAY_ANNOTATION_PREFIX))
}

/// Writes down the removals as intents and asks for their taints.
pub(crate) fn begin(context: &mut Loop<'_>, removals: Vec<Removal>) {
    for Removal { removable, batch } in removals {
        let node = Arc::clone(&context.nodes[removable.node].node);
        let group = context.cluster.groups[removable.group].name.clone();
        let is_empty = removable.is_empty();
        let pods = evictions::pods_on(context, &node.name);
        let selected = evictions::select(context.config, &pods, is_empty);
        let names = |pods: &[&Arc<windlass_model::Pod>]| -> Vec<ObjectName> {
            pods.iter().map(|pod| pod.full_name()).collect()
        };
        context.plan.scale_down.removals.push(NodeRemoval {
            node: node.name.clone(),
            group: group.clone(),
            instance: node.provider_id.clone(),
            is_empty,
            evicted: names(&selected.full),
            evicted_daemonset_pods: names(&selected.daemonset),
        });
        let drain = Drain {
            group,
            instance: node.provider_id.clone(),
            started_at: context.now,
            is_empty,
            was_ready: node_readiness(&node).is_ready,
            // A cordon that came with an older taint of a removal is nobody's wish.
            was_cordoned: node.unschedulable && node.taint(taints::TO_BE_DELETED).is_none(),
            is_delayed: delays_deletion(&node),
            batch,
            extra_rounds: 0,
            phase: Phase::Tainting { done_at: None },
            asked_at: Some(context.now),
        };
        let timing = EventTiming::OnceDone(context.plan.actions.len());
        ask_for_taint(context, &node.name);
        let (reason, message) = if is_empty {
            let message = format!("Scale-down: removing empty node \"{}\"", node.name);
            ("ScaleDownEmpty", message)
        } else {
            let pods: Vec<&str> = removable
                .movable
                .iter()
                .map(|it| it.name.as_str())
                .collect();
            let message = format!(
                "Scale-down: removing node {}, utilization: {}, pods to reschedule: {}",
                node.name,
                removable.utilization,
                pods.join(",")
            );
            ("ScaleDown", message)
        };
        let marked = Event::normal(
            "ScaleDown",
            EventObject::Node(node.name.clone()),
            "marked the node as toBeDeleted/unschedulable",
        );
        context.plan.events.push(marked.at(timing));
        let removing = Event::normal(reason, EventObject::Status, message);
        context.plan.events.push(removing.at(timing));
        context.memory.drains.insert(node.name.clone(), drain);
        context.memory.recent_removals.push(context.now);
        context.memory.last_scale_down_delete = Some(context.now);
    }
}

/// Asks for the taint of a removal.
pub(super) fn ask_for_taint(context: &mut Loop<'_>, node: &SmolStr) {
    context.plan.actions.push(Action::AddTaint {
        node: node.clone(),
        taint: Taint {
            key: SmolStr::new_static(taints::TO_BE_DELETED),
            value: context.now.as_second().to_string().into(),
            effect: Effect::NoSchedule,
            time_added: None,
        },
        cordon: context.config.actuation.cordon_node_before_terminating,
    });
}

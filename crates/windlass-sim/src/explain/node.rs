use std::sync::Arc;

use windlass_core::{Plan, Unremovable, UnremovableReason};
use windlass_model::{NodeGroup, ObjectName, SmolStr};

use super::{Change, ExplainError, Explanation, Link, View};

const SCALE_DOWN_DISABLED: &str = "cluster-autoscaler.kubernetes.io/scale-down-disabled";

pub(super) fn explain(view: &View<'_>, name: &SmolStr) -> Result<Explanation, ExplainError> {
    let node = view
        .cluster
        .nodes
        .iter()
        .find(|node| node.name == *name)
        .ok_or_else(|| ExplainError::NotFound {
            kind: "node",
            name: name.to_string(),
        })?;
    let answer = |verdict, summary| Explanation::new("Node", name.to_string(), verdict, summary);
    let group = view.cluster.groups.iter().find(|group| {
        let mut instances = group.instances.iter();
        instances.any(|instance| instance.provider_id == node.provider_id)
    });
    let Some(group) = group else {
        let summary = "no node group has it, so it is never removed".to_owned();
        return Ok(answer("NotAutoscaled", summary));
    };
    let report = &view.plan.scale_down;
    if let Some(drain) = view.memory.drains.get(name) {
        let since = windlass_model::format_go_duration(view.now.duration_since(drain.started_at));
        let summary = format!(
            "it is being removed, since {since}: {}",
            drain.phase.describe()
        );
        return Ok(answer("BeingRemoved", summary));
    }
    if let Some(removal) = report.removals.iter().find(|removal| removal.node == *name) {
        let pods: Vec<String> = removal.evicted.iter().map(ToString::to_string).collect();
        let summary = if pods.is_empty() {
            "it is removed now; no pod has to move".to_owned()
        } else {
            format!("it is removed now; these pods move: {}", pods.join(", "))
        };
        return Ok(answer("Removed", summary));
    }
    let unremovable = report.unremovable.iter().find(|other| other.node == *name);
    if let Some(unremovable) = unremovable {
        return Ok(stays(view, group, unremovable, answer));
    }
    if report.unneeded.contains(name) {
        let summary = "nobody needs it; it is not removed in this loop".to_owned();
        return Ok(answer("Unneeded", summary));
    }
    if group.target_size <= group.min_size {
        let link = minimum(group);
        let change = Change {
            what: format!("NodeGroup/{}.spec.minSize", group.name),
            from: group.min_size.to_string(),
            to: (group.min_size - 1).to_string(),
        };
        let does_help = group.min_size > 0 && {
            let lowered = view.with_group(&group.name, |group| group.min_size -= 1);
            is_unneeded(&view.plan_of(&lowered, view.config), name)
        };
        return Ok(Explanation {
            chain: vec![link],
            change: if does_help { vec![change] } else { Vec::new() },
            ..answer(
                "AtMinimumSize",
                format!("{} is at its minimum size", group.name),
            )
        });
    }
    let summary = "scale-down has not looked at it in this loop".to_owned();
    Ok(answer("NotConsidered", summary))
}

/// Whether scale-down would find the node unneeded, removed at once or not.
fn is_unneeded(plan: &Plan, node: &SmolStr) -> bool {
    let report = &plan.scale_down;
    report.unneeded.contains(node) || report.removals.iter().any(|removal| removal.node == *node)
}

/// The threshold that the node's utilization was compared with, and a higher one, where that makes
/// the node unneeded. Which of the two flags counts is found out by trying both.
fn higher_threshold(
    view: &View<'_>,
    group: &NodeGroup,
    node: &SmolStr,
    utilization: f64,
) -> (f64, Option<Change>) {
    let settings = view.config.node_group_settings(&group.options);
    let to = (utilization * 100.0).floor() / 100.0 + 0.01;
    let tries = [
        (
            "--scale-down-utilization-threshold",
            settings.scale_down_utilization_threshold,
        ),
        (
            "--scale-down-gpu-utilization-threshold",
            settings.scale_down_gpu_utilization_threshold,
        ),
    ];
    for (what, from) in tries {
        let mut config = view.config.clone();
        let is_gpu = what.contains("gpu");
        let flags = &mut config.scale_down;
        if is_gpu {
            flags.gpu_utilization_threshold = to;
        } else {
            flags.utilization_threshold = to;
        }
        let cluster = view.with_group(&group.name, |group| {
            let own = if is_gpu {
                &mut group.options.scale_down_gpu_utilization_threshold
            } else {
                &mut group.options.scale_down_utilization_threshold
            };
            if own.is_some() {
                *own = Some(to);
            }
        });
        if is_unneeded(&view.plan_of(&cluster, &config), node) {
            let change = Change {
                what: what.to_owned(),
                from: from.to_string(),
                to: format!("{to:.2}"),
            };
            return (from, Some(change));
        }
    }
    (settings.scale_down_utilization_threshold, None)
}

fn helps_without_annotation(view: &View<'_>, name: &SmolStr) -> bool {
    let mut cluster = view.cluster.clone();
    let node = cluster.nodes.iter_mut().find(|node| node.name == *name);
    if let Some(node) = node {
        Arc::make_mut(node).annotations.remove(SCALE_DOWN_DISABLED);
    }
    is_unneeded(&view.plan_of(&cluster, view.config), name)
}

fn helps_to_declare_safe(view: &View<'_>, node: &SmolStr, name: &ObjectName) -> bool {
    let mut cluster = view.cluster.clone();
    let pod = cluster.pods.iter_mut().find(|pod| pod.full_name() == *name);
    if let Some(pod) = pod {
        let shape = &mut Arc::make_mut(pod).shape;
        Arc::make_mut(shape).safety.safe_to_evict = Some(SmolStr::new_static("true"));
    }
    is_unneeded(&view.plan_of(&cluster, view.config), node)
}

fn minimum(group: &NodeGroup) -> Link {
    Link {
        group: group.name.clone(),
        check: SmolStr::new_static("MinSize"),
        have: group.target_size.to_string(),
        need: (group.min_size + 1).to_string(),
        unit: SmolStr::new_static("nodes"),
    }
}

fn stays(
    view: &View<'_>,
    group: &NodeGroup,
    unremovable: &Unremovable,
    answer: impl Fn(&'static str, String) -> Explanation,
) -> Explanation {
    let node = &unremovable.node;
    let reason = unremovable.reason;
    let mut link = Link {
        group: group.name.clone(),
        check: SmolStr::new_static(reason.as_str()),
        have: String::new(),
        need: String::new(),
        unit: SmolStr::default(),
    };
    let settings = view.config.node_group_settings(&group.options);
    let mut change = Vec::new();
    let summary = match reason {
        UnremovableReason::NotUnderutilized => {
            if let Some(utilization) = unremovable.utilization {
                let (threshold, helping) = higher_threshold(view, group, node, utilization);
                link.have = format!("{utilization:.3}");
                link.need = format!("below {threshold}");
                link.unit = SmolStr::new_static("of its resources requested");
                change.extend(helping);
            }
            "its pods request too much of it".to_owned()
        }
        UnremovableReason::NotUnneededLongEnough => {
            let time = settings.scale_down_unneeded_time;
            link.need = windlass_model::format_go_duration(time);
            link.unit = SmolStr::new_static("unneeded");
            "it is unneeded, but not for long enough yet".to_owned()
        }
        UnremovableReason::NotUnreadyLongEnough => {
            let time = settings.scale_down_unready_time;
            link.need = windlass_model::format_go_duration(time);
            link.unit = SmolStr::new_static("unready");
            "it is unready, but not for long enough yet".to_owned()
        }
        UnremovableReason::ScaleDownDisabledAnnotation => {
            if helps_without_annotation(view, node) {
                change.push(Change {
                    what: format!("Node/{node}.metadata.annotations[{SCALE_DOWN_DISABLED}]"),
                    from: "true".to_owned(),
                    to: String::new(),
                });
            }
            "an annotation forbids it".to_owned()
        }
        UnremovableReason::NoPlaceToMovePods => "some of its pods fit on no other node".to_owned(),
        UnremovableReason::BlockedByPod | UnremovableReason::BlockedByOnCompletionPod => {
            if let Some((pod, why)) = &unremovable.blocking_pod {
                link.check = why.clone();
                link.have = pod.to_string();
                if helps_to_declare_safe(view, node, pod) {
                    change.push(Change {
                        what: format!("Pod/{pod}.metadata.annotations[cluster-autoscaler.kubernetes.io/safe-to-evict]"),
                        from: String::new(),
                        to: "true".to_owned(),
                    });
                }
                format!("pod {pod} must not be moved: {why}")
            } else {
                "one of its pods must not be moved".to_owned()
            }
        }
        UnremovableReason::NodeGroupMinSizeReached => {
            link = minimum(group);
            format!("{} would go below its minimum size", group.name)
        }
        other => other.as_str().to_owned(),
    };
    Explanation {
        chain: vec![link],
        change,
        ..answer("Stays", summary)
    }
}

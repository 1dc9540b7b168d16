use windlass_core::{Unremovable, UnremovableReason};
use windlass_model::{NodeGroup, SmolStr};

use super::{Change, ExplainError, Explanation, Link, View};

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
        return Ok(Explanation {
            chain: vec![link],
            change: if group.min_size > 0 {
                vec![change]
            } else {
                Vec::new()
            },
            ..answer(
                "AtMinimumSize",
                format!("{} is at its minimum size", group.name),
            )
        });
    }
    let summary = "scale-down has not looked at it in this loop".to_owned();
    Ok(answer("NotConsidered", summary))
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
            let threshold = settings.scale_down_utilization_threshold;
            if let Some(utilization) = unremovable.utilization {
                link.have = format!("{utilization:.3}");
                link.need = format!("below {threshold}");
                link.unit = SmolStr::new_static("of its resources requested");
                change.push(Change {
                    what: "--scale-down-utilization-threshold".to_owned(),
                    from: threshold.to_string(),
                    to: format!("{:.2}", (utilization * 100.0).floor() / 100.0 + 0.01),
                });
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
            change.push(Change {
                what: format!(
                    "Node/{node}.metadata.annotations[cluster-autoscaler.kubernetes.io/scale-down-disabled]"
                ),
                from: "true".to_owned(),
                to: String::new(),
            });
            "an annotation forbids it".to_owned()
        }
        UnremovableReason::NoPlaceToMovePods => "some of its pods fit on no other node".to_owned(),
        UnremovableReason::BlockedByPod | UnremovableReason::BlockedByOnCompletionPod => {
            if let Some((pod, why)) = &unremovable.blocking_pod {
                link.check = why.clone();
                link.have = pod.to_string();
                if matches!(
                    why.as_str(),
                    "NotReplicated"
                        | "LocalStorageRequested"
                        | "NotSafeToEvictAnnotation"
                        | "UnmovableKubeSystemPod"
                ) {
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

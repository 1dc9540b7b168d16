use std::sync::Arc;

use windlass_model::{
    Constraints, Effect, NodeGroup, NodeTemplate, ObjectName, Pod, PodScheduled, PodShape,
    Resources, SmolStr, Toleration, TolerationOperator,
};
use windlass_scheduler::{NodeId, Snapshot};

use super::checks::{amount, links, missing_labels, show_taint, untolerated};
use super::{Change, ExplainError, Explanation, Link, View, with_new_node};

/// More changes than this to one pod are no advice.
const MOST_CHANGES: usize = 4;

pub(super) fn explain(
    view: &View<'_>,
    mut snapshot: Snapshot,
    name: &ObjectName,
) -> Result<Explanation, ExplainError> {
    let pod = view
        .cluster
        .pods
        .iter()
        .find(|pod| pod.full_name() == *name)
        .ok_or_else(|| ExplainError::NotFound {
            kind: "pod",
            name: name.to_string(),
        })?;
    let answer = |verdict, summary| Explanation::new("Pod", name.to_string(), verdict, summary);
    if let Some((verdict, summary)) = not_pending(view, pod) {
        return Ok(answer(verdict, summary));
    }
    let report = &view.plan.pods;
    if report.schedulable.contains(name) {
        let node = first_node(&mut snapshot, pod);
        let place = node.map_or_else(
            || "a node that is on its way".to_owned(),
            |node| format!("node {}", snapshot.node(node).name),
        );
        return Ok(answer("Schedulable", format!("{place} can hold it")));
    }
    if report.triggered_scale_up.contains(name) {
        let sizes: Vec<String> = view
            .plan
            .scale_up
            .resizes
            .iter()
            .map(|resize| format!("{}: {} -> {} nodes", resize.group, resize.from, resize.to))
            .collect();
        let summary = format!("new nodes are asked for: {}", sizes.join(", "));
        return Ok(answer("TriggersScaleUp", summary));
    }
    let chain = chain(view, &mut snapshot, pod);
    let change = smallest_change(view, &mut snapshot, pod);
    let is_unschedulable = report.unschedulable.iter().any(|(other, _)| other == name);
    let (verdict, summary) = if is_unschedulable {
        let reasons = group_reasons(&chain);
        ("Unschedulable", format!("no group helps: {reasons}"))
    } else if report.waiting.contains(name) {
        let summary = "some group could help, but this loop chose another one, or the pod is too young, or a limit is reached";
        ("Waiting", summary.to_owned())
    } else {
        ("Ignored", "the autoscaler does not look at it".to_owned())
    };
    Ok(Explanation {
        chain,
        change,
        ..answer(verdict, summary)
    })
}

/// What a pod that does not wait for a node does instead.
fn not_pending(view: &View<'_>, pod: &Pod) -> Option<(&'static str, String)> {
    if pod.phase.is_terminal() {
        return Some(("Finished", "it has ended".to_owned()));
    }
    if let Some(node) = &pod.node_name {
        return Some(("Bound", format!("it is on node {node}")));
    }
    if pod.deletion_timestamp.is_some() {
        return Some(("Deleting", "it is being deleted".to_owned()));
    }
    let gates = &pod.shape.constraints.scheduling_gates;
    if !gates.is_empty() {
        let gates = gates.join(" ");
        return Some(("Gated", format!("it waits for scheduling gates: [{gates}]")));
    }
    let cutoff = view.config.scale_up.expendable_pods_priority_cutoff;
    if pod
        .shape
        .priority
        .is_some_and(|priority| i64::from(priority) < cutoff)
    {
        let priority = pod.priority();
        let summary = format!("its priority of {priority} is below the cutoff of {cutoff}");
        return Some(("Expendable", summary));
    }
    let bypassed = &view.config.scale_up.bypassed_scheduler_names;
    let is_bypassed = bypassed.contains(&pod.shape.scheduler_name);
    match pod.scheduled {
        PodScheduled::Unschedulable { .. } => None,
        PodScheduled::Absent | PodScheduled::NoReason if is_bypassed => None,
        _ => Some((
            "NotYetScheduled",
            "its scheduler has not said that it is unschedulable".to_owned(),
        )),
    }
}

fn first_node(snapshot: &mut Snapshot, pod: &Arc<Pod>) -> Option<NodeId> {
    let nodes: Vec<NodeId> = snapshot.node_ids().collect();
    nodes.into_iter().find(|node| snapshot.fits(pod, *node))
}

/// Every group's failed checks, in the order of the groups' names.
pub(super) fn chain(view: &View<'_>, snapshot: &mut Snapshot, pod: &Arc<Pod>) -> Vec<Link> {
    let mut groups: Vec<(&NodeGroup, Option<&NodeTemplate>)> = view
        .cluster
        .groups
        .iter()
        .zip(view.templates.iter().map(Option::as_ref))
        .collect();
    groups.sort_by(|a, b| a.0.name.cmp(&b.0.name));
    groups
        .into_iter()
        .flat_map(|(group, template)| group_links(view, snapshot, pod, group, template))
        .collect()
}

fn group_links(
    view: &View<'_>,
    snapshot: &mut Snapshot,
    pod: &Arc<Pod>,
    group: &NodeGroup,
    template: Option<&NodeTemplate>,
) -> Vec<Link> {
    let mut found = obstacles(view, group);
    let Some(template) = template else {
        found.push(Link {
            group: group.name.clone(),
            check: SmolStr::new_static("Template"),
            have: String::new(),
            need: "a template, or a node to learn from".to_owned(),
            unit: SmolStr::default(),
        });
        return found;
    };
    with_new_node(snapshot, template, |snapshot, node| {
        let free = free(snapshot, node);
        for rejection in snapshot.explain(pod, node) {
            found.extend(links(&group.name, pod, &template.node, &free, &rejection));
        }
    });
    found
}

/// What keeps a group from growing, whatever the pod.
pub(super) fn obstacles(view: &View<'_>, group: &NodeGroup) -> Vec<Link> {
    let link = |check: &'static str, have: String, need: String, unit: &'static str| Link {
        group: group.name.clone(),
        check: SmolStr::new_static(check),
        have,
        need,
        unit: SmolStr::new_static(unit),
    };
    let mut found = Vec::new();
    if group.target_size >= group.max_size {
        let need = (group.target_size + 1).to_string();
        found.push(link("MaxSize", group.max_size.to_string(), need, "nodes"));
    }
    for (name, reason) in &view.plan.scale_up.skipped_groups {
        // The size is told with its numbers already.
        if *name == group.name && found.is_empty() {
            let check = match reason.as_str() {
                "in backoff after failed scale-up" => "Backoff",
                "not ready for scale-up" => "NotReady",
                reason if reason.starts_with("exceeded quota") => "Limits",
                _ => "Skipped",
            };
            found.push(link(check, reason.clone(), String::new(), ""));
        }
    }
    found
}

fn free(snapshot: &Snapshot, node: NodeId) -> Resources {
    let mut free = snapshot.allocatable(node);
    free.subtract(&snapshot.requested(node));
    let pods = i64::try_from(snapshot.pods_on(node).len()).unwrap_or(i64::MAX);
    free.pods -= pods;
    free
}

/// A few words for each group.
fn group_reasons(chain: &[Link]) -> String {
    let mut groups: Vec<(&SmolStr, Vec<String>)> = Vec::new();
    for link in chain {
        let words = match link.check.as_str() {
            "MaxSize" => format!("is at its maximum of {}", link.have),
            "NodeResourcesFit" => format!("has too little {}", link.unit),
            "TaintToleration" => format!("is tainted {}", link.need),
            "NodeAffinity" => format!("is not {}", link.need),
            "Skipped" | "Backoff" | "NotReady" | "Limits" => link.have.clone(),
            _ => format!("fails {}", link.check),
        };
        match groups.last_mut() {
            Some((group, all)) if *group == &link.group => all.push(words),
            _ => groups.push((&link.group, vec![words])),
        }
    }
    if groups.is_empty() {
        return "there is no group".to_owned();
    }
    let groups: Vec<String> = groups
        .into_iter()
        .map(|(group, words)| format!("{group} {}", words.join(" and ")))
        .collect();
    groups.join(", ")
}

/// The fewest changes that make a new node of some group hold the pod; a group's size is changed
/// rather than the pod. `with_new_node` has tried each of them.
fn smallest_change(view: &View<'_>, snapshot: &mut Snapshot, pod: &Arc<Pod>) -> Vec<Change> {
    let mut best: Option<(usize, usize, &SmolStr, Vec<Change>)> = None;
    for (group, template) in view.cluster.groups.iter().zip(&view.templates) {
        let Some(template) = template else {
            continue;
        };
        let Some(pod_changes) = changes_to_pod(snapshot, pod, template) else {
            continue;
        };
        let touched_pod = pod_changes.len();
        let mut changes = pod_changes;
        if group.target_size >= group.max_size {
            changes.push(Change {
                what: format!("NodeGroup/{}.spec.maxSize", group.name),
                from: group.max_size.to_string(),
                to: (group.target_size + 1).to_string(),
            });
        } else if !obstacles(view, group).is_empty() {
            continue;
        }
        let key = (changes.len(), touched_pod, &group.name);
        if best
            .as_ref()
            .is_none_or(|(count, touched, name, _)| key < (*count, *touched, *name))
        {
            best = Some((key.0, key.1, key.2, changes));
        }
    }
    best.map_or_else(Vec::new, |(_, _, _, changes)| changes)
}

/// What of the pod would have to be different for it to fit a new node.
fn changes_to_pod(
    snapshot: &mut Snapshot,
    pod: &Arc<Pod>,
    template: &NodeTemplate,
) -> Option<Vec<Change>> {
    with_new_node(snapshot, template, |snapshot, node| {
        let free = free(snapshot, node);
        let mut tried = Arc::clone(pod);
        let mut changes = Vec::new();
        while changes.len() <= MOST_CHANGES {
            let rejections = snapshot.explain(&tried, node);
            let Some(rejection) = rejections.first() else {
                return Some(changes);
            };
            let (next, change) = match rejection.plugin.as_str() {
                "NodeResourcesFit" => {
                    let reason = rejection.reasons.first()?;
                    request_less(&tried, &free, reason.strip_prefix("Insufficient ")?)?
                }
                "TaintToleration" => tolerate(&tried, template)?,
                "NodeAffinity" => select_other(&tried, template)?,
                _ => return None,
            };
            changes.push(change);
            tried = next;
        }
        None
    })
}

type Try = (Arc<Pod>, Change);

fn request_less(pod: &Arc<Pod>, free: &Resources, name: &str) -> Option<Try> {
    let (have, need) = (amount(free, name), amount(&pod.shape.requests, name));
    if have.is_zero() || have.is_negative() {
        return None;
    }
    let mut requests = pod.shape.requests.clone();
    match name {
        "cpu" => requests.milli_cpu = free.milli_cpu,
        "memory" => requests.memory_bytes = free.memory_bytes,
        "ephemeral-storage" => requests.ephemeral_storage_bytes = free.ephemeral_storage_bytes,
        other => {
            let own = requests.scalars.iter_mut().find(|(n, _)| n == other)?;
            own.1 = free.scalar(other)?;
        }
    }
    let shape = PodShape {
        requests,
        ..PodShape::clone(&pod.shape)
    };
    let change = Change {
        what: format!("Pod/{}: the sum of requests of {name}", pod.full_name()),
        from: need.to_string(),
        to: have.to_string(),
    };
    Some((with_shape(pod, shape), change))
}

fn tolerate(pod: &Arc<Pod>, template: &NodeTemplate) -> Option<Try> {
    let taint = untolerated(pod, &template.node)?;
    let mut constraints = Constraints::clone(&pod.shape.constraints);
    constraints.tolerations.push(Toleration {
        key: taint.key.clone(),
        operator: TolerationOperator::Equal,
        value: taint.value.clone(),
        effect: Some(Effect::clone(&taint.effect)),
    });
    let change = Change {
        what: format!("Pod/{}.spec.tolerations", pod.full_name()),
        from: String::new(),
        to: show_taint(taint),
    };
    Some((with_constraints(pod, constraints), change))
}

fn select_other(pod: &Arc<Pod>, template: &NodeTemplate) -> Option<Try> {
    let (key, value) = missing_labels(pod, &template.node).next()?;
    let has = template.node.labels.get(key).cloned();
    let mut constraints = Constraints::clone(&pod.shape.constraints);
    let selector = constraints.node_selector.as_mut()?;
    match &has {
        Some(has) => selector.insert(key.clone(), has.clone()),
        None => {
            selector.remove(key);
        }
    }
    let change = Change {
        what: format!("Pod/{}.spec.nodeSelector[{key}]", pod.full_name()),
        from: value.to_string(),
        to: has.map_or_else(String::new, |has| has.to_string()),
    };
    Some((with_constraints(pod, constraints), change))
}

fn with_constraints(pod: &Pod, constraints: Constraints) -> Arc<Pod> {
    let shape = PodShape {
        constraints: Arc::new(constraints),
        ..PodShape::clone(&pod.shape)
    };
    with_shape(pod, shape)
}

fn with_shape(pod: &Pod, shape: PodShape) -> Arc<Pod> {
    Arc::new(Pod {
        shape: Arc::new(shape),
        ..pod.clone()
    })
}

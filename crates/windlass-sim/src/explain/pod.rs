use std::fmt::Write as _;
use std::sync::Arc;

use windlass_config::Config;
use windlass_model::{
    Constraints, Effect, Node, NodeGroup, NodeTemplate, ObjectName, Pod, PodScheduled, PodShape,
    Quantity, Resources, SmolStr, Toleration, TolerationOperator,
};
use windlass_scheduler::{NodeId, Snapshot};

use super::checks::{amount, links, missing_labels, show_taint, untolerated};
use super::{Change, ExplainError, Explanation, Link, View, with_new_node};

/// More changes than this to one pod are no advice.
const MOST_CHANGES: usize = 4;
/// Groups whose changes are tried: each costs a decision.
const MOST_TRIES: usize = 8;
const GIB: i64 = 1 << 30;

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
    let is_unschedulable = report.unschedulable.iter().any(|(other, _)| other == name);
    let change = smallest_change(view, &mut snapshot, pod, is_unschedulable);
    let (verdict, summary) = if is_unschedulable {
        let reasons = group_reasons(view, &chain);
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
            let have = match view.backoffs.get(name) {
                Some(backoff) if check == "Backoff" => format!(
                    "{reason}: {}: {}",
                    backoff.error.code, backoff.error.message
                ),
                _ => reason.clone(),
            };
            found.push(link(check, have, String::new(), ""));
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
fn group_reasons(view: &View<'_>, chain: &[Link]) -> String {
    let mut groups: Vec<(&SmolStr, Vec<String>)> = Vec::new();
    for link in chain {
        let words = match link.check.as_str() {
            "MaxSize" => format!("is at its maximum of {}", link.have),
            "NodeResourcesFit" => shortage(view, link),
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

/// What a new node has too little of, with the numbers.
fn shortage(view: &View<'_>, link: &Link) -> String {
    let name = link.unit.as_str();
    let place = view
        .cluster
        .groups
        .iter()
        .position(|group| group.name == link.group);
    let template = place.and_then(|place| view.templates[place].as_ref());
    let Some(template) = template else {
        return format!("has too little {name}");
    };
    let allocatable = template.node.allocatable.get(name).unwrap_or_default();
    let mut taken = Resources::default();
    for pod in &template.pods {
        taken.add(&pod.shape.requests);
        taken.pods += 1;
    }
    let taken = if name == "pods" {
        Quantity::from_units(taken.pods)
    } else {
        amount(&taken, name)
    };
    let need = &link.need;
    let mut words =
        format!("has too little {name} (needs {need}, a new node has {allocatable} allocatable");
    if !taken.is_zero() {
        let _ = write!(words, ", {taken} taken by DaemonSets");
    }
    words.push(')');
    words
}

/// Changes that may make some group help.
struct Proposal<'a> {
    group: &'a NodeGroup,
    changes: Vec<Change>,
    /// The pod as it would be; `None` where it may stay as it is.
    pod: Option<Arc<Pod>>,
    /// The group's maximum as it would be.
    max_size: Option<i64>,
    /// The flags as they would be.
    config: Option<Config>,
}

/// The fewest changes with which the pod is helped: what a new node of each group would take is
/// found by asking, and the loop is decided again with it. A group's size or a flag is changed
/// rather than the pod.
fn smallest_change(
    view: &View<'_>,
    snapshot: &mut Snapshot,
    pod: &Arc<Pod>,
    is_unschedulable: bool,
) -> Vec<Change> {
    let groups = view.cluster.groups.iter().zip(&view.templates);
    let mut proposals: Vec<Proposal<'_>> = groups
        .filter_map(|(group, template)| propose(view, snapshot, pod, group, template.as_ref()?))
        .filter(|proposal| !proposal.changes.is_empty())
        .collect();
    proposals.sort_by_key(|proposal| {
        let touches_pod = proposal.pod.is_some();
        (proposal.changes.len(), touches_pod, &proposal.group.name)
    });
    proposals
        .into_iter()
        .take(MOST_TRIES)
        .find(|proposal| does_help(view, pod, proposal, is_unschedulable))
        .map_or_else(Vec::new, |proposal| proposal.changes)
}

fn propose<'a>(
    view: &View<'a>,
    snapshot: &mut Snapshot,
    pod: &Arc<Pod>,
    group: &'a NodeGroup,
    template: &NodeTemplate,
) -> Option<Proposal<'a>> {
    let (tried, mut changes) = changes_to_pod(snapshot, pod, template)?;
    let pod = (!changes.is_empty()).then_some(tried);
    let mut max_size = None;
    let mut config = None;
    if group.target_size >= group.max_size {
        max_size = Some(group.target_size + 1);
        changes.push(Change {
            what: format!("NodeGroup/{}.spec.maxSize", group.name),
            from: group.max_size.to_string(),
            to: (group.target_size + 1).to_string(),
        });
    }
    if let Some((raised, mut flags)) = raise_limits(view, &template.node) {
        config = Some(raised);
        changes.append(&mut flags);
    }
    Some(Proposal {
        group,
        changes,
        pod,
        max_size,
        config,
    })
}

/// The cluster's limits raised so far that one such node more is within them; `None` where it is.
fn raise_limits(view: &View<'_>, node: &Node) -> Option<(Config, Vec<Change>)> {
    let present = |name: &str| -> i64 {
        let nodes = view.cluster.nodes.iter();
        let amounts = nodes.map(|node| node.capacity.get(name).map_or(0, Quantity::units_ceil));
        amounts.sum()
    };
    let more = |name: &str| node.capacity.get(name).map_or(0, Quantity::units_ceil);
    let mut config = view.config.clone();
    let mut changes = Vec::new();
    let mut change = |flag: &str, from: String, to: String| {
        changes.push(Change {
            what: format!("--{flag}"),
            from,
            to,
        });
    };
    let limits = &mut config.limits;
    let nodes = i64::try_from(view.cluster.nodes.len()).unwrap_or(i64::MAX);
    if limits.max_nodes_total > 0 && nodes >= limits.max_nodes_total {
        let from = limits.max_nodes_total.to_string();
        limits.max_nodes_total = nodes + 1;
        change("max-nodes-total", from, limits.max_nodes_total.to_string());
    }
    let cores = present("cpu") + more("cpu");
    if cores > limits.cores_total.max {
        let from = limits.cores_total.to_string();
        limits.cores_total.max = cores;
        change("cores-total", from, limits.cores_total.to_string());
    }
    let bytes = present("memory") + more("memory");
    if bytes > limits.memory_total_bytes().max {
        let from = limits.memory_total.to_string();
        limits.memory_total.max = (bytes + GIB - 1) / GIB;
        change("memory-total", from, limits.memory_total.to_string());
    }
    (!changes.is_empty()).then_some((config, changes))
}

/// Whether the pod is better off in a loop decided with the changes: helped, or, where no group
/// could help before, some group can.
fn does_help(view: &View<'_>, pod: &Pod, proposal: &Proposal<'_>, is_unschedulable: bool) -> bool {
    let name = pod.full_name();
    let mut cluster = view.with_group(&proposal.group.name, |group| {
        group.max_size = proposal.max_size.unwrap_or(group.max_size);
    });
    if let Some(changed) = &proposal.pod {
        let own = cluster.pods.iter_mut().find(|pod| pod.full_name() == name);
        if let Some(own) = own {
            *own = Arc::clone(changed);
        }
    }
    let config = proposal.config.as_ref().unwrap_or(view.config);
    let pods = view.plan_of(&cluster, config).pods;
    pods.schedulable.contains(&name)
        || pods.triggered_scale_up.contains(&name)
        || (is_unschedulable && pods.waiting.contains(&name))
}

/// What of the pod would have to be different for it to fit a new node, and the pod then.
fn changes_to_pod(
    snapshot: &mut Snapshot,
    pod: &Arc<Pod>,
    template: &NodeTemplate,
) -> Option<Try<Vec<Change>>> {
    with_new_node(snapshot, template, |snapshot, node| {
        let free = free(snapshot, node);
        let mut tried = Arc::clone(pod);
        let mut changes = Vec::new();
        while changes.len() <= MOST_CHANGES {
            let rejections = snapshot.explain(&tried, node);
            let Some(rejection) = rejections.first() else {
                return Some((tried, changes));
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

/// A pod as it would be, with what was changed.
type Try<C = Change> = (Arc<Pod>, C);

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

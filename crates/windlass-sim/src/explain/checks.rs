//! The scheduler's refusals with their numbers.

use windlass_model::{
    Effect, Node, NodeSelector, Pod, Quantity, Requirement, RequirementOperator, Resources,
    SmolStr, Taint,
};
use windlass_scheduler::Rejection;

use super::Link;

/// One refusal of a new node of a group as links: one for each resource, label or taint in
/// question.
pub(super) fn links(
    group: &SmolStr,
    pod: &Pod,
    node: &Node,
    free: &Resources,
    rejection: &Rejection,
) -> Vec<Link> {
    let link = |have: String, need: String, unit: &str| Link {
        group: group.clone(),
        check: rejection.plugin.clone(),
        have,
        need,
        unit: unit.into(),
    };
    let plain = || vec![link(String::new(), rejection.reasons.join("; "), "")];
    match rejection.plugin.as_str() {
        "NodeResourcesFit" => rejection
            .reasons
            .iter()
            .map(|reason| match reason.strip_prefix("Insufficient ") {
                Some(name) => {
                    let need = amount(&pod.shape.requests, name);
                    link(amount(free, name).to_string(), need.to_string(), name)
                }
                None if reason == "Too many pods" => {
                    link(free.pods.to_string(), "1".to_owned(), "pods")
                }
                None => link(String::new(), reason.to_string(), ""),
            })
            .collect(),
        "TaintToleration" => untolerated(pod, node).map_or_else(plain, |taint| {
            vec![link(String::new(), show_taint(taint), "")]
        }),
        "NodeAffinity" => {
            let mut links: Vec<Link> = missing_labels(pod, node)
                .map(|(key, value)| {
                    let have = node
                        .labels
                        .get(key)
                        .map_or_else(String::new, |has| format!("{key}={has}"));
                    link(have, format!("{key}={value}"), "")
                })
                .collect();
            let affinity = pod.shape.constraints.node_affinity.as_ref();
            if let Some(affinity) = affinity.filter(|a| !a.matches(&node.labels, &node.name)) {
                links.push(link(String::new(), show_selector(affinity), ""));
            }
            if links.is_empty() { plain() } else { links }
        }
        _ => plain(),
    }
}

/// The amount of a resource by name, as Kubernetes writes it.
pub(super) fn amount(resources: &Resources, name: &str) -> Quantity {
    match name {
        "cpu" => Quantity::from_millis(resources.milli_cpu),
        "memory" => Quantity::from_bytes(resources.memory_bytes),
        "ephemeral-storage" => Quantity::from_bytes(resources.ephemeral_storage_bytes),
        other => Quantity::from_units(resources.scalar(other).unwrap_or(0)),
    }
}

/// The first taint of the node that keeps the pod away.
pub(super) fn untolerated<'a>(pod: &Pod, node: &'a Node) -> Option<&'a Taint> {
    let tolerations = &pod.shape.constraints.tolerations;
    node.taints
        .iter()
        .filter(|taint| matches!(taint.effect, Effect::NoSchedule | Effect::NoExecute))
        .find(|taint| !tolerations.iter().any(|t| t.tolerates(taint)))
}

/// The pairs of the pod's node selector that the node's labels lack.
pub(super) fn missing_labels<'a>(
    pod: &'a Pod,
    node: &'a Node,
) -> impl Iterator<Item = (&'a SmolStr, &'a SmolStr)> {
    let selector = pod.shape.constraints.node_selector.as_ref();
    selector
        .into_iter()
        .flat_map(windlass_model::Labels::iter)
        .filter(|(key, value)| node.labels.get(key) != Some(value))
}

/// `key=value:Effect`, as `kubectl taint` takes it.
pub(super) fn show_taint(taint: &Taint) -> String {
    let Taint {
        key, value, effect, ..
    } = taint;
    if value.is_empty() {
        format!("{key}:{}", effect.as_str())
    } else {
        format!("{key}={value}:{}", effect.as_str())
    }
}

fn show_selector(selector: &NodeSelector) -> String {
    let terms: Vec<String> = selector
        .terms
        .iter()
        .map(|term| {
            let requirements = term.match_expressions.iter().chain(&term.match_fields);
            let requirements: Vec<String> = requirements.map(show_requirement).collect();
            requirements.join(",")
        })
        .collect();
    terms.join(" or ")
}

/// A requirement as `kubectl get --selector` takes it.
fn show_requirement(requirement: &Requirement) -> String {
    let Requirement {
        key,
        operator,
        values,
    } = requirement;
    let values = values.join(",");
    match operator {
        RequirementOperator::In => format!("{key} in ({values})"),
        RequirementOperator::NotIn => format!("{key} notin ({values})"),
        RequirementOperator::Exists => key.to_string(),
        RequirementOperator::DoesNotExist => format!("!{key}"),
        RequirementOperator::Gt => format!("{key}>{values}"),
        RequirementOperator::Lt => format!("{key}<{values}"),
        RequirementOperator::Unknown(word) => format!("{key} {word} ({values})"),
    }
}

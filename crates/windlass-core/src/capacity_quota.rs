//! Quotas of nodes: whether they are valid, and what is used of them. Source:
//! `pkg/resourcequotas/capacityquota`.
//!
//! They limit scale-up alone; what is there already stays.

use std::collections::BTreeMap;

use windlass_model::{
    CapacityQuota, ConditionStatus, Node, Quantity, QuotaStatus, SmolStr, StatusCondition,
    Timestamp, find_condition, set_condition,
};

use crate::{
    Action, ObjectWrite, OutcomeResult,
    decide::Loop,
    provisioning_request::whole_seconds,
    scale_up::{UnknownGpus, amounts_of},
};

/// Whether the quota is well-formed; only then is it heeded.
const VALID: &str = "cluster-autoscaler.kubernetes.io/valid";
/// Whether its status is current.
const RECONCILED: &str = "Reconciled";

/// Most resources of one quota.
const MOST_RESOURCES: usize = 20;
/// Longest name of a resource.
const LONGEST_NAME: usize = 63;

/// Nodes of this label and value do not count: nobody pays for them.
const VIRTUAL_KUBELET: (&str, &str) = ("type", "virtual-kubelet");

/// Whether a node counts at all.
pub(crate) fn counts(node: &Node) -> bool {
    let (label, value) = VIRTUAL_KUBELET;
    node.labels.get(label).is_none_or(|found| found != value)
}

/// Whether the quota is about nodes with the labels of this one.
pub(crate) fn applies(quota: &CapacityQuota, node: &Node) -> bool {
    let selector = quota.selector.as_ref();
    selector.is_none_or(|selector| selector.matches(&node.labels))
}

/// What is wrong with a quota.
pub(crate) fn errors(quota: &CapacityQuota) -> Vec<String> {
    let mut errors = Vec::new();
    if quota
        .selector
        .as_ref()
        .is_some_and(|selector| !selector.is_valid())
    {
        errors.push("spec.selector: is not a valid label selector".to_owned());
    }
    let count = quota.limits.len();
    if count > MOST_RESOURCES {
        errors.push(format!(
            "spec.limits.resources: has {count} entries, at most {MOST_RESOURCES} are allowed"
        ));
    }
    for (name, limit) in quota.limits.iter() {
        if name.is_empty() || name.len() > LONGEST_NAME {
            errors.push(format!(
                "spec.limits.resources[{name}]: a name has 1 to {LONGEST_NAME} characters"
            ));
        }
        let whole = Quantity::from_units(limit.units_ceil());
        if limit.is_negative() || !limit.minus(whole).is_zero() {
            errors.push(format!(
                "spec.limits.resources[{name}]: must be a whole number and not below 0, is {limit}"
            ));
        }
    }
    errors
}

/// Brings the statuses of the quotas up to date.
pub(crate) fn reconcile(context: &mut Loop<'_>) {
    if !context.config.features.capacity_quotas {
        return;
    }
    for outcome in context.outcomes {
        if let (Action::Write(ObjectWrite::UpdateCapacityQuota { uid, .. }), false) =
            (&outcome.action, outcome.result == OutcomeResult::Done)
        {
            context.memory.unseen_quotas.forget(uid);
        }
    }
    let quotas = &context.cluster.capacity_quotas;
    let by_uid: BTreeMap<&str, &QuotaStatus> = quotas
        .iter()
        .map(|quota| (quota.uid.as_str(), &quota.status))
        .collect();
    let unseen = &mut context.memory.unseen_quotas;
    unseen.settle(context.now, |uid| by_uid.get(uid).copied());
    for quota in quotas {
        let before = context.memory.unseen_quotas.or(&quota.uid, &quota.status);
        let status = status_of(context, quota, before);
        if status == *before {
            continue;
        }
        context.plan.write(ObjectWrite::UpdateCapacityQuota {
            quota: quota.name.clone(),
            uid: quota.uid.clone(),
            status: status.clone(),
        });
        let unseen = &mut context.memory.unseen_quotas;
        unseen.note(quota.uid.clone(), status, context.now);
    }
}

fn status_of(context: &Loop<'_>, quota: &CapacityQuota, before: &QuotaStatus) -> QuotaStatus {
    let mut status = before.clone();
    status.observed_generation = Some(quota.generation);
    let mut set = |kind, holds, reason, message: String| {
        let condition = condition(before, quota, kind, (holds, reason, message), context.now);
        set_condition(&mut status.conditions, condition);
    };
    let errors = errors(quota);
    if !errors.is_empty() {
        set(VALID, false, "ValidationFailed", errors.join("; "));
        let message = "Validation failed".to_owned();
        set(RECONCILED, false, "ReconciliationFailed", message);
        return status;
    }
    let message = "CapacityQuota is valid".to_owned();
    set(VALID, true, "ValidationSucceeded", message);
    match used(context, quota) {
        Ok(used) => {
            let message = "CapacityQuota successfully reconciled".to_owned();
            set(RECONCILED, true, "ReconciliationSucceeded", message);
            status.used = used;
        }
        Err(error) => set(RECONCILED, false, "ReconciliationFailed", error.to_string()),
    }
    status
}

fn condition(
    before: &QuotaStatus,
    quota: &CapacityQuota,
    kind: &'static str,
    (holds, reason, message): (bool, &'static str, String),
    now: Timestamp,
) -> StatusCondition {
    let status = if holds {
        ConditionStatus::True
    } else {
        ConditionStatus::False
    };
    let known = find_condition(&before.conditions, kind).filter(|known| known.status == status);
    StatusCondition {
        kind: SmolStr::new_static(kind),
        status,
        reason: SmolStr::new_static(reason),
        message: message.into(),
        observed_generation: Some(quota.generation),
        last_transition: known.map_or(Some(whole_seconds(now)), |known| known.last_transition),
    }
}

/// What the quota's nodes have of each resource that it limits.
fn used(context: &Loop<'_>, quota: &CapacityQuota) -> Result<Vec<(SmolStr, i64)>, UnknownGpus> {
    let mut used: BTreeMap<SmolStr, i64> = quota
        .limits
        .iter()
        .map(|(name, _)| (name.clone(), 0))
        .collect();
    for node in &context.nodes {
        if !counts(&node.node) || !applies(quota, &node.node) {
            continue;
        }
        let described = node
            .group
            .and_then(|group| context.cluster.groups[group].template.as_ref())
            .map(|template| template.node.as_ref());
        for (name, amount) in amounts_of(&node.node, described, node.group.is_some())? {
            if let Some(sum) = used.get_mut(&name) {
                *sum = sum.saturating_add(amount);
            }
        }
    }
    Ok(used.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use windlass_model::{LabelSelector, Labels, ResourceList};

    use super::*;

    fn quota(limits: &[(&str, &str)]) -> CapacityQuota {
        let limits = limits
            .iter()
            .map(|(name, text)| (*name, text.parse::<Quantity>().unwrap()));
        CapacityQuota {
            name: "q".into(),
            uid: "q".into(),
            generation: 1,
            selector: None,
            limits: limits.collect::<ResourceList>(),
            status: QuotaStatus::default(),
        }
    }

    #[test]
    fn limits_are_whole_numbers_that_are_not_negative() {
        assert!(errors(&quota(&[("cpu", "10"), ("memory", "8Gi"), ("nodes", "0")])).is_empty());
        let found = errors(&quota(&[("cpu", "1500m"), ("nodes", "-1")]));
        assert_eq!(
            found,
            [
                "spec.limits.resources[cpu]: must be a whole number and not below 0, is 1500m",
                "spec.limits.resources[nodes]: must be a whole number and not below 0, is -1",
            ]
        );
    }

    #[test]
    fn names_are_short_and_few() {
        let long = "x".repeat(64);
        assert_eq!(errors(&quota(&[(&long, "1")])).len(), 1);
        let names: Vec<String> = (0..21).map(|number| format!("r{number}")).collect();
        let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
        assert_eq!(errors(&quota(&many)).len(), 1);
    }

    #[test]
    fn without_a_selector_every_node_is_meant() {
        let node = Node {
            labels: [("pool", "batch")].into_iter().collect(),
            ..Node::default()
        };
        let selecting = |value: &str| {
            let labels: Labels = [("pool", value)].into_iter().collect();
            CapacityQuota {
                selector: Some(LabelSelector::from_labels(&labels)),
                ..quota(&[])
            }
        };
        assert!(applies(&quota(&[]), &node) && applies(&selecting("batch"), &node));
        assert!(!applies(&selecting("web"), &node));
    }

    #[test]
    fn virtual_nodes_do_not_count() {
        let of_type = |kind: &str| Node {
            labels: [("type", kind)].into_iter().collect(),
            ..Node::default()
        };
        assert!(!counts(&of_type("virtual-kubelet")));
        assert!(counts(&of_type("worker")) && counts(&Node::default()));
    }
}

//! Evictions: only from nodes on their way out, and never more than a disruption budget allows.

use std::collections::{BTreeMap, BTreeSet};

use super::{Violations, keeps};
use crate::{Action, Input, Plan, drain::Phase};

pub(super) fn check(input: &Input<'_>, plan: &Plan, violations: &mut Violations) {
    let mut evicted = BTreeSet::new();
    let mut spent: BTreeMap<usize, i64> = BTreeMap::new();
    for action in &plan.actions {
        let Action::Evict { pod, uid, node, .. } = action else {
            continue;
        };
        violations.unless(
            evicted.insert((pod, uid)),
            "a pod is evicted once in a plan",
            pod,
        );
        let is_leaving = input.memory.drains.get(node).is_some_and(|drain| {
            !matches!(
                drain.phase,
                Phase::Terminated { .. } | Phase::Undoing { .. }
            )
        });
        violations.unless(
            is_leaving,
            "pods are evicted from nodes whose removal has begun",
            format!("{pod} from {node}"),
        );
        let known = input.cluster.pods.iter().find(|it| {
            it.uid == *uid && it.name == pod.name && it.shape.namespace == pod.namespace
        });
        let Some(known) = known else {
            violations.add("an evicted pod exists", pod);
            continue;
        };
        violations.unless(
            known.node_name.as_ref() == Some(node),
            "an evicted pod is on the node that goes",
            format!("{pod} is not on {node}"),
        );
        violations.unless(
            !known.shape.safety.is_mirror,
            "no mirror pod is evicted",
            pod,
        );
        // A budget does not count a pod that is ending, and may let more go of those that are not
        // ready; the API server knows.
        if known.is_ready && known.deletion_timestamp.is_none() {
            for budget in keeps::budgets(input.cluster, known) {
                *spent.entry(budget).or_default() += 1;
            }
        }
    }
    for (index, spent) in spent {
        let budget = &input.cluster.disruption_budgets[index];
        let allowed = i64::from(budget.disruptions_allowed);
        violations.unless(
            spent <= allowed,
            "no disruption budget is overdrawn",
            format!("{} allows {allowed}, {spent} evicted", budget.name),
        );
    }
}

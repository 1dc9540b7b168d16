//! The mark of candidates: pods are placed there only if they must. Source:
//! `pkg/core/scaledown/actuation/softtaint.go`.

use rustc_hash::FxHashSet;
use windlass_model::{Effect, SmolStr, Taint};

use crate::{Action, decide::Loop, taints};

/// Takes the mark from nodes that are needed, then gives it to `unneeded` ones (indices into the
/// loop's nodes), as far as `--max-bulk-soft-taint-count` goes; nodes in the cluster's order.
pub(super) fn update(context: &mut Loop<'_>, unneeded: &[usize]) {
    let budget = context.config.actuation.max_bulk_soft_taint_count;
    let mut budget = usize::try_from(budget).unwrap_or(0);
    if budget == 0 {
        return;
    }
    let unneeded: FxHashSet<usize> = unneeded.iter().copied().collect();
    let mut needed_but_marked = Vec::new();
    let mut unneeded_but_unmarked = Vec::new();
    for (index, node) in context.nodes.iter().enumerate() {
        let is_ours = node.group.is_some() && !node.is_replaced;
        let is_leaving = node.node.taint(taints::TO_BE_DELETED).is_some()
            || context.memory.drains.contains_key(&node.node.name);
        if !is_ours || is_leaving {
            continue;
        }
        let is_marked = node.node.taint(taints::DELETION_CANDIDATE).is_some();
        match (unneeded.contains(&index), is_marked) {
            (false, true) => needed_but_marked.push(node.node.name.clone()),
            (true, false) => unneeded_but_unmarked.push(node.node.name.clone()),
            _ => {}
        }
    }
    for node in needed_but_marked.into_iter().take(budget) {
        budget -= 1;
        context.plan.actions.push(Action::RemoveTaint {
            node,
            key: SmolStr::new_static(taints::DELETION_CANDIDATE),
            uncordon: false,
        });
    }
    for node in unneeded_but_unmarked.into_iter().take(budget) {
        context.plan.actions.push(Action::AddTaint {
            node,
            taint: Taint {
                key: SmolStr::new_static(taints::DELETION_CANDIDATE),
                value: context.now.as_second().to_string().into(),
                effect: Effect::PreferNoSchedule,
                time_added: None,
            },
            cordon: false,
        });
    }
}

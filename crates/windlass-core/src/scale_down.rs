//! Which nodes are not needed, and which of them go now. Source: `pkg/core/scaledown`.
//!
//! One update, in order: candidates (`candidates`), the cheap reasons against each
//! (`eligibility`), the simulated removal of the rest, each on top of those before it
//! (`simulation`), the timers of what was found (`unneeded`); then, unless something holds
//! removals back (`hold`), the nodes whose time has come (`selection`) as far as the budgets
//! of the moment go (`budgets`). [`crate::drain`] carries a removal out.

mod budgets;
mod candidates;
mod devices;
mod eligibility;
mod hold;
mod latency;
mod limits;
mod selection;
mod simulation;
mod soft_taints;
mod unneeded;
pub(crate) mod utilization;
mod verdicts;

use std::sync::Arc;

use windlass_model::{Pod, Timestamp};

use crate::{
    Series, UnremovableReason,
    decide::Loop,
    drain::{self, rules::Rules},
    plan::Unremovable,
};
pub(crate) use budgets::Removal;
pub use hold::HeldBack;
pub(crate) use hold::is_view_stale;
use utilization::Utilization;
pub use verdicts::{Room, Verdict};

/// A node that the simulation found removable.
#[derive(Clone, Debug)]
pub(crate) struct Removable {
    /// An index into the loop's nodes.
    pub(crate) node: usize,
    /// An index into the cluster's groups.
    pub(crate) group: usize,
    /// The pods that have to move.
    pub(crate) movable: Vec<Arc<Pod>>,
    /// Whether a pod that is to be waited for is on it.
    pub(crate) has_on_completion: bool,
    /// Whether a disruption budget allows fewer evictions than it needs.
    pub(crate) is_risky: bool,
    pub(crate) utilization: Utilization,
}

impl Removable {
    pub(crate) fn is_empty(&self) -> bool {
        self.movable.is_empty()
    }
}

/// Notes what came of earlier removals, whether this loop may plan new ones or not.
pub(crate) fn take_stock(context: &mut Loop<'_>) {
    drain::absorb_outcomes(context);
    context.missing_nodes = hold::missing_nodes(context);
    unneeded::restore_from_taints(context);
}

/// Plans which nodes go, and begins their removal.
pub(crate) fn plan(context: &mut Loop<'_>) {
    hold::remember_group_times(context);
    if !context.config.scale_down.enabled {
        context.memory.unneeded_since.clear();
        return;
    }
    let (cluster, config, now) = (context.cluster, context.config, context.now);
    let mut rules = Rules::new(cluster, &config.drain, now);
    let candidates = candidates::in_order(context, &mut rules);
    let has_candidates = !candidates.is_empty();
    let found = simulation::find_removable(context, &mut rules, candidates);
    unneeded::update(context, &found);
    let waits = latency::waits(context, &found);
    context.plan.scale_down.unneeded = found
        .iter()
        .map(|removable| context.nodes[removable.node].node.name.clone())
        .collect();
    let metrics = &mut context.plan.metrics;
    metrics.set(Series::plain("unneeded_nodes_count"), found.len() as f64);

    drain::await_replacements(context);
    let held_back = hold::reason(context);
    let is_in_cooldown = held_back == Some(HeldBack::Cooldown);
    context.plan.scale_down.is_in_cooldown = is_in_cooldown;
    let may_begin = held_back.is_none();
    context.plan.scale_down.held_back = held_back;
    context.plan.metrics.set(
        Series::plain("scale_down_in_cooldown"),
        f64::from(u8::from(is_in_cooldown)),
    );
    let unneeded: Vec<usize> = found.iter().map(|removable| removable.node).collect();
    if may_begin && has_candidates {
        let chosen = selection::choose(context, found);
        count_unremovable(context);
        let removals = budgets::apply(context, chosen);
        drain::begin(context, removals);
    }
    soft_taints::update(context, &unneeded);
    latency::observe_removals(context, waits);
}

/// Sets the gauge of each reason that occurs.
fn count_unremovable(context: &mut Loop<'_>) {
    let mut counts = std::collections::BTreeMap::<UnremovableReason, u32>::new();
    for unremovable in &context.plan.scale_down.unremovable {
        *counts.entry(unremovable.reason).or_default() += 1;
    }
    for (reason, count) in counts {
        let series = Series::plain("unremovable_nodes_count").with("reason", reason.as_str());
        context.plan.metrics.set(series, f64::from(count));
    }
}

/// Writes down that a node stays.
fn keep(context: &mut Loop<'_>, node: usize, reason: UnremovableReason, share: Option<f64>) {
    context.plan.scale_down.unremovable.push(Unremovable {
        node: context.nodes[node].node.name.clone(),
        reason,
        blocking_pod: None,
        utilization: share,
    });
}

/// Unix seconds, the value of the autoscaler's taints.
pub(crate) fn unix_seconds(value: &str) -> Option<Timestamp> {
    Timestamp::from_second(value.parse().ok()?).ok()
}

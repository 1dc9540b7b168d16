//! Which group grows, and by how much. Source: `pkg/core/scaleup`, `pkg/estimator`,
//! `pkg/expander`.
//!
//! In order: pods that are alike form classes (`classes`); groups that cannot grow are left
//! out (`filter_groups`); for each class the groups are found on whose new node it would fit
//! (`fitting`); for each group the nodes are counted that its pods need (`estimate`); the
//! expanders choose one group (`expander`); limits cut the number (`quota`); similar groups
//! share it (`balance`); the resizes are planned (`execute`).

mod balance;
pub(crate) mod classes;
mod estimate;
mod execute;
pub(crate) mod expander;
mod filter_groups;
mod fitting;
mod minimum_size;
mod quota;
mod report;
mod salvo;
mod similar;
mod zones;

use std::collections::BTreeMap;

pub(crate) use minimum_size::raise_to_minimum;
pub(crate) use quota::{UnknownGpus, amounts_of};
pub(crate) use report::note_skipped;
pub use zones::ZoneTries;

use self::{
    classes::PodClass,
    estimate::{ExpansionOption, NodeLimit},
    quota::QuotaTracker,
};
use crate::{
    Event, EventObject, Part, TimeLimit, cluster_state,
    decide::Loop,
    pending::{self, PendingPods, PodIndex, age},
    provisioning_request,
};

/// How a scale-up attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScaleUpResult {
    /// Some group is to grow, or would but for a limit.
    Successful,
    /// It could not be decided.
    Error,
    /// No group helps any pod.
    NoOptionsAvailable,
    /// No pod wants a node.
    NotNeeded,
    /// It is not the time.
    InCooldown,
    /// The cluster has as many nodes as it may.
    LimitedByMaxNodesTotal,
}

/// How much of what is wanted is enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Every pod that is helped is a gain.
    AsMuchAsPossible,
    /// Room for all pods, or for none.
    AllOrNothing,
}

/// What one scale-up attempt found.
pub(crate) struct Attempt {
    pub(crate) result: ScaleUpResult,
    pub(crate) classes: Vec<PodClass>,
    /// Why groups were left out, by group.
    pub(crate) skipped: BTreeMap<usize, Vec<String>>,
    /// The pods that the new nodes are for.
    pub(crate) triggered: Vec<PodIndex>,
    /// The groups that grow, with the size before and after.
    pub(crate) resizes: Vec<GroupResize>,
    /// The group that was chosen.
    pub(crate) chosen: Option<usize>,
}

/// A group that grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GroupResize {
    pub(crate) group: usize,
    pub(crate) from: i64,
    pub(crate) to: i64,
}

const NOT_ALL_FIT: &str = "not all pods would fit and scale-up is using all-or-nothing strategy";
const FILTERED_OUT: &str = "expansion options filtered out and no longer considered";

/// Places the pending pods where there is room, and plans new nodes for the rest.
pub(crate) fn scale_up(context: &mut Loop<'_>) {
    cluster_state::inject_upcoming(context);
    let (mut pending, wanting) = pending::process(context);
    let result = match obstacle(context, &pending, &wanting) {
        Some(result) => result,
        None if provisioning_request::takes_turn(context, !wanting.is_empty()) => {
            provisioning_request::provision(context)
        }
        None => salvo::run(context, &mut pending, wanting.clone()),
    };
    if result == ScaleUpResult::LimitedByMaxNodesTotal {
        report::note_limit(context, &mut pending, &wanting);
    }
    // A salvo has succeeded where any of its attempts has, however the last one ended.
    let has_grown = !context.plan.scale_up.resizes.is_empty();
    if result == ScaleUpResult::Successful || has_grown {
        context.memory.scale_up_before = context.memory.last_scale_up;
        context.memory.last_scale_up = Some(context.now);
    }
    report::note_pods(context, &pending);
}

/// Why no scale-up is tried in this loop.
fn obstacle(
    context: &mut Loop<'_>,
    pending: &PendingPods,
    wanting: &[PodIndex],
) -> Option<ScaleUpResult> {
    // A request is looked at however many nodes there are, and however young the pods beside it.
    let is_forced = provisioning_request::is_waiting(context);
    if wanting.is_empty() && !is_forced {
        return Some(ScaleUpResult::NotNeeded);
    }
    let limit = context.config.limits.max_nodes_total;
    let ready = i64::try_from(context.ready_nodes()).unwrap_or(i64::MAX);
    if limit > 0 && ready >= limit && !is_forced {
        return Some(ScaleUpResult::LimitedByMaxNodesTotal);
    }
    if !is_forced && age::is_burst_under_way(context, pending, wanting) {
        context.pods_are_new = true;
        return Some(ScaleUpResult::InCooldown);
    }
    let is_degraded =
        context.config.scale_up.graceful_degradation && context.memory.degraded_loops > 0;
    if is_degraded && context.memory.degraded_loops.is_multiple_of(4) {
        return Some(ScaleUpResult::InCooldown);
    }
    None
}

/// One attempt to help the pods at `wanting`.
pub(crate) fn attempt(
    context: &mut Loop<'_>,
    pending: &PendingPods,
    wanting: &[PodIndex],
    extent: Extent,
) -> Attempt {
    context.budget.begin(Part::BuildPodEquivalenceGroups);
    let classes = classes::group(pending, wanting);
    context.budget.end(Part::BuildPodEquivalenceGroups);
    let mut attempt = Attempt {
        result: ScaleUpResult::NoOptionsAvailable,
        classes,
        skipped: BTreeMap::new(),
        triggered: Vec::new(),
        resizes: Vec::new(),
        chosen: None,
    };
    context.budget.start(
        TimeLimit::Binpacking,
        context.config.scale_up.max_binpacking_time,
    );
    let node_count = i64::try_from(context.snapshot.node_count()).unwrap_or(i64::MAX);
    let Ok(mut quotas) = QuotaTracker::of_cluster(context) else {
        attempt.result = ScaleUpResult::Error;
        return attempt;
    };
    let valid = filter_groups::run(context, &quotas, node_count, &mut attempt.skipped);
    fitting::run(context, &valid, &mut attempt.classes);

    let mut options = estimate_all(context, pending, &attempt.classes, &valid, node_count);
    let is_enough = |option: &ExpansionOption| {
        option.pods.len() == wanting.len()
            && option.nodes <= context.cluster.groups[option.group].max_size
    };
    options.retain(|option| extent == Extent::AsMuchAsPossible || is_enough(option));
    if options.is_empty() {
        finish_without_option(context, &mut attempt);
        return attempt;
    }
    let Some(best) = expander::choose(context, pending, &options) else {
        if context.consultation.is_waiting() {
            return attempt;
        }
        mark_filtered_out(&mut attempt.classes);
        finish_without_option(context, &mut attempt);
        return attempt;
    };
    let best = options.swap_remove(best);
    attempt.chosen = Some(best.group);

    let Some(mut nodes) = cap_by_max_nodes_total(context, best.nodes, node_count) else {
        attempt.result = ScaleUpResult::Error;
        return attempt;
    };
    nodes = nodes.min(quotas.allowed(best.group, nodes));
    if extent == Extent::AllOrNothing && nodes < best.nodes {
        abandon(context, &mut attempt);
        return attempt;
    }
    let is_gamble = zones::is_gamble(context, best.group, &attempt.classes);
    let zone = zones::chosen(context, best.group, &attempt.classes);
    let mut targets = vec![best.group];
    // Where the zone matters, another group is not as good.
    if !is_gamble && zone.is_none() {
        for group in similar::of(context, best.group, &attempt.classes) {
            if quotas.allowed(group, 1) >= 1 {
                targets.push(group);
            }
        }
    }
    for mut resize in balance::split(context, &targets, nodes) {
        let allowed = quotas.allowed(resize.group, resize.to - resize.from);
        resize.to = resize.to.min(resize.from + allowed);
        if resize.to > resize.from {
            quotas.consume(resize.group, resize.to - resize.from);
            attempt.resizes.push(resize);
        }
    }
    let planned: i64 = attempt.resizes.iter().map(|it| it.to - it.from).sum();
    if extent == Extent::AllOrNothing && planned < nodes {
        attempt.resizes.clear();
        abandon(context, &mut attempt);
        return attempt;
    }
    attempt.result = ScaleUpResult::Successful;
    attempt.triggered = best.pods;
    if is_gamble && !attempt.resizes.is_empty() {
        zones::note_try(context, best.group);
    }
    let cause = crate::ResizeCause::PendingPods;
    execute::plan(context, &attempt.resizes, cause, zone.as_ref());
    attempt
}

fn estimate_all(
    context: &mut Loop<'_>,
    pending: &PendingPods,
    classes: &[PodClass],
    valid: &[usize],
    node_count: i64,
) -> Vec<ExpansionOption> {
    let mut options = Vec::new();
    for group in valid.iter().copied() {
        if classes.iter().any(|class| class.fits(group)) {
            let similar = similar::of(context, group, classes);
            let mut limit = NodeLimit::of(context, group, &similar, node_count);
            if zones::is_gamble(context, group, classes) {
                limit = limit.at_most_one();
            }
            context.budget.begin(Part::Estimate);
            let option = estimate::run(context, pending, classes, group, limit);
            context.budget.end(Part::Estimate);
            options.extend(option);
        }
        if context.budget.is_spent(TimeLimit::Binpacking) {
            break;
        }
    }
    options
}

fn finish_without_option(context: &mut Loop<'_>, attempt: &mut Attempt) {
    if context.config.scale_up.simulate_skipped_node_groups {
        context.budget.begin(Part::SkippedNodeGroupsSimulation);
        fitting::simulate_skipped(context, attempt);
        context.budget.end(Part::SkippedNodeGroupsSimulation);
    }
}

/// Not everything that is wanted can be had, so nothing is.
fn abandon(context: &mut Loop<'_>, attempt: &mut Attempt) {
    for class in &mut attempt.classes {
        class.reject_all(NOT_ALL_FIT);
    }
    finish_without_option(context, attempt);
}

fn mark_filtered_out(classes: &mut [PodClass]) {
    for class in classes {
        class.reject_all(FILTERED_OUT);
    }
}

/// The nodes that `--max-nodes-total` leaves of `nodes`; `None` when that is not one.
fn cap_by_max_nodes_total(context: &mut Loop<'_>, nodes: i64, node_count: i64) -> Option<i64> {
    let limit = context.config.limits.max_nodes_total;
    if limit <= 0 || nodes + node_count <= limit {
        return Some(nodes);
    }
    context.plan.events.push(Event::warning(
        "MaxNodesTotalReached",
        EventObject::Status,
        format!("Max total nodes in cluster reached: {limit}"),
    ));
    Some(limit - node_count).filter(|left| *left >= 1)
}

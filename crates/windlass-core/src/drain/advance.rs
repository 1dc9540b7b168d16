//! Removals, taken as far as they can go now.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rustc_hash::FxHashMap;
use windlass_model::{Duration, InstanceState, Node, SmolStr, Timestamp};

use super::{
    Drain, EvictionState, Phase,
    begin::{ask_for_taint, delays_deletion},
    clean_up::clean_up,
    disruption::Disruptions,
    evictions,
    outcomes::RETRY_AFTER,
    replacements,
    rules::Rules,
};
use crate::{
    Action, EndedRemoval, Event, EventObject, Series, decide::Loop, gpu, instant::after,
    metrics::Metrics, scale_down::is_view_stale, taints,
};

/// An action without an outcome for so long is asked for again.
const OUTCOME_OVERDUE: Duration = Duration::from_mins(2);
/// With `--dynamic-node-delete-delay-after-taint-enabled`: how long a taint may take to be seen.
const MAX_TAINT_LATENCY: Duration = Duration::from_secs(30);
/// How long such measurements count.
const LATENCY_KEPT: Duration = Duration::from_hours(1);
/// How often pods are evicted that arrive on a tainted node. Later ones go with it: some tolerate
/// everything and come back each time.
const MAX_EXTRA_ROUNDS: u32 = 3;
/// An instance that lives on for so long after its termination was accepted lives.
const TERMINATION_OVERDUE: Duration = Duration::from_mins(15);

/// The instances of drains, as the cloud lists them.
pub(super) struct Instances<'a>(FxHashMap<&'a str, &'a InstanceState>);

impl Instances<'_> {
    /// Whether the cloud lists an instance that is not on its way out.
    pub(super) fn is_there(&self, instance: &str) -> bool {
        self.0
            .get(instance)
            .is_some_and(|state| **state != InstanceState::Deleting)
    }
}

pub(super) fn instances_of<'a>(
    context: &Loop<'a>,
    drains: &BTreeMap<SmolStr, Drain>,
) -> Instances<'a> {
    if drains.is_empty() {
        return Instances(FxHashMap::default());
    }
    let wanted: BTreeSet<&str> = drains.values().map(|it| it.instance.as_str()).collect();
    let instances = context
        .cluster
        .groups
        .iter()
        .flat_map(|group| &group.instances)
        .filter(|instance| wanted.contains(instance.provider_id.as_str()))
        .map(|instance| (instance.provider_id.as_str(), &instance.state))
        .collect();
    Instances(instances)
}

/// What a step of one removal may lean on.
struct Stage<'a> {
    nodes: FxHashMap<SmolStr, Arc<Node>>,
    instances: Instances<'a>,
    rules: Rules<'a>,
    /// What is left for the evictions of this loop.
    evictable: Disruptions,
    /// The sizes of groups when all terminations so far are through.
    sizes: BTreeMap<SmolStr, i64>,
    minimums: BTreeMap<SmolStr, i64>,
    /// Why every removal is to be undone.
    stop: Option<&'static str>,
    /// Whether the view is too old, or too empty, to do anything by it.
    is_blind: bool,
}

/// What is to become of a removal after a step.
enum Step {
    /// It has come further, and may come further still.
    Again,
    /// It waits.
    Wait,
    /// It is forgotten.
    Over,
}

/// Advances every removal, in the order of the nodes' names.
pub(crate) fn advance(context: &mut Loop<'_>) {
    clean_up(context);
    context.memory.has_looped = true;
    if context.memory.drains.is_empty() {
        return;
    }
    let mut stage = Stage::new(context);
    let mut drains = std::mem::take(&mut context.memory.drains);
    settle_tainted(context, &mut drains);
    let names: Vec<SmolStr> = drains.keys().cloned().collect();
    for name in names {
        let Some(mut drain) = drains.remove(&name) else {
            continue;
        };
        let is_kept = loop {
            match step(context, &mut stage, &drains, &name, &mut drain) {
                Step::Again => {}
                Step::Wait => break true,
                Step::Over => break false,
            }
        };
        if is_kept {
            drains.insert(name, drain);
        }
    }
    undo_broken_batches(context, &mut drains);
    context.memory.drains = drains;
}

impl<'a> Stage<'a> {
    fn new(context: &Loop<'a>) -> Self {
        let drains = &context.memory.drains;
        let instances = instances_of(context, drains);
        let mut sizes: BTreeMap<SmolStr, i64> = BTreeMap::new();
        let mut minimums = BTreeMap::new();
        for (state, group) in context.groups.iter().zip(&context.cluster.groups) {
            sizes.insert(group.name.clone(), state.target_size);
            minimums.insert(group.name.clone(), group.min_size);
        }
        let mut evictable = Disruptions::new(context.cluster);
        let mut rules = Rules::new(context.cluster, &context.config.drain, context.now);
        for (name, drain) in drains {
            let is_terminated = drain.terminated_at().is_some()
                || drain.phase == Phase::Terminating && drain.asked_at.is_some();
            if is_terminated
                && instances.is_there(&drain.instance)
                && let Some(size) = sizes.get_mut(&drain.group)
            {
                *size -= 1;
            }
            if let Phase::Evicting { evictions, .. } = &drain.phase
                && evictions.iter().any(|eviction| eviction.asked_at.is_some())
            {
                for pod in evictions::pods_on(context, name) {
                    let is_asked = evictions
                        .iter()
                        .any(|it| it.uid == pod.uid && it.asked_at.is_some());
                    if is_asked && pod.is_ready && pod.deletion_timestamp.is_none() {
                        evictable.consume(rules.budgets_of(&pod));
                    }
                }
            }
        }
        let stop = if context.cluster.is_scale_down_paused {
            Some("scale-down is paused")
        } else if !context.config.scale_down.enabled {
            Some("scale-down is switched off")
        } else {
            None
        };
        Self {
            nodes: context
                .nodes
                .iter()
                .filter(|node| drains.contains_key(&node.node.name))
                .map(|node| (node.node.name.clone(), Arc::clone(&node.node)))
                .collect(),
            instances,
            rules,
            evictable,
            sizes,
            minimums,
            stop,
            is_blind: is_view_stale(context) || context.missing_nodes.is_some(),
        }
    }
}

/// Lets the nodes whose taints are all there settle.
fn settle_tainted(context: &mut Loop<'_>, drains: &mut BTreeMap<SmolStr, Drain>) {
    let batches: BTreeSet<(Timestamp, bool)> = drains
        .values()
        .filter(|drain| matches!(drain.phase, Phase::Tainting { .. }))
        .map(|drain| (drain.started_at, drain.is_empty))
        .collect();
    for (started_at, is_empty) in batches {
        let is_of_batch = |drain: &Drain| {
            matches!(drain.phase, Phase::Tainting { .. })
                && (drain.started_at, drain.is_empty) == (started_at, is_empty)
        };
        let done = drains
            .values()
            .filter(|drain| is_of_batch(drain))
            .map(|drain| match drain.phase {
                Phase::Tainting { done_at } => done_at,
                _ => None,
            })
            .collect::<Option<Vec<Timestamp>>>();
        let Some(last_done) = done.and_then(|times| times.into_iter().max()) else {
            continue;
        };
        let Some(delay) = delay_after_taint(context, drains, started_at, last_done) else {
            continue;
        };
        let until = after(last_done, delay);
        for drain in drains.values_mut().filter(|drain| is_of_batch(drain)) {
            drain.phase = Phase::Settling { until };
            drain.asked_at = None;
        }
    }
}

/// The wait between the last taint of a batch and the look at its nodes; `None` while it is still
/// being measured how long a taint takes to be seen.
fn delay_after_taint(
    context: &mut Loop<'_>,
    drains: &BTreeMap<SmolStr, Drain>,
    started_at: Timestamp,
    last_done: Timestamp,
) -> Option<Duration> {
    let actuation = &context.config.actuation;
    let static_delay = actuation.node_delete_delay_after_taint;
    if !actuation.dynamic_node_delete_delay_after_taint {
        return Some(static_delay);
    }
    let tainting: BTreeSet<&SmolStr> = drains
        .iter()
        .filter(|(_, drain)| drain.started_at == started_at)
        .map(|(name, _)| name)
        .collect();
    let is_seen = context
        .nodes
        .iter()
        .filter(|node| tainting.contains(&node.node.name))
        .all(|node| node.node.taint(taints::TO_BE_DELETED).is_some());
    let give_up_at = after(last_done, MAX_TAINT_LATENCY);
    if !is_seen && context.now < give_up_at {
        context.plan.wake_by(give_up_at);
        return None;
    }
    if !is_seen {
        return Some(static_delay);
    }
    let now = context.now;
    let latencies = &mut context.memory.taint_latencies;
    latencies.retain(|(at, _)| now.duration_since(*at) < LATENCY_KEPT);
    latencies.push((now, now.duration_since(started_at)));
    let longest = latencies.iter().map(|(_, latency)| *latency).max();
    longest.map(|latency| latency.checked_mul(2).unwrap_or(static_delay))
}

#[expect(
    clippy::too_many_lines,
    clippy::match_same_arms,
    reason = "the transitions of the state machine are read as one table"
)]
fn step(
    context: &mut Loop<'_>,
    stage: &mut Stage<'_>,
    others: &BTreeMap<SmolStr, Drain>,
    name: &SmolStr,
    drain: &mut Drain,
) -> Step {
    let now = context.now;
    let node = stage.nodes.get(name).cloned();
    let is_going = !stage.instances.is_there(&drain.instance);
    match (&drain.phase, &node) {
        (Phase::Terminated { .. } | Phase::Undoing { .. }, None) => return Step::Over,
        (Phase::Terminating, None) if is_going => {
            finish(context, name, drain);
            return Step::Over;
        }
        (Phase::Terminating, None)
        | (Phase::Terminated { .. } | Phase::Undoing { .. }, Some(_)) => {}
        (_, None) => return Step::Over,
        (_, Some(_)) if !stage.minimums.contains_key(&drain.group) => {
            let error = format!("node group {} is gone", drain.group);
            fail(context, name, drain, &error);
            return Step::Again;
        }
        (_, Some(_)) if is_going => {
            finish(context, name, drain);
            return Step::Wait;
        }
        (Phase::Terminating, Some(_)) => {}
        (_, Some(_)) => {
            if let Some(why) = stage.stop {
                fail(context, name, drain, why);
                return Step::Again;
            }
            if stage.is_blind {
                return Step::Wait;
            }
        }
    }
    match &mut drain.phase {
        Phase::Tainting { done_at } => {
            if done_at.is_none() && is_to_be_asked(drain.asked_at, now) {
                drain.asked_at = Some(now);
                ask_for_taint(context, name);
            }
            Step::Wait
        }
        Phase::Settling { until } => {
            if now < *until {
                context.plan.wake_by(*until);
                return Step::Wait;
            }
            look_again(context, stage, name, drain);
            Step::Again
        }
        Phase::Evicting { .. } => evict(context, stage, name, drain),
        Phase::Leaving { wave, until, pods } => {
            let (wave, until) = (*wave, *until);
            let present = evictions::pods_on(context, name);
            pods.retain(|uid| present.iter().any(|pod| pod.uid == *uid));
            if pods.is_empty() {
                next_wave(context, name, drain, wave + 1);
                return Step::Again;
            }
            if now < until {
                context.plan.wake_by(until);
                return Step::Wait;
            }
            let error = format!("Failed to drain node /{name}: pods remaining after timeout");
            fail(context, name, drain, &error);
            Step::Again
        }
        Phase::Delaying { until } => {
            let is_delayed = node.as_deref().is_some_and(delays_deletion);
            if is_delayed && now < *until {
                context.plan.wake_by(*until);
                return Step::Wait;
            }
            let interval = context.config.actuation.node_deletion_batcher_interval;
            let gathering = others.values().filter_map(|other| match other.phase {
                Phase::Gathering { until } if other.group == drain.group => Some(until),
                _ => None,
            });
            let until = gathering.min().unwrap_or_else(|| after(now, interval));
            drain.phase = Phase::Gathering { until };
            Step::Again
        }
        Phase::Gathering { until } => {
            if now < *until {
                context.plan.wake_by(*until);
                return Step::Wait;
            }
            if drain
                .batch
                .is_some_and(|size| ready_of_batch(drain, others) < size)
            {
                return Step::Wait;
            }
            drain.phase = Phase::Terminating;
            drain.asked_at = None;
            Step::Again
        }
        Phase::Terminating => terminate(context, stage, name, drain),
        Phase::Terminated { at } => {
            let deadline = after(*at, TERMINATION_OVERDUE);
            if is_going || now < deadline {
                return Step::Wait;
            }
            fail(
                context,
                name,
                drain,
                "the instance lives on after its termination was accepted",
            );
            Step::Again
        }
        Phase::Undoing { retry_at } => {
            if let Some(at) = retry_at.filter(|at| now < *at) {
                context.plan.wake_by(at);
            } else if is_to_be_asked(drain.asked_at, now) {
                drain.asked_at = Some(now);
                context.plan.actions.push(Action::RemoveTaint {
                    node: name.clone(),
                    key: SmolStr::new_static(taints::TO_BE_DELETED),
                    uncordon: context.config.actuation.cordon_node_before_terminating
                        && !drain.was_cordoned,
                });
            }
            Step::Wait
        }
    }
}

/// Whether an action is to be asked for: it has not been, or its outcome is overdue.
fn is_to_be_asked(asked_at: Option<Timestamp>, now: Timestamp) -> bool {
    asked_at.is_none_or(|asked_at| after(asked_at, OUTCOME_OVERDUE) <= now)
}

/// How many nodes of a whole group are ready to be terminated, or are being, with `drain`.
fn ready_of_batch(drain: &Drain, others: &BTreeMap<SmolStr, Drain>) -> usize {
    let ready = others.values().filter(|other| {
        other.group == drain.group
            && other.started_at == drain.started_at
            && matches!(
                other.phase,
                Phase::Gathering { .. } | Phase::Terminating | Phase::Terminated { .. }
            )
    });
    ready.count() + 1
}

/// Asks the drain rules once more, now that nothing new should arrive, and begins the first wave.
fn look_again(context: &mut Loop<'_>, stage: &mut Stage<'_>, name: &SmolStr, drain: &mut Drain) {
    match obstacle(context, stage, name, drain) {
        Some(error) => fail(context, name, drain, &error),
        None => next_wave(context, name, drain, 0),
    }
}

/// What stands against the removal by the drain rules, if anything does.
fn obstacle(
    context: &Loop<'_>,
    stage: &mut Stage<'_>,
    name: &SmolStr,
    drain: &Drain,
) -> Option<String> {
    let pods = evictions::pods_on(context, name);
    let disruptions = Disruptions::new(context.cluster);
    let known = (!drain.is_empty).then_some(&disruptions);
    match stage.rules.pods_to_move(pods.iter(), known) {
        Err(blocking) => Some(format!(
            "failed to get pods to move on node {name}: {}",
            blocking.reason.explain(&blocking.pod)
        )),
        Ok(to_move) if drain.is_empty && !to_move.movable.is_empty() => Some(format!(
            "failed to delete empty node \"{name}\", new pods scheduled"
        )),
        Ok(to_move) if drain.is_empty && to_move.has_on_completion => Some(format!(
            "failed to delete empty node \"{name}\", active on-completion pods present"
        )),
        Ok(_) => None,
    }
}

/// Begins the first wave from `wave` on that has pods; behind the last one, the wait for
/// annotations.
fn next_wave(context: &Loop<'_>, name: &SmolStr, drain: &mut Drain, wave: usize) {
    let pods = evictions::pods_on(context, name);
    let now = context.now;
    for wave in wave..evictions::wave_count(context.config) {
        let evictions = evictions::of_wave(context.config, &pods, drain.is_empty, wave, now);
        if !evictions.is_empty() {
            drain.phase = Phase::Evicting {
                wave,
                since: now,
                evictions,
            };
            return;
        }
    }
    let wait = if drain.is_delayed {
        context.config.actuation.node_deletion_delay_timeout
    } else {
        Duration::ZERO
    };
    drain.phase = Phase::Delaying {
        until: after(now, wait),
    };
}

fn evict(context: &mut Loop<'_>, stage: &mut Stage<'_>, name: &SmolStr, drain: &mut Drain) -> Step {
    let now = context.now;
    let present = evictions::pods_on(context, name);
    let Phase::Evicting {
        since, evictions, ..
    } = &mut drain.phase
    else {
        return Step::Wait;
    };
    let since = *since;
    let deadline = after(since, context.config.actuation.max_pod_eviction_time);
    let mut moved = Vec::new();
    for eviction in evictions.iter_mut() {
        let EvictionState::Due { at, last_error } = &mut eviction.state else {
            continue;
        };
        let Some(pod) = present.iter().find(|pod| pod.uid == eviction.uid) else {
            eviction.state = EvictionState::Accepted;
            moved.extend(eviction.replaced_by.clone());
            continue;
        };
        if !is_to_be_asked(eviction.asked_at, now) {
            continue;
        }
        let is_first = *at == since && last_error.is_empty();
        if now < *at {
            context.plan.wake_by((*at).min(deadline.max(now)));
            continue;
        }
        if deadline <= now && !is_first {
            let last_error = std::mem::take(last_error);
            if !eviction.is_best_effort {
                let object = EventObject::Pod(eviction.pod.clone());
                let text = "failed to delete pod for ScaleDown";
                let event = Event::warning("ScaleDownFailed", object, text);
                context.plan.events.push(event);
            }
            eviction.state = EvictionState::GivenUp { last_error };
            continue;
        }
        let budgets = stage.rules.budgets_of(pod);
        // The API server lets a pod go that is ending anyway; of one that is not ready it knows
        // more than is known here.
        let is_asked_of_budgets = pod.is_ready && pod.deletion_timestamp.is_none();
        if is_asked_of_budgets && !stage.evictable.allow(budgets) {
            // The API server would say no; the next look is when a budget changes, or then.
            "no disruption budget left".clone_into(last_error);
            *at = after(now, RETRY_AFTER);
            context.plan.wake_by(*at);
            continue;
        }
        if is_asked_of_budgets {
            stage.evictable.consume(budgets);
        }
        if is_first {
            let object = EventObject::Pod(eviction.pod.clone());
            let text = "deleting pod for node scale down";
            context
                .plan
                .events
                .push(Event::normal("ScaleDown", object, text));
        }
        eviction.asked_at = Some(now);
        context.plan.actions.push(Action::Evict {
            pod: eviction.pod.clone(),
            uid: eviction.uid.clone(),
            node: name.clone(),
            grace_period_seconds: eviction.grace_period_seconds,
        });
    }
    for controller in moved {
        replacements::note(context, &controller);
    }
    conclude_evictions(context, name, drain)
}

/// Goes on once every eviction of a wave has come to its end.
fn conclude_evictions(context: &mut Loop<'_>, name: &SmolStr, drain: &mut Drain) -> Step {
    let Phase::Evicting {
        wave, evictions, ..
    } = &drain.phase
    else {
        return Step::Wait;
    };
    let is_pending = |state: &EvictionState| matches!(state, EvictionState::Due { .. });
    if evictions.iter().any(|eviction| is_pending(&eviction.state)) {
        return Step::Wait;
    }
    let wave = *wave;
    let full = evictions.iter().filter(|eviction| !eviction.is_best_effort);
    let mut leaving = Vec::new();
    let mut errors = Vec::new();
    for eviction in full {
        match &eviction.state {
            EvictionState::GivenUp { last_error } => errors.push(format!(
                "failed to evict pod {} within allowed timeout (last error: {last_error})",
                eviction.pod
            )),
            _ => leaving.push(eviction.uid.clone()),
        }
    }
    count_evictions(&mut context.plan.metrics, leaving.len(), errors.len());
    if !errors.is_empty() {
        let error = format!(
            "Failed to drain node /{name}, due to following errors: [{}]",
            errors.join(", ")
        );
        fail(context, name, drain, &error);
        return Step::Again;
    }
    drain.phase = Phase::Leaving {
        wave,
        until: after(context.now, evictions::longest_wait(context.config, wave)),
        pods: leaving,
    };
    Step::Again
}

fn count_evictions(metrics: &mut Metrics, succeeded: usize, failed: usize) {
    for (result, count) in [("succeeded", succeeded), ("failed", failed)] {
        if let Some(count) = u64::try_from(count).ok().filter(|count| *count > 0) {
            let series = Series::plain("evicted_pods_total").with("eviction_result", result);
            metrics.add(series, count);
        }
    }
}

fn terminate(
    context: &mut Loop<'_>,
    stage: &mut Stage<'_>,
    name: &SmolStr,
    drain: &mut Drain,
) -> Step {
    let now = context.now;
    if !is_to_be_asked(drain.asked_at, now) {
        return Step::Wait;
    }
    if drain.asked_at.is_none() && stage.nodes.contains_key(name) {
        if let Some(why) = stage.stop {
            fail(context, name, drain, why);
            return Step::Again;
        }
        if stage.is_blind {
            return Step::Wait;
        }
        // Something may have been bound to the node by hand, or tolerate the taint.
        if let Some(error) = obstacle(context, stage, name, drain) {
            fail(context, name, drain, &error);
            return Step::Again;
        }
        let pods = evictions::pods_on(context, name);
        let has_stragglers = !drain.is_empty
            && pods
                .iter()
                .any(|pod| !pod.shape.is_daemonset_pod() && !pod.shape.safety.is_mirror);
        if has_stragglers && drain.extra_rounds < MAX_EXTRA_ROUNDS {
            drain.extra_rounds += 1;
            next_wave(context, name, drain, 0);
            return Step::Again;
        }
    }
    let minimum = stage.minimums.get(&drain.group).copied();
    let size = stage.sizes.get_mut(&drain.group);
    let (Some(minimum), Some(size)) = (minimum, size) else {
        let error = format!("node group {} is gone", drain.group);
        fail(context, name, drain, &error);
        return Step::Again;
    };
    if drain.asked_at.is_none() {
        if *size <= minimum {
            let error = format!(
                "failed to delete nodes from group {}: min size reached, nodes will not be deleted",
                drain.group
            );
            fail(context, name, drain, &error);
            return Step::Again;
        }
        *size -= 1;
    }
    drain.asked_at = Some(now);
    context.plan.actions.push(Action::TerminateInstance {
        group: drain.group.clone(),
        node: name.clone(),
        instance: drain.instance.clone(),
        known_pods: known_pods(context, name),
    });
    Step::Wait
}

/// The uids of all pods that are seen on a node.
fn known_pods(context: &Loop<'_>, node: &SmolStr) -> Vec<SmolStr> {
    let pods = context.cluster.pods.iter();
    let mut known: Vec<SmolStr> = pods
        .filter(|pod| pod.node_name.as_ref() == Some(node))
        .map(|pod| pod.uid.clone())
        .collect();
    known.sort_unstable();
    known
}

/// The cloud has accepted the termination, or the instance is gone anyway.
pub(super) fn finish(context: &mut Loop<'_>, name: &SmolStr, drain: &mut Drain) {
    let now = context.now;
    let was_ours = drain.phase == Phase::Terminating;
    drain.phase = Phase::Terminated { at: now };
    drain.asked_at = None;
    context.plan.scale_down.ended.push(EndedRemoval {
        node: name.clone(),
        group: drain.group.clone(),
        failure: None,
    });
    if !was_ours {
        return;
    }
    let times = context.memory.group_times.entry(drain.group.clone());
    times.or_default().removal = Some(now);
    let object = EventObject::Node(name.clone());
    let removed = Event::normal("ScaleDown", object, "nodes removed by cluster autoscaler");
    context.plan.events.push(removed);
    let (reason, message) = if drain.is_empty {
        let message = format!("Scale-down: empty node {name} removed");
        ("ScaleDownEmpty", message)
    } else {
        let message = format!("Scale-down: node {name} removed with drain");
        ("ScaleDown", message)
    };
    let event = Event::normal(reason, EventObject::Status, message);
    context.plan.events.push(event);
    count_removal(context, drain);
}

fn count_removal(context: &mut Loop<'_>, drain: &Drain) {
    let reason = match (drain.was_ready, drain.is_empty) {
        (false, _) => "unready",
        (true, false) => "underutilized",
        (true, true) => "empty",
    };
    let labels = gpu::metric_labels(context, &drain.group);
    let with_reason = |name| Series::plain(name).with("reason", reason);
    let labelled = |series: Series, labels: &[(&'static str, SmolStr)]| {
        labels.iter().fold(series, |series, (label, value)| {
            series.with(label, value.clone())
        })
    };
    let nodes = labelled(with_reason("scaled_down_nodes_total"), &labels);
    context.plan.metrics.add(nodes, 1);
    if !labels[0].1.is_empty() {
        let gpu_nodes = labelled(with_reason("scaled_down_gpu_nodes_total"), &labels[..2]);
        context.plan.metrics.add(gpu_nodes, 1);
    }
}

/// The removal has failed: the node is let go.
pub(super) fn fail(context: &mut Loop<'_>, name: &SmolStr, drain: &mut Drain, error: &str) {
    let what = if drain.is_empty {
        "failed to delete empty node"
    } else {
        "failed to drain and delete node"
    };
    let object = EventObject::Node(name.clone());
    let event = Event::warning("ScaleDownFailed", object, format!("{what}: {error}"));
    context.plan.events.push(event);
    context.plan.scale_down.ended.push(EndedRemoval {
        node: name.clone(),
        group: drain.group.clone(),
        failure: Some(error.to_owned()),
    });
    drain.phase = Phase::Undoing { retry_at: None };
    drain.asked_at = None;
}

/// Of a group that goes as a whole, one failure lets all nodes go that are not being terminated.
fn undo_broken_batches(context: &mut Loop<'_>, drains: &mut BTreeMap<SmolStr, Drain>) {
    let broken: BTreeSet<(SmolStr, Timestamp)> = drains
        .values()
        .filter(|drain| drain.batch.is_some() && matches!(drain.phase, Phase::Undoing { .. }))
        .map(|drain| (drain.group.clone(), drain.started_at))
        .collect();
    if broken.is_empty() {
        return;
    }
    for (name, drain) in drains.iter_mut() {
        let is_broken = broken.contains(&(drain.group.clone(), drain.started_at));
        let is_past = matches!(
            drain.phase,
            Phase::Terminating | Phase::Terminated { .. } | Phase::Undoing { .. }
        );
        if is_broken && !is_past {
            fail(
                context,
                name,
                drain,
                "couldn't scale down other nodes in this node group",
            );
        }
    }
}

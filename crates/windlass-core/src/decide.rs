use std::collections::BTreeMap;
use std::sync::Arc;

use windlass_config::Config;
use windlass_model::{Cluster, Node, NodeTemplate, Pod, SmolStr, Timestamp};
use windlass_scheduler::{Profiles, Snapshot};

use crate::{
    Budget, Event, EventObject, GroupReasons, HeldBack, Memory, Outcome, Plan, capacity_buffer,
    capacity_quota,
    cluster_state::{self, Counts, GroupState, Readiness, node_readiness},
    drain,
    pending::{Standing, is_expendable, standing},
    provisioning_request, report, scale_down,
    scale_up::{
        expander::grpc::{Consultation, ExpanderAnswer, ExpanderQuestion},
        raise_to_minimum, scale_up,
    },
    status,
    template::{self, TemplateSource},
};

/// What one loop is decided from.
pub struct Input<'a> {
    /// The world at this moment.
    pub cluster: &'a Cluster,
    /// What earlier loops remember.
    pub memory: &'a Memory,
    /// What came of the actions of earlier loops, since the last one.
    pub outcomes: &'a [Outcome],
    /// The flags.
    pub config: &'a Config,
    /// The start of the loop.
    pub now: Timestamp,
    /// The limits by duration.
    pub budget: &'a dyn Budget,
}

/// What one loop decided.
pub struct Decision {
    /// To be done, and said.
    pub plan: Plan,
    /// For the next loop.
    pub memory: Memory,
}

/// What [`decide_asking`] came to.
pub enum Progress {
    /// A decision.
    Decided(Box<Decision>),
    /// The expander `grpc` has to be asked first; nothing has been decided.
    Asks(ExpanderQuestion),
}

/// One loop under way: what it sees, what it has found out, and what it has decided so far.
pub(crate) struct Loop<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) config: &'a Config,
    pub(crate) now: Timestamp,
    pub(crate) outcomes: &'a [Outcome],
    pub(crate) budget: &'a dyn Budget,
    /// Nodes and pods, shared by all steps: pending pods that were placed stay placed.
    pub(crate) snapshot: Snapshot,
    /// The registered nodes, in the cluster's order.
    pub(crate) nodes: Vec<LoopNode>,
    /// What is known of each group, in the cluster's order.
    pub(crate) groups: Vec<GroupState>,
    /// What a new node of each group looks like, in the cluster's order.
    pub(crate) templates: Vec<Option<NodeTemplate>>,
    /// What they were made from.
    pub(crate) template_sources: Vec<Option<TemplateSource>>,
    /// The nodes that no group has.
    pub(crate) counts_outside: Counts,
    /// Why pods are unschedulable, by the number in their fate.
    pub(crate) reasons: Vec<Arc<GroupReasons>>,
    /// The pending pods are so new that the loop waits for more of them.
    pub(crate) pods_are_new: bool,
    /// Nodes of an earlier view are missing, too many to remove anything by this one.
    pub(crate) missing_nodes: Option<HeldBack>,
    /// Whether this loop looked for unneeded nodes.
    pub(crate) has_planned_scale_down: bool,
    /// The groups of the nodes of the snapshot that stand for nodes on their way, by node name.
    pub(crate) upcoming: BTreeMap<SmolStr, usize>,
    /// The buffers of capacity.
    pub(crate) buffers: capacity_buffer::Buffers,
    /// The requests for room.
    pub(crate) requests: provisioning_request::Requests,
    /// What the expander `grpc` was asked, and said.
    pub(crate) consultation: Consultation<'a>,
    pub(crate) memory: Memory,
    pub(crate) plan: Plan,
}

/// A registered node as this loop sees it.
pub(crate) struct LoopNode {
    /// The node; a copy with `Ready` set to False where the loop overrides its readiness.
    pub(crate) node: Arc<Node>,
    /// Its group, an index into the cluster's groups.
    pub(crate) group: Option<usize>,
    /// How it counts.
    pub(crate) readiness: Readiness,
    /// It has not started, and a copy of its group's template stands for it in the snapshot: it
    /// is no candidate for scale-down and no destination.
    pub(crate) is_replaced: bool,
}

/// The snapshot that [`decide`] works on: all nodes, with the pods that are bound or nominated
/// to them, less expendable and finished ones. The checks are those of the default profile.
pub fn prepare(cluster: &Cluster, config: &Config) -> Snapshot {
    prepare_with(cluster, config, &Profiles::default())
}

/// [`prepare`] with the checks of the profile that the scheduler configuration gives.
pub fn prepare_with(cluster: &Cluster, config: &Config, profiles: &Profiles) -> Snapshot {
    let mut snapshot = Snapshot::new(cluster, profiles.of(cluster.scheduler_version));
    for node in &cluster.nodes {
        snapshot.add_node(Arc::clone(node));
    }
    for pod in &cluster.pods {
        let (Standing::Scheduled(node) | Standing::Nominated(node)) = standing(pod, config) else {
            continue;
        };
        if is_expendable(pod, config) {
            continue;
        }
        if let Some(id) = snapshot.node_id(node) {
            snapshot.add_pod(pod, id);
        }
    }
    snapshot
}

/// Decides what one loop does. The same arguments give the same bytes. The snapshot is used up.
///
/// Nobody is asked: the expander `grpc` keeps all options.
pub fn decide(input: &Input<'_>, snapshot: Snapshot) -> Decision {
    let mut context = observe(input, snapshot);
    run(&mut context);
    context.into_decision()
}

/// As [`decide`], with somebody to ask: where the expander `grpc` has a question to which
/// `answers` holds no answer yet, that question is all that comes of it. The caller asks, adds
/// the answer and calls again.
pub fn decide_asking(
    input: &Input<'_>,
    snapshot: Snapshot,
    answers: &[ExpanderAnswer],
) -> Progress {
    let mut context = Loop {
        consultation: Consultation::with(answers),
        ..observe(input, snapshot)
    };
    run(&mut context);
    match context.consultation.take_question() {
        Some(question) => Progress::Asks(question),
        None => Progress::Decided(Box::new(context.into_decision())),
    }
}

/// The steps of a loop, in their order.
fn run(context: &mut Loop<'_>) {
    if let Some(message) = empty_cluster_message(context) {
        abort_empty(context, message);
        return;
    }
    cluster_state::apply_outcomes(context);
    provisioning_request::observe(context);
    capacity_buffer::observe(context);
    capacity_buffer::reconcile(context);
    scale_down::take_stock(context);
    template::recompute(context);
    capacity_quota::reconcile(context);
    cluster_state::update(context);
    let total = context.total_counts();
    let is_healthy = cluster_state::is_cluster_healthy(
        total.unready,
        context.nodes.len(),
        &context.config.cluster_health,
    );
    report::measure_cluster(context, &total, is_healthy);
    let may_scale = clean_up(context, is_healthy);
    if may_scale {
        scale_up(context);
        if context.consultation.is_waiting() {
            return;
        }
        if !is_scale_down_skipped(context) {
            scale_down::plan(context);
            context.has_planned_scale_down = context.config.scale_down.enabled;
        }
    }
    drain::advance(context);
    if may_scale && context.config.node_groups.enforce_min_size {
        raise_to_minimum(context);
    }
    provisioning_request::finish(context);
    capacity_buffer::finish(context);
    context.plan.status = Some(status::running(context, &total, is_healthy));
}

impl Loop<'_> {
    fn into_decision(mut self) -> Decision {
        self.memory.loops += 1;
        Decision {
            plan: self.plan,
            memory: self.memory,
        }
    }

    /// The nodes and instances of all groups, and the nodes of none.
    fn total_counts(&self) -> Counts {
        let mut total = self.counts_outside;
        for state in &self.groups {
            total.add_all(&state.counts);
        }
        total
    }

    /// How many nodes are ready and not cordoned.
    pub(crate) fn ready_nodes(&self) -> usize {
        self.nodes
            .iter()
            .filter(|node| !node.node.unschedulable && node_readiness(&node.node).is_ready)
            .count()
    }

    /// Keeps the reasons of a class of pods; their number.
    pub(crate) fn add_reasons(&mut self, reasons: Arc<GroupReasons>) -> u32 {
        self.reasons.push(reasons);
        u32::try_from(self.reasons.len() - 1).unwrap_or(u32::MAX)
    }
}

/// What a new node of each group would look like to [`decide`], in the cluster's order; `None`
/// where that cannot be told.
pub fn templates(input: &Input<'_>, snapshot: Snapshot) -> Vec<Option<NodeTemplate>> {
    let mut context = observe(input, snapshot);
    template::recompute(&mut context);
    context.templates
}

/// [`templates`], and what each was made from.
pub fn templates_with_sources(
    input: &Input<'_>,
    snapshot: Snapshot,
) -> Vec<Option<(NodeTemplate, TemplateSource)>> {
    let mut context = observe(input, snapshot);
    template::recompute(&mut context);
    let sources = context.template_sources.into_iter();
    let made = context.templates.into_iter().zip(sources);
    made.map(|(template, source)| template.zip(source))
        .collect()
}

/// What a loop simulates on, for whoever looks into it.
pub struct LoopView {
    /// The nodes with the pods on them: registered ones and, by their templates, those on their
    /// way; before any pending pod is placed.
    pub nodes: Vec<(Arc<Node>, Vec<Arc<Pod>>)>,
    /// What a new node of each group would look like, in the cluster's order.
    pub templates: Vec<Option<NodeTemplate>>,
}

/// What [`decide`] simulates on for the same input; `None` where it does not come so far.
pub fn view(input: &Input<'_>, snapshot: Snapshot) -> Option<LoopView> {
    let mut context = observe(input, snapshot);
    if empty_cluster_message(&context).is_some() {
        return None;
    }
    cluster_state::apply_outcomes(&mut context);
    scale_down::take_stock(&mut context);
    template::recompute(&mut context);
    cluster_state::update(&mut context);
    let unready = context.total_counts().unready;
    let health = &context.config.cluster_health;
    let is_healthy = cluster_state::is_cluster_healthy(unready, context.nodes.len(), health);
    if !clean_up(&mut context, is_healthy) {
        return None;
    }
    cluster_state::inject_upcoming(&mut context);
    let snapshot = &context.snapshot;
    let nodes = snapshot
        .node_ids()
        .map(|id| {
            let pods = snapshot.pods_on(id).cloned().collect();
            (Arc::clone(snapshot.node(id)), pods)
        })
        .collect();
    Some(LoopView {
        nodes,
        templates: context.templates,
    })
}

pub(crate) fn observe<'a>(input: &Input<'a>, snapshot: Snapshot) -> Loop<'a> {
    let Input {
        cluster,
        memory,
        outcomes,
        config,
        now,
        budget,
    } = *input;
    let nodes = cluster_state::observe_nodes(cluster, config, now);
    let (groups, counts_outside) = cluster_state::count_nodes(cluster, &nodes);
    Loop {
        cluster,
        config,
        now,
        outcomes,
        budget,
        snapshot,
        nodes,
        groups,
        counts_outside,
        templates: vec![None; cluster.groups.len()],
        template_sources: vec![None; cluster.groups.len()],
        reasons: Vec::new(),
        pods_are_new: false,
        missing_nodes: None,
        has_planned_scale_down: false,
        upcoming: BTreeMap::new(),
        buffers: capacity_buffer::Buffers::default(),
        requests: provisioning_request::Requests::default(),
        consultation: Consultation::default(),
        memory: memory.clone(),
        plan: Plan::default(),
    }
}

/// Without `--scale-up-from-zero` a cluster without a ready node is left alone. Source:
/// `pkg/processors/actionablecluster`.
fn empty_cluster_message(context: &Loop<'_>) -> Option<&'static str> {
    if context.config.node_groups.scale_up_from_zero {
        return None;
    }
    if context.nodes.is_empty() {
        return Some("Cluster has no nodes.");
    }
    (context.ready_nodes() == 0).then_some("Cluster has no ready nodes.")
}

fn abort_empty(context: &mut Loop<'_>, message: &'static str) {
    context.memory.unneeded_since.clear();
    report::measure_cluster(context, &Counts::default(), false);
    context.plan.status = Some(status::initializing(context.now, message));
    context.plan.events.push(Event::warning(
        "ClusterUnhealthy",
        EventObject::Status,
        message,
    ));
}

/// Clears away what never came; whether the loop may go on to scale.
fn clean_up(context: &mut Loop<'_>, is_healthy: bool) -> bool {
    cluster_state::remove_long_unregistered(context);
    if !is_healthy {
        context.memory.unneeded_since.clear();
        context.plan.events.push(Event::warning(
            "ClusterUnhealthy",
            EventObject::Status,
            "Cluster is unhealthy",
        ));
        return false;
    }
    cluster_state::remove_failed(context);
    !cluster_state::fix_target_sizes(context)
}

/// In graceful degradation scale-up and scale-down take turns.
fn is_scale_down_skipped(context: &Loop<'_>) -> bool {
    context.config.scale_up.graceful_degradation
        && context.memory.degraded_loops > 0
        && !context.memory.degraded_loops.is_multiple_of(4)
}

//! How many new nodes of a group its pods need. Source: `pkg/estimator`.

use std::sync::Arc;

use rustc_hash::FxHashSet;
use windlass_model::{NodeTemplate, Pod, Resources};
use windlass_scheduler::NodeId;

use super::PodClass;
use crate::{
    TimeLimit,
    decide::Loop,
    pending::{PendingPods, PodIndex},
    report, template,
};

const HOSTNAME: &str = "kubernetes.io/hostname";
const SPREAD_REASON: &str = "node(s) didn't match pod topology spread constraints";

/// A group that could grow, by how much, and for which pods.
pub(crate) struct ExpansionOption {
    pub(crate) group: usize,
    pub(crate) nodes: i64,
    pub(crate) pods: Vec<PodIndex>,
}

/// How many nodes one estimation may add.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NodeLimit(i64);

impl NodeLimit {
    /// The least of `--max-nodes-per-scaleup`, the room of the group and those similar to it,
    /// and the room of the cluster. Source: `pkg/estimator/*_threshold.go`.
    pub(super) fn of(context: &Loop<'_>, group: usize, similar: &[usize], node_count: i64) -> Self {
        let room: i64 = std::iter::once(&group)
            .chain(similar)
            .map(|group| {
                let max = context.cluster.groups[*group].max_size;
                (max - context.groups[*group].target_size).max(0)
            })
            .sum();
        let max_nodes = context.config.limits.max_nodes_total;
        let per_scale_up = context.config.scale_up.max_nodes_per_scaleup;
        let mut limit = room;
        if max_nodes > 0 {
            limit = limit.min(max_nodes - node_count);
        }
        if per_scale_up != 0 {
            limit = limit.min(per_scale_up);
        }
        Self(limit)
    }

    fn allows(self, nodes: usize) -> bool {
        i64::try_from(nodes).is_ok_and(|nodes| nodes < self.0)
    }
}

/// Counts the nodes of `group` that the classes that fit it need: first fit, in order of size.
/// `None` when no pod is helped.
pub(super) fn run(
    context: &mut Loop<'_>,
    pending: &PendingPods,
    classes: &[PodClass],
    group: usize,
    limit: NodeLimit,
) -> Option<ExpansionOption> {
    let template = context.templates[group].clone()?;
    let mut fitting: Vec<&PodClass> = classes.iter().filter(|class| class.fits(group)).collect();
    report::observe_heterogeneity(context, &template, &fitting);
    sort_by_size(&mut fitting, &template);

    context.budget.start(
        TimeLimit::NodeGroupBinpacking,
        context.config.scale_up.max_nodegroup_binpacking_duration,
    );
    context.snapshot.fork();
    let mut packing = Packing {
        context,
        template: &template,
        limit,
        created: Vec::new(),
        is_used: Vec::new(),
        cursor: 0,
        real_nodes: FxHashSet::default(),
        placed: Vec::new(),
        may_add_nodes: true,
    };
    for class in fitting {
        packing.place_class(pending, class);
    }
    let used = packing.is_used.iter().filter(|is_used| **is_used).count();
    let nodes = i64::try_from(used + packing.real_nodes.len()).unwrap_or(i64::MAX);
    let pods = packing.placed;
    context.snapshot.revert();
    if nodes == 0 || pods.is_empty() {
        return None;
    }
    let definition = &context.cluster.groups[group];
    let is_atomic = context
        .config
        .node_group_settings(&definition.options)
        .zero_or_max_node_scaling;
    Some(ExpansionOption {
        group,
        nodes: if is_atomic {
            definition.max_size
        } else {
            nodes
        },
        pods,
    })
}

/// The largest first, as a share of a new node's cpu and memory; equal ones in their order.
fn sort_by_size(classes: &mut [&PodClass], template: &NodeTemplate) {
    let allocatable = Resources::from_list(&template.node.allocatable);
    let size = |class: &&PodClass| -> f64 {
        let requests = &class.exemplar.shape.requests;
        let share = |wanted: i64, of: i64| {
            if of == 0 {
                0.0
            } else {
                wanted as f64 / of as f64
            }
        };
        share(requests.milli_cpu, allocatable.milli_cpu)
            + share(requests.memory_bytes, allocatable.memory_bytes)
    };
    classes.sort_by(|a, b| size(b).total_cmp(&size(a)));
}

struct Packing<'p, 'a> {
    context: &'p mut Loop<'a>,
    template: &'p NodeTemplate,
    limit: NodeLimit,
    /// Nodes added by this estimation, in order; the last is the one being filled.
    created: Vec<NodeId>,
    /// Of those, which hold a pod.
    is_used: Vec<bool>,
    /// Where the scan of the created nodes goes on.
    cursor: usize,
    /// Nodes that were there before and took a pod.
    real_nodes: FxHashSet<NodeId>,
    placed: Vec<PodIndex>,
    may_add_nodes: bool,
}

impl Packing<'_, '_> {
    fn place_class(&mut self, pending: &PendingPods, class: &PodClass) {
        let on_created = class
            .pods
            .iter()
            .take_while(|index| self.place_on_created(pending.pod(**index), **index))
            .count();
        if !self.may_add_nodes {
            return;
        }
        for index in &class.pods[on_created..] {
            if !self.place_on_last_or_new(pending.pod(*index), *index) {
                return;
            }
        }
    }

    fn place_on_created(&mut self, pod: &Arc<Pod>, index: PodIndex) -> bool {
        let count = self.created.len();
        for offset in 0..count {
            let place = (self.cursor + offset) % count;
            let node = self.created[place];
            if self.template.node.unschedulable || !self.context.snapshot.fits(pod, node) {
                continue;
            }
            self.cursor = place;
            self.put(pod, index, place);
            return true;
        }
        false
    }

    /// Whether to go on with the class.
    fn place_on_last_or_new(&mut self, pod: &Arc<Pod>, index: PodIndex) -> bool {
        if let Some(last) = self.created.len().checked_sub(1) {
            if self.context.snapshot.fits(pod, self.created[last]) {
                self.put(pod, index, last);
                return true;
            }
            if self.place_for_spread(pod, index, last) {
                return true;
            }
            if !self.is_used[last] {
                return false;
            }
        }
        let is_spent = self.context.budget.is_spent(TimeLimit::NodeGroupBinpacking);
        if is_spent || !self.limit.allows(self.created.len()) {
            self.may_add_nodes = false;
            return false;
        }
        let suffix = format!("e-{}", self.created.len());
        let node = template::copy_of(self.template, &suffix, None);
        let node = template::add_new_node(&mut self.context.snapshot, node);
        self.created.push(node);
        self.is_used.push(false);
        let fits = self.context.snapshot.fits(pod, node);
        if fits {
            self.put(pod, index, self.created.len() - 1);
        }
        fits
    }

    /// A pod that the last node would crowd may go to any other node, a real one too, which then
    /// counts as one that is needed: so does the Go autoscaler.
    fn place_for_spread(&mut self, pod: &Arc<Pod>, index: PodIndex, last: usize) -> bool {
        let spreads_over_hosts = pod
            .shape
            .constraints
            .spread
            .iter()
            .any(|constraint| constraint.topology_key == HOSTNAME);
        if !spreads_over_hosts {
            return false;
        }
        let last = self.created[last];
        let is_crowded = self
            .context
            .snapshot
            .check(pod, last)
            .is_err_and(|rejection| rejection.reasons.iter().any(|text| text == SPREAD_REASON));
        if !is_crowded {
            return false;
        }
        let Some(node) = self.context.snapshot.first_fit(pod, |node| node != last) else {
            return false;
        };
        if let Some(place) = self.created.iter().position(|created| *created == node) {
            self.put(pod, index, place);
        } else {
            self.context.snapshot.add_pod(pod, node);
            self.real_nodes.insert(node);
            self.placed.push(index);
        }
        true
    }

    fn put(&mut self, pod: &Arc<Pod>, index: PodIndex, place: usize) {
        self.context.snapshot.add_pod(pod, self.created[place]);
        self.is_used[place] = true;
        self.placed.push(index);
    }
}

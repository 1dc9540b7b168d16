use fixedbitset::FixedBitSet;
use rustc_hash::FxHashMap;
use windlass_model::{
    InclusionPolicy, LabelSelector, Labels, Requirement, RequirementOperator, SmolStr,
    SpreadConstraint, WhenUnsatisfiable,
};

use crate::topology::{Counts, NO_VALUE, Topology};

/// The spread constraints of pods that are counted alike.
#[derive(Clone, Debug)]
pub(crate) struct Spread {
    /// The constraints class whose node affinity and tolerations narrow the domains.
    pub(crate) constraints: u32,
    /// Where pods are counted.
    pub(crate) namespace: u32,
    pub(crate) rules: Vec<Rule>,
}

/// One constraint, with the pods that it counts now.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) key: u32,
    max_skew: i64,
    min_domains: i64,
    selector: Option<LabelSelector>,
    pub(crate) honors_affinity: bool,
    pub(crate) honors_taints: bool,
    counted_nodes: FixedBitSet,
    domains: Domains,
}

/// Topology values that have counted nodes, and how many pods each holds; the smallest is kept.
#[derive(Clone, Debug, Default)]
struct Domains {
    nodes: Counts,
    pods: Counts,
    /// How many domains hold so many pods.
    histogram: Vec<u32>,
    count: u32,
    smallest: u32,
}

/// How a node stands to a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Skew {
    /// A pod more is within the skew.
    Within,
    /// It would be too much.
    Exceeded,
    /// The node lacks the key.
    NoKey,
}

impl Rule {
    /// A rule with its selector as [`effective_selector`] made it.
    pub(crate) fn new(
        constraint: &SpreadConstraint,
        selector: Option<LabelSelector>,
        key: u32,
    ) -> Self {
        Self {
            key,
            max_skew: i64::from(constraint.max_skew),
            min_domains: i64::from(constraint.min_domains),
            selector,
            honors_affinity: constraint.node_affinity_policy == InclusionPolicy::Honor,
            honors_taints: constraint.node_taints_policy == InclusionPolicy::Honor,
            counted_nodes: FixedBitSet::new(),
            domains: Domains::default(),
        }
    }

    /// Whether pods on nodes with these labels are counted. The selector of everything counts
    /// nobody.
    pub(crate) fn counts(&self, labels: &Labels) -> bool {
        self.selector
            .as_ref()
            .is_some_and(|selector| !selector.is_empty() && selector.matches(labels))
    }

    /// Whether the incoming pod itself adds to the skew.
    pub(crate) fn counts_incoming(&self, labels: &Labels) -> bool {
        self.selector
            .as_ref()
            .is_some_and(|selector| selector.matches(labels))
    }

    pub(crate) fn include_node(&mut self, slot: u32, topology: &Topology) {
        let value = topology.value(self.key, slot);
        if value == NO_VALUE {
            return;
        }
        self.counted_nodes.grow(slot as usize + 1);
        self.counted_nodes.insert(slot as usize);
        self.domains.add_node(value);
    }

    /// Leaves a node out again; its pods are no longer counted then.
    pub(crate) fn exclude_node(&mut self, slot: u32, topology: &Topology) {
        if self.counted_nodes.contains(slot as usize) {
            self.counted_nodes.set(slot as usize, false);
            self.domains.remove_node(topology.value(self.key, slot));
        }
    }

    pub(crate) fn add_pod(&mut self, slot: u32, topology: &Topology) {
        if self.counted_nodes.contains(slot as usize) {
            self.domains.add_pod(topology.value(self.key, slot));
        }
    }

    pub(crate) fn remove_pod(&mut self, slot: u32, topology: &Topology) {
        if self.counted_nodes.contains(slot as usize) {
            self.domains.remove_pod(topology.value(self.key, slot));
        }
    }

    pub(crate) fn skew(&self, slot: u32, counts_incoming: bool, topology: &Topology) -> Skew {
        let value = topology.value(self.key, slot);
        if value == NO_VALUE {
            return Skew::NoKey;
        }
        let count = i64::from(self.domains.pods.get(value)) + i64::from(counts_incoming);
        if count - self.domains.global_minimum(self.min_domains) > self.max_skew {
            Skew::Exceeded
        } else {
            Skew::Within
        }
    }
}

impl Domains {
    fn global_minimum(&self, min_domains: i64) -> i64 {
        if i64::from(self.count) < min_domains {
            0
        } else if self.count == 0 {
            // Only where minDomains is 0, which an API server refuses: every skew is allowed.
            i64::from(i32::MAX)
        } else {
            i64::from(self.smallest)
        }
    }

    fn add_node(&mut self, value: u32) {
        self.nodes.increment(value);
        if self.nodes.get(value) == 1 {
            self.count += 1;
            *self.with_count(0) += 1;
            self.smallest = 0;
        }
    }

    fn remove_node(&mut self, value: u32) {
        self.nodes.decrement(value);
        if self.nodes.get(value) == 0 {
            self.count -= 1;
            *self.with_count(0) -= 1;
            self.raise_smallest();
        }
    }

    fn add_pod(&mut self, value: u32) {
        let before = self.pods.get(value);
        self.pods.increment(value);
        *self.with_count(before) -= 1;
        *self.with_count(before + 1) += 1;
        self.raise_smallest();
    }

    fn remove_pod(&mut self, value: u32) {
        let before = self.pods.get(value);
        self.pods.decrement(value);
        *self.with_count(before) -= 1;
        *self.with_count(before - 1) += 1;
        self.smallest = self.smallest.min(before - 1);
    }

    fn raise_smallest(&mut self) {
        if self.count == 0 {
            self.smallest = 0;
            return;
        }
        while self.histogram[self.smallest as usize] == 0 {
            self.smallest += 1;
        }
    }

    fn with_count(&mut self, count: u32) -> &mut u32 {
        let index = count as usize;
        if self.histogram.len() <= index {
            self.histogram.resize(index + 1, 0);
        }
        &mut self.histogram[index]
    }
}

/// The constraint's selector with the incoming pod's values of `matchLabelKeys` added; nothing
/// stays nothing.
pub(crate) fn effective_selector(
    constraint: &SpreadConstraint,
    pod_labels: &Labels,
) -> Option<LabelSelector> {
    let mut selector = constraint.selector.clone()?;
    for key in &constraint.match_label_keys {
        if let Some(value) = pod_labels.get(key) {
            selector.requirements.push(Requirement {
                key: key.clone(),
                operator: RequirementOperator::In,
                values: vec![value.clone()],
            });
        }
    }
    Some(selector)
}

/// Whether the constraint filters, rather than scores.
pub(crate) fn is_hard(constraint: &SpreadConstraint) -> bool {
    constraint.when_unsatisfiable == WhenUnsatisfiable::DoNotSchedule
}

/// All spreads, found by what makes pods be counted alike.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spreads {
    pub(crate) all: Vec<Spread>,
    by_key: FxHashMap<SpreadKey, u32>,
}

/// What makes pods be counted alike.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SpreadKey {
    pub(crate) constraints: u32,
    pub(crate) namespace: u32,
    pub(crate) rules: Vec<(SmolStr, Option<LabelSelector>)>,
}

impl Spreads {
    pub(crate) fn find(&self, key: &SpreadKey) -> Option<u32> {
        self.by_key.get(key).copied()
    }

    pub(crate) fn insert(&mut self, key: SpreadKey, spread: Spread) -> u32 {
        let id = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        self.all.push(spread);
        self.by_key.insert(key, id);
        id
    }
}

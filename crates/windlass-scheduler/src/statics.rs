use std::hash::{Hash, Hasher};
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHasher};
use windlass_model::{
    Constraints, Effect, Labels, Node, NodeSelector, Requirement, SmolStr, Taint, Toleration,
};

use crate::plugin::Plugin;
use crate::profile::Profile;

/// The label that is each node's own; node classes leave it out.
const HOSTNAME: &str = "kubernetes.io/hostname";

/// What about a node fails a pod whatever else is on the node: a set of these flags.
pub(crate) type Flags = u8;

pub(crate) const UNSCHEDULABLE: Flags = 1;
pub(crate) const NODE_NAME: Flags = 1 << 1;
pub(crate) const TAINT: Flags = 1 << 2;
pub(crate) const ADDED_AFFINITY: Flags = 1 << 3;
pub(crate) const AFFINITY: Flags = 1 << 4;
pub(crate) const FEATURES: Flags = 1 << 5;
const KNOWN: Flags = 1 << 7;

/// The checks that look at a pod's constraints and a node's labels, taints and features alone:
/// made once for a pair of a constraints class and a node class.
#[derive(Clone, Debug)]
pub(crate) struct Statics {
    added_affinity: Option<NodeSelector>,
    /// The flags of plugins that filter in this profile.
    enabled: Flags,
    classes: Vec<ConstraintsClass>,
    by_address: FxHashMap<usize, u32>,
    node_classes: FxHashMap<u64, Vec<u32>>,
    representatives: Vec<Arc<Node>>,
}

/// Pods with equal constraints.
#[derive(Clone, Debug)]
pub(crate) struct ConstraintsClass {
    pub(crate) constraints: Arc<Constraints>,
    /// Whether a verdict depends on the node's name or host name, and so not on its class.
    depends_on_name: bool,
    /// By node class; without [`KNOWN`] not asked yet.
    verdicts: Vec<Flags>,
    /// The node names that the affinity terms come down to; `None` is all nodes, an empty list a
    /// contradiction.
    pub(crate) affinity_names: Option<Vec<SmolStr>>,
}

impl Statics {
    pub(crate) fn new(profile: &Profile) -> Self {
        let enabled = [
            (Plugin::NodeUnschedulable, UNSCHEDULABLE),
            (Plugin::NodeName, NODE_NAME),
            (Plugin::TaintToleration, TAINT),
            (Plugin::NodeAffinity, ADDED_AFFINITY | AFFINITY),
            (Plugin::NodeDeclaredFeatures, FEATURES),
        ]
        .into_iter()
        .filter(|(plugin, _)| profile.filters().contains(plugin))
        .fold(0, |flags, (_, flag)| flags | flag);
        Self {
            added_affinity: profile.added_affinity().cloned(),
            enabled,
            classes: Vec::new(),
            by_address: FxHashMap::default(),
            node_classes: FxHashMap::default(),
            representatives: Vec::new(),
        }
    }

    pub(crate) fn class_of(&mut self, constraints: &Arc<Constraints>) -> u32 {
        let address = Arc::as_ptr(constraints) as usize;
        if let Some(known) = self.by_address.get(&address) {
            return *known;
        }
        let id = u32::try_from(self.classes.len()).unwrap_or(u32::MAX);
        let added_depends = self.added_affinity.as_ref().is_some_and(names_hosts);
        self.classes.push(ConstraintsClass {
            depends_on_name: added_depends || depends_on_name(constraints),
            verdicts: Vec::new(),
            affinity_names: constraints.node_affinity.as_ref().and_then(affinity_names),
            // Holding it keeps the address from being given to another value.
            constraints: Arc::clone(constraints),
        });
        self.by_address.insert(address, id);
        id
    }

    pub(crate) fn class(&self, id: u32) -> &ConstraintsClass {
        &self.classes[id as usize]
    }

    /// The class of a node: equal labels but for the host name, taints, features, cordon.
    pub(crate) fn node_class(&mut self, node: &Arc<Node>) -> u32 {
        let alike = self.node_classes.entry(digest(node)).or_default();
        let known = alike
            .iter()
            .find(|id| same_class(&self.representatives[**id as usize], node));
        if let Some(id) = known {
            return *id;
        }
        let id = u32::try_from(self.representatives.len()).unwrap_or(u32::MAX);
        alike.push(id);
        self.representatives.push(Arc::clone(node));
        id
    }

    /// All static failures of pods of the class on the node.
    pub(crate) fn flags(&mut self, class: u32, node_class: u32, node: &Node) -> Flags {
        let class = &mut self.classes[class as usize];
        if class.depends_on_name {
            return flags(&class.constraints, self.added_affinity.as_ref(), node);
        }
        let index = node_class as usize;
        if class.verdicts.len() <= index {
            class
                .verdicts
                .resize(self.representatives.len().max(index + 1), 0);
        }
        let known = class.verdicts[index];
        if known & KNOWN != 0 {
            return known & !KNOWN;
        }
        let flags = flags(&class.constraints, self.added_affinity.as_ref(), node);
        class.verdicts[index] = flags | KNOWN;
        flags
    }

    /// Those of `flags` that keep a pod off in this profile.
    pub(crate) fn that_filter(&self, flags: Flags) -> Flags {
        flags & self.enabled
    }
}

fn flags(constraints: &Constraints, added: Option<&NodeSelector>, node: &Node) -> Flags {
    let mut flags = 0;
    if node.unschedulable && !tolerates_unschedulable(&constraints.tolerations) {
        flags |= UNSCHEDULABLE;
    }
    if constraints
        .node_name
        .as_ref()
        .is_some_and(|name| *name != node.name)
    {
        flags |= NODE_NAME;
    }
    if has_untolerated_taint(&constraints.tolerations, node) {
        flags |= TAINT;
    }
    if added.is_some_and(|added| !added.matches(&node.labels, &node.name)) {
        flags |= ADDED_AFFINITY;
    }
    if !matches_affinity(constraints, node) {
        flags |= AFFINITY;
    }
    let declares = |feature| node.declared_features.contains(feature);
    if !constraints.required_features.iter().all(declares) {
        flags |= FEATURES;
    }
    flags
}

fn tolerates_unschedulable(tolerations: &[Toleration]) -> bool {
    let taint = Taint {
        key: SmolStr::new_static("node.kubernetes.io/unschedulable"),
        value: SmolStr::default(),
        effect: Effect::NoSchedule,
        time_added: None,
    };
    tolerations.iter().any(|t| t.tolerates(&taint))
}

fn has_untolerated_taint(tolerations: &[Toleration], node: &Node) -> bool {
    node.taints.iter().any(|taint| {
        matches!(taint.effect, Effect::NoSchedule | Effect::NoExecute)
            && !tolerations.iter().any(|t| t.tolerates(taint))
    })
}

fn matches_affinity(constraints: &Constraints, node: &Node) -> bool {
    let is_selected = constraints.node_selector.as_ref().is_none_or(|selector| {
        selector
            .iter()
            .all(|(key, value)| node.labels.get(key) == Some(value))
    });
    is_selected
        && constraints
            .node_affinity
            .as_ref()
            .is_none_or(|affinity| affinity.matches(&node.labels, &node.name))
}

fn depends_on_name(constraints: &Constraints) -> bool {
    constraints.node_name.is_some()
        || constraints.node_affinity.as_ref().is_some_and(names_hosts)
        || constraints
            .node_selector
            .as_ref()
            .is_some_and(|selector| selector.contains_key(HOSTNAME))
}

fn names_hosts(selector: &NodeSelector) -> bool {
    let on_host = |requirement: &Requirement| requirement.key == HOSTNAME;
    selector
        .terms
        .iter()
        .any(|term| !term.match_fields.is_empty() || term.match_expressions.iter().any(on_host))
}

/// The names that the terms' `metadata.name` fields leave: per term the intersection over its
/// `In` fields (all values, also where there are several), over the terms the union.
/// Source: `pkg/scheduler/framework/plugins/nodeaffinity` `PreFilter`.
fn affinity_names(affinity: &NodeSelector) -> Option<Vec<SmolStr>> {
    if affinity.terms.is_empty() {
        return None;
    }
    let mut union = Vec::new();
    for term in &affinity.terms {
        let mut names: Option<Vec<SmolStr>> = None;
        for field in &term.match_fields {
            let is_name = field.key == "metadata.name"
                && field.operator == windlass_model::RequirementOperator::In;
            if !is_name {
                continue;
            }
            names = Some(match names {
                None => field.values.clone(),
                Some(mut names) => {
                    names.retain(|name| field.values.contains(name));
                    names
                }
            });
        }
        union.extend(names?);
    }
    union.sort_unstable();
    union.dedup();
    Some(union)
}

fn digest(node: &Node) -> u64 {
    let mut hasher = FxHasher::default();
    for (key, value) in class_labels(&node.labels) {
        (key, value).hash(&mut hasher);
    }
    for taint in &node.taints {
        (&taint.key, &taint.value, &taint.effect).hash(&mut hasher);
    }
    (node.unschedulable, &node.declared_features).hash(&mut hasher);
    hasher.finish()
}

fn same_class(a: &Node, b: &Node) -> bool {
    let taint = |taint: &Taint| (taint.key.clone(), taint.value.clone(), taint.effect.clone());
    a.unschedulable == b.unschedulable
        && a.declared_features == b.declared_features
        && a.taints.iter().map(taint).eq(b.taints.iter().map(taint))
        && class_labels(&a.labels).eq(class_labels(&b.labels))
}

fn class_labels(labels: &Labels) -> impl Iterator<Item = (&SmolStr, &SmolStr)> {
    labels.iter().filter(|(key, _)| *key != HOSTNAME)
}

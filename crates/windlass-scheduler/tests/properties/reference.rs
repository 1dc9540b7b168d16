//! The filters as one would write them down: no classes, no counts kept, everything looked at
//! again for every question. Storage and devices are not here; the conformance cases and `claims` hold those.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use windlass_model::{
    AffinityTerm, Effect, HostPort, InclusionPolicy, LabelSelector, Labels, Namespace, Node, Pod,
    Requirement, RequirementOperator, Resources, SmolStr, SpreadConstraint, Taint,
    WhenUnsatisfiable,
};

/// A cluster as a list of nodes, each with its pods.
#[derive(Clone, Default)]
pub(crate) struct Reference {
    pub(crate) namespaces: BTreeMap<SmolStr, Arc<Namespace>>,
    pub(crate) nodes: Vec<(Arc<Node>, Vec<Arc<Pod>>)>,
}

impl Reference {
    pub(crate) fn pods_on(&mut self, name: &str) -> &mut Vec<Arc<Pod>> {
        let found = self.nodes.iter_mut().find(|(node, _)| node.name == name);
        &mut found.unwrap().1
    }

    /// Whether the pod fits on the node, by 1.37's rules.
    pub(crate) fn fits(&self, pod: &Pod, name: &str) -> bool {
        let (node, pods) = self
            .nodes
            .iter()
            .find(|(node, _)| node.name == name)
            .unwrap();
        tolerates_cordon(pod, node)
            && fits_name(pod, node)
            && untolerated(pod, node).is_none()
            && matches_node(pod, node)
            && has_free_ports(pod, pods)
            && has_room(pod, node, pods)
            && self.keeps_skew(pod, node)
            && self.has_company(pod, node)
            && self.is_not_repelled(pod, node)
    }

    fn all_pods(&self) -> impl Iterator<Item = (&Arc<Node>, &Arc<Pod>)> {
        self.nodes
            .iter()
            .flat_map(|(node, pods)| pods.iter().map(move |pod| (node, pod)))
    }

    fn keeps_skew(&self, pod: &Pod, node: &Node) -> bool {
        let constraints: Vec<_> = pod
            .shape
            .constraints
            .spread
            .iter()
            .filter(|c| c.when_unsatisfiable == WhenUnsatisfiable::DoNotSchedule)
            .collect();
        constraints.iter().all(|constraint| {
            let Some(value) = node.labels.get(&constraint.topology_key) else {
                return false;
            };
            let domains = self.domains(pod, constraint, &constraints);
            let least = if domains.len() < usize::try_from(constraint.min_domains).unwrap() {
                0
            } else {
                domains.values().copied().min().unwrap_or(0)
            };
            let selector = spread_selector(pod, constraint);
            let own = selector.is_some_and(|selector| selector.matches(&pod.shape.labels));
            let there = domains.get(value).copied().unwrap_or(0);
            there + i32::from(own) - least <= constraint.max_skew
        })
    }

    fn domains(
        &self,
        pod: &Pod,
        constraint: &SpreadConstraint,
        all: &[&SpreadConstraint],
    ) -> BTreeMap<SmolStr, i32> {
        let mut domains = BTreeMap::new();
        let selector = spread_selector(pod, constraint);
        for (node, pods) in &self.nodes {
            let has_keys = all
                .iter()
                .all(|c| node.labels.contains_key(&c.topology_key));
            let is_out = constraint.node_affinity_policy == InclusionPolicy::Honor
                && !matches_node(pod, node)
                || constraint.node_taints_policy == InclusionPolicy::Honor
                    && untolerated(pod, node).is_some();
            if !has_keys || is_out {
                continue;
            }
            let value = node.labels.get(&constraint.topology_key).unwrap().clone();
            let counts = |other: &&Arc<Pod>| {
                other.namespace() == pod.namespace()
                    && other.deletion_timestamp.is_none()
                    && selector
                        .as_ref()
                        .is_some_and(|s| !s.is_empty() && s.matches(&other.shape.labels))
            };
            let count = pods.iter().filter(counts).count();
            *domains.entry(value).or_default() += i32::try_from(count).unwrap();
        }
        domains
    }

    fn has_company(&self, pod: &Pod, node: &Node) -> bool {
        let terms = &pod.shape.constraints.affinity;
        if terms
            .iter()
            .any(|term| !node.labels.contains_key(&term.topology_key))
        {
            return false;
        }
        let matches_all = |other: &Pod| {
            terms
                .iter()
                .all(|term| self.incoming_matches(pod, term, other))
        };
        let mut pairs = BTreeSet::new();
        for (other_node, _) in self.all_pods().filter(|(_, other)| matches_all(other)) {
            for term in terms {
                let value = other_node.labels.get(&term.topology_key);
                pairs.extend(value.map(|value| (&term.topology_key, value)));
            }
        }
        let is_met = terms.iter().all(|term| {
            let value = node.labels.get(&term.topology_key).unwrap();
            pairs.contains(&(&term.topology_key, value))
        });
        is_met || pairs.is_empty() && matches_all(pod)
    }

    fn is_not_repelled(&self, pod: &Pod, node: &Node) -> bool {
        self.all_pods().all(|(other_node, other)| {
            let is_together = |term: &&AffinityTerm| {
                let value = node.labels.get(&term.topology_key);
                value.is_some() && value == other_node.labels.get(&term.topology_key)
            };
            let mut own = pod
                .shape
                .constraints
                .anti_affinity
                .iter()
                .filter(is_together);
            let mut others = other
                .shape
                .constraints
                .anti_affinity
                .iter()
                .filter(is_together);
            !own.any(|term| self.incoming_matches(pod, term, other))
                && !others.any(|term| self.existing_matches(other, term, pod))
        })
    }

    /// A term of the pod to be placed: namespaces by name, or by an object's labels.
    fn incoming_matches(&self, owner: &Pod, term: &AffinityTerm, other: &Pod) -> bool {
        let by_labels = term.namespace_selector.as_ref().is_some_and(|selector| {
            let namespace = self.namespaces.get(other.namespace());
            selector.is_empty() || namespace.is_some_and(|n| selector.matches(&n.labels))
        });
        matches_term(owner, term, other, by_labels)
    }

    /// A term of a pod on a node: a namespace without an object has no labels.
    fn existing_matches(&self, owner: &Pod, term: &AffinityTerm, other: &Pod) -> bool {
        let none = Labels::default();
        let namespace = self.namespaces.get(other.namespace());
        let labels = namespace.map_or(&none, |namespace| &namespace.labels);
        let selector = term.namespace_selector.as_ref();
        matches_term(
            owner,
            term,
            other,
            selector.is_some_and(|s| s.matches(labels)),
        )
    }
}

fn matches_term(owner: &Pod, term: &AffinityTerm, other: &Pod, by_labels: bool) -> bool {
    let is_own = term.namespaces.is_empty() && term.namespace_selector.is_none();
    let by_name = term.namespaces.contains(other.namespace())
        || is_own && owner.namespace() == other.namespace();
    (by_name || by_labels)
        && term
            .selector
            .as_ref()
            .is_some_and(|selector| selector.matches(&other.shape.labels))
}

fn spread_selector(pod: &Pod, constraint: &SpreadConstraint) -> Option<LabelSelector> {
    let mut selector = constraint.selector.clone()?;
    for key in &constraint.match_label_keys {
        if let Some(value) = pod.shape.labels.get(key) {
            selector.requirements.push(Requirement {
                key: key.clone(),
                operator: RequirementOperator::In,
                values: vec![value.clone()],
            });
        }
    }
    Some(selector)
}

fn tolerates_cordon(pod: &Pod, node: &Node) -> bool {
    let taint = Taint {
        key: "node.kubernetes.io/unschedulable".into(),
        value: SmolStr::default(),
        effect: Effect::NoSchedule,
        time_added: None,
    };
    let tolerations = &pod.shape.constraints.tolerations;
    !node.unschedulable || tolerations.iter().any(|t| t.tolerates(&taint))
}

fn fits_name(pod: &Pod, node: &Node) -> bool {
    let name = pod.shape.constraints.node_name.as_ref();
    name.is_none_or(|name| *name == node.name)
}

fn untolerated<'a>(pod: &Pod, node: &'a Node) -> Option<&'a Taint> {
    let tolerations = &pod.shape.constraints.tolerations;
    node.taints.iter().find(|taint| {
        taint.effect != Effect::PreferNoSchedule && !tolerations.iter().any(|t| t.tolerates(taint))
    })
}

fn matches_node(pod: &Pod, node: &Node) -> bool {
    let constraints = &pod.shape.constraints;
    let has = |(key, value): (&SmolStr, &SmolStr)| node.labels.get(key) == Some(value);
    let affinity = constraints.node_affinity.as_ref();
    constraints
        .node_selector
        .iter()
        .flat_map(Labels::iter)
        .all(has)
        && affinity.is_none_or(|affinity| affinity.matches(&node.labels, &node.name))
}

fn has_free_ports(pod: &Pod, pods: &[Arc<Pod>]) -> bool {
    let is_any = |port: &HostPort| port.ip == "0.0.0.0";
    let used = pods
        .iter()
        .flat_map(|pod| &pod.shape.constraints.host_ports);
    used.into_iter().all(|used| {
        pod.shape.constraints.host_ports.iter().all(|wanted| {
            wanted.port != used.port
                || wanted.protocol != used.protocol
                || wanted.ip != used.ip && !is_any(wanted) && !is_any(used)
        })
    })
}

fn has_room(pod: &Pod, node: &Node, pods: &[Arc<Pod>]) -> bool {
    let mut free = Resources::from_list(&node.allocatable);
    for other in pods {
        free.subtract(other.requests_on_node());
    }
    let wanted = &pod.shape.requests;
    let has = |wanted: i64, free: i64| wanted == 0 || wanted <= free;
    i64::try_from(pods.len()).unwrap() < free.pods
        && has(wanted.milli_cpu, free.milli_cpu)
        && has(wanted.memory_bytes, free.memory_bytes)
        && wanted
            .scalars
            .iter()
            .all(|(name, wanted)| has(*wanted, free.scalar(name).unwrap_or(0)))
}

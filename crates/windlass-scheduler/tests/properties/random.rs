//! Small random clusters in which things are near each other: few labels, few values, tight room.

use std::sync::Arc;

use windlass_model::{
    AffinityTerm, Constraints, Effect, HostPort, InclusionPolicy, LabelSelector, Labels, Namespace,
    Node, NodeSelector, NodeSelectorTerm, Phase, Pod, PodScheduled, PodShape, Pool, Quantity,
    Requirement, RequirementOperator, Resources, SmolStr, SpreadConstraint, Taint, Toleration,
    TolerationOperator, WhenUnsatisfiable,
};

/// A stream of numbers that a seed decides. Source: Vigna's `SplitMix64`.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap();
        usize::try_from(self.next() % end).unwrap()
    }

    fn amount(&mut self, end: usize) -> i64 {
        i64::try_from(self.below(end)).unwrap()
    }

    /// True once in `n`.
    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick(&mut self, words: &[&'static str]) -> SmolStr {
        SmolStr::new_static(words[self.below(words.len())])
    }

    fn several<T>(&mut self, most: usize, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.below(most + 1)).map(|_| make(self)).collect()
    }
}

const KEYS: [&str; 3] = ["app", "tier", "zone"];
const VALUES: [&str; 3] = ["a", "b", "7"];
const NAMESPACES: [&str; 3] = ["one", "two", "ghost"];
const TOPOLOGIES: [&str; 3] = ["kubernetes.io/hostname", "zone", "rack"];

/// Namespace objects; pods also live in one without.
pub(crate) fn namespaces(random: &mut Random) -> Vec<Namespace> {
    NAMESPACES[..2]
        .iter()
        .map(|name| Namespace {
            name: SmolStr::new_static(name),
            labels: labels(random),
        })
        .collect()
}

pub(crate) fn node(random: &mut Random, index: usize) -> Node {
    let name = SmolStr::from(format!("n{index}"));
    let mut labels = labels(random);
    labels.insert("kubernetes.io/hostname", name.clone());
    if random.one_in(2) {
        labels.insert("rack", random.pick(&VALUES));
    }
    let amounts = [
        ("cpu", Quantity::from_millis(random.amount(4000))),
        ("memory", Quantity::from_units(random.amount(4000))),
        ("pods", Quantity::from_units(random.amount(8))),
        ("example.com/gpu", Quantity::from_units(random.amount(3))),
    ];
    Node {
        labels,
        taints: random.several(1, taint),
        unschedulable: random.one_in(6),
        allocatable: amounts.into_iter().collect(),
        name,
        ..Node::default()
    }
}

/// A pod; pods of equal shapes share them, as far as the pools make them.
pub(crate) fn pod(
    random: &mut Random,
    shapes: &mut Pool<PodShape>,
    constraints: &mut Pool<Constraints>,
    index: usize,
) -> Pod {
    let mut scalars = Vec::new();
    if random.one_in(4) {
        scalars.push((SmolStr::new_static("example.com/gpu"), random.amount(3)));
    }
    let shape = PodShape {
        namespace: random.pick(&NAMESPACES),
        labels: labels(random),
        requests: Resources {
            milli_cpu: random.amount(1500),
            memory_bytes: random.amount(1500),
            ephemeral_storage_bytes: 0,
            pods: 0,
            scalars,
        },
        constraints: constraints.intern(pod_constraints(random)),
        ..PodShape::default()
    };
    let is_terminating = random.one_in(8);
    Pod {
        name: format!("p{index}").into(),
        uid: format!("u{index}").into(),
        shape: shapes.intern(shape),
        resized_requests: None,
        created_at: None,
        deletion_timestamp: is_terminating.then_some(windlass_model::Timestamp::UNIX_EPOCH),
        node_name: None,
        nominated_node_name: None,
        phase: Phase::Pending,
        scheduled: PodScheduled::Absent,
        is_ready: false,
    }
}

pub(crate) fn shared(pod: Pod) -> Arc<Pod> {
    Arc::new(pod)
}

fn pod_constraints(random: &mut Random) -> Constraints {
    Constraints {
        node_name: random
            .one_in(12)
            .then(|| format!("n{}", random.below(6)).into()),
        node_selector: random.one_in(6).then(|| labels(random)),
        node_affinity: random.one_in(5).then(|| NodeSelector {
            terms: random.several(2, node_term),
        }),
        tolerations: random.several(1, toleration),
        host_ports: if random.one_in(5) {
            random.several(2, host_port)
        } else {
            Vec::new()
        },
        spread: if random.one_in(3) {
            random.several(2, spread)
        } else {
            Vec::new()
        },
        affinity: if random.one_in(5) {
            random.several(2, term)
        } else {
            Vec::new()
        },
        anti_affinity: if random.one_in(3) {
            random.several(2, term)
        } else {
            Vec::new()
        },
        ..Constraints::default()
    }
}

fn labels(random: &mut Random) -> Labels {
    random
        .several(3, |random| (random.pick(&KEYS), random.pick(&VALUES)))
        .into_iter()
        .collect()
}

fn requirement(random: &mut Random, for_nodes: bool) -> Requirement {
    let operator = match random.below(if for_nodes { 6 } else { 4 }) {
        0 => RequirementOperator::In,
        1 => RequirementOperator::NotIn,
        2 => RequirementOperator::Exists,
        3 => RequirementOperator::DoesNotExist,
        4 => RequirementOperator::Gt,
        _ => RequirementOperator::Lt,
    };
    let values = match operator {
        RequirementOperator::Exists | RequirementOperator::DoesNotExist => Vec::new(),
        RequirementOperator::Gt | RequirementOperator::Lt => vec![random.pick(&["5", "9"])],
        _ => vec![random.pick(&VALUES), random.pick(&VALUES)],
    };
    Requirement {
        key: random.pick(&KEYS),
        operator,
        values,
    }
}

fn node_term(random: &mut Random) -> NodeSelectorTerm {
    let by_name = |random: &mut Random| Requirement {
        key: SmolStr::new_static("metadata.name"),
        operator: RequirementOperator::In,
        values: vec![format!("n{}", random.below(6)).into()],
    };
    NodeSelectorTerm {
        match_expressions: random.several(2, |random| requirement(random, true)),
        match_fields: if random.one_in(4) {
            vec![by_name(random)]
        } else {
            Vec::new()
        },
    }
}

fn selector(random: &mut Random) -> Option<LabelSelector> {
    (!random.one_in(8)).then(|| LabelSelector {
        requirements: random.several(2, |random| requirement(random, false)),
    })
}

fn term(random: &mut Random) -> AffinityTerm {
    AffinityTerm {
        topology_key: random.pick(&TOPOLOGIES),
        selector: selector(random),
        namespaces: if random.one_in(3) {
            vec![random.pick(&NAMESPACES)]
        } else {
            Vec::new()
        },
        namespace_selector: if random.one_in(3) {
            selector(random)
        } else {
            None
        },
    }
}

fn spread(random: &mut Random) -> SpreadConstraint {
    let policy = |random: &mut Random| {
        if random.one_in(2) {
            InclusionPolicy::Honor
        } else {
            InclusionPolicy::Ignore
        }
    };
    SpreadConstraint {
        topology_key: random.pick(&TOPOLOGIES),
        max_skew: 1 + i32::try_from(random.below(2)).unwrap(),
        min_domains: 1 + i32::try_from(random.below(4)).unwrap() / 3 * 2,
        when_unsatisfiable: if random.one_in(5) {
            WhenUnsatisfiable::ScheduleAnyway
        } else {
            WhenUnsatisfiable::DoNotSchedule
        },
        selector: selector(random),
        match_label_keys: if random.one_in(4) {
            vec![random.pick(&KEYS)]
        } else {
            Vec::new()
        },
        node_affinity_policy: policy(random),
        node_taints_policy: policy(random),
    }
}

fn taint(random: &mut Random) -> Taint {
    Taint {
        key: random.pick(&KEYS),
        value: random.pick(&VALUES),
        effect: Effect::from(
            random
                .pick(&["NoSchedule", "NoExecute", "PreferNoSchedule"])
                .as_str(),
        ),
        time_added: None,
    }
}

fn toleration(random: &mut Random) -> Toleration {
    Toleration {
        key: random.pick(&["", "app", "tier", "node.kubernetes.io/unschedulable"]),
        operator: if random.one_in(2) {
            TolerationOperator::Exists
        } else {
            TolerationOperator::Equal
        },
        value: random.pick(&["", "a", "b"]),
        effect: random.one_in(2).then_some(Effect::NoSchedule),
    }
}

fn host_port(random: &mut Random) -> HostPort {
    HostPort {
        ip: random.pick(&["0.0.0.0", "10.0.0.1", "::"]),
        protocol: random.pick(&["TCP", "UDP"]),
        port: 80 + i32::try_from(random.below(2)).unwrap(),
    }
}

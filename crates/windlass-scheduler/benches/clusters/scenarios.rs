//! Clusters of the sizes that decisions are measured on.

use std::sync::Arc;

use windlass_model::{
    AffinityTerm, Cluster, Constraints, InclusionPolicy, LabelSelector, Labels, Node, Pod,
    PodShape, Quantity, Resources, SmolStr, SpreadConstraint, WhenUnsatisfiable,
};
use windlass_scheduler::{NodeId, Profile, Snapshot};

const HOSTNAME: &str = "kubernetes.io/hostname";
const ZONE: &str = "topology.kubernetes.io/zone";
const GIB: i64 = 1 << 30;

/// A snapshot and the pods to be placed on it.
pub(crate) struct Scenario {
    pub snapshot: Snapshot,
    pub pods: Vec<Arc<Pod>>,
}

impl Scenario {
    /// Puts each pod on the first node that it fits on; how many found one.
    pub(crate) fn place_all(&mut self) -> usize {
        let mut placed = 0;
        for pod in &self.pods {
            if let Some(node) = self.snapshot.first_fit(pod, |_| true) {
                self.snapshot.add_pod(pod, node);
                placed += 1;
            }
        }
        placed
    }

    /// Takes so many nodes away, one after the other, each with the pods that were on it going to
    /// other nodes, as a planned scale-down does; then undoes it all.
    pub(crate) fn empty_nodes(&mut self, count: usize) {
        let snapshot = &mut self.snapshot;
        let nodes: Vec<NodeId> = snapshot.node_ids().take(count).collect();
        snapshot.fork();
        for node in nodes {
            snapshot.fork();
            let pods: Vec<Arc<Pod>> = snapshot.pods_on(node).cloned().collect();
            snapshot.remove_node(node);
            let mut all_fit = true;
            for pod in &pods {
                match snapshot.first_fit(pod, |_| true) {
                    Some(place) => snapshot.add_pod(pod, place),
                    None => all_fit = false,
                }
            }
            if all_fit {
                snapshot.commit();
            } else {
                snapshot.revert();
            }
        }
        snapshot.revert();
    }
}

/// 60,000 pods of 50 shapes, and 200 nodes on which nothing fits.
pub(crate) fn full_nodes() -> Scenario {
    let mut snapshot = empty(200, 3);
    let filler = shape(16_000, 64 * GIB, &[], Constraints::default());
    let ids: Vec<NodeId> = snapshot.node_ids().collect();
    for (index, id) in ids.into_iter().enumerate() {
        snapshot.add_pod(&pod(&filler, index), id);
    }
    let shapes: Vec<_> = (0..50)
        .map(|index| {
            shape(
                100 + index,
                GIB,
                &[("app", &index.to_string())],
                Constraints::default(),
            )
        })
        .collect();
    let pods = (0..60_000)
        .map(|index| pod(&shapes[index % shapes.len()], index))
        .collect();
    Scenario { snapshot, pods }
}

/// Pods that ask for nothing special; every pod of another shape, or all of one.
pub(crate) fn plain(pods: i64, nodes: usize, all_different: bool) -> Scenario {
    let constraints = Arc::new(Constraints::default());
    let one = shape_with(250, GIB, &[("app", "one")], &constraints);
    let pods = (0..pods)
        .map(|index| {
            let name = usize::try_from(index).expect("a small number");
            if !all_different {
                return pod(&one, name);
            }
            let labels = [("app", index.to_string())];
            let labels: Vec<_> = labels.iter().map(|(k, v)| (*k, v.as_str())).collect();
            let shape = shape_with(200 + index % 97, GIB + index * 1024, &labels, &constraints);
            pod(&shape, name)
        })
        .collect();
    Scenario {
        snapshot: empty(nodes, 3),
        pods,
    }
}

/// Pods that shun each other's nodes, as many as there are nodes.
pub(crate) fn hostname_anti_affinity(nodes: usize) -> Scenario {
    let shape = anti_affine();
    Scenario {
        snapshot: empty(nodes, 3),
        pods: (0..nodes).map(|index| pod(&shape, index)).collect(),
    }
}

/// Nodes on all of which but the last there is a pod that the pod to be placed shuns.
pub(crate) fn only_the_last_fits(nodes: usize) -> Scenario {
    let shape = anti_affine();
    let mut snapshot = empty(nodes, 3);
    let ids: Vec<NodeId> = snapshot.node_ids().collect();
    for (index, id) in ids.iter().enumerate().take(nodes - 1) {
        snapshot.add_pod(&pod(&shape, index), *id);
    }
    Scenario {
        snapshot,
        pods: vec![pod(&shape, nodes)],
    }
}

/// Pods spread over three zones.
pub(crate) fn zone_spread(pods: usize, nodes: usize) -> Scenario {
    let spread = SpreadConstraint {
        topology_key: ZONE.into(),
        max_skew: 1,
        min_domains: 1,
        when_unsatisfiable: WhenUnsatisfiable::DoNotSchedule,
        selector: Some(web()),
        match_label_keys: Vec::new(),
        node_affinity_policy: InclusionPolicy::Honor,
        node_taints_policy: InclusionPolicy::Ignore,
    };
    let constraints = Constraints {
        spread: vec![spread],
        ..Constraints::default()
    };
    let shape = shape(100, GIB / 8, &[("app", "web")], constraints);
    Scenario {
        snapshot: empty(nodes, 3),
        pods: (0..pods).map(|index| pod(&shape, index)).collect(),
    }
}

/// 5,000 nodes with 150,000 pods of 3,000 shapes; the pods to be placed are few.
pub(crate) fn large() -> Scenario {
    let mut snapshot = empty(5_000, 3);
    let constraints = Arc::new(Constraints::default());
    let shapes: Vec<_> = (0..3_000)
        .map(|index| shape_with(100, GIB / 4, &[("app", &index.to_string())], &constraints))
        .collect();
    let ids: Vec<NodeId> = snapshot.node_ids().collect();
    for index in 0..150_000 {
        let pod = pod(&shapes[index % shapes.len()], index);
        snapshot.add_pod(&pod, ids[index % ids.len()]);
    }
    let pods = (0..10)
        .map(|index| pod(&shapes[index], 200_000 + index))
        .collect();
    Scenario { snapshot, pods }
}

/// Nodes with so many equal pods each, two fifths of what there is room for.
pub(crate) fn crowded(nodes: usize, pods_each: usize) -> Scenario {
    let mut snapshot = empty(nodes, 3);
    let shape = shape(160, GIB / 8, &[("app", "web")], Constraints::default());
    let ids: Vec<NodeId> = snapshot.node_ids().collect();
    for index in 0..nodes * pods_each {
        snapshot.add_pod(&pod(&shape, index), ids[index % nodes]);
    }
    let pods = Vec::new();
    Scenario { snapshot, pods }
}

/// Nodes of 16 cpu, 64 GiB and 110 pods in so many zones, a third of the nodes after the other.
fn empty(nodes: usize, zones: usize) -> Snapshot {
    let mut snapshot = Snapshot::new(&Cluster::default(), &Profile::default());
    for index in 0..nodes {
        let name = SmolStr::from(format!("node-{index}"));
        let zone = format!("zone-{}", index * zones / nodes);
        let node = Node {
            labels: labels(&[(HOSTNAME, &name), (ZONE, &zone), ("arch", "amd64")]),
            allocatable: [
                ("cpu", Quantity::from_units(16)),
                ("memory", Quantity::from_bytes(64 * GIB)),
                ("pods", Quantity::from_units(110)),
            ]
            .into_iter()
            .collect(),
            name,
            ..Node::default()
        };
        snapshot.add_node(Arc::new(node));
    }
    snapshot
}

fn anti_affine() -> Arc<PodShape> {
    let term = AffinityTerm {
        topology_key: HOSTNAME.into(),
        selector: Some(web()),
        namespaces: Vec::new(),
        namespace_selector: None,
    };
    let constraints = Constraints {
        anti_affinity: vec![term],
        ..Constraints::default()
    };
    shape(100, GIB, &[("app", "web")], constraints)
}

fn web() -> LabelSelector {
    LabelSelector::from_labels(&labels(&[("app", "web")]))
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().copied().collect()
}

fn shape(
    milli_cpu: i64,
    memory_bytes: i64,
    pairs: &[(&str, &str)],
    constraints: Constraints,
) -> Arc<PodShape> {
    shape_with(milli_cpu, memory_bytes, pairs, &Arc::new(constraints))
}

fn shape_with(
    milli_cpu: i64,
    memory_bytes: i64,
    pairs: &[(&str, &str)],
    constraints: &Arc<Constraints>,
) -> Arc<PodShape> {
    Arc::new(PodShape {
        namespace: "default".into(),
        labels: labels(pairs),
        requests: Resources {
            milli_cpu,
            memory_bytes,
            ..Resources::default()
        },
        constraints: Arc::clone(constraints),
        ..PodShape::default()
    })
}

fn pod(shape: &Arc<PodShape>, index: usize) -> Arc<Pod> {
    Arc::new(Pod {
        name: format!("pod-{index}").into(),
        uid: format!("uid-{index}").into(),
        shape: Arc::clone(shape),
        resized_requests: None,
        created_at: None,
        deletion_timestamp: None,
        node_name: None,
        nominated_node_name: None,
        phase: windlass_model::Phase::Pending,
        scheduled: windlass_model::PodScheduled::Absent,
        is_ready: false,
    })
}

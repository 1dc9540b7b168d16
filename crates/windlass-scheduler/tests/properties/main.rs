//! What must hold of any cluster: the fast answers are the slow reference's, whatever was changed
//! before and undone, and in whatever order it came about.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod claims;
mod random;
mod reference;

use std::sync::Arc;

use windlass_model::{Cluster, Constraints, Node, Pod, PodShape, Pool};
use windlass_scheduler::{NodeId, Profile, Snapshot};

use random::Random;
use reference::Reference;

const SEEDS: u64 = 150;
const STEPS: usize = 60;

/// A snapshot and the reference, changed alike.
struct Pair {
    random: Random,
    shapes: Pool<PodShape>,
    constraints: Pool<Constraints>,
    snapshot: Snapshot,
    reference: Reference,
    /// The reference at each open fork.
    forks: Vec<Reference>,
    made: usize,
}

impl Pair {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut cluster = Cluster::default();
        for namespace in random::namespaces(&mut random) {
            let name = namespace.name.clone();
            cluster.namespaces.insert(name, Arc::new(namespace));
        }
        let mut pair = Self {
            snapshot: Snapshot::new(&cluster, &Profile::default()),
            reference: Reference {
                namespaces: cluster.namespaces,
                nodes: Vec::new(),
            },
            shapes: Pool::default(),
            constraints: Pool::default(),
            forks: Vec::new(),
            made: 0,
            random,
        };
        for _ in 0..4 {
            pair.add_node();
        }
        pair
    }

    fn new_node(&mut self) -> Arc<Node> {
        self.made += 1;
        Arc::new(random::node(&mut self.random, self.made))
    }

    fn new_pod(&mut self) -> Arc<Pod> {
        self.made += 1;
        let (shapes, constraints) = (&mut self.shapes, &mut self.constraints);
        random::shared(random::pod(
            &mut self.random,
            shapes,
            constraints,
            self.made,
        ))
    }

    fn add_node(&mut self) {
        let node = self.new_node();
        self.snapshot.add_node(Arc::clone(&node));
        self.reference.nodes.push((node, Vec::new()));
    }

    fn some_node(&mut self) -> Option<(usize, NodeId)> {
        if self.reference.nodes.is_empty() {
            return None;
        }
        let index = self.random.below(self.reference.nodes.len());
        let id = self.snapshot.node_id(&self.reference.nodes[index].0.name)?;
        Some((index, id))
    }

    /// One random change.
    fn change(&mut self) {
        let kind = self.random.below(13);
        let Some((index, id)) = self.some_node() else {
            return self.add_node();
        };
        match kind {
            0 => self.add_node(),
            1 => {
                self.snapshot.remove_node(id);
                self.reference.nodes.remove(index);
            }
            2 => {
                let mut node = Node::clone(&self.new_node());
                node.name = self.reference.nodes[index].0.name.clone();
                let node = Arc::new(node);
                self.snapshot.replace_node(id, Arc::clone(&node));
                self.reference.nodes[index].0 = node;
            }
            3 | 4 => {
                let pods = &mut self.reference.nodes[index].1;
                if !pods.is_empty() {
                    let pod = pods.remove(self.random.below(pods.len()));
                    assert!(self.snapshot.remove_pod(&pod, id));
                    assert!(!self.snapshot.remove_pod(&pod, id));
                }
            }
            5 => {
                self.snapshot.fork();
                self.forks.push(self.reference.clone());
            }
            6 => {
                self.snapshot.commit();
                self.forks.pop();
            }
            7 => {
                self.snapshot.revert();
                if let Some(before) = self.forks.pop() {
                    self.reference = before;
                }
            }
            8 => self.fill(index, id),
            _ => {
                let pod = self.new_pod();
                self.snapshot.add_pod(&pod, id);
                self.reference.nodes[index].1.push(pod);
            }
        }
    }

    /// Fills a node with pods of one shape: as many as fit one after the other.
    fn fill(&mut self, index: usize, id: NodeId) {
        let first = self.new_pod();
        let pods: Vec<Arc<Pod>> = (0..self.random.below(6))
            .map(|number| {
                let mut pod = Pod::clone(&first);
                pod.name = format!("{}-{number}", first.name).into();
                pod.uid = pod.name.clone();
                if self.random.one_in(5) {
                    let more = windlass_model::Resources {
                        milli_cpu: 700,
                        ..windlass_model::Resources::default()
                    };
                    pod.resized_requests = Some(Box::new(more));
                }
                Arc::new(pod)
            })
            .collect();
        let name = self.reference.nodes[index].0.name.clone();
        let mut expected = 0;
        for pod in &pods {
            if !self.reference.fits(pod, &name) {
                break;
            }
            self.reference.pods_on(&name).push(Arc::clone(pod));
            expected += 1;
        }
        let pods: Vec<&Arc<Pod>> = pods.iter().collect();
        assert_eq!(self.snapshot.fill(&pods, id), expected);
    }

    /// Compares the answers to a question, and puts the pod where it fits.
    fn ask(&mut self) {
        let pod = self.new_pod();
        let mut fitting = Vec::new();
        for (node, _) in &self.reference.nodes {
            let expected = self.reference.fits(&pod, &node.name);
            let id = self.snapshot.node_id(&node.name).unwrap();
            let verdict = self.snapshot.check(&pod, id);
            assert_eq!(
                verdict.is_ok(),
                expected,
                "{pod:?} on {node:?}: {verdict:?}"
            );
            assert_eq!(self.snapshot.fits(&pod, id), expected);
            let first = self.snapshot.explain(&pod, id).into_iter().next();
            assert_eq!(first, verdict.err());
            if expected && !node.unschedulable {
                fitting.push(id);
            }
        }
        let found = self.snapshot.first_fit(&pod, |_| true);
        assert_eq!(found.is_some(), !fitting.is_empty());
        if let Some(id) = found {
            assert!(fitting.contains(&id));
            let name = self.snapshot.node(id).name.clone();
            self.snapshot.add_pod(&pod, id);
            self.reference.pods_on(&name).push(pod);
        }
    }

    fn check_contents(&self) {
        let nodes = &self.reference.nodes;
        let names: Vec<_> = nodes.iter().map(|(node, _)| node.name.clone()).collect();
        let ids: Vec<_> = self.snapshot.node_ids().collect();
        let held: Vec<_> = ids
            .iter()
            .map(|id| self.snapshot.node(*id).name.clone())
            .collect();
        assert_eq!(held, names);
        assert_eq!(self.snapshot.node_count(), names.len());
        let mut pods = nodes.iter().flat_map(|(_, pods)| pods);
        assert_eq!(
            self.snapshot.has_anti_affinity(),
            pods.any(|pod| !pod.shape.constraints.anti_affinity.is_empty())
        );
        for (id, (node, pods)) in ids.into_iter().zip(nodes) {
            assert_eq!(self.snapshot.node(id), node);
            assert!(self.snapshot.pods_on(id).eq(pods.iter()));
            let terminating = pods.iter().filter(|pod| pod.deletion_timestamp.is_some());
            assert_eq!(self.snapshot.terminating_on(id), terminating.count());
            let mut requested = windlass_model::Resources::default();
            for pod in pods {
                requested.add(pod.requests_on_node());
            }
            requested.scalars.retain(|(_, amount)| *amount != 0);
            assert_eq!(self.snapshot.requested(id), requested);
        }
    }
}

#[test]
fn answers_are_the_reference_whatever_was_done_before() {
    for seed in 0..SEEDS {
        let mut pair = Pair::new(seed);
        for _ in 0..STEPS {
            for _ in 0..pair.random.below(4) {
                pair.change();
            }
            pair.ask();
            pair.check_contents();
        }
    }
}

#[test]
fn the_order_of_insertion_changes_no_answer() {
    for seed in 0..SEEDS {
        let mut pair = Pair::new(seed);
        for _ in 0..30 {
            pair.ask();
        }
        let cluster = Cluster {
            namespaces: pair.reference.namespaces.clone(),
            ..Cluster::default()
        };
        let mut other = Snapshot::new(&cluster, &Profile::default());
        for (node, pods) in pair.reference.nodes.iter().rev() {
            let id = other.add_node(Arc::clone(node));
            for pod in pods.iter().rev() {
                other.add_pod(pod, id);
            }
        }
        for _ in 0..20 {
            let pod = pair.new_pod();
            for (node, _) in &pair.reference.nodes {
                let id = pair.snapshot.node_id(&node.name).unwrap();
                let other_id = other.node_id(&node.name).unwrap();
                assert_eq!(pair.snapshot.check(&pod, id), other.check(&pod, other_id));
            }
        }
    }
}

#[test]
fn a_search_starts_behind_the_last_match() {
    let mut pair = Pair::new(7);
    let ids: Vec<NodeId> = pair.snapshot.node_ids().collect();
    for (index, id) in ids.iter().enumerate() {
        let roomy = Node {
            name: format!("roomy{index}").into(),
            allocatable: [("pods", windlass_model::Quantity::from_units(9))]
                .into_iter()
                .collect(),
            ..Node::default()
        };
        pair.snapshot.replace_node(*id, Arc::new(roomy));
    }
    let pod = random::shared(Pod {
        shape: Arc::default(),
        deletion_timestamp: None,
        ..Pod::clone(&pair.new_pod())
    });
    let mut search = || pair.snapshot.first_fit(&pod, |_| true).unwrap();
    assert_eq!([search(), search(), search()], [ids[1], ids[2], ids[3]]);
    assert_eq!(search(), ids[0]);
    pair.snapshot.fork();
    pair.snapshot.remove_node(ids[1]);
    assert_eq!(pair.snapshot.first_fit(&pod, |_| true), Some(ids[2]));
    pair.snapshot.revert();
    assert_eq!(
        pair.snapshot.first_fit(&pod, |id| id == ids[0]),
        Some(ids[0])
    );
}

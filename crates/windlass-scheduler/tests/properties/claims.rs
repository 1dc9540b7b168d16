//! What pods claim, storage and devices: whatever was changed before and undone, a snapshot
//! answers as one does that is made anew of the same nodes and pods.

use std::sync::Arc;

use windlass_model::{
    AllocationMode, BindingMode, Claim, Cluster, Constraints, CsiNode, Device, DeviceClass,
    DeviceRequest, DeviceSubRequest, Labels, Node, NodeSelector, NodeSelectorTerm, ObjectName,
    PersistentVolume, PersistentVolumeClaim, Phase, Pod, PodScheduled, PodShape, Quantity,
    Requirement, RequirementOperator, ResourceClaim, ResourceSlice, SliceNodes, SmolStr,
    StorageClass, Volume, VolumeSource,
};
use windlass_scheduler::{NodeId, Profile, Rejection, Snapshot};

use crate::random::Random;

const SEEDS: u64 = 40;
const STEPS: usize = 60;
const NODES: usize = 5;
const PODS: usize = 14;
const ZONE: &str = "topology.kubernetes.io/zone";
const DRIVER: &str = "ebs.csi.aws.com";

/// Nodes in order, each with the names of its pods in order.
type Contents = Vec<(usize, Vec<usize>)>;

struct World {
    cluster: Cluster,
    nodes: Vec<Arc<Node>>,
    pods: Vec<Arc<Pod>>,
    random: Random,
    snapshot: Snapshot,
    contents: Contents,
    forks: Vec<Contents>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut cluster = Cluster::default();
        add_storage(&mut cluster, &mut random);
        add_devices(&mut cluster, &mut random);
        let nodes: Vec<_> = (0..NODES).map(|index| Arc::new(node(index))).collect();
        let pods = (0..PODS)
            .map(|index| Arc::new(pod(&mut random, index)))
            .collect();
        let mut snapshot = Snapshot::new(&cluster, &Profile::default());
        for node in &nodes {
            snapshot.add_node(Arc::clone(node));
        }
        Self {
            contents: (0..NODES).map(|index| (index, Vec::new())).collect(),
            forks: Vec::new(),
            cluster,
            nodes,
            pods,
            random,
            snapshot,
        }
    }

    fn id(&self, node: usize) -> NodeId {
        self.snapshot.node_id(&self.nodes[node].name).unwrap()
    }

    fn place_of(&self, pod: usize) -> Option<usize> {
        let mut contents = self.contents.iter();
        contents.position(|(_, pods)| pods.contains(&pod))
    }

    fn change(&mut self) {
        match self.random.below(12) {
            0 => {
                let absent: Vec<usize> = (0..NODES)
                    .filter(|node| self.contents.iter().all(|(known, _)| known != node))
                    .collect();
                if !absent.is_empty() {
                    let node = absent[self.random.below(absent.len())];
                    self.snapshot.add_node(Arc::clone(&self.nodes[node]));
                    self.contents.push((node, Vec::new()));
                }
            }
            1 if self.contents.len() > 1 => {
                let index = self.random.below(self.contents.len());
                let (node, _) = self.contents.remove(index);
                self.snapshot.remove_node(self.id(node));
            }
            2 => {
                self.snapshot.fork();
                self.forks.push(self.contents.clone());
            }
            3 => {
                self.snapshot.commit();
                self.forks.pop();
            }
            4 => {
                self.snapshot.revert();
                if let Some(before) = self.forks.pop() {
                    self.contents = before;
                }
            }
            _ => {
                let pod = self.random.below(PODS);
                self.move_pod(pod);
            }
        }
    }

    /// Takes the pod off its node, or puts it on one.
    fn move_pod(&mut self, index: usize) {
        let pod = Arc::clone(&self.pods[index]);
        if let Some(place) = self.place_of(index) {
            let id = self.id(self.contents[place].0);
            assert!(self.snapshot.remove_pod(&pod, id));
            self.contents[place].1.retain(|other| *other != index);
        } else if let Some(id) = self.snapshot.first_fit(&pod, |_| true) {
            self.snapshot.add_pod(&pod, id);
            let name = &self.snapshot.node(id).name;
            let nodes = &self.nodes;
            let is_it = |(node, _): &&mut (usize, Vec<usize>)| nodes[*node].name == *name;
            let place = self.contents.iter_mut().find(is_it).unwrap();
            place.1.push(index);
        }
    }

    /// Every pod's verdict on every node.
    fn verdicts(&self, snapshot: &mut Snapshot) -> Vec<Result<(), Rejection>> {
        let ids: Vec<NodeId> = snapshot.node_ids().collect();
        let mut verdicts = Vec::new();
        for (index, pod) in self.pods.iter().enumerate() {
            if self.place_of(index).is_some() {
                continue;
            }
            let mut fits_somewhere = false;
            for id in &ids {
                let verdict = snapshot.check(pod, *id);
                assert_eq!(snapshot.fits(pod, *id), verdict.is_ok());
                fits_somewhere |= verdict.is_ok();
                verdicts.push(verdict);
            }
            let found = snapshot.first_fit(pod, |_| true);
            assert_eq!(found.is_some(), fits_somewhere, "{pod:?}");
        }
        verdicts
    }

    fn made_anew(&self) -> Snapshot {
        let mut snapshot = Snapshot::new(&self.cluster, &Profile::default());
        for (node, pods) in &self.contents {
            let id = snapshot.add_node(Arc::clone(&self.nodes[*node]));
            for pod in pods {
                snapshot.add_pod(&self.pods[*pod], id);
            }
        }
        snapshot
    }
}

fn node(index: usize) -> Node {
    Node {
        name: format!("n{index}").into(),
        labels: zone(index),
        allocatable: [("pods", Quantity::from_units(6))].into_iter().collect(),
        ..Node::default()
    }
}

fn zone(index: usize) -> Labels {
    let zone = if index.is_multiple_of(2) { "a" } else { "b" };
    [(ZONE, zone)].into_iter().collect()
}

/// Nodes that take two volumes each, volumes in zones, claims to them and to ones to be made.
fn add_storage(cluster: &mut Cluster, random: &mut Random) {
    for index in 0..NODES {
        let name = SmolStr::from(format!("n{index}"));
        let csi_node = CsiNode {
            name: name.clone(),
            annotations: Labels::default(),
            drivers: vec![(DRIVER.into(), Some(2))],
        };
        cluster.csi_nodes.insert(name, Arc::new(csi_node));
    }
    let class = StorageClass {
        name: "late".into(),
        provisioner: DRIVER.into(),
        binding_mode: Some(BindingMode::WaitForFirstConsumer),
        allowed_topologies: vec![vec![(ZONE.into(), vec!["a".into()])]],
    };
    cluster
        .storage_classes
        .insert("late".into(), Arc::new(class));
    for index in 0..8 {
        let is_bound = !random.one_in(3);
        let name = ObjectName::new("default", format!("c{index}"));
        let volume_name = SmolStr::from(format!("v{index}"));
        let mode = if random.one_in(3) {
            "ReadWriteOncePod"
        } else {
            "ReadWriteOnce"
        };
        let mut claim = PersistentVolumeClaim {
            name: name.clone(),
            uid: format!("claim-{index}").into(),
            access_modes: vec![mode.into()],
            storage_class: Some("late".into()),
            request: Some(Quantity::from_units(1)),
            ..PersistentVolumeClaim::default()
        };
        if is_bound {
            claim.volume_name = volume_name.clone();
            let done = ("pv.kubernetes.io/bind-completed", "yes");
            claim.annotations = [done].into_iter().collect();
            let volume = PersistentVolume {
                name: volume_name.clone(),
                csi: Some((DRIVER.into(), format!("handle-{index}").into())),
                node_affinity: random
                    .one_in(2)
                    .then(|| in_zone(if random.one_in(2) { "a" } else { "b" })),
                ..PersistentVolume::default()
            };
            cluster.volumes.insert(volume_name, Arc::new(volume));
        }
        cluster.claims.insert(name, Arc::new(claim));
    }
}

fn in_zone(zone: &str) -> NodeSelector {
    let requirement = Requirement {
        key: ZONE.into(),
        operator: RequirementOperator::In,
        values: vec![zone.into()],
    };
    let term = NodeSelectorTerm {
        match_expressions: vec![requirement],
        match_fields: Vec::new(),
    };
    NodeSelector { terms: vec![term] }
}

/// Three like devices on each node and two for all, so that it is all the same who has which.
fn add_devices(cluster: &mut Cluster, random: &mut Random) {
    let pools = (0..NODES).map(|index| (format!("n{index}"), "gpu.example.com", 3));
    for (pool, driver, count) in pools.chain([("shared".to_owned(), "net.example.com", 2)]) {
        let nodes = if driver == "gpu.example.com" {
            SliceNodes::Node(pool.as_str().into())
        } else {
            SliceNodes::All
        };
        let devices = (0..count).map(|index| Device {
            name: format!("d{index}").into(),
            ..Device::default()
        });
        cluster.resource_slices.push(Arc::new(ResourceSlice {
            name: pool.as_str().into(),
            driver: driver.into(),
            pool: pool.as_str().into(),
            pool_generation: 1,
            pool_slice_count: 1,
            nodes,
            devices: devices.collect(),
            shared_counters: Vec::new(),
        }));
    }
    for (name, resource) in [("gpu", "example.com/gpu"), ("net", "")] {
        let class = DeviceClass {
            name: name.into(),
            selectors: vec![Some(
                format!("device.driver == '{name}.example.com'").into(),
            )],
            extended_resource_name: resource.into(),
            created_at: None,
        };
        cluster.device_classes.insert(name.into(), Arc::new(class));
    }
    for index in 0..8 {
        let name = ObjectName::new("default", format!("d{index}"));
        let class = if random.one_in(3) { "net" } else { "gpu" };
        let exactly = DeviceSubRequest {
            device_class: class.into(),
            allocation_mode: AllocationMode::ExactCount,
            count: if random.one_in(3) { 2 } else { 1 },
            ..DeviceSubRequest::default()
        };
        let claim = ResourceClaim {
            name: name.clone(),
            uid: format!("device-claim-{index}").into(),
            requests: vec![DeviceRequest {
                name: "r".into(),
                exactly: Some(exactly),
                first_available: Vec::new(),
            }],
            ..ResourceClaim::default()
        };
        cluster.resource_claims.insert(name, Arc::new(claim));
    }
}

/// A pod with a claim or two, some of them others' too.
fn pod(random: &mut Random, index: usize) -> Pod {
    let mut constraints = Constraints::default();
    let mut shape = PodShape {
        namespace: "default".into(),
        ..PodShape::default()
    };
    for number in 0..=random.below(2) {
        let chosen = random.below(8);
        match random.below(5) {
            0 | 1 => constraints.volumes.push(Volume {
                name: format!("volume{number}").into(),
                source: VolumeSource::Claim {
                    name: format!("c{chosen}").into(),
                    read_only: false,
                },
            }),
            2 => shape.requests.scalars = vec![("example.com/gpu".into(), 1)],
            // Each claim once: named twice it would need twice the devices, for a moment.
            _ if constraints.claims.is_empty() => constraints.claims.push(Claim::Named {
                name: format!("d{chosen}").into(),
                from_template: false,
            }),
            _ => {}
        }
    }
    shape.constraints = Arc::new(constraints);
    Pod {
        name: format!("p{index}").into(),
        uid: format!("u{index}").into(),
        shape: Arc::new(shape),
        resized_requests: None,
        created_at: None,
        deletion_timestamp: None,
        node_name: None,
        nominated_node_name: None,
        phase: Phase::Pending,
        scheduled: PodScheduled::Absent,
        is_ready: false,
    }
}

#[test]
fn a_changed_snapshot_is_like_one_made_anew() {
    for seed in 0..SEEDS {
        let mut world = World::new(seed);
        for step in 0..STEPS {
            world.change();
            let mut snapshot = world.snapshot.clone();
            let verdicts = world.verdicts(&mut snapshot);
            let expected = world.verdicts(&mut world.made_anew());
            assert_eq!(verdicts, expected, "seed {seed}, step {step}");
        }
    }
}

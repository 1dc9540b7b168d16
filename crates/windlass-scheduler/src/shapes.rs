use std::sync::Arc;

use rustc_hash::FxHashMap;
use smallvec::SmallVec;
use windlass_model::{PodShape, VolumeSource};

use crate::dimensions::Request;
use crate::volumes;

/// Pods that no check can tell apart, but by their names.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_field_names,
    reason = "it is the shape that the class stands for"
)]
pub(crate) struct Shape {
    pub(crate) shape: Arc<PodShape>,
    pub(crate) constraints: u32,
    pub(crate) namespace: u32,
    pub(crate) request: Request,
    pub(crate) traits: Traits,
    /// Where its pods are.
    pub(crate) placements: Placements,
    /// The same of pods that are being deleted.
    pub(crate) terminating: Placements,
    /// What its pods on nodes are counted in, as far as it has been looked at.
    pub(crate) counted: Vec<Counted>,
    pub(crate) companies_seen: u32,
    pub(crate) spreads_seen: u32,
    /// The repellers that its pods on nodes hold, once known.
    pub(crate) holds: Option<Vec<u32>>,
    /// The repellers that its pods to be placed match, as far as it has been looked at.
    pub(crate) repelled_by: Vec<u32>,
    pub(crate) repellers_seen: u32,
    /// What its pods to be placed ask of other pods, once known.
    pub(crate) incoming: Option<Box<Incoming>>,
}

/// How many pods of a shape are on which nodes.
///
/// One shape may have all pods of a cluster, so that a list of them must not be searched.
#[derive(Clone, Debug, Default)]
pub(crate) struct Placements {
    /// Slots in order, each with how many pods are there, which is never 0.
    few: SmallVec<[(u32, u32); 1]>,
    /// Instead, by slot, once pods are on a good part of all nodes.
    many: Vec<u32>,
    /// How many pods there are.
    total: u32,
}

/// Fewer slots than that are found quickly enough.
const MANY: usize = 32;

impl Placements {
    /// Adds `count` pods.
    pub(crate) fn add(&mut self, slot: u32, count: u32) {
        self.total += count;
        if !self.many.is_empty() {
            let index = slot as usize;
            if self.many.len() <= index {
                self.many.resize(index + 1, 0);
            }
            self.many[index] += count;
            return;
        }
        match self.few.binary_search_by_key(&slot, |(slot, _)| *slot) {
            Ok(index) => self.few[index].1 += count,
            Err(index) => {
                self.few.insert(index, (slot, count));
                self.spread_out();
            }
        }
    }

    /// Removes `count` pods, which have been added.
    pub(crate) fn remove(&mut self, slot: u32, count: u32) {
        self.total -= count;
        if !self.many.is_empty() {
            self.many[slot as usize] -= count;
            return;
        }
        if let Ok(index) = self.few.binary_search_by_key(&slot, |(slot, _)| *slot) {
            self.few[index].1 -= count;
            if self.few[index].1 == 0 {
                self.few.remove(index);
            }
        }
    }

    /// Goes over to a number for each slot when that takes no more than twice the room.
    fn spread_out(&mut self) {
        let slots = self.few.last().map_or(0, |(slot, _)| *slot as usize + 1);
        if self.few.len() < MANY || self.few.len() * 4 < slots {
            return;
        }
        self.many.resize(slots, 0);
        for (slot, count) in std::mem::take(&mut self.few) {
            self.many[slot as usize] = count;
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// Slots and how many pods are there.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        let many = (0_u32..).zip(self.many.iter().copied());
        let few = self.few.iter().copied();
        few.chain(many.filter(|(_, count)| *count > 0))
    }
}

/// Which of the costly checks pods of a shape need at all.
#[derive(Clone, Copy, Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, each of which switches one check"
)]
pub(crate) struct Traits {
    pub(crate) has_ports: bool,
    pub(crate) has_volumes: bool,
    /// The verdict on volumes depends on the pod's own name.
    pub(crate) has_ephemeral_volumes: bool,
    /// It has spread constraints (its own or defaults) or pod affinity of any kind.
    pub(crate) has_terms: bool,
    pub(crate) has_devices: bool,
    /// `PreFilter` may fail or name nodes.
    pub(crate) has_pre_filter: bool,
}

/// Something that pods on nodes are counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counted {
    Company(u32),
    /// A spread and one of its rules.
    Spread(u32, u32),
}

/// What a pod to be placed asks of other pods.
#[derive(Clone, Debug, Default)]
pub(crate) struct Incoming {
    /// The company that it wants, and whether it is of that company itself.
    pub(crate) affinity: Option<(u32, bool)>,
    /// The company that it shuns.
    pub(crate) anti_affinity: Vec<u32>,
    /// Its spread, and for each rule whether the pod itself counts.
    pub(crate) spread: Option<(u32, Vec<bool>)>,
    /// Why `PodTopologySpread`'s `PreFilter` fails.
    pub(crate) spread_failure: Option<String>,
    /// Why `InterPodAffinity`'s `PreFilter` fails.
    pub(crate) affinity_failure: Option<String>,
}

/// All shapes seen, found by address.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shapes {
    pub(crate) all: Vec<Shape>,
    by_address: FxHashMap<usize, u32>,
}

impl Shapes {
    pub(crate) fn find(&self, shape: &Arc<PodShape>) -> Option<u32> {
        self.by_address.get(&(Arc::as_ptr(shape) as usize)).copied()
    }

    /// Adds a shape; holding it keeps its address from being given to another value.
    pub(crate) fn insert(&mut self, shape: Shape) -> u32 {
        let id = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        self.by_address
            .insert(Arc::as_ptr(&shape.shape) as usize, id);
        self.all.push(shape);
        id
    }

    pub(crate) fn get(&self, id: u32) -> &Shape {
        &self.all[id as usize]
    }
}

impl Traits {
    /// The traits of a shape in a profile with or without default spread constraints.
    pub(crate) fn of(shape: &PodShape, has_default_spread: bool, requests_devices: bool) -> Self {
        let constraints = &shape.constraints;
        let has_volumes = constraints.volumes.iter().any(volumes::matters);
        let has_devices = !constraints.claims.is_empty() || requests_devices;
        let has_terms = !constraints.spread.is_empty()
            || has_default_spread
            || !constraints.affinity.is_empty()
            || !constraints.anti_affinity.is_empty()
            || !constraints.preferred_affinity.is_empty()
            || !constraints.preferred_anti_affinity.is_empty();
        let names_nodes = constraints.node_name.is_some() || constraints.node_affinity.is_some();
        Self {
            has_ports: !constraints.host_ports.is_empty(),
            has_volumes,
            has_ephemeral_volumes: constraints
                .volumes
                .iter()
                .any(|volume| volume.source == VolumeSource::Ephemeral),
            has_terms,
            has_devices,
            has_pre_filter: has_volumes || has_terms || has_devices || names_nodes,
        }
    }
}

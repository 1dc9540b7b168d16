use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rustc_hash::FxHashMap;
use windlass_model::{ObjectName, Pod, SmolStr};

/// A pod's place in the order of creation; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct PodId(u64);

/// The pods of the simulated API server, by order of creation, name and owner.
#[derive(Debug, Default)]
pub(super) struct Pods {
    by_id: BTreeMap<PodId, Arc<Pod>>,
    by_name: FxHashMap<ObjectName, PodId>,
    by_controller: FxHashMap<SmolStr, BTreeSet<PodId>>,
    next: u64,
}

impl Pods {
    /// Adds a pod; one of the same name goes.
    pub(super) fn add(&mut self, pod: Arc<Pod>) -> PodId {
        let id = PodId(self.next);
        self.next += 1;
        if let Some(old) = self.by_name.insert(pod.full_name(), id) {
            self.drop_entry(old);
        }
        if let Some(owner) = &pod.shape.controller {
            self.by_controller
                .entry(owner.uid.clone())
                .or_default()
                .insert(id);
        }
        self.by_id.insert(id, pod);
        id
    }

    pub(super) fn remove(&mut self, id: PodId) -> Option<Arc<Pod>> {
        let pod = self.drop_entry(id)?;
        self.by_name.remove(&pod.full_name());
        Some(pod)
    }

    fn drop_entry(&mut self, id: PodId) -> Option<Arc<Pod>> {
        let pod = self.by_id.remove(&id)?;
        if let Some(owner) = &pod.shape.controller
            && let Some(owned) = self.by_controller.get_mut(&owner.uid)
        {
            owned.remove(&id);
        }
        Some(pod)
    }

    pub(super) fn id(&self, name: &ObjectName) -> Option<PodId> {
        self.by_name.get(name).copied()
    }

    pub(super) fn get(&self, id: PodId) -> Option<&Arc<Pod>> {
        self.by_id.get(&id)
    }

    /// Changes a pod's own part; its name and shape stay.
    pub(super) fn update(&mut self, id: PodId, change: impl FnOnce(&mut Pod)) {
        if let Some(pod) = self.by_id.get_mut(&id) {
            change(Arc::make_mut(pod));
        }
    }

    /// All pods, the oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (PodId, &Arc<Pod>)> {
        self.by_id.iter().map(|(id, pod)| (*id, pod))
    }

    /// The pods that a controller has made and that have neither ended nor are being deleted.
    pub(super) fn live_of(&self, controller: &SmolStr) -> Vec<PodId> {
        let owned = self.by_controller.get(controller);
        owned
            .into_iter()
            .flat_map(|ids| ids.iter())
            .filter(|id| self.by_id.get(id).is_some_and(|pod| is_live(pod)))
            .copied()
            .collect()
    }

    /// All pods that a controller has made.
    pub(super) fn all_of(&self, controller: &SmolStr) -> Vec<PodId> {
        let owned = self.by_controller.get(controller);
        owned
            .into_iter()
            .flat_map(|ids| ids.iter())
            .copied()
            .collect()
    }
}

pub(super) fn is_live(pod: &Pod) -> bool {
    pod.deletion_timestamp.is_none() && !pod.phase.is_terminal()
}

/// Whether a pod waits for the scheduler.
pub(super) fn is_waiting(pod: &Pod) -> bool {
    pod.node_name.is_none() && is_live(pod) && pod.shape.constraints.scheduling_gates.is_empty()
}

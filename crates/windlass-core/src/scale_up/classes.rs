//! Pods that are alike. Source: `pkg/core/scaleup/equivalence`.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use windlass_model::{Pod, PodShape, SmolStr};

use super::zones::ZoneBound;
use crate::pending::{PendingPods, PodIndex};

/// Pods of one shape, of a controller or not: the scheduler cannot tell them apart.
pub(crate) struct PodClass {
    /// The first of them.
    pub(crate) exemplar: Arc<Pod>,
    /// All of them, in order.
    pub(crate) pods: Vec<PodIndex>,
    /// Groups on whose new node the exemplar fits, in the order in which they were tried.
    pub(crate) groups: Vec<usize>,
    /// Why it does not fit on a new node of a group, by group.
    pub(crate) rejections: BTreeMap<usize, Vec<SmolStr>>,
    /// Groups of several zones of which only some do, by group.
    pub(crate) bound: BTreeMap<usize, ZoneBound>,
    /// Whether some group helps.
    pub(crate) is_schedulable: bool,
}

impl PodClass {
    pub(crate) fn fits(&self, group: usize) -> bool {
        self.groups.binary_search(&group).is_ok()
    }

    /// Whether a new node of the group helps in certain of its zones alone.
    pub(super) fn needs_zone(&self, group: usize) -> bool {
        self.bound.get(&group).is_some_and(ZoneBound::is_hard)
    }

    /// Takes back that a group helps.
    pub(super) fn leave(&mut self, group: usize) {
        self.groups.retain(|other| *other != group);
    }

    /// Takes back that some groups help, for a reason.
    pub(crate) fn reject_all(&mut self, reason: &'static str) {
        for group in &self.groups {
            self.rejections
                .insert(*group, vec![SmolStr::new_static(reason)]);
        }
        self.is_schedulable = false;
    }
}

/// The classes of the pods at `wanting`, in the order of their first pods.
pub(in crate::scale_up) fn group(pending: &PendingPods, wanting: &[PodIndex]) -> Vec<PodClass> {
    let mut by_shape: FxHashMap<*const PodShape, usize> = FxHashMap::default();
    let mut classes: Vec<PodClass> = Vec::new();
    for index in wanting {
        let pod = pending.pod(*index);
        let class = *by_shape.entry(Arc::as_ptr(&pod.shape)).or_insert_with(|| {
            classes.push(PodClass {
                exemplar: Arc::clone(pod),
                pods: Vec::new(),
                groups: Vec::new(),
                rejections: BTreeMap::new(),
                bound: BTreeMap::new(),
                is_schedulable: false,
            });
            classes.len() - 1
        });
        classes[class].pods.push(*index);
    }
    classes
}

//! Looks for the first node that a pod fits on.

use std::sync::Arc;

use fixedbitset::FixedBitSet;
use windlass_model::Pod;

use super::checking::{Prepared, Verdict};
use super::{NodeId, Snapshot};
use crate::free_tree::Free;
use crate::plugin::Plugin;
use crate::relaxations::Since;

/// What is remembered of searches for pods of one shape.
#[derive(Clone, Debug, Default)]
pub(super) struct Memo {
    has_searched: bool,
    /// The slots of nodes that do not fit, until they are relaxed.
    hopeless: FixedBitSet,
    /// The moment up to which relaxations are taken in.
    as_of: u64,
    /// No node was left at that moment.
    is_exhausted: bool,
}

impl Snapshot {
    /// The first node, after the last one that this function found, on which `pod` fits and that
    /// `accept` takes. Cordoned nodes are passed over, whatever the pod tolerates.
    /// Source: the cluster-autoscaler's `SchedulePodOnAnyNodeMatching`.
    pub fn first_fit(
        &mut self,
        pod: &Arc<Pod>,
        mut accept: impl FnMut(NodeId) -> bool,
    ) -> Option<NodeId> {
        let prepared = self.pre_filter(pod).ok()?;
        let nodes = self.node_count();
        if nodes == 0 {
            return None;
        }
        let may_remember = self.catch_up(&prepared);
        if may_remember && self.memos[prepared.shape as usize].is_exhausted {
            return None;
        }
        let need = self.need(prepared.shape);
        let all = &self.nodes;
        self.free.refresh(all.len(), |slot| {
            all.get(slot as usize)?
                .as_ref()
                .map(super::node_state::NodeState::free)
        });
        let start = self.slot_of_index((self.cursor + 1) % nodes);
        let slots = self.nodes.len();
        let mut is_final = true;
        for (from, to) in [(start, slots), (0, start)] {
            let mut slot = from;
            while let Some(candidate) = self.candidate(prepared.shape, slot, &need, may_remember) {
                if candidate >= to {
                    break;
                }
                slot = candidate + 1;
                let id = NodeId(u32::try_from(candidate).unwrap_or(u32::MAX));
                match self.attempt(&prepared, id, &mut accept) {
                    Attempt::Fits => {
                        self.cursor = self.index_of_slot(candidate);
                        self.memos[prepared.shape as usize].has_searched = true;
                        return Some(id);
                    }
                    Attempt::Hopeless => self.remember(prepared.shape, candidate, may_remember),
                    Attempt::NotNow => is_final = false,
                }
            }
        }
        let memo = &mut self.memos[prepared.shape as usize];
        memo.has_searched = true;
        memo.is_exhausted = may_remember && is_final;
        None
    }

    /// The place in order of the node that [`Snapshot::first_fit`] found last; the next search
    /// begins behind it.
    pub fn last_found(&self) -> usize {
        self.cursor
    }

    /// Goes on as if the node at this place in order had been found.
    pub fn set_last_found(&mut self, place: usize) {
        self.cursor = place;
    }

    fn attempt(
        &mut self,
        prepared: &Prepared,
        id: NodeId,
        accept: &mut impl FnMut(NodeId) -> bool,
    ) -> Attempt {
        if self.cordoned.contains(id.0 as usize) || self.is_left_out(prepared, id.0) {
            return Attempt::Hopeless;
        }
        let mut verdict = self.verdict_on_others(prepared.shape, id.0);
        if verdict == Verdict::Fits {
            if !accept(id) {
                return Attempt::NotNow;
            }
            verdict = self.verdict_on_node(prepared, id.0);
        }
        match verdict {
            Verdict::Fits => Attempt::Fits,
            Verdict::Lasting => Attempt::Hopeless,
            Verdict::Passing => Attempt::NotNow,
        }
    }

    /// The first slot from `slot` on whose node has room and is not known to be hopeless.
    fn candidate(&self, shape: u32, slot: usize, need: &Free, may_remember: bool) -> Option<usize> {
        let mut slot = slot;
        loop {
            let with_room = self
                .free
                .next(slot, need)
                .filter(|s| *s < self.nodes.len())?;
            if !may_remember {
                return Some(with_room);
            }
            let hopeless = &self.memos[shape as usize].hopeless;
            if !hopeless.contains(with_room) {
                return Some(with_room);
            }
            slot = next_clear(hopeless, with_room + 1);
        }
    }

    /// What a node must have free to be worth a look.
    fn need(&self, shape: u32) -> Free {
        const NOTHING: i64 = i64::MIN;
        if !self.enabled(Plugin::NodeResourcesFit) {
            return [NOTHING; 4];
        }
        let core = self.shapes.get(shape).request.core;
        let need = |i: usize| if core[i] > 0 { core[i] } else { NOTHING };
        [need(0), need(1), need(2), 1]
    }

    /// Forgets what relaxations have made doubtful; whether pods of the shape can be remembered
    /// at all.
    fn catch_up(&mut self, prepared: &Prepared) -> bool {
        let shape = self.shapes.get(prepared.shape);
        if shape.traits.has_ephemeral_volumes || shape.traits.has_devices {
            // The verdict is on the pod, not on its shape.
            return false;
        }
        let memo = &mut self.memos[prepared.shape as usize];
        let now = self.relaxations.now();
        if memo.as_of == now {
            return true;
        }
        let depends_on_others =
            shape.incoming.is_some() || !shape.repelled_by.is_empty() || shape.traits.has_volumes;
        match self.relaxations.since(memo.as_of) {
            Since::Nodes(slots) if !depends_on_others => {
                for slot in slots.iter().map(|slot| *slot as usize) {
                    if slot < memo.hopeless.len() {
                        memo.hopeless.set(slot, false);
                    }
                }
            }
            _ => memo.hopeless.clear(),
        }
        memo.is_exhausted = false;
        memo.as_of = now;
        true
    }

    fn remember(&mut self, shape: u32, slot: usize, may_remember: bool) {
        let memo = &mut self.memos[shape as usize];
        // A shape that is asked about once is not worth a bit for each node.
        if may_remember && memo.has_searched {
            memo.hopeless.grow(self.nodes.len());
            memo.hopeless.insert(slot);
        }
    }

    /// The slot of the node at a place in order.
    fn slot_of_index(&self, index: usize) -> usize {
        // `vacant[k] - k` nodes come before the k-th vacant slot.
        let mut low = 0;
        let mut high = self.vacant.len();
        while low < high {
            let middle = usize::midpoint(low, high);
            if self.vacant[middle] as usize - middle <= index {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        index + low
    }

    fn index_of_slot(&self, slot: usize) -> usize {
        slot - self
            .vacant
            .partition_point(|vacant| (*vacant as usize) < slot)
    }
}

/// What came of trying one node.
enum Attempt {
    Fits,
    Hopeless,
    NotNow,
}

/// The first index from `from` on that is not set.
fn next_clear(bits: &FixedBitSet, from: usize) -> usize {
    const WIDTH: usize = usize::BITS as usize;
    let mut index = from;
    while let Some(word) = bits.as_slice().get(index / WIDTH) {
        let clear = !*word >> (index % WIDTH);
        if clear != 0 {
            return index + clear.trailing_zeros() as usize;
        }
        index = (index / WIDTH + 1) * WIDTH;
    }
    index
}

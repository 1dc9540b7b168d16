//! First fit by arithmetic, for pods that ask for nothing but resources: where such a pod fits on
//! one new node it fits on any of them that has room.

use std::collections::BTreeSet;

use windlass_model::{NodeTemplate, PodShape, Resources, SmolStr, VolumeSource};

use super::{NodeLimit, Packed};
use crate::{TimeLimit, decide::Loop, scale_up::classes::PodClass, template};

/// Whether resources are all that decides about these pods once they fit on one new node.
pub(super) fn can_pack(context: &Loop<'_>, classes: &[&PodClass]) -> bool {
    let has_default_filters = context.config.scheduler.config_file.is_none();
    let maps_no_devices = context
        .cluster
        .device_classes
        .values()
        .all(|class| class.extended_resource_name.is_empty());
    has_default_filters
        && maps_no_devices
        && classes
            .iter()
            .all(|class| asks_for_resources_alone(&class.exemplar.shape))
}

fn asks_for_resources_alone(shape: &PodShape) -> bool {
    let constraints = &shape.constraints;
    let is_indifferent = constraints.host_ports.is_empty()
        && constraints.spread.is_empty()
        && constraints.affinity.is_empty()
        && constraints.anti_affinity.is_empty()
        && constraints.claims.is_empty();
    is_indifferent
        && constraints.volumes.iter().all(|volume| {
            matches!(
                volume.source,
                VolumeSource::EmptyDir { .. } | VolumeSource::HostPath
            )
        })
}

/// Packs the classes, in order, onto new nodes.
pub(super) fn pack(
    context: &mut Loop<'_>,
    template: &NodeTemplate,
    limit: NodeLimit,
    classes: &[&PodClass],
) -> Packed {
    let dimensions = Dimensions::of(classes);
    let fresh = free_on_new_node(context, template, &dimensions);
    let mut bins = Bins {
        before: context.snapshot.node_count(),
        found: context.snapshot.last_found(),
        ..Bins::new(fresh)
    };
    let mut packed = Packed::default();
    let mut may_add_nodes = true;
    for class in classes {
        let request = dimensions.request(&class.exemplar.shape.requests);
        let wanted = class.pods.len();
        // The Go autoscaler passes over cordoned nodes, but for the one being filled.
        let mut placed = if template.node.unschedulable {
            0
        } else {
            bins.share_out(&request, wanted)
        };
        if may_add_nodes {
            placed += bins.fill_last(&request, wanted - placed);
        }
        while may_add_nodes && placed < wanted && bins.is_last_used() {
            let is_spent = context.budget.is_spent(TimeLimit::NodeGroupBinpacking);
            may_add_nodes = !is_spent && limit.allows(bins.len());
            if may_add_nodes {
                bins.add();
                placed += bins.fill_last(&request, wanted - placed);
            }
        }
        packed.add(class, &class.pods[..placed]);
    }
    packed.nodes = bins.used();
    context.snapshot.set_last_found(bins.found);
    packed
}

/// What a new node offers when the template's own pods run on it.
fn free_on_new_node(
    context: &mut Loop<'_>,
    template: &NodeTemplate,
    dimensions: &Dimensions,
) -> Vec<i64> {
    context.snapshot.fork();
    let node = template::add_template(&mut context.snapshot, template);
    let mut free = context.snapshot.allocatable(node);
    let mut taken = context.snapshot.requested(node);
    taken.pods = i64::try_from(context.snapshot.pods_on(node).len()).unwrap_or(i64::MAX);
    context.snapshot.revert();
    free.subtract(&taken);
    dimensions.amounts(&free)
}

/// The amounts that some class asks for, by place: cpu, memory, ephemeral storage, pods, and
/// the scalars asked for.
struct Dimensions {
    scalars: Vec<SmolStr>,
}

impl Dimensions {
    fn of(classes: &[&PodClass]) -> Self {
        let scalars: BTreeSet<&SmolStr> = classes
            .iter()
            .flat_map(|class| &class.exemplar.shape.requests.scalars)
            .map(|(name, _)| name)
            .collect();
        Self {
            scalars: scalars.into_iter().cloned().collect(),
        }
    }

    fn amounts(&self, resources: &Resources) -> Vec<i64> {
        let core = [
            resources.milli_cpu,
            resources.memory_bytes,
            resources.ephemeral_storage_bytes,
            resources.pods,
        ];
        let scalars = self
            .scalars
            .iter()
            .map(|name| resources.scalar(name).unwrap_or(0));
        core.into_iter().chain(scalars).collect()
    }

    /// What one pod takes: of pods, one.
    fn request(&self, requests: &Resources) -> Vec<i64> {
        let mut amounts = self.amounts(requests);
        amounts[PODS] = 1;
        amounts
    }
}

const PODS: usize = 3;

/// New nodes, by what each has left.
struct Bins {
    fresh: Vec<i64>,
    /// One bin after the other, each as long as `fresh`.
    left: Vec<i64>,
    is_used: Vec<bool>,
    /// How many nodes of the snapshot come before them in order.
    before: usize,
    /// The place in order of the node that a search found last: the next one begins behind it.
    found: usize,
}

impl Bins {
    /// None yet, behind a single other node that was found last.
    fn new(fresh: Vec<i64>) -> Self {
        Self {
            fresh,
            left: Vec::new(),
            is_used: Vec::new(),
            before: 1,
            found: 0,
        }
    }

    fn len(&self) -> usize {
        self.is_used.len()
    }

    fn used(&self) -> usize {
        self.is_used.iter().filter(|is_used| **is_used).count()
    }

    /// Whether a further node could take what the last one could not.
    fn is_last_used(&self) -> bool {
        self.is_used.last().copied().unwrap_or(true)
    }

    fn add(&mut self) {
        self.left.extend_from_slice(&self.fresh);
        self.is_used.push(false);
    }

    /// Places pods one by one, each on the next node with room; how many found one.
    fn share_out(&mut self, request: &[i64], pods: usize) -> usize {
        let count = self.len();
        let next = (self.found + 1) % (self.before + count).max(1);
        let start = next.saturating_sub(self.before);
        let mut open: Vec<usize> = (start..count)
            .chain(0..start)
            .filter(|bin| self.room(*bin, request) > 0)
            .collect();
        let mut placed = 0;
        while placed < pods && !open.is_empty() {
            open.retain(|bin| {
                if placed == pods {
                    return true;
                }
                self.take(*bin, request, 1);
                self.found = self.before + bin;
                placed += 1;
                self.room(*bin, request) > 0
            });
        }
        placed
    }

    /// Places as many as the last node takes; how many that are.
    fn fill_last(&mut self, request: &[i64], pods: usize) -> usize {
        let Some(last) = self.len().checked_sub(1) else {
            return 0;
        };
        let count = self.room(last, request).min(pods);
        if count > 0 {
            self.take(last, request, count);
        }
        count
    }

    /// How many pods with this request a node takes. An amount that is not asked for does not
    /// matter, however short it is.
    fn room(&self, bin: usize, request: &[i64]) -> usize {
        let left = &self.left[bin * request.len()..][..request.len()];
        let rooms = left
            .iter()
            .zip(request)
            .filter(|(_, wanted)| **wanted > 0)
            .map(|(left, wanted)| left / wanted);
        usize::try_from(rooms.min().unwrap_or(0).max(0)).unwrap_or(usize::MAX)
    }

    fn take(&mut self, bin: usize, request: &[i64], pods: usize) {
        let pods = i64::try_from(pods).unwrap_or(i64::MAX);
        let left = &mut self.left[bin * request.len()..][..request.len()];
        for (left, wanted) in left.iter_mut().zip(request) {
            *left = left.saturating_sub(wanted.saturating_mul(pods));
        }
        self.is_used[bin] = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_pods_fill_node_after_node() {
        let mut bins = Bins::new(vec![10, 0, 0, 4]);
        bins.add();
        assert_eq!(bins.fill_last(&[3, 0, 0, 1], 9), 3);
        bins.add();
        assert_eq!(bins.fill_last(&[1, 0, 0, 1], 9), 4);
        assert_eq!(bins.used(), 2);
    }

    #[test]
    fn strays_go_round_the_nodes_with_room() {
        let mut bins = Bins::new(vec![2, 0, 0, 9]);
        for _ in 0..3 {
            bins.add();
        }
        assert_eq!(bins.share_out(&[1, 0, 0, 1], 4), 4);
        assert_eq!(
            bins.left.chunks(4).map(|bin| bin[0]).collect::<Vec<_>>(),
            [0, 1, 1]
        );
        assert_eq!(bins.share_out(&[1, 0, 0, 1], 9), 2);
        assert_eq!(bins.share_out(&[2, 0, 0, 1], 1), 0);
    }

    #[test]
    fn what_is_not_asked_for_may_be_short() {
        let mut bins = Bins::new(vec![-5, 10, 0, 1]);
        bins.add();
        assert_eq!(bins.fill_last(&[0, 10, 0, 1], 1), 1);
    }
}

//! First fit by arithmetic, for pods that ask for nothing but resources: where such a pod fits on
//! one new node it fits on any of them that has room.

use std::collections::BTreeSet;

use windlass_model::{NodeTemplate, PodShape, Resources, SmolStr, VolumeSource};

use super::{
    NodeLimit, Packed,
    new_nodes::{NewNodes, Request},
};
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
        nodes: NewNodes::new(fresh),
        before: context.snapshot.node_count(),
        found: context.snapshot.last_found(),
    };
    let mut packed = Packed::default();
    let mut may_add_nodes = true;
    for class in classes {
        let amounts = dimensions.request(&class.exemplar.shape.requests);
        let request = bins.nodes.request(amounts);
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
        while may_add_nodes && placed < wanted && bins.nodes.is_last_used() {
            let is_spent = context.budget.is_spent(TimeLimit::NodeGroupBinpacking);
            may_add_nodes = !is_spent && limit.allows(bins.nodes.len());
            if may_add_nodes {
                bins.nodes.add();
                placed += bins.fill_last(&request, wanted - placed);
            }
        }
        packed.add(class, &class.pods[..placed]);
    }
    packed.nodes = bins.nodes.used();
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
        // A search adds one of its own.
        let mut amounts = Vec::with_capacity(core.len() + self.scalars.len() + 1);
        amounts.extend(core.into_iter().chain(scalars));
        amounts
    }

    /// What one pod takes: of pods, one.
    fn request(&self, requests: &Resources) -> Vec<i64> {
        let mut amounts = self.amounts(requests);
        amounts[PODS] = 1;
        amounts
    }
}

const PODS: usize = 3;

/// New nodes, behind those that there are.
struct Bins {
    nodes: NewNodes,
    /// How many nodes of the snapshot come before them in order.
    before: usize,
    /// The place in order of the node that a search found last: the next one begins behind it.
    found: usize,
}

impl Bins {
    /// Places pods one by one, each on the next node with room; how many found one.
    fn share_out(&mut self, request: &Request, pods: usize) -> usize {
        for placed in 0..pods {
            let next = (self.found + 1) % (self.before + self.nodes.len()).max(1);
            let start = next.saturating_sub(self.before);
            let Some(node) = self.nodes.next_with_room(start, request) else {
                return placed;
            };
            self.nodes.take(node, request, 1);
            self.found = self.before + node;
        }
        pods
    }

    /// Places as many as the last node takes; how many that are.
    fn fill_last(&mut self, request: &Request, pods: usize) -> usize {
        let Some(last) = self.nodes.len().checked_sub(1) else {
            return 0;
        };
        let count = self.nodes.room(last, request).min(pods);
        if count > 0 {
            self.nodes.take(last, request, count);
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// New nodes that have this, behind a single other one that was found last.
    fn bins(fresh: [i64; 4]) -> Bins {
        Bins {
            nodes: NewNodes::new(fresh.to_vec()),
            before: 1,
            found: 0,
        }
    }

    #[test]
    fn equal_pods_fill_node_after_node() {
        let mut bins = bins([10, 0, 0, 4]);
        bins.nodes.add();
        let three = bins.nodes.request(vec![3, 0, 0, 1]);
        assert_eq!(bins.fill_last(&three, 9), 3);
        bins.nodes.add();
        let one = bins.nodes.request(vec![1, 0, 0, 1]);
        assert_eq!(bins.fill_last(&one, 9), 4);
        assert_eq!(bins.nodes.used(), 2);
    }

    #[test]
    fn strays_go_round_the_nodes_with_room() {
        let mut bins = bins([2, 0, 0, 9]);
        for _ in 0..3 {
            bins.nodes.add();
        }
        let one = bins.nodes.request(vec![1, 0, 0, 1]);
        assert_eq!(bins.share_out(&one, 4), 4);
        let rooms: Vec<usize> = (0..3).map(|node| bins.nodes.room(node, &one)).collect();
        assert_eq!(rooms, [0, 1, 1]);
        assert_eq!(bins.share_out(&one, 9), 2);
        let two = bins.nodes.request(vec![2, 0, 0, 1]);
        assert_eq!(bins.share_out(&two, 1), 0);
    }
}

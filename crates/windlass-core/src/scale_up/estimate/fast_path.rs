//! `--fastpath-binpacking-enabled`: one class of pods fills a single new node, and how many more
//! it needs is a division. Source: `pkg/estimator/binpacking_estimator.go`.

use windlass_model::NodeTemplate;

use crate::scale_up::classes::PodClass;

const HOSTNAME: &str = "kubernetes.io/hostname";

/// Puts the class that a division spares most simulations last, where it disturbs no other;
/// whether there is one that may be counted so. Of equal ones it is the later, so that the order
/// changes least.
///
/// The Go autoscaler looks at the requests of a pod's first container alone; here it is the
/// whole pod's.
pub(super) fn put_best_last(classes: &mut Vec<&PodClass>, template: &NodeTemplate) -> bool {
    let best = classes
        .iter()
        .enumerate()
        .filter(|(_, class)| may_divide(class))
        .max_by_key(|(place, class)| (spared_simulations(class, template), *place))
        .map(|(place, _)| place);
    let Some(best) = best else {
        return false;
    };
    let class = classes.remove(best);
    classes.push(class);
    true
}

/// Once such a pod has not fitted a node no other of its class will, and every new node takes as
/// many as the first.
fn may_divide(class: &PodClass) -> bool {
    let constraints = &class.exemplar.shape.constraints;
    let anti_affinity = &constraints.anti_affinity;
    constraints.spread.is_empty()
        && anti_affinity
            .iter()
            .all(|term| term.topology_key == HOSTNAME)
}

/// The pods that do not share a node with the first one, by a guess at how many nodes there are.
fn spared_simulations(class: &PodClass, template: &NodeTemplate) -> usize {
    let pods = class.pods.len();
    let shape = &class.exemplar.shape;
    let repels_its_like = shape.constraints.anti_affinity.iter().any(|term| {
        let selector = term.selector.as_ref();
        term.topology_key == HOSTNAME && selector.is_some_and(|own| own.matches(&shape.labels))
    });
    let capacity = |name: &str| template.node.capacity.get(name).unwrap_or_default();
    let by_cpu = nodes_for(
        pods,
        shape.requests.milli_cpu,
        capacity("cpu").millis_ceil(),
    );
    let by_memory = nodes_for(
        pods,
        shape.requests.memory_bytes,
        capacity("memory").units_ceil(),
    );
    let by_affinity = if repels_its_like { pods } else { 0 };
    let nodes = by_cpu.max(by_memory).max(by_affinity);
    pods - pods.checked_div(nodes).unwrap_or(pods)
}

fn nodes_for(pods: usize, request: i64, capacity: i64) -> usize {
    if request <= 0 || capacity <= 0 {
        return 0;
    }
    let all = i128::try_from(pods)
        .unwrap_or(i128::MAX)
        .saturating_mul(request.into());
    usize::try_from((all + i128::from(capacity) - 1) / i128::from(capacity)).unwrap_or(usize::MAX)
}

//! `price`: the options that are cheapest for what they help, with a leaning to nodes of a size
//! that suits the cluster. Source: `pkg/expander/price`.

use windlass_model::{Node, Resources};

use super::{ExpansionOption, least_of};
use crate::{decide::Loop, gpu};

/// US dollars for a core requested for an hour.
const PER_CORE: f64 = 0.033_174;
/// US dollars for a GiB requested for an hour.
const PER_GIB: f64 = 0.004_446;
const GIB: f64 = (1_u64 << 30) as f64;
const MIB: i64 = 1 << 20;

/// How unfit a GPU node counts for pods at large.
const GPU_UNFITNESS: f64 = 1000.0;

/// Clusters up to so many nodes prefer nodes of so many cores and MiB.
const PREFERRED: [(usize, i64, i64); 6] = [
    (2, 1, 3_750),
    (6, 2, 7_500),
    (20, 4, 15_000),
    (60, 8, 30_000),
    (200, 16, 60_000),
    (usize::MAX, 32, 120_000),
];

pub(super) fn best(
    context: &Loop<'_>,
    options: &[ExpansionOption],
    places: &[usize],
) -> Vec<usize> {
    let preferred_cores = PREFERRED
        .iter()
        .find(|(nodes, _, _)| context.nodes.len() <= *nodes)
        .map_or(32, |(_, cores, _)| *cores);
    least_of(places, |place| {
        score(context, &options[place], preferred_cores)
    })
}

/// The lower the better; `None` where the node has no price.
fn score(context: &Loop<'_>, option: &ExpansionOption, preferred_cores: i64) -> Option<f64> {
    let template = context.templates[option.group].as_ref()?;
    let price = context.cluster.groups[option.group].price_per_hour?;
    let nodes = price.as_dollars() * option.nodes as f64;
    let pods = pod_price(&Resources {
        milli_cpu: option.milli_cpu,
        memory_bytes: option.memory_bytes,
        ..Resources::default()
    });
    let stabilisation = pod_price(&Resources {
        milli_cpu: 500,
        memory_bytes: 500 * MIB,
        ..Resources::default()
    });
    let ratio = (nodes + stabilisation) / (pods + stabilisation);
    let unfitness = if has_gpu(&template.node) {
        GPU_UNFITNESS
    } else {
        let damping = 1.0 - ((option.nodes as f64 - 1.0) / 15.0).tanh();
        (unfitness(&template.node, preferred_cores) - 1.0) * damping + 1.0
    };
    Some(unfitness * ratio)
}

fn pod_price(requests: &Resources) -> f64 {
    requests.milli_cpu as f64 / 1000.0 * PER_CORE + requests.memory_bytes as f64 / GIB * PER_GIB
}

fn unfitness(node: &Node, preferred_cores: i64) -> f64 {
    let cores = node
        .capacity
        .get("cpu")
        .map_or(0.0, |cpu| cpu.millis_ceil() as f64 / 1000.0);
    let preferred = preferred_cores as f64;
    (preferred / cores).max(cores / preferred)
}

fn has_gpu(node: &Node) -> bool {
    node.labels.contains_key(gpu::GPU_LABEL) || gpu::allocatable_gpus(node).is_some()
}

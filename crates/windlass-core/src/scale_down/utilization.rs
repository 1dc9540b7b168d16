//! How much of a node is requested. Source: `pkg/simulator/utilization/info.go`.

use std::sync::Arc;

use windlass_model::{Node, Pod, Resources, SmolStr, Timestamp};

use windlass_scheduler::{NodeId, Snapshot};

use super::devices::{Devices, DevicesError};
use crate::{drain::rules::is_long_terminating, gpu};

/// The share of a node's resources that its pods request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Utilization {
    pub(crate) cpu: f64,
    pub(crate) memory: f64,
    pub(crate) gpu: f64,
    pub(crate) devices: f64,
    /// The resource that decided.
    pub(crate) resource: SmolStr,
    /// Its share.
    pub(crate) value: f64,
}

/// Why the share cannot be told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UtilizationError {
    #[error("the node has no allocatable {resource}")]
    NothingAllocatable { resource: &'static str },
    #[error(transparent)]
    Devices(#[from] DevicesError),
}

/// Which pods do not count: their requests are taken from what the node has instead.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ignored {
    pub(crate) daemonset_pods: bool,
    pub(crate) mirror_pods: bool,
}

/// Whether the GPUs alone decide about a node: it is marked as a GPU node, or has some.
pub(crate) fn is_gpu_node(node: &Node) -> bool {
    node.labels.contains_key(gpu::GPU_LABEL) || gpu::allocatable_gpus(node).is_some()
}

/// The share of `node` that the pods on it request; `id` is its place in the snapshot, if it has
/// one.
pub(crate) fn of_node(
    node: &Node,
    id: Option<NodeId>,
    ignored: Ignored,
    devices: (&Devices<'_>, &Snapshot),
    now: Timestamp,
) -> Result<Utilization, UtilizationError> {
    let mut utilization = Utilization {
        cpu: 0.0,
        memory: 0.0,
        gpu: 0.0,
        devices: 0.0,
        resource: SmolStr::default(),
        value: 0.0,
    };
    let (devices, snapshot) = devices;
    let pods = || id.into_iter().flat_map(|id| snapshot.pods_on(id));
    if is_gpu_node(node) {
        if let Some((resource, allocatable)) = gpu::allocatable_gpus(node) {
            let amount = |requests: &Resources| [requests.scalar(resource).unwrap_or(0)];
            let [gpus] = Requested::by(pods(), ignored, now, amount);
            utilization.gpu = gpus.share_of(allocatable);
            utilization.resource = SmolStr::new_static(resource);
        }
        utilization.value = utilization.gpu;
        return Ok(utilization);
    }
    if let Some((pool, share)) = devices.utilization(snapshot, node, pods())? {
        utilization.devices = share;
        utilization.resource = pool;
        utilization.value = share;
        return Ok(utilization);
    }
    let allocatable = |resource: &'static str, amount: i64| match amount {
        0 => Err(UtilizationError::NothingAllocatable { resource }),
        amount => Ok(amount),
    };
    let has = Resources::from_list(&node.allocatable);
    let has_cpu = allocatable("cpu", has.milli_cpu)?;
    let has_memory = allocatable("memory", has.memory_bytes)?;
    let cpu_and_memory = |requests: &Resources| [requests.milli_cpu, requests.memory_bytes];
    let all_count = !ignored.daemonset_pods && !ignored.mirror_pods;
    let [cpu, memory] = match id {
        // The snapshot has the sum where every pod counts.
        Some(id) if all_count && snapshot.terminating_on(id) == 0 => {
            cpu_and_memory(&snapshot.requested(id)).map(Requested::of)
        }
        _ => Requested::by(pods(), ignored, now, cpu_and_memory),
    };
    utilization.cpu = cpu.share_of(has_cpu);
    utilization.memory = memory.share_of(has_memory);
    (utilization.resource, utilization.value) = if utilization.cpu > utilization.memory {
        (SmolStr::new_static("cpu"), utilization.cpu)
    } else {
        (SmolStr::new_static("memory"), utilization.memory)
    };
    Ok(utilization)
}

/// The requests for one resource.
#[derive(Clone, Copy, Default)]
struct Requested {
    counted: i64,
    /// Of pods that do not count.
    ignored: i64,
}

impl Requested {
    fn of(counted: i64) -> Self {
        Self {
            counted,
            ignored: 0,
        }
    }

    /// The requests for some resources, whose amounts `amounts` tells.
    fn by<'p, const N: usize>(
        pods: impl Iterator<Item = &'p Arc<Pod>>,
        ignored: Ignored,
        now: Timestamp,
        amounts: impl Fn(&Resources) -> [i64; N],
    ) -> [Self; N] {
        let mut requested = [Self::default(); N];
        for pod in pods {
            let is_ignored = ignored.daemonset_pods && pod.shape.is_daemonset_pod()
                || ignored.mirror_pods && pod.shape.safety.is_mirror;
            if !is_ignored && is_long_terminating(pod, now) {
                continue;
            }
            for (requested, amount) in requested.iter_mut().zip(amounts(pod.requests_on_node())) {
                let sum = if is_ignored {
                    &mut requested.ignored
                } else {
                    &mut requested.counted
                };
                *sum = sum.saturating_add(amount);
            }
        }
        requested
    }

    /// Not a number where nothing is asked of nothing, infinite where something is.
    fn share_of(&self, allocatable: i64) -> f64 {
        self.counted as f64 / allocatable.saturating_sub(self.ignored) as f64
    }
}

/// As the Go autoscaler prints it in an event.
impl std::fmt::Display for Utilization {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            cpu,
            memory,
            gpu,
            devices,
            resource,
            value,
        } = self;
        write!(f, "{{{cpu} {memory} {gpu} {devices} {resource} {value}}}")
    }
}

use windlass_config::Config;
use windlass_model::{Duration, Pod, Timestamp, parse_go_duration};

use super::{PendingPods, PodIndex};
use crate::{decide::Loop, gpu, instant::after};

/// The Go autoscaler takes pods this young for the beginning of a burst.
const YOUNG: Duration = Duration::from_secs(2);
/// The same of pods that ask for GPUs.
const YOUNG_GPU: Duration = Duration::from_secs(30);

/// Until when the pod waits, that instant included: the delay of the flag, or of its own
/// annotation where that is not shorter, from its creation. `None` for a pod that says nothing
/// of its age.
pub(super) fn due(pod: &Pod, config: &Config) -> Option<Timestamp> {
    let flag = config.scale_up.new_pod_scale_up_delay;
    let delay = pod
        .shape
        .scale_up_delay
        .as_ref()
        .and_then(|text| parse_go_duration(text).ok())
        .filter(|delay| *delay >= flag)
        .unwrap_or(flag);
    Some(after(pod.created_at?, delay))
}

/// Whether the pods are so new that more of their burst is to come, as the Go autoscaler judges
/// it. Only a loop without history asks: later ones are woken once a burst has gathered, so a
/// wait would only be felt. Source: `pkg/core/static_autoscaler.go` `allPodsAreNew`.
pub(crate) fn is_burst_under_way(
    context: &mut Loop<'_>,
    pending: &PendingPods,
    wanting: &[PodIndex],
) -> bool {
    let has_history = context.memory.loops > 0;
    if has_history || !context.config.scale_up.bypassed_scheduler_names.is_empty() {
        return false;
    }
    let created_at = |index: &PodIndex| {
        let created_at = pending.pod(*index).created_at;
        created_at.unwrap_or(Timestamp::UNIX_EPOCH)
    };
    let wants_gpu = |index: &&PodIndex| {
        let requests = &pending.pod(**index).shape.requests;
        gpu::GPU_RESOURCES
            .iter()
            .any(|resource| requests.scalar(resource).is_some())
    };
    let is_young = |oldest: Option<Timestamp>, limit: Duration| {
        oldest.is_some_and(|oldest| after(oldest, limit) > context.now)
    };
    let oldest = wanting.iter().map(created_at).min();
    let oldest_gpu = wanting.iter().filter(wants_gpu).map(created_at).min();
    let is_burst = is_young(oldest, YOUNG) || is_young(oldest_gpu, YOUNG_GPU);
    if is_burst {
        context.plan.wake_by(after(context.now, YOUNG));
    }
    is_burst
}

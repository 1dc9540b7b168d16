use windlass_config::Config;
use windlass_model::{Pod, Timestamp, parse_go_duration};

/// Whether the pod has waited for longer than the delay of the flag, or of its own annotation
/// where that is not shorter.
pub(super) fn is_old_enough(pod: &Pod, config: &Config, now: Timestamp) -> bool {
    let flag = config.scale_up.new_pod_scale_up_delay;
    let delay = pod
        .shape
        .scale_up_delay
        .as_ref()
        .and_then(|text| parse_go_duration(text).ok())
        .filter(|delay| *delay >= flag)
        .unwrap_or(flag);
    let created_at = pod.created_at.unwrap_or(Timestamp::UNIX_EPOCH);
    now.duration_since(created_at) > delay
}

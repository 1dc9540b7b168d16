use windlass_model::HostPort;

const ANY_ADDRESS: &str = "0.0.0.0";

/// Whether pods with these host ports cannot be on one node. Only `0.0.0.0` stands for every
/// address; `::` is one like any other.
/// Source: `pkg/scheduler/framework/types.go` `HostPortInfo.CheckConflict`.
pub(crate) fn conflict(wanted: &[HostPort], used: &[HostPort]) -> bool {
    used.iter().any(|used| {
        wanted.iter().any(|wanted| {
            wanted.port == used.port
                && wanted.protocol == used.protocol
                && (wanted.ip == used.ip || wanted.ip == ANY_ADDRESS || used.ip == ANY_ADDRESS)
        })
    })
}

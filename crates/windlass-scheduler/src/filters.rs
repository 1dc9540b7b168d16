use windlass_model::{
    Constraints, Effect, HostPort, Node, Pod, Resources, SmolStr, Taint, Toleration,
};

use crate::rejection::{Code, Phase, Rejection};

/// A filter's verdict on a pod and a node with these pods and this sum of requests.
pub(crate) type Verdict = Result<(), Rejection>;

pub(crate) fn unschedulable(tolerations: &[Toleration], node: &Node) -> Verdict {
    let taint = Taint {
        key: SmolStr::new_static("node.kubernetes.io/unschedulable"),
        value: SmolStr::new_static(""),
        effect: Effect::NoSchedule,
        time_added: None,
    };
    if !node.unschedulable || tolerations.iter().any(|t| t.tolerates(&taint)) {
        return Ok(());
    }
    Err(Rejection::filter(
        "NodeUnschedulable",
        Code::UnschedulableAndUnresolvable,
        "node(s) were unschedulable",
    ))
}

pub(crate) fn node_name(constraints: &Constraints, node: &Node) -> Verdict {
    if constraints
        .node_name
        .as_ref()
        .is_none_or(|name| *name == node.name)
    {
        return Ok(());
    }
    Err(Rejection::filter(
        "NodeName",
        Code::UnschedulableAndUnresolvable,
        "node(s) didn't match the requested node name",
    ))
}

pub(crate) fn taints(tolerations: &[Toleration], node: &Node) -> Verdict {
    let repels = |taint: &&Taint| {
        matches!(taint.effect, Effect::NoSchedule | Effect::NoExecute)
            && !tolerations.iter().any(|t| t.tolerates(taint))
    };
    if node.taints.iter().find(repels).is_none() {
        return Ok(());
    }
    Err(Rejection::filter(
        "TaintToleration",
        Code::UnschedulableAndUnresolvable,
        "node(s) had untolerated taint(s)",
    ))
}

pub(crate) fn node_affinity(constraints: &Constraints, node: &Node) -> Verdict {
    let selected = constraints.node_selector.as_ref().is_none_or(|selector| {
        selector
            .iter()
            .all(|(key, value)| node.labels.get(key) == Some(value))
    });
    let required = constraints
        .node_affinity
        .as_ref()
        .is_none_or(|affinity| affinity.matches(&node.labels, &node.name));
    if selected && required {
        return Ok(());
    }
    Err(Rejection::filter(
        "NodeAffinity",
        Code::UnschedulableAndUnresolvable,
        "node(s) didn't match Pod's node affinity/selector",
    ))
}

pub(crate) fn host_ports<'a>(
    wanted: &[HostPort],
    on_node: impl Iterator<Item = &'a std::sync::Arc<Pod>>,
) -> Verdict {
    if wanted.is_empty() {
        return Ok(());
    }
    for pod in on_node {
        for used in &pod.shape.constraints.host_ports {
            if wanted.iter().any(|port| conflicts(port, used)) {
                return Err(Rejection::filter(
                    "NodePorts",
                    Code::Unschedulable,
                    "node(s) didn't have free ports for the requested pod ports",
                ));
            }
        }
    }
    Ok(())
}

fn conflicts(a: &HostPort, b: &HostPort) -> bool {
    a.port == b.port
        && a.protocol == b.protocol
        && (a.ip == b.ip || a.ip == "0.0.0.0" || b.ip == "0.0.0.0")
}

pub(crate) fn resources(
    request: &Resources,
    pods_on_node: usize,
    allocatable: &Resources,
    requested: &Resources,
) -> Verdict {
    let mut reasons = Vec::new();
    let mut code = Code::Unschedulable;
    if i64::try_from(pods_on_node).unwrap_or(i64::MAX) >= allocatable.pods {
        reasons.push(SmolStr::new_static("Too many pods"));
    }
    let mut lacks = |name: &str, wanted: i64, has: i64, used: i64| {
        if wanted > has.wrapping_sub(used) {
            reasons.push(SmolStr::from(format!("Insufficient {name}")));
            if wanted > has {
                code = Code::UnschedulableAndUnresolvable;
            }
        }
    };
    if request.milli_cpu > 0 {
        lacks(
            "cpu",
            request.milli_cpu,
            allocatable.milli_cpu,
            requested.milli_cpu,
        );
    }
    if request.memory_bytes > 0 {
        lacks(
            "memory",
            request.memory_bytes,
            allocatable.memory_bytes,
            requested.memory_bytes,
        );
    }
    if request.ephemeral_storage_bytes > 0 {
        lacks(
            "ephemeral-storage",
            request.ephemeral_storage_bytes,
            allocatable.ephemeral_storage_bytes,
            requested.ephemeral_storage_bytes,
        );
    }
    for (name, wanted) in request.scalars.iter().filter(|(_, wanted)| *wanted != 0) {
        let has = allocatable.scalar(name).unwrap_or(0);
        lacks(name, *wanted, has, requested.scalar(name).unwrap_or(0));
    }
    if reasons.is_empty() {
        return Ok(());
    }
    Err(Rejection {
        phase: Phase::Filter,
        plugin: SmolStr::new_static("NodeResourcesFit"),
        code,
        reasons,
    })
}

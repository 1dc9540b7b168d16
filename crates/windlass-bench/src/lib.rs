//! Generated clusters of the sizes of real ones, as scenarios, for the benchmarks of `benches/`.
//!
//! The same kind and size give the same bytes. The crate refuses to know how decisions are taken;
//! the benchmarks do.

use std::fmt::{self, Display, Formatter};

use serde_json::{Value, json};

const ZONE: &str = "topology.kubernetes.io/zone";
const HOST: &str = "kubernetes.io/hostname";
const ZONES: [&str; 3] = ["us-east-1a", "us-east-1b", "us-east-1c"];
/// The scenarios' time, and an hour and more before it.
const NOW: &str = "2026-01-01T00:00:00Z";
const BEFORE: &str = "2025-12-31T22:00:00Z";

/// What a generated cluster is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Busy nodes in three groups, and pending pods that are all alike.
    Same,
    /// Busy nodes in nine groups of three instance types, and five workloads whose pods are
    /// pending: plain ones, ones spread over zones, ones that avoid each other's nodes, and ones
    /// that ask for a zone.
    Mixed,
    /// Small running pods of five workloads, on nodes of which many can go.
    Idle,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Same, Self::Mixed, Self::Idle];
}

impl Display for Kind {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Same => "same",
            Self::Mixed => "mixed",
            Self::Idle => "idle",
        })
    }
}

/// An instance type: name, thousandths of a core, MiB.
#[derive(Clone, Copy)]
struct Shape(&'static str, u32, u32);

const GENERAL: Shape = Shape("m5.xlarge", 4000, 16_384);
const SHAPES: [Shape; 3] = [
    GENERAL,
    Shape("c5.2xlarge", 8000, 16_384),
    Shape("r5.xlarge", 4000, 32_768),
];

/// A scenario of `nodes` nodes and `pods` pods (besides those that keep nodes busy), as a stream of
/// YAML documents.
pub fn scenario(kind: Kind, nodes: usize, pods: usize) -> String {
    let mut documents = vec![simulation(kind)];
    let shapes: &[Shape] = if kind == Kind::Mixed {
        &SHAPES
    } else {
        &[GENERAL]
    };
    let groups: Vec<(String, Shape, &str)> = ZONES
        .iter()
        .flat_map(|zone| {
            shapes
                .iter()
                .map(move |shape| (group_name(*shape, zone), *shape, *zone))
        })
        .collect();
    for (name, shape, zone) in &groups {
        documents.push(node_group(name, *shape, zone, nodes));
    }
    let mut busy = Vec::new();
    for index in 0..nodes {
        let (group, shape, zone) = &groups[index % groups.len()];
        let name = format!("{group}-{index}");
        documents.push(node(&name, group, *shape, zone));
        if kind != Kind::Idle {
            // Four pods that take nearly all of the node.
            for part in 0..4 {
                let cpu = shape.1 * 24 / 100;
                busy.push(pod(
                    &format!("busy-{name}-{part}"),
                    "busy",
                    cpu,
                    512,
                    Some(&name),
                    json!({}),
                ));
            }
        }
    }
    documents.append(&mut busy);
    for workload in workloads(kind) {
        documents.push(replica_set(workload, pods));
    }
    for index in 0..pods {
        documents.push(workload_pod(kind, index, nodes, &groups));
    }
    let mut text = String::new();
    for document in documents {
        text += &document.to_string();
        text += "\n---\n";
    }
    text
}

fn workloads(kind: Kind) -> Vec<&'static str> {
    match kind {
        Kind::Same => vec!["busy", "web"],
        Kind::Mixed => [&["busy"], &APPS[..]].concat(),
        Kind::Idle => APPS.to_vec(),
    }
}

/// The workloads, by what their pods ask for; a pod's index picks.
const APPS: [&str; 5] = ["plain", "spread", "apart", "zonal", "large"];

fn workload_pod(kind: Kind, index: usize, nodes: usize, groups: &[(String, Shape, &str)]) -> Value {
    match kind {
        Kind::Same => pod(&format!("web-{index}"), "web", 300, 512, None, json!({})),
        Kind::Idle => {
            let app = APPS[index % APPS.len()];
            let place = index % nodes;
            let on = format!("{}-{place}", groups[place % groups.len()].0);
            let cpu = [50, 100, 150][index % 3];
            pod(
                &format!("{app}-{index}"),
                app,
                cpu,
                128,
                Some(&on),
                json!({}),
            )
        }
        Kind::Mixed => {
            let app = APPS[index % APPS.len()];
            let labels = json!({"matchLabels": {"app": app}});
            let (cpu, memory, spec) = match app {
                "spread" => (
                    250,
                    700,
                    json!({"topologySpreadConstraints": [{
                        "maxSkew": 1, "topologyKey": ZONE, "whenUnsatisfiable": "DoNotSchedule",
                        "labelSelector": labels,
                    }]}),
                ),
                // Away from the pods of another workload, not from its own: some still share.
                "apart" => (
                    400,
                    256,
                    json!({"affinity": {"podAntiAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": [{
                            "topologyKey": HOST,
                            "labelSelector": {"matchLabels": {"app": "large"}},
                        }],
                    }}}),
                ),
                "zonal" => (
                    150,
                    1500,
                    json!({"nodeSelector": {ZONE: ZONES[index / 5 % 3]}}),
                ),
                "large" => (1500, 4000, json!({})),
                _ => (900, 256, json!({})),
            };
            pod(&format!("{app}-{index}"), app, cpu, memory, None, spec)
        }
    }
}

fn simulation(kind: Kind) -> Value {
    // What would end the loop early: the whole of the decision is to be measured.
    let mut flags = vec![
        "--max-nodes-per-scaleup=100000",
        "--max-nodegroup-binpacking-duration=1h",
        "--max-binpacking-time=2h",
        "--scale-down-simulation-timeout=1h",
    ];
    if kind == Kind::Idle {
        flags.extend([
            "--scale-down-unneeded-time=0s",
            "--scale-down-delay-after-add=0s",
        ]);
    }
    json!({
        "apiVersion": "windlass.dev/v1alpha1",
        "kind": "Simulation",
        "metadata": {"name": kind.to_string()},
        "spec": {"now": NOW, "flags": flags},
    })
}

fn group_name(shape: Shape, zone: &str) -> String {
    format!("{}-{}", shape.0.replace('.', "-"), &zone[zone.len() - 1..])
}

fn node_group(name: &str, shape: Shape, zone: &str, nodes: usize) -> Value {
    json!({
        "apiVersion": "windlass.dev/v1alpha1",
        "kind": "NodeGroup",
        "metadata": {"name": name},
        "spec": {"minSize": 0, "maxSize": 100_000 + nodes, "template": {
            "metadata": {"labels": labels(shape, zone)},
            "spec": {},
            "status": {"capacity": resources(shape, 0), "allocatable": resources(shape, 110)},
        }},
    })
}

fn node(name: &str, group: &str, shape: Shape, zone: &str) -> Value {
    let mut labels = labels(shape, zone);
    labels[HOST] = json!(name);
    labels["windlass.dev/node-group"] = json!(group);
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels, "creationTimestamp": BEFORE},
        "spec": {},
        "status": {
            "capacity": resources(shape, 0),
            "allocatable": resources(shape, 110),
            "conditions": [{
                "type": "Ready", "status": "True",
                "lastTransitionTime": BEFORE, "lastHeartbeatTime": NOW,
            }],
        },
    })
}

fn labels(shape: Shape, zone: &str) -> Value {
    json!({
        "node.kubernetes.io/instance-type": shape.0,
        ZONE: zone,
        "topology.kubernetes.io/region": &zone[..zone.len() - 1],
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/os": "linux",
    })
}

fn resources(Shape(_, cpu, memory): Shape, reserved_cpu: u32) -> Value {
    json!({
        "cpu": format!("{}m", cpu - reserved_cpu),
        "memory": format!("{memory}Mi"),
        "pods": "58",
    })
}

fn replica_set(name: &str, replicas: usize) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {"name": name, "namespace": "default", "uid": name, "creationTimestamp": BEFORE},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}},
    })
}

fn pod(name: &str, app: &str, cpu: u32, memory: u32, on: Option<&str>, spec: Value) -> Value {
    let mut spec = spec;
    spec["schedulerName"] = json!("default-scheduler");
    spec["containers"] = json!([{
        "name": "main",
        "resources": {"requests": {"cpu": format!("{cpu}m"), "memory": format!("{memory}Mi")}},
    }]);
    let status = if let Some(node) = on {
        spec["nodeName"] = json!(node);
        json!({"phase": "Running"})
    } else {
        json!({"phase": "Pending", "conditions": [{
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "lastTransitionTime": BEFORE,
        }]})
    };
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name, "namespace": "default", "labels": {"app": app},
            "creationTimestamp": BEFORE,
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": app, "uid": app,
                "controller": true,
            }],
        },
        "spec": spec,
        "status": status,
    })
}

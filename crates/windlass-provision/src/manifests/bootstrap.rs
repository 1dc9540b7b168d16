//! The rights of the group that joining nodes are in: those that kubeadm gives it, under its names,
//! for a cluster that lacks them. The publishing of `cluster-info` to everybody is not among them: a
//! node that joins by the published document's own CA does without.

use serde_json::{Value, json};

use super::yaml::Manifest;
use crate::cluster_config::ClusterConfig;
use crate::token::{DEFAULT_NODE_GROUP, NAMESPACE};

/// Nodes that have joined.
const NODES: &str = "system:nodes";
const GROUP: &str = "rbac.authorization.k8s.io";

/// The objects, in the order in which they can be made.
pub fn manifests(config: &ClusterConfig) -> Vec<Manifest> {
    let joining = [DEFAULT_NODE_GROUP];
    let mut manifests = vec![
        cluster_binding(
            "kubeadm:kubelet-bootstrap",
            "system:node-bootstrapper",
            &joining,
        )
        .with_comment("", "A joining node asks for its certificate."),
        cluster_binding(
            "kubeadm:node-autoapprove-certificate-rotation",
            "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient",
            &[NODES],
        )
        .with_comment("", "A node renews its certificate."),
    ];
    // The approver takes this away, and asks EC2.
    if !config.spec.csr.verify {
        let binding = cluster_binding(
            "kubeadm:node-autoapprove-bootstrap",
            "system:certificates.k8s.io:certificatesigningrequests:nodeclient",
            &joining,
        );
        manifests.push(binding.with_comment(
            "",
            "The controller manager approves every joining node's request.",
        ));
    }
    let get_nodes = "kubeadm:get-nodes";
    manifests.push(
        Manifest::new(json!({
            "apiVersion": format!("{GROUP}/v1"),
            "kind": "ClusterRole",
            "metadata": { "name": get_nodes },
            "rules": [{ "apiGroups": [""], "resources": ["nodes"], "verbs": ["get"] }],
        }))
        .with_comment("", "kubeadm looks whether the name is taken."),
    );
    manifests.push(cluster_binding(get_nodes, get_nodes, &joining));
    let both = [DEFAULT_NODE_GROUP, NODES];
    for (name, map, groups) in [
        ("kubeadm:nodes-kubeadm-config", "kubeadm-config", &both[..]),
        ("kubeadm:kubelet-config", "kubelet-config", &both[..]),
        ("kube-proxy", "kube-proxy", &joining[..]),
    ] {
        manifests.push(Manifest::new(json!({
            "apiVersion": format!("{GROUP}/v1"),
            "kind": "Role",
            "metadata": { "name": name, "namespace": NAMESPACE },
            "rules": [{
                "apiGroups": [""], "resources": ["configmaps"],
                "resourceNames": [map], "verbs": ["get"],
            }],
        })));
        let metadata = json!({ "name": name, "namespace": NAMESPACE });
        manifests.push(binding("RoleBinding", "Role", &metadata, name, groups));
    }
    manifests
}

fn cluster_binding(name: &str, role: &str, groups: &[&str]) -> Manifest {
    let metadata = json!({ "name": name });
    binding("ClusterRoleBinding", "ClusterRole", &metadata, role, groups)
}

fn binding(kind: &str, role_kind: &str, metadata: &Value, role: &str, groups: &[&str]) -> Manifest {
    let subject = |name: &&str| json!({ "apiGroup": GROUP, "kind": "Group", "name": name });
    let subjects: Vec<Value> = groups.iter().map(subject).collect();
    Manifest::new(json!({
        "apiVersion": format!("{GROUP}/v1"),
        "kind": kind,
        "metadata": metadata,
        "roleRef": { "apiGroup": GROUP, "kind": role_kind, "name": role },
        "subjects": subjects,
    }))
}

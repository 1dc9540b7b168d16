//! The approver of nodes' certificate requests, with the rights that it uses and no others.

use serde_json::{Value, json};

use super::autoscaler::{
    container_security, control_plane_affinity, control_plane_tolerations, pod_security,
};
use super::grants::{self, Account, Rules};
use super::yaml::Manifest;
use crate::cluster_config::{ClusterConfig, CredentialsSource};
use crate::csr::SignerName;
use crate::token::NAMESPACE;

/// Name of every object.
const NAME: &str = "windlass-csr-approver";
/// The binding by which kubeadm has all requests of bootstrap tokens approved.
const AUTO_APPROVAL: &str = "kubeadm:node-autoapprove-bootstrap";
/// Any two come to the same decision, and of two writes the API server takes the first.
const REPLICAS: u32 = 2;

/// The objects, in the order in which they can be made.
pub fn manifests(config: &ClusterConfig) -> Vec<Manifest> {
    let mut manifests = rights();
    manifests.push(deployment(config));
    manifests
}

/// The account and what it may do.
fn rights() -> Vec<Manifest> {
    let account = Manifest::new(json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": namespaced(),
    }));
    let everywhere: Rules = vec![
        (
            json!({
                "apiGroups": ["certificates.k8s.io"],
                "resources": ["certificatesigningrequests"], "verbs": ["list", "watch"],
            }),
            "What nodes ask for.",
        ),
        (
            json!({
                "apiGroups": ["certificates.k8s.io"],
                "resources": ["certificatesigningrequests/approval"], "verbs": ["update"],
            }),
            "The decision.",
        ),
        (
            json!({
                "apiGroups": ["certificates.k8s.io"], "resources": ["signers"],
                "resourceNames": [SignerName::KubeletClient.name(), SignerName::KubeletServing.name()],
                "verbs": ["approve"],
            }),
            "For kubelets' certificates alone.",
        ),
        (
            json!({ "apiGroups": [""], "resources": ["nodes"], "verbs": ["get"] }),
            "Whether a Node of that name is ready: then nobody else gets its certificate.",
        ),
        (
            json!({ "apiGroups": [""], "resources": ["events"], "verbs": ["create"] }),
            "Why a request was denied.",
        ),
        (
            json!({
                "apiGroups": ["rbac.authorization.k8s.io"],
                "resources": ["clusterrolebindings"], "verbs": ["list"],
            }),
            "Whether requests are approved by themselves.",
        ),
        (
            json!({
                "apiGroups": ["rbac.authorization.k8s.io"],
                "resources": ["clusterrolebindings"],
                "resourceNames": [AUTO_APPROVAL], "verbs": ["delete"],
            }),
            "Taking that away.",
        ),
    ];
    let here: Rules = vec![(
        json!({
            "apiGroups": [""], "resources": ["configmaps"],
            "resourceNames": [NAME], "verbs": ["get", "update"],
        }),
        "The instances that an operator has let back.",
    )];
    let of_the_approver = Account {
        name: NAME,
        namespace: NAMESPACE,
    };
    let mut manifests = vec![account];
    manifests.extend(grants::granted(&metadata(), &everywhere, of_the_approver));
    manifests.extend(grants::granted(&namespaced(), &here, of_the_approver));
    manifests
}

fn metadata() -> Value {
    json!({ "name": NAME, "labels": { "app.kubernetes.io/name": NAME } })
}

fn namespaced() -> Value {
    let mut metadata = metadata();
    metadata["namespace"] = json!(NAMESPACE);
    metadata
}

fn deployment(config: &ClusterConfig) -> Manifest {
    let spec = &config.spec;
    let on_host = spec.credentials.source == CredentialsSource::InstanceProfile;
    let selector = json!({ "app.kubernetes.io/name": NAME });
    let mut pod = json!({
        "serviceAccountName": NAME,
        "priorityClassName": "system-cluster-critical",
        "affinity": control_plane_affinity(on_host),
        "tolerations": control_plane_tolerations(),
        "securityContext": pod_security(),
        "containers": [{
            "name": NAME,
            "image": spec.autoscaler.image,
            "imagePullPolicy": "IfNotPresent",
            "args": [
                "csr-approver",
                format!("--cluster={}", spec.cluster),
                format!("--boot-budget={}", spec.token.boot_budget),
            ],
            "env": [{ "name": "AWS_REGION", "value": spec.region }],
            "resources": {
                "requests": { "cpu": "10m", "memory": "64Mi" },
                "limits": { "memory": "64Mi" },
            },
            "securityContext": container_security(),
        }],
    });
    if on_host {
        pod["hostNetwork"] = json!(true);
        pod["dnsPolicy"] = json!("Default");
    }
    let deployment = Manifest::new(json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": namespaced(),
        "spec": {
            "replicas": REPLICAS,
            "selector": { "matchLabels": selector },
            "template": { "metadata": { "labels": selector }, "spec": pod },
        },
    }));
    if on_host {
        deployment.with_comment(
            "/spec/template/spec/hostNetwork",
            "The control plane's instance profile is for the host's network alone.",
        )
    } else {
        deployment
    }
}

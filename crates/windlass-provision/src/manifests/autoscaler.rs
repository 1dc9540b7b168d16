//! The autoscaler's Deployment and what stands around it.

use serde_json::{Value, json};
use windlass_config::Config;

use super::yaml::Manifest;
use super::{PORT, rbac, rotator};
use crate::cluster_config::{ClusterConfig, CredentialsSource};

/// Name of every object: the Go autoscaler's, so that these take its objects' place.
pub const NAME: &str = "cluster-autoscaler";
/// The annotation by which a service account stands for a role in AWS (IRSA).
pub(super) const ROLE_ARN: &str = "eks.amazonaws.com/role-arn";

/// The labels of every object.
pub fn labels() -> Value {
    json!({ "app": NAME, "app.kubernetes.io/name": NAME })
}

/// The flags of `windlass run`: those that follow from the file, then the file's own.
pub fn flags(config: &ClusterConfig) -> Vec<String> {
    let mut flags = vec![
        "--cloud-provider=aws".to_owned(),
        format!("--namespace={}", config.spec.autoscaler.namespace),
        format!(
            "--node-group-auto-discovery=asg:tag={}",
            config.discovery_tags().join(",")
        ),
    ];
    flags.extend(config.spec.autoscaler.flags.iter().cloned());
    flags
}

/// The objects, in the order in which they can be made.
pub fn manifests(config: &ClusterConfig, parsed: &Config) -> Vec<Manifest> {
    let namespace = config.spec.autoscaler.namespace.as_str();
    let mut manifests = vec![service_account(config)];
    manifests.extend(rbac::roles(
        NAME,
        namespace,
        &labels(),
        &rbac::rights(parsed),
    ));
    if parsed.process.token_rotation {
        manifests.extend(rotator::within_the_autoscaler(namespace));
    }
    manifests.push(deployment(config));
    manifests.push(Manifest::new(json!({
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(namespace),
        "spec": { "maxUnavailable": 1, "selector": { "matchLabels": { "app": NAME } } },
    })));
    manifests.push(Manifest::new(json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(namespace),
        "spec": {
            "clusterIP": "None",
            "ports": [{ "name": "http", "port": PORT, "targetPort": "http" }],
            "selector": { "app": NAME },
        },
    })));
    if config.spec.autoscaler.network_policy {
        manifests.push(network_policy(config));
    }
    if config.spec.autoscaler.vertical_pod_autoscaler {
        manifests.push(Manifest::new(json!({
            "apiVersion": "autoscaling.k8s.io/v1",
            "kind": "VerticalPodAutoscaler",
            "metadata": metadata(namespace),
            "spec": {
                "targetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": NAME },
                "updatePolicy": { "updateMode": "Auto" },
                "resourcePolicy": {
                    "containerPolicies": [{
                        // A limit of CPU would come with its recommendation.
                        "containerName": NAME, "controlledResources": ["memory"],
                    }],
                },
            },
        })));
    }
    manifests
}

/// What the autoscaler needs of the network, and no more.
fn network_policy(config: &ClusterConfig) -> Manifest {
    let tcp = |port: u16| json!({ "port": port, "protocol": "TCP" });
    let port = config
        .spec
        .endpoint
        .rsplit_once(':')
        .and_then(|(_, port)| port.parse().ok())
        .unwrap_or(443);
    // The Service `kubernetes` leads to the API servers' own port, which a load balancer may hide.
    let mut api_server = vec![tcp(port)];
    if port != 6443 {
        api_server.push(tcp(6443));
    }
    Manifest::new(json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(&config.spec.autoscaler.namespace),
        "spec": {
            "podSelector": { "matchLabels": { "app": NAME } },
            "policyTypes": ["Egress", "Ingress"],
            "egress": [
                { "ports": [{ "port": 53, "protocol": "UDP" }, tcp(53)] },
                { "ports": [tcp(443)] },
                { "ports": api_server },
            ],
            "ingress": [{
                "ports": [tcp(PORT)],
                "from": [{
                    "namespaceSelector": {
                        "matchLabels": { "kubernetes.io/metadata.name": "monitoring" },
                    },
                }],
            }],
        },
    }))
    .with_comment("/spec/egress/0", "Names.")
    .with_comment("/spec/egress/1", "AWS, whose addresses change.")
    .with_comment("/spec/egress/2", "The API server.")
    .with_comment("/spec/ingress/0", "Prometheus.")
}

fn metadata(namespace: &str) -> Value {
    json!({ "name": NAME, "namespace": namespace, "labels": labels() })
}

fn service_account(config: &ClusterConfig) -> Manifest {
    let mut metadata = metadata(&config.spec.autoscaler.namespace);
    if let Some(role) = &config.spec.credentials.autoscaler_role_arn {
        metadata["annotations"] = json!({ ROLE_ARN: role });
    }
    Manifest::new(json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata,
    }))
}

fn deployment(config: &ClusterConfig) -> Manifest {
    let autoscaler = &config.spec.autoscaler;
    let on_host = config.spec.credentials.source == CredentialsSource::InstanceProfile;
    let spread = ["kubernetes.io/hostname", "topology.kubernetes.io/zone"].map(|key| {
        json!({
            "maxSkew": 1,
            "topologyKey": key,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": { "matchLabels": { "app": NAME } },
        })
    });
    let mut pod = json!({
        "serviceAccountName": NAME,
        "priorityClassName": "system-cluster-critical",
        "securityContext": pod_security(),
        "affinity": control_plane_affinity(on_host),
        "tolerations": control_plane_tolerations(),
        "topologySpreadConstraints": spread,
        "containers": [container(config)],
        // The AWS call in hand, then the lease.
        "terminationGracePeriodSeconds": 15,
    });
    // One pod a host holds the port, so a new one cannot come before an old one goes.
    let mut rolling_update = json!({ "maxUnavailable": 1 });
    if on_host {
        pod["hostNetwork"] = json!(true);
        pod["dnsPolicy"] = json!("Default");
        rolling_update["maxSurge"] = json!(0);
    }
    Manifest::new(json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(&autoscaler.namespace),
        "spec": {
            "replicas": autoscaler.replicas,
            "selector": { "matchLabels": { "app": NAME } },
            "strategy": { "type": "RollingUpdate", "rollingUpdate": rolling_update },
            "template": {
                "metadata": {
                    "labels": labels(),
                    "annotations": {
                        "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
                        "prometheus.io/scrape": "true",
                        "prometheus.io/port": PORT.to_string(),
                    },
                },
                "spec": pod,
            },
        },
    }))
    .with_comment(
        "/spec/template/spec/hostNetwork",
        "The instance profile's credentials come from the metadata service, whose answers reach\n\
         the host's network alone.",
    )
}

fn container(config: &ClusterConfig) -> Value {
    let autoscaler = &config.spec.autoscaler;
    let mut arguments = vec!["run".to_owned()];
    arguments.extend(flags(config));
    let probe = |failures: u32, period: u32| {
        json!({
            "httpGet": { "path": "/health-check", "port": "http" },
            "failureThreshold": failures,
            "periodSeconds": period,
        })
    };
    json!({
        "name": NAME,
        "image": autoscaler.image,
        "imagePullPolicy": "IfNotPresent",
        "args": arguments,
        "env": [{ "name": "AWS_REGION", "value": config.spec.region }],
        "ports": [{ "name": "http", "containerPort": PORT }],
        "resources": {
            // No limit on CPU: a throttled loop is one that misses its health check.
            "requests": { "cpu": "100m", "memory": autoscaler.memory },
            "limits": { "memory": autoscaler.memory },
        },
        "securityContext": container_security(),
        "startupProbe": probe(30, 2),
        "livenessProbe": probe(3, 10),
        "readinessProbe": probe(1, 10),
    })
}

/// On control-plane nodes by their label of today or of before 1.24.
pub(super) fn control_plane_affinity(is_required: bool) -> Value {
    let terms = ["control-plane", "master"].map(|role| {
        json!({
            "matchExpressions": [
                { "key": format!("node-role.kubernetes.io/{role}"), "operator": "Exists" },
            ],
        })
    });
    let node_affinity = if is_required {
        json!({
            "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": terms },
        })
    } else {
        let preferred = terms.map(|term| json!({ "weight": 100, "preference": term }));
        json!({ "preferredDuringSchedulingIgnoredDuringExecution": preferred })
    };
    json!({ "nodeAffinity": node_affinity })
}

/// What a pod of ours may do on its node: nothing that takes root.
pub(super) fn pod_security() -> Value {
    json!({
        "runAsNonRoot": true,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "seccompProfile": { "type": "RuntimeDefault" },
    })
}

/// The same of its container, which writes nowhere.
pub(super) fn container_security() -> Value {
    json!({
        "allowPrivilegeEscalation": false,
        "capabilities": { "drop": ["ALL"] },
        "readOnlyRootFilesystem": true,
    })
}

/// kubeadm's taint has no value, so `Equal` with one does not match it.
pub(super) fn control_plane_tolerations() -> Value {
    let tolerations = ["control-plane", "master"].map(|role| {
        json!({
            "key": format!("node-role.kubernetes.io/{role}"),
            "operator": "Exists",
            "effect": "NoSchedule",
        })
    });
    json!(tolerations)
}

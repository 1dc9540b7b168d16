//! The token rotator on every control-plane node, and a fence around what it may write.

use serde_json::{Value, json};

use super::autoscaler::{container_security, control_plane_tolerations, pod_security};
use super::yaml::Manifest;
use crate::cluster_config::{ClusterConfig, Coordination, GoDuration};
use crate::token::{MANAGED_BY_LABEL, MANAGED_BY_ROTATOR, NAMESPACE};

/// Name of every object.
const NAME: &str = "windlass-token-rotator";

/// The objects, in the order in which they can be made.
pub fn manifests(config: &ClusterConfig) -> Vec<Manifest> {
    let mut manifests = vec![Manifest::new(json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata(NAMESPACE),
    }))];
    manifests.extend(rights(config));
    manifests.extend(fence());
    manifests.push(daemon_set(config));
    manifests
}

fn metadata(namespace: &str) -> Value {
    json!({ "name": NAME, "namespace": namespace, "labels": { "app.kubernetes.io/name": NAME } })
}

fn rights(config: &ClusterConfig) -> Vec<Manifest> {
    let mut rules = vec![(
        json!({
            "apiGroups": [""], "resources": ["secrets"],
            "verbs": ["create", "list", "patch", "delete"],
        }),
        "Bootstrap tokens. Rights on Secrets cannot be bound to a type, so the policy below\n\
             bounds what is written.",
    )];
    rules.push((
        json!({ "apiGroups": [""], "resources": ["events"], "verbs": ["create"] }),
        "Saying that a token was revoked, or not signed.",
    ));
    if config.spec.token.coordination == Coordination::Lease {
        rules.push((
            json!({
                "apiGroups": ["coordination.k8s.io"], "resources": ["leases"],
                "verbs": ["create"],
            }),
            "The lease, the first time.",
        ));
        rules.push((
            json!({
                "apiGroups": ["coordination.k8s.io"], "resources": ["leases"],
                "resourceNames": [NAME], "verbs": ["get", "update"],
            }),
            "Who of several rotators acts.",
        ));
    }
    let info = vec![(
        json!({
            "apiGroups": [""], "resources": ["configmaps"],
            "resourceNames": ["cluster-info"], "verbs": ["get"],
        }),
        "Seeing that a new token is signed.",
    )];
    [(NAMESPACE, rules), ("kube-public", info)]
        .into_iter()
        .flat_map(|(namespace, rules)| {
            let values: Vec<&Value> = rules.iter().map(|(rule, _)| rule).collect();
            let mut role = Manifest::new(json!({
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "Role",
                "metadata": metadata(namespace),
                "rules": values,
            }));
            for (index, (_, why)) in rules.iter().enumerate() {
                role = role.with_comment(format!("/rules/{index}"), *why);
            }
            let binding = Manifest::new(json!({
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "RoleBinding",
                "metadata": metadata(namespace),
                "roleRef": {
                    "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": NAME,
                },
                "subjects": [{
                    "kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE,
                }],
            }));
            [role, binding]
        })
        .collect()
}

/// A policy by which this account's writes are of its own bootstrap tokens and of nothing else.
fn fence() -> [Manifest; 2] {
    let (key, value) = (MANAGED_BY_LABEL, MANAGED_BY_ROTATOR);
    let metadata = json!({ "name": NAME, "labels": { "app.kubernetes.io/name": NAME } });
    let is_own = |object: &str| {
        format!(
            "{object}.type == 'bootstrap.kubernetes.io/token' && has({object}.metadata.labels) && \
             '{key}' in {object}.metadata.labels && {object}.metadata.labels['{key}'] == '{value}'"
        )
    };
    let policy = Manifest::new(json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": metadata,
        "spec": {
            "failurePolicy": "Fail",
            "matchConditions": [{
                "name": "rotator",
                "expression": format!(
                    "request.userInfo.username == 'system:serviceaccount:{NAMESPACE}:{NAME}'"
                ),
            }],
            "matchConstraints": {
                "resourceRules": [{
                    "apiGroups": [""], "apiVersions": ["v1"], "resources": ["secrets"],
                    "operations": ["CREATE", "UPDATE", "DELETE"],
                }],
            },
            "validations": [
                {
                    "expression": format!(
                        "request.operation == 'DELETE' || ({})", is_own("object")
                    ),
                    "message": "the token rotator may write its own bootstrap tokens alone",
                },
                {
                    "expression": format!(
                        "request.operation == 'CREATE' || ({})", is_own("oldObject")
                    ),
                    "message": "the token rotator may change its own bootstrap tokens alone",
                },
            ],
        },
    }));
    let binding = Manifest::new(json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": metadata,
        "spec": { "policyName": NAME, "validationActions": ["Deny"] },
    }));
    [policy, binding]
}

/// The flags of `windlass token rotate`.
pub fn flags(config: &ClusterConfig) -> Vec<String> {
    let token = &config.spec.token;
    let coordination = match token.coordination {
        Coordination::Age => "age",
        Coordination::Lease => "lease",
    };
    let mut flags = vec![
        "--daemon".to_owned(),
        format!("--cluster={}", config.spec.cluster),
        format!("--parameter={}", config.join_parameter()),
        format!("--coordination={coordination}"),
    ];
    let times: [(&str, GoDuration); 4] = [
        ("ttl", token.ttl),
        ("renew-after", token.renew_after),
        ("lateness", token.lateness),
        ("boot-budget", token.boot_budget),
    ];
    flags.extend(times.map(|(name, time)| format!("--{name}={time}")));
    if let Some(key) = config.join_key() {
        flags.push(format!("--kms-key={key}"));
    }
    if let Some(parameter) = &config.spec.compat.join_token_parameter {
        flags.push("--compat=2019".to_owned());
        flags.push(format!("--compat-parameter={parameter}"));
    }
    flags
}

fn daemon_set(config: &ClusterConfig) -> Manifest {
    let mut arguments = vec!["token".to_owned(), "rotate".to_owned()];
    arguments.extend(flags(config));
    let selector = json!({ "app.kubernetes.io/name": NAME });
    Manifest::new(json!({
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": metadata(NAMESPACE),
        "spec": {
            "selector": { "matchLabels": selector },
            "template": {
                "metadata": { "labels": selector },
                "spec": {
                    "serviceAccountName": NAME,
                    "priorityClassName": "system-cluster-critical",
                    "hostNetwork": true,
                    "dnsPolicy": "Default",
                    "affinity": super::autoscaler::control_plane_affinity(true),
                    "tolerations": control_plane_tolerations(),
                    "securityContext": pod_security(),
                    "containers": [{
                        "name": NAME,
                        "image": config.spec.autoscaler.image,
                        "imagePullPolicy": "IfNotPresent",
                        "args": arguments,
                        "env": [{ "name": "AWS_REGION", "value": config.spec.region }],
                        "resources": {
                            "requests": { "cpu": "10m", "memory": "64Mi" },
                            "limits": { "memory": "64Mi" },
                        },
                        "securityContext": container_security(),
                    }],
                },
            },
        },
    }))
    .with_comment(
        "/spec/template/spec/hostNetwork",
        "The control plane's instance profile is for the host's network alone.",
    )
}

//! The token rotator on every control-plane node, and a fence around what it may write.

use serde_json::{Value, json};

use super::autoscaler::{container_security, control_plane_tolerations, pod_security};
use super::grants::{self, Account, Rules, rule};
use super::yaml::Manifest;
use crate::cluster_config::{ClusterConfig, Coordination, GoDuration};
use crate::token::{MANAGED_BY_LABEL, MANAGED_BY_ROTATOR, NAMESPACE};

/// Name of every object.
pub const NAME: &str = "windlass-token-rotator";

/// The objects, in the order in which they can be made.
pub fn manifests(config: &ClusterConfig) -> Vec<Manifest> {
    let mut manifests = vec![Manifest::new(json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata(NAME, NAMESPACE),
    }))];
    let account = Account {
        name: NAME,
        namespace: NAMESPACE,
    };
    manifests.extend(rights(NAME, account, config.spec.token.coordination));
    manifests.extend(fence(NAME, account));
    manifests.push(daemon_set(config));
    manifests
}

/// What the autoscaler's account needs where it rotates the token itself, by `--token-rotation`; its
/// replicas coordinate by the parameter's age.
pub fn within_the_autoscaler(namespace: &str) -> Vec<Manifest> {
    const NAME: &str = "cluster-autoscaler-token-rotation";
    let account = Account {
        name: super::autoscaler::NAME,
        namespace,
    };
    let mut manifests = rights(NAME, account, Coordination::Age);
    manifests.extend(fence(NAME, account));
    manifests
}

fn metadata(name: &str, namespace: &str) -> Value {
    json!({ "name": name, "namespace": namespace, "labels": { "app.kubernetes.io/name": name } })
}

fn rights(name: &str, account: Account<'_>, coordination: Coordination) -> Vec<Manifest> {
    let mut tokens: Rules = vec![
        (
            rule(
                ("", &["secrets"]),
                &[],
                &["create", "list", "patch", "delete"],
            ),
            "Bootstrap tokens. Rights on Secrets cannot be bound to a type, so the policy below\n\
             bounds what is written.",
        ),
        (
            rule(("", &["events"]), &[], &["create"]),
            "Saying that a token was revoked, or not signed.",
        ),
    ];
    if coordination == Coordination::Lease {
        tokens.push((
            rule(("coordination.k8s.io", &["leases"]), &[], &["create"]),
            "The lease, the first time.",
        ));
        tokens.push((
            rule(
                ("coordination.k8s.io", &["leases"]),
                &[NAME],
                &["get", "update"],
            ),
            "Who of several rotators acts.",
        ));
    }
    let info: Rules = vec![(
        rule(("", &["configmaps"]), &["cluster-info"], &["get"]),
        "Seeing that a new token is signed.",
    )];
    [(NAMESPACE, tokens), ("kube-public", info)]
        .iter()
        .flat_map(|(namespace, rules)| grants::granted(&metadata(name, namespace), rules, account))
        .collect()
}

/// A policy by which this account's writes are of its own bootstrap tokens and of nothing else.
fn fence(name: &str, account: Account<'_>) -> [Manifest; 2] {
    let (key, value) = (MANAGED_BY_LABEL, MANAGED_BY_ROTATOR);
    let is_own = |object: &str| {
        format!(
            "{object}.type == 'bootstrap.kubernetes.io/token' && has({object}.metadata.labels) && \
             '{key}' in {object}.metadata.labels && {object}.metadata.labels['{key}'] == '{value}'"
        )
    };
    grants::fence(
        name,
        &[account],
        &json!([{
            "apiGroups": [""], "apiVersions": ["v1"], "resources": ["secrets"],
            "operations": ["CREATE", "UPDATE", "DELETE"],
        }]),
        &json!([
            {
                "expression": format!("request.operation == 'DELETE' || ({})", is_own("object")),
                "message": "the token rotator may write its own bootstrap tokens alone",
            },
            {
                "expression": format!("request.operation == 'CREATE' || ({})", is_own("oldObject")),
                "message": "the token rotator may change its own bootstrap tokens alone",
            },
        ]),
    )
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
        flags.extend(compat_flags(parameter));
    }
    flags
}

/// The flags by which the bare token is also written, for nodes of the how-to of 2019.
pub fn compat_flags(parameter: &str) -> [String; 2] {
    [
        "--compat=2019".to_owned(),
        format!("--compat-parameter={parameter}"),
    ]
}

fn daemon_set(config: &ClusterConfig) -> Manifest {
    let mut arguments = vec!["token".to_owned(), "rotate".to_owned()];
    arguments.extend(flags(config));
    let selector = json!({ "app.kubernetes.io/name": NAME });
    Manifest::new(json!({
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": metadata(NAME, NAMESPACE),
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

//! What the cluster should have.

mod joining;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use windlass_kube::{Api, ApiError, ConnectOptions, Endpoint};
use windlass_provision::cluster_config::{CloudProvider, ClusterConfig, CredentialsSource};
use windlass_provision::cluster_info::{self, ClusterInfo};
use windlass_provision::document::JoinDocument;
use windlass_provision::manifests::autoscaler;

use super::{DoctorArgs, Findings, credential};
use crate::json::{items, text};
use crate::nodes::never_initialized;

/// More than this, and tokens and leases expire at other times than their keepers think.
const MOST_SKEW: SignedDuration = SignedDuration::from_mins(1);

pub(super) async fn look(
    config: &ClusterConfig,
    args: &DoctorArgs,
    published: Option<&JoinDocument>,
    findings: &mut Findings,
) {
    let options = ConnectOptions {
        kubeconfig: args.kubeconfig.clone(),
        kubernetes: None,
        queries_per_second: 20.0,
        burst: 40,
    };
    let endpoint = match Endpoint::find(&options).await {
        Ok(endpoint) => endpoint,
        Err(error) => {
            return findings.fail(
                format!("no way to the API server: {error}"),
                "name a kubeconfig with --kubeconfig",
            );
        }
    };
    let api = &endpoint.api;
    if !version(api, config, findings).await {
        return;
    }
    clock(api, findings).await;
    let info = discovery_document(api, config, findings).await;
    joining::look(api, config, findings).await;
    uploaded_certificates(api, findings).await;
    credential::look(api, config, info.as_ref(), published, findings).await;
    if args.probe {
        credential::probe(&endpoint, findings).await;
    }
    lease(api, config, findings).await;
    deployment(api, config, findings).await;
    nodes(api, config, findings).await;
    verification(api, findings).await;
}

pub(super) fn failed(findings: &mut Findings, what: &str, error: &ApiError) {
    let fix = match error.code() {
        Some(403) => "use a kubeconfig that may read it",
        Some(401) => "renew the kubeconfig's credential",
        _ => "look at the API server",
    };
    findings.fail(format!("{what}: {error}"), fix);
}

/// The part of a version that says what is compatible, such as `1.36`.
fn minor(version: &str) -> &str {
    let version = version.trim_start_matches('v');
    let end = version
        .match_indices('.')
        .nth(1)
        .map_or(version.len(), |(index, _)| index);
    &version[..end]
}

async fn version(api: &Api, config: &ClusterConfig, findings: &mut Findings) -> bool {
    let version: Value = match api.get("/version").await {
        Ok(version) => version,
        Err(error) => {
            failed(findings, "the API server does not answer", &error);
            return false;
        }
    };
    let found = text(&version, "/gitVersion");
    let named = &config.spec.kubernetes;
    if minor(found) == minor(named) {
        findings.ok(format!("the API server is {found}"));
    } else {
        findings.warn(
            format!("the API server is {found}, and spec.kubernetes is {named}"),
            "mend spec.kubernetes, so that images and kubelets fit",
        );
    }
    true
}

async fn clock(api: &Api, findings: &mut Findings) {
    let Ok(theirs) = api.server_time().await else {
        return;
    };
    let skew = theirs.duration_since(Timestamp::now()).abs();
    if MOST_SKEW < skew {
        findings.warn(
            format!(
                "the API server's clock differs from this one by {} s",
                skew.as_secs()
            ),
            "run chrony on both: tokens expire by one and are renewed by the other",
        );
    }
}

/// What `windlass verify` would stop at.
async fn verification(api: &Api, findings: &mut Findings) {
    let path = "/api/v1/namespaces?labelSelector=windlass.dev%2Fverify";
    if let Ok(list) = api.get::<Value>(path).await {
        for namespace in items(&list) {
            let name = text(namespace, "/metadata/name");
            findings.warn(
                format!(
                    "a run of windlass verify is under way in namespace {name}, or has left it"
                ),
                format!("`windlass verify --cleanup --namespace {name}`, if nobody runs it"),
            );
        }
    }
    let path = "/api/v1/pods?fieldSelector=status.phase%3DPending";
    let list: Value = match api.get(path).await {
        Ok(list) => list,
        Err(error) => return failed(findings, "pending pods", &error),
    };
    let waiting: Vec<String> = items(&list)
        .filter(|pod| {
            let conditions = pod["status"]["conditions"].as_array();
            let mut conditions = conditions.into_iter().flatten();
            conditions.any(|it| it["type"] == "PodScheduled" && it["reason"] == "Unschedulable")
        })
        .map(|pod| {
            let namespace = text(pod, "/metadata/namespace");
            format!("{namespace}/{}", text(pod, "/metadata/name"))
        })
        .collect();
    match waiting.first() {
        None => findings.ok("no pod waits for room"),
        Some(first) => findings.warn(
            format!("{} pods wait for room, such as {first}", waiting.len()),
            "`windlass explain pod` tells why no group takes them",
        ),
    }
}

async fn discovery_document(
    api: &Api,
    config: &ClusterConfig,
    findings: &mut Findings,
) -> Option<ClusterInfo> {
    let path = format!(
        "/api/v1/namespaces/{}/configmaps/{}",
        cluster_info::NAMESPACE,
        cluster_info::NAME
    );
    let what = "ConfigMap kube-public/cluster-info";
    let config_map: Value = match api.get(&path).await {
        Ok(config_map) => config_map,
        Err(error) if error.is_not_found() => {
            findings.fail(
                format!("{what} is not there: no token is signed, no node can join"),
                "`kubeadm init phase bootstrap-token`",
            );
            return None;
        }
        Err(error) => {
            failed(findings, what, &error);
            return None;
        }
    };
    let info = match ClusterInfo::from_config_map(&config_map) {
        Ok(info) => info,
        Err(error) => {
            findings.fail(
                format!("{what}: {error}"),
                "`kubeadm init phase bootstrap-token`",
            );
            return None;
        }
    };
    let served = cluster_info::endpoint_of(&info.server).unwrap_or_default();
    if served == config.spec.endpoint {
        findings.ok(format!(
            "{what} sends nodes to {served}, as spec.endpoint does"
        ));
    } else {
        findings.warn(
            format!(
                "{what} sends nodes to {served}, and spec.endpoint is {}",
                config.spec.endpoint
            ),
            "nodes that discover by token end up at the former: make them agree",
        );
    }
    Some(info)
}

/// The control plane's keys, which holders of a bootstrap token may read while they are there.
async fn uploaded_certificates(api: &Api, findings: &mut Findings) {
    let path = "/api/v1/namespaces/kube-system/secrets/kubeadm-certs";
    let found: Result<Value, ApiError> = api.get(path).await;
    if found.is_ok() {
        findings.warn(
            "Secret kube-system/kubeadm-certs is there, and holders of a join token may read it",
            "delete it once the control plane has joined",
        );
    }
}

async fn lease(api: &Api, config: &ClusterConfig, findings: &mut Findings) {
    let namespace = &config.spec.autoscaler.namespace;
    let path = format!(
        "/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{}",
        autoscaler::NAME
    );
    let fix = "`windlass manifests | kubectl apply --server-side -f -`, and look at its log";
    let lease: Value = match api.get(&path).await {
        Ok(lease) => lease,
        Err(error) if error.is_not_found() => {
            return findings.fail("no autoscaler has ever taken its lease", fix);
        }
        Err(error) => return failed(findings, "the autoscaler's lease", &error),
    };
    let renewed = text(&lease, "/spec/renewTime").parse::<Timestamp>();
    let age = renewed.map(|renewed| Timestamp::now().duration_since(renewed));
    match age {
        Ok(age) if age < SignedDuration::from_mins(1) => {
            findings.ok(format!(
                "the autoscaler runs ({})",
                text(&lease, "/spec/holderIdentity")
            ));
        }
        _ => findings.fail(
            "nobody has renewed the autoscaler's lease for a minute",
            fix,
        ),
    }
}

/// The running autoscaler looks for the tags that the groups have.
async fn deployment(api: &Api, config: &ClusterConfig, findings: &mut Findings) {
    let namespace = &config.spec.autoscaler.namespace;
    let path = format!(
        "/apis/apps/v1/namespaces/{namespace}/deployments/{}",
        autoscaler::NAME
    );
    let deployment: Value = match api.get(&path).await {
        Ok(deployment) => deployment,
        // It may be called otherwise, or run outside the cluster; the lease has told.
        Err(error) if error.is_not_found() => return,
        Err(error) => return failed(findings, "the autoscaler's Deployment", &error),
    };
    let containers = deployment["spec"]["template"]["spec"]["containers"].as_array();
    let words: Vec<&str> = containers
        .into_iter()
        .flatten()
        .flat_map(|container| ["command", "args"].map(|field| container[field].as_array()))
        .flatten()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let discovery = words
        .iter()
        .find_map(|word| word.strip_prefix("--node-group-auto-discovery=asg:tag="));
    let wanted = config.discovery_tags();
    let Some(found) = discovery else {
        return findings.warn(
            "the autoscaler discovers no groups by tags",
            "give it `--node-group-auto-discovery`, as `windlass manifests` does",
        );
    };
    let unknown: Vec<&str> = found
        .split(',')
        .filter(|tag| !is_promised(tag, &wanted))
        .collect();
    if unknown.is_empty() {
        findings.ok("the autoscaler looks for the tags that the groups have");
    } else {
        findings.fail(
            format!(
                "the autoscaler looks for {}, and the groups have {}",
                unknown.join(", "),
                wanted.join(", ")
            ),
            "apply what `windlass manifests` renders",
        );
    }
}

/// Whether groups have a tag that the autoscaler looks for, by its key or by key and value.
fn is_promised(tag: &str, groups_have: &[String; 2]) -> bool {
    let (key, value) = match tag.split_once('=') {
        Some((key, value)) => (key, Some(value)),
        None => (tag, None),
    };
    let mut tags = groups_have.iter().zip(["true", "owned"]);
    tags.any(|(name, its)| name == key && value.is_none_or(|value| value == its))
}

/// Nodes that no cloud controller has adopted.
async fn nodes(api: &Api, config: &ClusterConfig, findings: &mut Findings) {
    let list: Value = match api.get("/api/v1/nodes").await {
        Ok(list) => list,
        Err(error) => return failed(findings, "nodes", &error),
    };
    let items: Vec<&Value> = items(&list).collect();
    let waiting = never_initialized(items.iter().copied(), Timestamp::now());
    control_plane(config, &items, findings);
    if !waiting.is_empty() {
        let fix = match config.spec.cloud_provider {
            CloudProvider::External => "run a cloud controller manager, or set cloudProvider: none",
            CloudProvider::None => "these nodes were started with cloud-provider=external",
        };
        findings.fail(format!("never initialized: {}", waiting.join(", ")), fix);
    }
    let not_ready: Vec<String> = items.iter().filter_map(|node| not_ready(node)).collect();
    if !not_ready.is_empty() {
        findings.warn(
            format!("not ready: {}", not_ready.join("; ")),
            "where it is the network, install a network plugin; else look at the kubelet",
        );
    }
    let without_id: Vec<&str> = items
        .iter()
        .filter(|node| text(node, "/spec/providerID").is_empty())
        .map(|node| text(node, "/metadata/name"))
        .collect();
    if without_id.is_empty() {
        findings.ok(format!("{} nodes have their provider id", items.len()));
    } else {
        findings.warn(
            format!(
                "no provider id, so the autoscaler knows no instance of: {}",
                without_id.join(", ")
            ),
            "join nodes with `windlass userdata`, or run a cloud controller manager",
        );
    }
}

/// A node's name and why it is not ready, if it is not.
fn not_ready(node: &Value) -> Option<String> {
    let conditions = node["status"]["conditions"].as_array();
    let ready = conditions
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == "Ready");
    if ready.is_some_and(|condition| condition["status"] == "True") {
        return None;
    }
    let why = ready.map_or("its kubelet has said nothing yet", |ready| {
        text(ready, "/message")
    });
    Some(format!("{} ({why})", text(node, "/metadata/name")))
}

/// With the instance profile's credentials Windlass's pods run on control-plane nodes, a replica on
/// each, since they share the host's ports.
fn control_plane(config: &ClusterConfig, nodes: &[&Value], findings: &mut Findings) {
    if config.spec.credentials.source != CredentialsSource::InstanceProfile {
        return;
    }
    let is_control_plane = |node: &&&Value| {
        ["control-plane", "master"].iter().any(|role| {
            let label = format!("node-role.kubernetes.io/{role}");
            !node["metadata"]["labels"][label].is_null()
        })
    };
    let found = nodes.iter().filter(is_control_plane).count();
    let replicas = config.spec.autoscaler.replicas;
    if found == 0 {
        findings.fail(
            "no node is labelled as the control plane's, so the autoscaler and the token rotator \
             run nowhere",
            "label one `node-role.kubernetes.io/control-plane=`, or take other credentials \
             (spec.credentials.source)",
        );
    } else if u32::try_from(found).is_ok_and(|found| found < replicas) {
        findings.fail(
            format!("{replicas} replicas of the autoscaler, and {found} control-plane nodes: one waits for ever"),
            format!("set spec.autoscaler.replicas to {found}, and apply the manifests again"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_with_a_value_that_no_group_has_is_not_promised() {
        let have = ["enabled".to_owned(), "prod".to_owned()];
        for tag in ["enabled", "enabled=true", "prod", "prod=owned"] {
            assert!(is_promised(tag, &have), "{tag}");
        }
        for tag in ["enabled=false", "prod=shared", "staging"] {
            assert!(!is_promised(tag, &have), "{tag}");
        }
    }

    #[test]
    fn each_replica_has_a_control_plane_node_of_its_own() {
        let config = |more: &str| {
            let text = format!(
                "apiVersion: windlass.dev/v1alpha1\nkind: Cluster\nspec:\n  cluster: prod\n  \
                 region: eu-west-1\n  endpoint: api:443\n  kubernetes: v1.36.3\n  \
                 securityGroups: [sg-1]\n{more}"
            );
            ClusterConfig::read("cluster.yaml", &text).unwrap()
        };
        let node = serde_json::json!({
            "metadata": { "labels": { "node-role.kubernetes.io/control-plane": "" } },
        });
        let worker = serde_json::json!({ "metadata": {} });
        let said = |config: &ClusterConfig, nodes: &[&Value]| {
            let mut findings = Findings::default();
            control_plane(config, nodes, &mut findings);
            findings.to_text()
        };
        assert!(said(&config(""), &[&worker]).contains("run nowhere"));
        assert!(said(&config(""), &[&node, &worker]).contains("replicas to 1"));
        assert_eq!(said(&config(""), &[&node, &node]), "");
        let one = config("  autoscaler: {replicas: 1}\n");
        assert_eq!(said(&one, &[&node, &worker]), "");
        let eks = config("  credentials: {source: pod-identity}\n");
        assert_eq!(said(&eks, &[&worker]), "");
    }

    #[test]
    fn a_patch_release_is_compatible() {
        assert_eq!(minor("v1.36.3"), "1.36");
        assert_eq!(minor("v1.36.1-eks-abc"), "1.36");
        assert_eq!(minor("1.36"), "1.36");
    }
}

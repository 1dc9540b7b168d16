//! The Deployment of an old manifest.

use serde_json::{Value, json};
use windlass_config::{Config, FlagError};

use super::lines::Lined;
use super::{Faults, FixError, text_at};
use crate::cluster_config::{ClusterConfig, CredentialsSource};
use crate::manifests::{PORT, autoscaler};

const POD: &str = "/spec/template/spec";

/// Which container of a workload is the autoscaler.
pub(super) fn container_index(object: &Value) -> Option<usize> {
    object
        .pointer(POD)?
        .get("containers")?
        .as_array()?
        .iter()
        .position(|container| {
            let words = ["command", "args"].into_iter().flat_map(|field| {
                container[field]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str)
            });
            container["image"]
                .as_str()
                .into_iter()
                .chain(words)
                .any(|word| word.contains("cluster-autoscaler") && !word.starts_with("--"))
        })
}

/// Mends the Deployment, and gives the configuration that its flags say.
pub(super) fn mend(
    document: &mut Lined,
    config: &ClusterConfig,
    faults: &mut Faults,
) -> Result<Config, FixError> {
    let Some(index) = container_index(&document.value) else {
        return Err(FixError::NoAutoscaler);
    };
    let container = format!("{POD}/containers/{index}");
    let flags = mend_flags(document, &container, config, faults)?;
    selector(document, faults);
    volumes(document, &container, faults);
    image(document, &container, config, faults);
    region(document, &container, config, faults);
    resources(document, &container, config, faults);
    hardening(document, &container, faults);
    placement(document, config, faults);
    availability(document, config, faults);
    Ok(flags)
}

/// Puts a value at a pointer, whose surrounding part is there: into nothing, nothing is put.
fn set(document: &mut Lined, pointer: &str, value: Value) {
    if let Some(part) = document.value.pointer_mut(pointer) {
        *part = value;
        return;
    }
    let (around, key) = pointer.rsplit_once('/').unwrap_or(("", pointer));
    if let Some(Value::Object(map)) = document.value.pointer_mut(around) {
        map.insert(key.to_owned(), value);
    }
}

fn remove(document: &mut Lined, pointer: &str) -> Option<Value> {
    let (around, key) = pointer.rsplit_once('/')?;
    document
        .value
        .pointer_mut(around)?
        .as_object_mut()?
        .remove(key)
}

/// The flags of command and args; a placeholder in the discovery tag becomes the cluster's name.
fn mend_flags(
    document: &mut Lined,
    container: &str,
    config: &ClusterConfig,
    faults: &mut Faults,
) -> Result<Config, FixError> {
    let discovery = format!(
        "--node-group-auto-discovery=asg:tag={}",
        config.discovery_tags().join(",")
    );
    let mut flags = Vec::new();
    for field in ["command", "args"] {
        let pointer = format!("{container}/{field}");
        let words = document.value.pointer(&pointer).and_then(Value::as_array);
        for index in 0..words.map_or(0, Vec::len) {
            let pointer = format!("{pointer}/{index}");
            let line = document.line(&pointer);
            let Some(word) = document.value.pointer(&pointer).and_then(Value::as_str) else {
                continue;
            };
            let word = word.to_owned();
            let is_discovery = word.contains("node-group-auto-discovery");
            let why = if word.contains(['<', '>', '{']) {
                Some("still has its placeholder")
            } else if is_of_another_cluster(&word, &config.spec.cluster) {
                Some("looks for another cluster's groups")
            } else {
                None
            };
            if let Some(why) = why.filter(|_| is_discovery) {
                faults.add(
                    line,
                    format!("`{word}` {why}: it finds none of this one"),
                    format!("now `{discovery}`"),
                );
                set(document, &pointer, json!(discovery));
                flags.push(discovery.clone());
            } else if word.starts_with("--") {
                flags.push(word);
            }
        }
    }
    match Config::parse(&flags) {
        Ok((parsed, _)) => Ok(parsed),
        Err(errors) => Err(FixError::Flags {
            line: document.line(container),
            message: errors
                .iter()
                .filter(|error| !matches!(error, FlagError::Help))
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join("; "),
        }),
    }
}

/// Whether a discovery flag asks for the tag that groups of a cluster have, and of another one.
fn is_of_another_cluster(flag: &str, cluster: &str) -> bool {
    const PREFIX: &str = "k8s.io/cluster-autoscaler/";
    let tags = flag.split_once("asg:tag=").map(|(_, tags)| tags);
    let keys = tags.into_iter().flat_map(|tags| tags.split(','));
    keys.filter_map(|tag| tag.split('=').next()?.strip_prefix(PREFIX))
        .any(|rest| rest != "enabled" && rest != cluster && !rest.contains('/'))
}

/// `apps/v1` wants one.
fn selector(document: &mut Lined, faults: &mut Faults) {
    if document.value.pointer("/spec/selector").is_none() {
        let labels = document.value["spec"]["template"]["metadata"]["labels"].clone();
        faults.add(
            document.line("/spec"),
            "no `selector`, which apps/v1 requires",
            "the labels of the pods",
        );
        document.value["spec"]["selector"] = json!({ "matchLabels": labels });
    }
}

/// Trust roots come with the image: a directory of the host's in their place is a trap.
fn volumes(document: &mut Lined, container: &str, faults: &mut Faults) {
    let pointer = format!("{POD}/volumes");
    let Some(volumes) = document.value.pointer(&pointer).and_then(Value::as_array) else {
        return;
    };
    let mut kept = Vec::new();
    let mut dropped = Vec::new();
    for (index, volume) in volumes.iter().enumerate() {
        let path = text_at(volume, "/hostPath/path").unwrap_or_default();
        if ["/etc/ssl", "/etc/pki", "/etc/ca-certificates"]
            .iter()
            .any(|roots| path.starts_with(roots))
        {
            faults.add(
                document.line(&format!("{pointer}/{index}")),
                format!(
                    "`{path}` of the host: where a distribution has none, an empty directory is \
                     made in its place and no TLS connection works"
                ),
                "dropped: the image has the trust roots",
            );
            dropped.push(volume["name"].clone());
        } else {
            let mut volume = volume.clone();
            if let Some(fields) = volume.as_object_mut() {
                fields.remove("volumeMounts");
                fields.remove("imagePullPolicy");
            }
            kept.push(volume);
        }
    }
    if kept.is_empty() {
        remove(document, &pointer);
    } else {
        set(document, &pointer, json!(kept));
    }
    let mounts = format!("{container}/volumeMounts");
    if let Some(list) = document
        .value
        .pointer_mut(&mounts)
        .and_then(Value::as_array_mut)
    {
        list.retain(|mount| !dropped.contains(&mount["name"]));
        if list.is_empty() {
            remove(document, &mounts);
        }
    }
}

fn image(document: &mut Lined, container: &str, config: &ClusterConfig, faults: &mut Faults) {
    let pointer = format!("{container}/image");
    let wanted = &config.spec.autoscaler.image;
    let found = text_at(&document.value, &pointer)
        .unwrap_or_default()
        .to_owned();
    if found != *wanted {
        let fault = if found.starts_with("gcr.io/google-containers")
            || found.starts_with("gcr.io/google_containers")
            || found.starts_with("k8s.gcr.io")
        {
            format!("image `{found}`: that registry is frozen")
        } else {
            format!("image `{found}`")
        };
        faults.add(document.line(&pointer), fault, format!("now `{wanted}`"));
        set(document, &pointer, json!(wanted));
    }
    let pointer = format!("{container}/imagePullPolicy");
    if text_at(&document.value, &pointer) == Some("Always") {
        faults.add(
            document.line(&pointer),
            "`imagePullPolicy: Always`: no start without the registry",
            "now `IfNotPresent`",
        );
        set(document, &pointer, json!("IfNotPresent"));
    }
}

fn region(document: &mut Lined, container: &str, config: &ClusterConfig, faults: &mut Faults) {
    let region = &config.spec.region;
    let pointer = format!("{container}/env");
    let variables = document.value.pointer(&pointer).and_then(Value::as_array);
    let index = variables.and_then(|list| {
        list.iter()
            .position(|variable| variable["name"] == "AWS_REGION")
    });
    let Some(index) = index else {
        faults.add(
            document.line(container),
            "no AWS_REGION",
            format!("now `{region}`"),
        );
        let mut list = variables.cloned().unwrap_or_default();
        list.push(json!({ "name": "AWS_REGION", "value": region }));
        set(document, &pointer, json!(list));
        return;
    };
    let pointer = format!("{pointer}/{index}");
    let found = document
        .value
        .pointer(&pointer)
        .cloned()
        .unwrap_or_default();
    if found["value"] != *region {
        let value = found["value"].as_str().unwrap_or("nothing");
        faults.add(
            document.line(&pointer),
            format!("AWS_REGION is `{value}`, and the cluster is in `{region}`: no group is found"),
            format!("now `{region}`"),
        );
        set(
            document,
            &pointer,
            json!({ "name": "AWS_REGION", "value": region }),
        );
    }
}

fn resources(document: &mut Lined, container: &str, config: &ClusterConfig, faults: &mut Faults) {
    let pointer = format!("{container}/resources");
    let limit = format!("{pointer}/limits/cpu");
    if let Some(cpu) = text_at(&document.value, &limit).map(str::to_owned) {
        faults.add(
            document.line(&limit),
            format!("a limit of `{cpu}` CPU throttles the first big loop, and the probe kills it"),
            "dropped",
        );
        remove(document, &limit);
    }
    let memory = text_at(&document.value, &format!("{pointer}/limits/memory"))
        .or_else(|| text_at(&document.value, &format!("{pointer}/requests/memory")))
        .unwrap_or(&config.spec.autoscaler.memory)
        .to_owned();
    let cpu = text_at(&document.value, &format!("{pointer}/requests/cpu"))
        .unwrap_or("100m")
        .to_owned();
    set(
        document,
        &pointer,
        json!({
            "requests": { "cpu": cpu, "memory": memory },
            "limits": { "memory": memory },
        }),
    );
}

/// Probes, ports and security contexts, where there are none.
fn hardening(document: &mut Lined, container: &str, faults: &mut Faults) {
    let probe = |failures: u32, period: u32| {
        json!({
            "httpGet": { "path": "/health-check", "port": PORT },
            "failureThreshold": failures,
            "periodSeconds": period,
        })
    };
    let additions = [
        (
            "ports",
            json!([{ "name": "http", "containerPort": PORT }]),
            "metrics and health",
        ),
        ("startupProbe", probe(30, 2), "a slow start"),
        ("livenessProbe", probe(3, 10), "a loop that hangs"),
        (
            "readinessProbe",
            probe(1, 10),
            "a replica that is not there yet",
        ),
        (
            "securityContext",
            json!({
                "allowPrivilegeEscalation": false,
                "capabilities": { "drop": ["ALL"] },
                "readOnlyRootFilesystem": true,
            }),
            "what the process may do on its host",
        ),
    ];
    for (field, value, why) in additions {
        let pointer = format!("{container}/{field}");
        if document.value.pointer(&pointer).is_none() {
            faults.add(
                document.line(container),
                format!("no `{field}` ({why})"),
                "added",
            );
            set(document, &pointer, value);
        }
    }
    let pod_context = format!("{POD}/securityContext");
    if document.value.pointer(&pod_context).is_none() {
        faults.add(
            document.line(POD),
            "no `securityContext`: it runs as root",
            "now as user 65532",
        );
        set(
            document,
            &pod_context,
            json!({
                "runAsNonRoot": true,
                "runAsUser": 65532,
                "runAsGroup": 65532,
                "seccompProfile": { "type": "RuntimeDefault" },
            }),
        );
    }
}

/// On control-plane nodes, by the label and taint of today and of before.
fn placement(document: &mut Lined, config: &ClusterConfig, faults: &mut Faults) {
    const MASTER: &str = "node-role.kubernetes.io/master";
    let selector = format!("{POD}/nodeSelector");
    let on_master = document
        .value
        .pointer(&selector)
        .and_then(|it| it.get(MASTER))
        .is_some();
    if on_master {
        faults.add(
            document.line(&selector),
            format!(
                "label `{MASTER}` is gone from kubeadm's nodes since 1.24: the pod stays Pending"
            ),
            "an affinity to either label of control-plane nodes",
        );
        let rest = document.value.pointer_mut(&selector).and_then(|it| {
            let map = it.as_object_mut()?;
            map.remove(MASTER);
            Some(map.len())
        });
        if rest == Some(0) {
            remove(document, &selector);
        }
        set(
            document,
            &format!("{POD}/affinity"),
            autoscaler::control_plane_affinity(true),
        );
    }
    let pointer = format!("{POD}/tolerations");
    let old = document
        .value
        .pointer(&pointer)
        .and_then(Value::as_array)
        .cloned();
    let old = old.unwrap_or_default();
    let is_master = |toleration: &Value| toleration["key"] == MASTER;
    let both = autoscaler::control_plane_tolerations();
    let both = both.as_array().cloned().unwrap_or_default();
    let has_both = both.iter().all(|toleration| old.contains(toleration));
    let outdated = old.iter().position(is_master).filter(|_| !has_both);
    if let Some(index) = outdated {
        faults.add(
            document.line(&format!("{pointer}/{index}")),
            format!("taint `{MASTER}` is gone since 1.25, and kubeadm's never had a value"),
            "tolerates both taints of control-plane nodes",
        );
    }
    if outdated.is_some() || on_master && !has_both {
        let mut list: Vec<Value> = old.into_iter().filter(|one| !is_master(one)).collect();
        list.extend(both);
        set(document, &pointer, json!(list));
    }
    let on_host = document.value.pointer(&format!("{POD}/hostNetwork")) == Some(&json!(true));
    if config.spec.credentials.source == CredentialsSource::InstanceProfile && !on_host {
        faults.add(
            document.line(POD),
            "no `hostNetwork`: with a hop limit of 1 a pod does not get the instance profile's \
             credentials",
            "on the host's network",
        );
        set(document, &format!("{POD}/hostNetwork"), json!(true));
        set(document, &format!("{POD}/dnsPolicy"), json!("Default"));
    }
}

fn availability(document: &mut Lined, config: &ClusterConfig, faults: &mut Faults) {
    let replicas = document.value["spec"]["replicas"].as_u64().unwrap_or(1);
    let wanted = u64::from(config.spec.autoscaler.replicas);
    if replicas < wanted {
        faults.add(
            document.line("/spec/replicas"),
            format!("{replicas} replica: nothing scales while it is moved"),
            format!("{wanted}, of which one acts"),
        );
        document.value["spec"]["replicas"] = json!(wanted);
    }
    if document.value.pointer("/spec/strategy").is_none() {
        document.value["spec"]["strategy"] = json!({
            "type": "RollingUpdate",
            // One pod a host holds the port.
            "rollingUpdate": { "maxUnavailable": 1, "maxSurge": 0 },
        });
    }
    let pointer = format!("{POD}/priorityClassName");
    let namespace = text_at(&document.value, "/metadata/namespace");
    if document.value.pointer(&pointer).is_none() && namespace == Some("kube-system") {
        faults.add(
            document.line(POD),
            "no `priorityClassName`: the first to go when a node is full",
            "now `system-cluster-critical`",
        );
        set(document, &pointer, json!("system-cluster-critical"));
    }
}

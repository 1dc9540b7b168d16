//! The forms that manifests are given in: kustomize, values for the Go autoscaler's chart, the
//! chart's role, and the files under `deploy/`.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::rbac::{self, Feature, Reach, Right};
use super::yaml::{self, Manifest};
use super::{Component, autoscaler, manifests, monitoring, rotator, upstream_rights};
use crate::cluster_config::{ClusterConfig, Credentials, CredentialsSource};

/// A file of a directory that is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its path in the directory.
    pub path: String,
    /// Its text.
    pub text: String,
}

fn file(path: impl Into<String>, text: impl Into<String>) -> File {
    File {
        path: path.into(),
        text: text.into(),
    }
}

/// A kustomize base for each component, and overlays: `control-plane` for clusters made by
/// kubeadm, `eks` for those whose control plane has no nodes, `compat` for clusters of the how-to of
/// 2019, whose nodes read the bare token, and whose autoscaler may be the Go one again tomorrow.
pub fn kustomize(config: &ClusterConfig) -> Vec<File> {
    let mut neutral = config.clone();
    neutral.spec.credentials = Credentials {
        source: CredentialsSource::PodIdentity,
        autoscaler_role_arn: None,
    };
    neutral.spec.compat.join_token_parameter = None;
    let mut files = Vec::new();
    for (name, component) in [
        ("autoscaler", Component::Autoscaler),
        ("token-rotator", Component::TokenRotator),
        ("csr-approver", Component::CsrApprover),
        ("verify", Component::Verify),
    ] {
        let objects = manifests(&neutral, &[component]);
        files.push(file(
            format!("base/{name}/{name}.yaml"),
            yaml::stream(&objects),
        ));
        let kustomization = kustomization(json!({ "resources": [format!("{name}.yaml")] }));
        files.push(file(
            format!("base/{name}/kustomization.yaml"),
            kustomization,
        ));
    }
    let deployment = json!({ "kind": "Deployment", "name": autoscaler::NAME });
    files.push(file(
        "overlays/control-plane/kustomization.yaml",
        kustomization(json!({
            "resources": ["../../base/autoscaler", "../../base/token-rotator"],
            "patches": [{ "path": "deployment.yaml", "target": deployment }],
        })),
    ));
    files.push(file(
        "overlays/control-plane/deployment.yaml",
        yaml::to_yaml(&json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": { "name": autoscaler::NAME },
            "spec": {
                "strategy": { "rollingUpdate": { "maxSurge": 0, "maxUnavailable": 1 } },
                "template": {
                    "spec": {
                        "affinity": autoscaler::control_plane_affinity(true),
                        "dnsPolicy": "Default",
                        "hostNetwork": true,
                    },
                },
            },
        })),
    ));
    let mut eks = json!({ "resources": ["../../base/autoscaler"] });
    if let Some(role) = &config.spec.credentials.autoscaler_role_arn {
        eks["patches"] = json!([{
            "target": { "kind": "ServiceAccount", "name": autoscaler::NAME },
            "patch": yaml::to_yaml(&json!({
                "apiVersion": "v1",
                "kind": "ServiceAccount",
                "metadata": {
                    "name": autoscaler::NAME,
                    "annotations": { autoscaler::ROLE_ARN: role },
                },
            })),
        }]);
    }
    files.push(file("overlays/eks/kustomization.yaml", kustomization(eks)));
    files.extend(compat_overlay(config));
    files
}

fn compat_overlay(config: &ClusterConfig) -> [File; 2] {
    let parameter = config.spec.compat.join_token_parameter.as_deref();
    let arguments: Vec<Value> = rotator::compat_flags(parameter.unwrap_or("jointoken"))
        .iter()
        .map(|flag| {
            json!({
                "op": "add", "path": "/spec/template/spec/containers/0/args/-", "value": flag,
            })
        })
        .collect();
    let overlay = kustomization(json!({
        "resources": ["../control-plane", "rights.yaml"],
        "patches": [{
            "target": { "kind": "DaemonSet", "name": rotator::NAME },
            "patch": yaml::to_yaml(&json!(arguments)),
        }],
    }));
    [
        file("overlays/compat/kustomization.yaml", overlay),
        file(
            "overlays/compat/rights.yaml",
            yaml::stream(&upstream_rights(config)),
        ),
    ]
}

fn kustomization(mut value: Value) -> String {
    value["apiVersion"] = json!("kustomize.config.k8s.io/v1beta1");
    value["kind"] = json!("Kustomization");
    yaml::to_yaml(&value)
}

/// Values with which the Go autoscaler's chart, unchanged, runs Windlass.
pub fn helm_values(config: &ClusterConfig) -> Value {
    let autoscaler = &config.spec.autoscaler;
    let (repository, tag) = image_parts(&autoscaler.image);
    let mut values = json!({
        "cloudProvider": "aws",
        "autoDiscovery": { "clusterName": config.spec.cluster },
        "awsRegion": config.spec.region,
        "image": { "repository": repository, "tag": tag },
        "replicaCount": autoscaler.replicas,
        "extraArgs": extra_args(&autoscaler.flags),
        "resources": {
            "requests": { "cpu": "100m", "memory": autoscaler.memory },
            "limits": { "memory": autoscaler.memory },
        },
        "priorityClassName": "system-cluster-critical",
        "tolerations": autoscaler::control_plane_tolerations(),
        "securityContext": autoscaler::pod_security(),
        "containerSecurityContext": autoscaler::container_security(),
        "serviceMonitor": { "enabled": autoscaler.monitoring.service_monitor },
        "prometheusRule": { "enabled": autoscaler.monitoring.alerts },
    });
    let on_host = config.spec.credentials.source == CredentialsSource::InstanceProfile;
    values["affinity"] = autoscaler::control_plane_affinity(on_host);
    if on_host {
        values["hostNetwork"] = json!(true);
        values["dnsPolicy"] = json!("Default");
        values["updateStrategy"] = json!({
            "type": "RollingUpdate",
            "rollingUpdate": { "maxSurge": 0, "maxUnavailable": 1 },
        });
    }
    if let Some(role) = &config.spec.credentials.autoscaler_role_arn {
        values["rbac"]["serviceAccount"]["annotations"] = json!({ autoscaler::ROLE_ARN: role });
    }
    if autoscaler.monitoring.alerts {
        values["prometheusRule"]["rules"] = monitoring::alert_rules();
    }
    values
}

/// Repository and tag of an image.
fn image_parts(image: &str) -> (&str, &str) {
    let name = image.rfind('/').map_or(0, |slash| slash + 1);
    match image[name..].split_once(':') {
        Some((last, tag)) => (&image[..name + last.len()], tag),
        None => (image, ""),
    }
}

/// Flags as the chart's map: a key that is given again gets an underscore and a number, and what
/// follows an underscore the chart ignores.
fn extra_args(flags: &[String]) -> Value {
    let mut map = Map::new();
    for flag in flags {
        let flag = flag.trim_start_matches('-');
        let (name, value) = flag.split_once('=').unwrap_or((flag, "true"));
        let mut key = name.to_owned();
        let mut count = 1;
        while map.contains_key(&key) {
            key = format!("{name}_{count}");
            count += 1;
        }
        map.insert(key, json!(value));
    }
    Value::Object(map)
}

/// The chart's roles: the table of rights with the conditions under which the chart's values ask
/// for each.
pub fn chart_cluster_role() -> String {
    let mut text = String::from(
        "{{- /* Generated from the table of rights: change that, and run `cargo xtask gen`. */}}\n\
         {{- if .Values.rbac.create }}\n",
    );
    for (reach, kind) in [(Reach::Cluster, "ClusterRole"), (Reach::Namespace, "Role")] {
        let namespace = match reach {
            Reach::Cluster => "",
            Reach::Namespace => "  namespace: {{ .Release.Namespace }}\n",
        };
        let condition = match reach {
            Reach::Cluster => "{{- if .Values.rbac.clusterScoped }}\n",
            Reach::Namespace => "",
        };
        let metadata = format!(
            "metadata:\n  name: {{{{ include \"windlass.fullname\" . }}}}\n{namespace}  labels:\n    \
             {{{{- include \"windlass.labels\" . | nindent 4 }}}}\n  \
             {{{{- with .Values.rbac.annotations }}}}\n  annotations:\n    \
             {{{{- include \"windlass.annotations\" (list $ .) | trim | nindent 4 }}}}\n  \
             {{{{- end }}}}\n"
        );
        let _ = write!(
            text,
            "{condition}---\napiVersion: rbac.authorization.k8s.io/v1\nkind: {kind}\n{metadata}rules:\n"
        );
        for right in rbac::every_right() {
            if right.reach == reach {
                text.push_str(&chart_rule(&right));
            }
        }
        text.push_str(
            "{{- with .Values.rbac.additionalRules }}\n{{- toYaml . | nindent 0 }}\n{{- end }}\n",
        );
        let _ = write!(
            text,
            "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: {kind}Binding\n{metadata}roleRef:\n  \
             apiGroup: rbac.authorization.k8s.io\n  kind: {kind}\n  \
             name: {{{{ include \"windlass.fullname\" . }}}}\nsubjects:\n- kind: ServiceAccount\n  \
             name: {{{{ include \"windlass.serviceAccountName\" . }}}}\n  \
             namespace: {{{{ .Release.Namespace }}}}\n"
        );
        if reach == Reach::Cluster {
            text.push_str("{{- end }}\n");
        }
    }
    text.push_str("{{- end }}\n");
    text
}

fn chart_rule(right: &Right) -> String {
    let mut rule = rbac::rule(right);
    // Names that flags decide are the chart's to fill in.
    let names: Vec<&str> = right
        .names
        .iter()
        .map(|name| match name.as_str() {
            "cluster-autoscaler-status" => "STATUS",
            "cluster-autoscaler" => "LEASE",
            name => name,
        })
        .collect();
    if !names.is_empty() {
        rule["resourceNames"] = json!(names);
    }
    let body = Manifest::new(json!([rule]))
        .with_comment("/0", right.why)
        .to_yaml()
        .replace(
            "[STATUS]",
            &named_by("status-config-map-name", "cluster-autoscaler-status"),
        )
        .replace(
            "[LEASE]",
            &named_by("leader-elect-resource-name", "cluster-autoscaler"),
        );
    match chart_condition(right.feature) {
        None => body,
        Some(condition) => format!("{{{{- if {condition} }}}}\n{body}{{{{- end }}}}\n"),
    }
}

/// A list of the one name that a flag gives.
fn named_by(flag: &str, default: &str) -> String {
    format!("[{{{{ include \"windlass.flag\" (list $ \"{flag}\") | default \"{default}\" }}}}]")
}

/// When the chart's values switch a feature on.
fn chart_condition(feature: Feature) -> Option<String> {
    const CONTROLLER: &str = "capacity-buffer-controller-enabled";
    let is_on = |flag: &str, default: bool| {
        format!("include \"windlass.isOn\" (list $ \"{flag}\" {default})")
    };
    let is_on_of_two = |first: &str, second: &str| {
        format!("or ({}) ({})", is_on(first, false), is_on(second, false))
    };
    match feature {
        Feature::Always => None,
        Feature::ScaleDown => Some(is_on("scale-down-enabled", true)),
        Feature::LeaderElection => Some(is_on("leader-elect", true)),
        Feature::Status => Some(is_on("write-status-configmap", true)),
        Feature::PriorityExpander => Some("include \"windlass.hasPriorities\" $".to_owned()),
        Feature::ProvisioningRequests => Some(is_on("enable-provisioning-requests", false)),
        Feature::CapacityBuffers => Some(is_on_of_two(
            CONTROLLER,
            "capacity-buffer-pod-injection-enabled",
        )),
        Feature::BufferController => Some(is_on(CONTROLLER, false)),
        Feature::BufferDryRun => Some(format!(
            "and ({}) ({})",
            is_on(CONTROLLER, false),
            is_on("capacity-buffer-pod-dry-run-enabled", true)
        )),
        Feature::CapacityQuotas => Some(is_on("capacity-quotas-enabled", false)),
    }
}

/// The files under `deploy/` that are made from a configuration, which is the example's.
pub fn deploy_files(config: &ClusterConfig) -> Vec<File> {
    const HEAD: &str = "# Made from examples/cluster.yaml by `cargo xtask gen`. For your cluster: \
                        `windlass manifests --config FILE`.\n";
    let mut files = Vec::new();
    for (name, component) in [
        ("autoscaler", Component::Autoscaler),
        ("token-rotator", Component::TokenRotator),
        ("csr-approver", Component::CsrApprover),
        ("verify", Component::Verify),
    ] {
        let objects = manifests(config, &[component]);
        files.push(file(
            format!("yaml/{name}.yaml"),
            format!("{HEAD}{}", yaml::stream(&objects)),
        ));
    }
    for File { path, text } in kustomize(config) {
        files.push(file(format!("kustomize/{path}"), text));
    }
    files.push(file(
        "helm/windlass/templates/roles.yaml",
        chart_cluster_role(),
    ));
    files.push(file(
        "helm/upstream-values.yaml",
        format!(
            "# With these the Go autoscaler's chart, unchanged, runs Windlass.\n{HEAD}{}",
            yaml::to_yaml(&helm_values(config))
        ),
    ));
    files.push(file(
        "monitoring/alerts.yaml",
        yaml::to_yaml(&json!({
            "groups": [{ "name": autoscaler::NAME, "rules": monitoring::alert_rules() }],
        })),
    ));
    files.push(file(
        "monitoring/dashboard.json",
        format!("{:#}\n", sorted(monitoring::dashboard())),
    ));
    files
}

/// With keys by name, whatever order the reader of JSON keeps.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<(String, Value)> = map.into_iter().collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(
                entries
                    .into_iter()
                    .map(|(key, value)| (key, sorted(value)))
                    .collect(),
            )
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        scalar => scalar,
    }
}

/// The flags of the rotator, for those who run it from a unit or from cron.
pub fn rotator_command(config: &ClusterConfig) -> String {
    format!("windlass token rotate {}", rotator::flags(config).join(" "))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;

    fn example() -> ClusterConfig {
        let text = include_str!("../../../../examples/cluster.yaml");
        ClusterConfig::read("examples/cluster.yaml", text).unwrap()
    }

    /// Fails when a file under `deploy/` is stale, and writes it with `UPDATE_EXPECT=1`.
    #[test]
    fn generated_deploy_files_are_up_to_date() {
        let deploy = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../deploy");
        let is_writing = std::env::var_os("UPDATE_EXPECT").is_some_and(|value| value == "1");
        for File { path, text } in deploy_files(&example()) {
            let path = deploy.join(path);
            if is_writing {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(&path, &text).unwrap();
            }
            let found = fs::read_to_string(&path).unwrap_or_default();
            assert!(
                found == text,
                "{} is stale: run `cargo xtask gen`",
                path.display()
            );
        }
    }

    #[test]
    fn an_image_is_told_from_its_tag() {
        assert_eq!(image_parts("a.b:5000/c/d:v1"), ("a.b:5000/c/d", "v1"));
        assert_eq!(image_parts("windlass:v1"), ("windlass", "v1"));
        assert_eq!(image_parts("a.b:5000/c"), ("a.b:5000/c", ""));
    }

    #[test]
    fn a_flag_that_is_given_again_keeps_its_earlier_value() {
        let flags = ["--a=1", "--b", "--a=2"].map(str::to_owned);
        assert_eq!(
            extra_args(&flags),
            json!({ "a": "1", "a_1": "2", "b": "true" })
        );
    }
}

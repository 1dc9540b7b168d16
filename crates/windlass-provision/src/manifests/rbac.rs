//! What the autoscaler may do in the cluster: a table of rights with the use of each, of which
//! those are rendered that the flags ask for.

use serde_json::{Value, json};
use windlass_config::{Config, Expander};

use super::yaml::Manifest;

/// The priority expander's `ConfigMap`. Source: the Go autoscaler's `pkg/expander/priority`.
const PRIORITY_CONFIG_MAP: &str = "cluster-autoscaler-priority-expander";

/// What has to be switched on for a right to be needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Feature {
    /// Nothing: always needed.
    Always,
    /// `--scale-down-enabled`.
    ScaleDown,
    /// `--leader-elect`.
    LeaderElection,
    /// `--write-status-configmap`.
    Status,
    /// `--expander=priority`.
    PriorityExpander,
    /// `--enable-provisioning-requests`.
    ProvisioningRequests,
    /// `--capacity-buffer-controller-enabled` or `--capacity-buffer-pod-injection-enabled`.
    CapacityBuffers,
    /// `--capacity-buffer-controller-enabled`.
    BufferController,
    /// The same with `--capacity-buffer-pod-dry-run-enabled`.
    BufferDryRun,
    /// `--capacity-quotas-enabled`.
    CapacityQuotas,
}

impl Feature {
    /// Whether a configuration switches it on.
    pub fn is_on(self, config: &Config) -> bool {
        let features = &config.features;
        match self {
            Self::Always => true,
            Self::ScaleDown => config.scale_down.enabled,
            Self::LeaderElection => config.leader_election.enabled,
            Self::Status => config.process.write_status_configmap,
            Self::PriorityExpander => config.scale_up.expander.contains(Expander::Priority),
            Self::ProvisioningRequests => features.provisioning_requests,
            Self::CapacityBuffers => {
                features.capacity_buffer_controller || features.capacity_buffer_pod_injection
            }
            Self::BufferController => features.capacity_buffer_controller,
            Self::BufferDryRun => {
                features.capacity_buffer_controller && features.capacity_buffer_pod_dry_run
            }
            Self::CapacityQuotas => features.capacity_quotas,
        }
    }

    /// The flag that switches it, for people.
    pub fn flag(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::ScaleDown => "--scale-down-enabled",
            Self::LeaderElection => "--leader-elect",
            Self::Status => "--write-status-configmap",
            Self::PriorityExpander => "--expander=priority",
            Self::ProvisioningRequests => "--enable-provisioning-requests",
            Self::CapacityBuffers => "--capacity-buffer-…-enabled",
            Self::BufferController => "--capacity-buffer-controller-enabled",
            Self::BufferDryRun => "--capacity-buffer-pod-dry-run-enabled",
            Self::CapacityQuotas => "--capacity-quotas-enabled",
        }
    }
}

/// Where a right holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// In the whole cluster.
    Cluster,
    /// In the autoscaler's own namespace.
    Namespace,
}

/// A right, and what it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Right {
    /// Where it holds.
    pub reach: Reach,
    /// Group of the API; empty for the core.
    pub api_group: &'static str,
    /// Plural names of resources, subresources behind a slash.
    pub resources: &'static [&'static str],
    /// Names of objects, where the right is bound to some.
    pub names: Vec<String>,
    /// What may be done.
    pub verbs: &'static [&'static str],
    /// The use of it.
    pub why: &'static str,
    /// What needs it.
    pub feature: Feature,
}

/// Of the optional APIs.
pub(super) const GROUP: &str = "autoscaling.x-k8s.io";

/// Reading a resource is listing it once and watching it from then on.
const WATCH: &[&str] = &["list", "watch"];

/// A right in the whole cluster.
pub(super) fn cluster(
    api_group: &'static str,
    resources: &'static [&'static str],
    verbs: &'static [&'static str],
    why: &'static str,
    feature: Feature,
) -> Right {
    Right {
        reach: Reach::Cluster,
        api_group,
        resources,
        names: Vec::new(),
        verbs,
        why,
        feature,
    }
}

/// A right in the autoscaler's own namespace, on objects of these names if there are any.
pub(super) fn own(
    api_group: &'static str,
    resources: &'static [&'static str],
    names: &[&str],
    verbs: &'static [&'static str],
    why: &'static str,
    feature: Feature,
) -> Right {
    Right {
        reach: Reach::Namespace,
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        ..cluster(api_group, resources, verbs, why, feature)
    }
}

/// What is seen: all that the scheduler looks at too, and what owns pods.
fn seeing() -> Vec<Right> {
    vec![
        cluster(
            "",
            &["nodes"],
            &["get", "list", "watch", "update"],
            "Seeing nodes; tainting those that are to go.",
            Feature::Always,
        ),
        cluster(
            "",
            &[
                "namespaces",
                "persistentvolumeclaims",
                "persistentvolumes",
                "pods",
                "replicationcontrollers",
                "services",
            ],
            WATCH,
            "What the scheduler looks at too, to tell where a pod would fit.",
            Feature::Always,
        ),
        cluster(
            "apps",
            &["daemonsets", "replicasets", "statefulsets"],
            WATCH,
            "Which pods come back when they are evicted, and which every node has.",
            Feature::Always,
        ),
        cluster(
            "batch",
            &["jobs"],
            WATCH,
            "Which pods come back when they are evicted.",
            Feature::Always,
        ),
        cluster(
            "policy",
            &["poddisruptionbudgets"],
            WATCH,
            "How many pods may be evicted at once.",
            Feature::Always,
        ),
        cluster(
            "storage.k8s.io",
            &[
                "csidrivers",
                "csinodes",
                "csistoragecapacities",
                "storageclasses",
                "volumeattachments",
            ],
            WATCH,
            "How many volumes a node takes, and in which zone.",
            Feature::Always,
        ),
        cluster(
            "resource.k8s.io",
            &["deviceclasses", "resourceclaims", "resourceslices"],
            WATCH,
            "Devices that pods claim.",
            Feature::Always,
        ),
    ]
}

/// What is done to nodes and pods.
fn acting() -> Vec<Right> {
    vec![
        cluster(
            "",
            &["pods/eviction"],
            &["create"],
            "Draining a node.",
            Feature::ScaleDown,
        ),
        cluster(
            "",
            &["events"],
            &["create", "patch"],
            "Telling what was decided, on the objects that it is about.",
            Feature::Always,
        ),
    ]
}

/// Buffers of spare capacity.
fn buffers() -> Vec<Right> {
    vec![
        cluster(
            GROUP,
            &["capacitybuffers"],
            &["get", "list", "watch"],
            "Buffers of spare capacity.",
            Feature::CapacityBuffers,
        ),
        cluster(
            GROUP,
            &["capacitybuffers/status"],
            &["update"],
            "Telling how a buffer fares.",
            Feature::CapacityBuffers,
        ),
        cluster(
            "",
            &["podtemplates", "resourcequotas"],
            WATCH,
            "The pods that a buffer stands for, and how many there may be.",
            Feature::CapacityBuffers,
        ),
        cluster(
            "apps",
            &["deployments"],
            WATCH,
            "What a buffer's size is a share of.",
            Feature::CapacityBuffers,
        ),
        cluster(
            "",
            &["podtemplates"],
            &["get", "create", "update"],
            "The template that the controller keeps for a buffer.",
            Feature::BufferController,
        ),
        cluster(
            "",
            &["pods", "replicationcontrollers"],
            &["get"],
            "What a buffer's template is made of.",
            Feature::BufferController,
        ),
        cluster(
            "apps",
            &["daemonsets", "deployments", "replicasets", "statefulsets"],
            &["get"],
            "The same.",
            Feature::BufferController,
        ),
        cluster(
            "batch",
            &["jobs"],
            &["get"],
            "The same.",
            Feature::BufferController,
        ),
        cluster(
            "",
            &["pods"],
            &["create"],
            "Trying a buffer's pod by a dry run, as admission would make it. RBAC cannot tell dry \
             runs from others.",
            Feature::BufferDryRun,
        ),
    ]
}

/// Optional APIs.
fn optional() -> Vec<Right> {
    vec![
        cluster(
            GROUP,
            &["provisioningrequests"],
            &["get", "list", "watch", "delete"],
            "Requests for capacity; those that are long over are deleted.",
            Feature::ProvisioningRequests,
        ),
        cluster(
            GROUP,
            &["provisioningrequests/status"],
            &["update"],
            "Answering requests for capacity.",
            Feature::ProvisioningRequests,
        ),
        cluster(
            "",
            &["podtemplates"],
            WATCH,
            "The pods that a request stands for.",
            Feature::ProvisioningRequests,
        ),
        cluster(
            GROUP,
            &["capacityquotas"],
            &["get", "list", "watch"],
            "Quotas of capacity.",
            Feature::CapacityQuotas,
        ),
        cluster(
            GROUP,
            &["capacityquotas/status"],
            &["update"],
            "Telling how much of a quota is used.",
            Feature::CapacityQuotas,
        ),
    ]
}

/// In the autoscaler's own namespace: its status, its lease, its priorities.
fn in_namespace(config: &Config) -> Vec<Right> {
    let status = config.process.status_config_map_name.as_str();
    let lease = config.leader_election.resource_name.as_str();
    vec![
        own(
            "",
            &["configmaps"],
            &[status],
            WATCH,
            "Seeing when somebody pauses scale-down on the status object.",
            Feature::Always,
        ),
        own(
            "",
            &["configmaps"],
            &[],
            &["create"],
            "The status object, the first time. A name cannot be given with `create`.",
            Feature::Status,
        ),
        own(
            "",
            &["configmaps"],
            &[status],
            &["get", "update"],
            "The status object, and in it what must outlive a restart.",
            Feature::Status,
        ),
        own(
            "",
            &["configmaps"],
            &[PRIORITY_CONFIG_MAP],
            WATCH,
            "The priorities of groups.",
            Feature::PriorityExpander,
        ),
        own(
            "coordination.k8s.io",
            &["leases"],
            &[],
            &["create"],
            "The lease, the first time. A name cannot be given with `create`.",
            Feature::LeaderElection,
        ),
        own(
            "coordination.k8s.io",
            &["leases"],
            &[lease],
            &["get", "update"],
            "Who of several replicas acts.",
            Feature::LeaderElection,
        ),
    ]
}

/// Every right, whatever is switched on.
fn all(config: &Config) -> Vec<Right> {
    [
        seeing(),
        acting(),
        optional(),
        buffers(),
        in_namespace(config),
    ]
    .concat()
}

/// The rights that a configuration needs.
pub fn rights(config: &Config) -> Vec<Right> {
    all(config)
        .into_iter()
        .filter(|right| right.feature.is_on(config))
        .collect()
}

/// Every right that some configuration needs, with what asks for it: for the chart, whose
/// templates decide when its values are known.
pub fn every_right() -> Vec<Right> {
    all(&Config::default())
}

/// A right as a rule of a role.
pub fn rule(right: &Right) -> Value {
    let mut rule = json!({
        "apiGroups": [right.api_group],
        "resources": right.resources,
        "verbs": right.verbs,
    });
    if !right.names.is_empty() {
        rule["resourceNames"] = json!(right.names);
    }
    rule
}

/// Roles and bindings of a service account that has their name.
pub fn roles(name: &str, namespace: &str, labels: &Value, rights: &[Right]) -> Vec<Manifest> {
    roles_of(name, name, namespace, labels, rights)
}

/// Roles and bindings of a service account.
pub fn roles_of(
    account: &str,
    name: &str,
    namespace: &str,
    labels: &Value,
    rights: &[Right],
) -> Vec<Manifest> {
    let mut manifests = Vec::new();
    for (reach, kind) in [(Reach::Cluster, "ClusterRole"), (Reach::Namespace, "Role")] {
        let rights: Vec<&Right> = rights.iter().filter(|right| right.reach == reach).collect();
        if rights.is_empty() {
            continue;
        }
        let mut metadata = json!({ "name": name, "labels": labels });
        if reach == Reach::Namespace {
            metadata["namespace"] = json!(namespace);
        }
        let rules: Vec<Value> = rights.iter().map(|right| rule(right)).collect();
        let mut role = Manifest::new(json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": kind,
            "metadata": metadata,
            "rules": rules,
        }));
        for (index, right) in rights.iter().enumerate() {
            let why = match right.feature {
                Feature::Always => right.why.to_owned(),
                feature => format!("{} ({})", right.why, feature.flag()),
            };
            role = role.with_comment(format!("/rules/{index}"), why);
        }
        manifests.push(role);
        manifests.push(Manifest::new(json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": format!("{kind}Binding"),
            "metadata": metadata,
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name },
            "subjects": [{ "kind": "ServiceAccount", "name": account, "namespace": namespace }],
        })));
    }
    manifests
}

/// A table of the rights for people: what, on what, for what, and which flag asks for it.
pub fn explain(rights: &[Right]) -> String {
    let rows: Vec<[String; 5]> = rights
        .iter()
        .map(|right| {
            let group = match right.api_group {
                "" => "core",
                group => group,
            };
            let mut resources = right.resources.join(" ");
            if !right.names.is_empty() {
                resources = format!("{resources} ({})", right.names.join(", "));
            }
            [
                group.to_owned(),
                resources,
                right.verbs.join(" "),
                right.feature.flag().to_owned(),
                right.why.to_owned(),
            ]
        })
        .collect();
    let mut text = String::from("API group\tresources\tverbs\tasked for by\tfor\n");
    for row in rows {
        text.push_str(&row.join("\t"));
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verbs_on(flags: &[&str], resource: &str) -> Vec<&'static str> {
        let (config, _) = Config::parse(flags).unwrap();
        let mut verbs: Vec<&str> = rights(&config)
            .iter()
            .filter(|right| right.resources.contains(&resource))
            .flat_map(|right| right.verbs.iter().copied())
            .collect();
        verbs.sort_unstable();
        verbs
    }

    #[test]
    fn what_the_flags_switch_off_is_not_granted() {
        assert_eq!(verbs_on(&[], "leases"), ["create", "get", "update"]);
        assert!(verbs_on(&["--leader-elect=false"], "leases").is_empty());
        assert_eq!(verbs_on(&[], "pods/eviction"), ["create"]);
        assert!(verbs_on(&["--scale-down-enabled=false"], "pods/eviction").is_empty());
        assert_eq!(
            verbs_on(&["--write-status-configmap=false"], "configmaps"),
            ["list", "watch"]
        );
        assert!(verbs_on(&[], "capacityquotas").is_empty());
        assert_eq!(
            verbs_on(&["--capacity-quotas-enabled"], "capacityquotas"),
            ["get", "list", "watch"]
        );
    }

    /// As a drop-in, Windlass makes do with the rights that the Go autoscaler's chart grants.
    #[test]
    fn by_default_nothing_is_used_that_the_go_autoscalers_chart_does_not_grant() {
        let text = include_str!("../../../../testbed/manifests/drop-in-rbac.yaml");
        let granted: Vec<Value> = serde_saphyr::from_multiple(text).unwrap();
        let has = |list: &Value, wanted: &str| {
            list.as_array()
                .is_some_and(|list| list.iter().any(|it| it == wanted))
        };
        let is_granted = |right: &Right, resource: &str, verb: &str| {
            let applicable = granted
                .iter()
                .filter(|role| right.reach == Reach::Namespace || role["kind"] == "ClusterRole");
            applicable
                .flat_map(|role| role["rules"].as_array().into_iter().flatten())
                .filter(|rule| {
                    let names = &rule["resourceNames"];
                    names.is_null()
                        || right.names.iter().all(|name| has(names, name))
                            && !right.names.is_empty()
                })
                .any(|rule| {
                    has(&rule["apiGroups"], right.api_group)
                        && has(&rule["resources"], resource)
                        && has(&rule["verbs"], verb)
                })
        };
        for right in rights(&Config::default()) {
            for resource in right.resources {
                for verb in right.verbs {
                    assert!(is_granted(&right, resource, verb), "{verb} {resource}");
                }
            }
        }
    }

    #[test]
    fn names_follow_the_flags() {
        let (config, _) = Config::parse([
            "--status-config-map-name=ours",
            "--leader-elect-resource-name=who",
            "--expander=priority,least-waste",
        ])
        .unwrap();
        let names: Vec<String> = rights(&config)
            .into_iter()
            .flat_map(|right| right.names)
            .collect();
        assert!(names.contains(&"ours".to_owned()) && names.contains(&"who".to_owned()));
        assert!(names.contains(&PRIORITY_CONFIG_MAP.to_owned()));
    }

    #[test]
    fn no_right_is_a_wildcard() {
        for right in every_right() {
            assert!(!right.verbs.contains(&"*") && !right.resources.contains(&"*"));
            assert!(!right.resources.contains(&"secrets"));
        }
    }
}

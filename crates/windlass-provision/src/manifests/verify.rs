//! The account of `windlass verify`: rights enough for a run in its namespace, and a fence around
//! what it writes.

use serde_json::json;

use super::grants::{self, Account, Rules, rule};
use super::yaml::Manifest;
use crate::cluster_config::ClusterConfig;

/// Name of the account, of the namespace that a run makes, and of what is in it.
const NAME: &str = "windlass-verify";
const NAMESPACE: &str = "kube-system";

/// The objects, in the order in which they can be made.
pub fn manifests(config: &ClusterConfig) -> Vec<Manifest> {
    let namespace = config.spec.autoscaler.namespace.as_str();
    let account = Account {
        name: NAME,
        namespace: NAMESPACE,
    };
    let labels = json!({ "app.kubernetes.io/name": NAME });
    let metadata =
        |namespace: &str| json!({ "name": NAME, "namespace": namespace, "labels": labels });
    let mut manifests = vec![Manifest::new(json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata(NAMESPACE),
    }))];
    let everywhere = json!({ "name": NAME, "labels": labels });
    manifests.extend(grants::granted(&everywhere, &rules(), account));
    let status = super::parsed_flags(config).process.status_config_map_name;
    let lease = super::parsed_flags(config).leader_election.resource_name;
    let of_the_autoscaler = vec![
        (
            rule(("coordination.k8s.io", &["leases"]), &[&lease], &["get"]),
            "Whether an autoscaler runs.",
        ),
        (
            rule(("", &["configmaps"]), &[&status], &["get"]),
            "Which groups it has found, and how far they may grow.",
        ),
    ];
    manifests.extend(grants::granted(
        &metadata(namespace),
        &of_the_autoscaler,
        account,
    ));
    manifests.extend(fence(account));
    manifests
}

fn rules() -> Rules {
    vec![
        (
            rule(("", &["nodes"]), &[], &["list", "watch"]),
            "Which nodes there are, and which come and go.",
        ),
        (
            rule(("", &["pods"]), &[], &["list", "watch"]),
            "What is free on them, whether pods of others wait, and the run's own.",
        ),
        (
            rule(("", &["events"]), &[], &["list", "watch"]),
            "What the autoscaler says of the run's pods.",
        ),
        (
            rule(("", &["namespaces"]), &[], &["create"]),
            "The run's namespace. A name cannot be given with `create`: the policy below bounds it.",
        ),
        (
            rule(("", &["namespaces"]), &[NAME], &["get", "delete"]),
            "What an earlier run has left, and cleaning up.",
        ),
        (
            rule(("", &["resourcequotas"]), &[], &["create"]),
            "The run's fence: no more pods than it needs.",
        ),
        (
            rule(("apps", &["deployments"]), &[], &["create"]),
            "The run's pods.",
        ),
        (
            rule(("apps", &["deployments"]), &[NAME], &["patch"]),
            "More of them and fewer, in waves.",
        ),
        (
            rule(
                ("scheduling.k8s.io", &["priorityclasses"]),
                &[],
                &["create"],
            ),
            "Their priority, below everybody's.",
        ),
        (
            rule(
                ("scheduling.k8s.io", &["priorityclasses"]),
                &[NAME],
                &["get", "delete"],
            ),
            "Cleaning up.",
        ),
    ]
}

fn fence(account: Account<'_>) -> [Manifest; 2] {
    grants::fence(
        NAME,
        &[account],
        &json!([
            {
                "apiGroups": ["", "apps"], "apiVersions": ["v1"],
                "resources": ["resourcequotas", "deployments"],
                "operations": ["CREATE", "UPDATE", "DELETE"],
            },
            {
                "apiGroups": ["", "scheduling.k8s.io"], "apiVersions": ["v1"],
                "resources": ["namespaces", "priorityclasses"],
                "operations": ["CREATE"],
            },
        ]),
        &json!([{
            "expression": format!(
                "request.resource.resource in ['namespaces', 'priorityclasses'] \
                 ? object.metadata.name == '{NAME}' : request.namespace == '{NAME}'"
            ),
            "message": format!("windlass verify may write in its namespace {NAME} alone"),
        }]),
    )
}

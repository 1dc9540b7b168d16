//! The rights of the Go autoscaler's chart that Windlass does without.

use super::rbac::{Feature, GROUP, Right, cluster, own};

/// What the Go autoscaler's chart grants and Windlass never uses: for those who change one for the
/// other and back, with the same roles.
pub(super) fn upstream_only() -> Vec<Right> {
    const WHY: &str = "Granted by the Go autoscaler's chart; not used.";
    let unused = |group, resources, verbs| cluster(group, resources, verbs, WHY, Feature::Always);
    let mut lock = unused("", &["endpoints"], &["get", "update"]);
    lock.names = vec!["cluster-autoscaler".to_owned()];
    vec![
        unused("", &["endpoints"], &["create", "patch"]),
        lock,
        unused("", &["pods/status"], &["update"]),
        unused("", &["podtemplates"], &["get", "list", "watch"]),
        unused(
            "",
            &[
                "namespaces",
                "persistentvolumeclaims",
                "persistentvolumes",
                "pods",
                "replicationcontrollers",
                "services",
            ],
            &["get"],
        ),
        unused("", &["configmaps"], &["get", "list", "watch"]),
        unused("batch", &["cronjobs"], &["get", "list", "watch"]),
        unused("batch", &["jobs"], &["get", "patch"]),
        unused(
            "apps",
            &["daemonsets", "replicasets", "statefulsets"],
            &["get"],
        ),
        unused(
            "storage.k8s.io",
            &[
                "csidrivers",
                "csinodes",
                "csistoragecapacities",
                "storageclasses",
                "volumeattachments",
            ],
            &["get"],
        ),
        unused(
            "resource.k8s.io",
            &["deviceclasses", "resourceclaims", "resourceslices"],
            &["get"],
        ),
        unused(
            GROUP,
            &["provisioningrequests", "provisioningrequests/status"],
            &["get", "list", "watch", "update", "patch"],
        ),
        unused(GROUP, &["capacityquotas"], &["get", "list", "watch"]),
        unused(GROUP, &["capacityquotas/status"], &["update", "patch"]),
        own(
            "",
            &["configmaps"],
            &["cluster-autoscaler-status"],
            &["delete"],
            WHY,
            Feature::Always,
        ),
    ]
}

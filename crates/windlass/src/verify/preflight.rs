//! What must hold before a run makes anything. Read-only; each problem comes with what to do.

use std::collections::BTreeMap;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use windlass_kube::Api;

use super::VerifyArgs;
use super::cloud::Cloud;
use super::cluster::{Cluster, Leftover};
use super::template::AwsNames;
use crate::json::items;
use crate::nodes::never_initialized;

/// Most new nodes without `--yes`.
const MOST_NODES: u32 = 10;
/// A status object that is older is not a running autoscaler's: it writes it every few loops.
const RECENT: SignedDuration = SignedDuration::from_mins(10);

/// A call that a run makes: group, resource, verb, and whether it is about an object of the run's own
/// name, or one of the autoscaler's.
struct Needed(&'static str, &'static str, &'static str, Scope);

enum Scope {
    Everywhere,
    /// On the object that has the namespace's name.
    Own,
    /// In the run's namespace.
    Inside,
    Lease,
    Status,
}

const NEEDED: [Needed; 17] = [
    Needed("", "nodes", "list", Scope::Everywhere),
    Needed("", "nodes", "watch", Scope::Everywhere),
    Needed("", "pods", "list", Scope::Everywhere),
    Needed("", "pods", "watch", Scope::Inside),
    Needed("", "events", "list", Scope::Inside),
    Needed("", "events", "watch", Scope::Inside),
    Needed("", "namespaces", "create", Scope::Everywhere),
    Needed("", "namespaces", "get", Scope::Own),
    Needed("", "namespaces", "delete", Scope::Own),
    Needed("", "resourcequotas", "create", Scope::Inside),
    Needed("apps", "deployments", "create", Scope::Inside),
    Needed("apps", "deployments", "patch", Scope::Inside),
    Needed(
        "scheduling.k8s.io",
        "priorityclasses",
        "create",
        Scope::Everywhere,
    ),
    Needed("scheduling.k8s.io", "priorityclasses", "get", Scope::Own),
    Needed("scheduling.k8s.io", "priorityclasses", "delete", Scope::Own),
    Needed("coordination.k8s.io", "leases", "get", Scope::Lease),
    Needed("", "configmaps", "get", Scope::Status),
];

/// What a preflight has found.
#[derive(Default)]
pub(super) struct Preflight {
    /// All that stands in the way, each with what to do.
    pub(super) problems: Vec<String>,
    /// The earlier run whose leftovers have expired: they have to go before anything is made.
    pub(super) expired: Option<String>,
}

/// Looks. `most_nodes` is the highest wave, `names` are those of the group that is to grow.
pub(super) async fn preflight(
    cluster: &Cluster,
    args: &VerifyArgs,
    most_nodes: u32,
    (cloud, names): (Option<&Cloud>, Option<&AwsNames>),
) -> anyhow::Result<Preflight> {
    let mut found = Preflight::default();
    let problems = &mut found.problems;
    if MOST_NODES < most_nodes && !args.yes {
        problems.push(format!(
            "{most_nodes} nodes are many: allow more than {MOST_NODES} with --yes"
        ));
    }
    let denied = denied(cluster).await?;
    if !denied.is_empty() {
        problems.push(format!(
            "not allowed: {} (use an administrator's kubeconfig, or the account of `windlass \
             manifests --component verify`)",
            denied.join(", ")
        ));
        return Ok(found);
    }
    found.expired = leftovers(cluster, problems).await?;
    if !cluster.is_autoscaler_alive().await? {
        problems.push(format!(
            "nobody has renewed Lease {}/{} lately: the autoscaler does not run (look at its \
             Deployment and log), or uses another name (--lease)",
            cluster.autoscaler_namespace, cluster.lease
        ));
    }
    status(cluster, names, most_nodes, problems).await?;
    uninitialized(&cluster.api, problems).await?;
    if let Some(cloud) = cloud {
        problems.extend(cloud.credential_problem().await);
    }
    let pending = cluster.unschedulable_pods().await?;
    if !pending.is_empty() && !args.force {
        problems.push(format!(
            "pods of others are unschedulable ({}): the result would not be ours; --force goes on",
            pending.join(", ")
        ));
    }
    Ok(found)
}

/// The calls of a run that its user may not make.
async fn denied(cluster: &Cluster) -> anyhow::Result<Vec<String>> {
    let mut denied = Vec::new();
    for Needed(group, resource, verb, scope) in NEEDED {
        let (namespace, name) = match scope {
            Scope::Everywhere => ("", ""),
            Scope::Own if resource == "namespaces" => {
                (cluster.namespace.as_str(), cluster.namespace.as_str())
            }
            Scope::Own => ("", cluster.namespace.as_str()),
            Scope::Inside if verb == "patch" => {
                (cluster.namespace.as_str(), cluster.namespace.as_str())
            }
            Scope::Inside => (cluster.namespace.as_str(), ""),
            Scope::Lease => (
                cluster.autoscaler_namespace.as_str(),
                cluster.lease.as_str(),
            ),
            Scope::Status => (
                cluster.autoscaler_namespace.as_str(),
                cluster.status.as_str(),
            ),
        };
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": { "resourceAttributes": {
                "group": group, "resource": resource, "verb": verb,
                "namespace": namespace, "name": name,
            } },
        });
        let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        let answer: Value = cluster.api.create(path, &review).await?;
        if answer["status"]["allowed"] != true {
            denied.push(format!("{verb} {resource}"));
        }
    }
    Ok(denied)
}

/// What an earlier run has left is in the way, unless it has expired: then which run's it is.
async fn leftovers(
    cluster: &Cluster,
    problems: &mut Vec<String>,
) -> anyhow::Result<Option<String>> {
    let mut expired = None;
    match cluster.leftover().await? {
        Leftover::None => {}
        Leftover::Foreign => problems.push(format!(
            "namespace {} is somebody's: name another with --namespace",
            cluster.namespace
        )),
        Leftover::Ours { run, expires, .. } => {
            if expires.is_some_and(|expires| Timestamp::now() < expires) {
                problems.push(format!(
                    "namespace {} is an earlier run's, or another is under way: `windlass verify \
                     --cleanup` removes it",
                    cluster.namespace
                ));
            } else {
                expired = Some(run);
            }
        }
    }
    if cluster.priority_class_is_foreign().await? {
        problems.push(format!(
            "PriorityClass {0} is somebody's: name another namespace, whose name it has, with \
             --namespace",
            cluster.namespace
        ));
    }
    Ok(expired)
}

/// What the autoscaler says of itself and of its groups.
async fn status(
    cluster: &Cluster,
    names: Option<&AwsNames>,
    most_nodes: u32,
    problems: &mut Vec<String>,
) -> anyhow::Result<()> {
    let Some(status) = cluster.status().await? else {
        // `--write-status-configmap=false`: nothing is known of its groups.
        return Ok(());
    };
    if let Some(age) = age(&status.written, Timestamp::now())
        && RECENT < age
    {
        problems.push(format!(
            "the autoscaler's status is {} min old: its loop does not come to an end (look at its \
             log)",
            age.as_mins()
        ));
    }
    problems.extend(cannot_grow(&status.groups, names, most_nodes));
    Ok(())
}

/// Why the groups, or those of the names, may not grow by so many nodes, if they may not. `groups` has
/// target and maximum by name.
fn cannot_grow(
    groups: &BTreeMap<String, (i64, i64)>,
    names: Option<&AwsNames>,
    most_nodes: u32,
) -> Option<String> {
    if groups.is_empty() {
        return Some(
            "the autoscaler has found no groups: compare the tags of \
             --node-group-auto-discovery with those of the groups (`windlass doctor`)"
                .to_owned(),
        );
    }
    let asked = groups
        .iter()
        .filter(|(name, _)| names.is_none_or(|names| names.has(name)));
    let headroom: i64 = asked.map(|(_, (target, max))| (max - target).max(0)).sum();
    if i64::from(most_nodes) <= headroom {
        return None;
    }
    let who = match names {
        Some(names) => {
            if let Some(unknown) = names.without(groups) {
                return Some(format!(
                    "the autoscaler does not know group {unknown}: look at its tags (`windlass doctor`)"
                ));
            }
            format!("group {names}")
        }
        None => "the groups together".to_owned(),
    };
    Some(format!(
        "{who} may grow by {headroom}: raise `max` in cluster.yaml"
    ))
}

/// How old a status of that time is, as the Go autoscaler writes it: `2026-01-01 00:00:00.5 +0000 UTC`.
/// None where it is written otherwise.
fn age(written: &str, now: Timestamp) -> Option<SignedDuration> {
    let time: DateTime = written.get(..19)?.parse().ok()?;
    let time = time.to_zoned(TimeZone::UTC).ok()?.timestamp();
    Some(now.duration_since(time))
}

/// Nodes that no cloud controller adopts would not take the run's pods either.
async fn uninitialized(api: &Api, problems: &mut Vec<String>) -> anyhow::Result<()> {
    let nodes: Value = api.get("/api/v1/nodes").await?;
    let waiting = never_initialized(items(&nodes), Timestamp::now());
    if !waiting.is_empty() {
        problems.push(format!(
            "never initialized: {}: run a cloud controller manager, or set spec.cloudProvider to \
             none",
            waiting.join(", ")
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_of_a_status_is_read_as_go_writes_times() {
        let now: Timestamp = "2026-01-01T00:10:00Z".parse().unwrap();
        let age = |text| age(text, now).map(|age| age.as_secs());
        assert_eq!(age("2026-01-01 00:00:00.123456789 +0000 UTC"), Some(600));
        assert_eq!(age("yesterday"), None);
        assert_eq!(age(""), None);
    }

    /// Why the groups of the status may not grow by so many nodes.
    #[track_caller]
    fn check(names: Option<&AwsNames>, most_nodes: u32, expected: Option<&str>) {
        let groups = [
            ("prod-data-us-west-2a", (1, 2)),
            ("prod-data-us-west-2b", (0, 2)),
            ("prod-full", (3, 2)),
            ("prod-web", (0, 9)),
        ];
        let groups = groups.map(|(name, sizes)| (name.to_owned(), sizes)).into();
        let told = cannot_grow(&groups, names, most_nodes);
        match expected {
            None => assert_eq!(told, None),
            Some(part) => assert!(
                told.as_ref().is_some_and(|it| it.contains(part)),
                "{told:?}"
            ),
        }
    }

    fn known(names: &[&str]) -> AwsNames {
        AwsNames::Known(names.iter().map(|&name| name.to_owned()).collect())
    }

    #[test]
    fn the_groups_of_all_zones_grow_together() {
        let zonal = known(&["prod-data-us-west-2a", "prod-data-us-west-2b"]);
        let by_prefix = AwsNames::Beginning("prod-data-us-west-2".to_owned());
        for names in [&zonal, &by_prefix] {
            check(Some(names), 3, None);
            check(Some(names), 4, Some("may grow by 3: raise `max`"));
        }
        check(Some(&known(&["prod-full"])), 1, Some("may grow by 0"));
        check(None, 12, None);
        check(None, 13, Some("the groups together may grow by 12"));
    }

    #[test]
    fn a_name_that_the_autoscaler_does_not_know_is_told_where_it_is_missed() {
        let names = known(&["prod-data-us-west-2b", "prod-data-us-west-2c"]);
        check(Some(&names), 2, None);
        check(
            Some(&names),
            3,
            Some("not know group prod-data-us-west-2c:"),
        );
        let none = AwsNames::Beginning("prod-data-eu-west-1".to_owned());
        check(Some(&none), 1, Some("not know group prod-data-eu-west-1*:"));
    }
}

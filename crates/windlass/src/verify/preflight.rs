//! What must hold before a run makes anything. Read-only; each problem comes with what to do.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use windlass_kube::Api;

use super::VerifyArgs;
use super::cloud::Cloud;
use super::cluster::{Cluster, Leftover};
use super::template::Target;
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

/// All that stands in the way, each with what to do. `most_nodes` is the highest wave.
pub(super) async fn problems(
    cluster: &Cluster,
    args: &VerifyArgs,
    most_nodes: u32,
    (cloud, target): (Option<&Cloud>, Option<&Target>),
) -> anyhow::Result<Vec<String>> {
    let mut problems = Vec::new();
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
        return Ok(problems);
    }
    leftovers(cluster, &mut problems).await?;
    if !cluster.is_autoscaler_alive().await? {
        problems.push(format!(
            "nobody has renewed Lease {}/{} lately: the autoscaler does not run (look at its \
             Deployment and log), or uses another name (--lease)",
            cluster.autoscaler_namespace, cluster.lease
        ));
    }
    let group = target.and_then(|target| cloud?.aws_name(&target.group));
    status(cluster, group.as_deref(), most_nodes, &mut problems).await?;
    uninitialized(&cluster.api, &mut problems).await?;
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
    Ok(problems)
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

/// What an earlier run has left is removed if it has expired, and told of if not.
async fn leftovers(cluster: &Cluster, problems: &mut Vec<String>) -> anyhow::Result<()> {
    match cluster.leftover().await? {
        Leftover::None => {}
        Leftover::Foreign => problems.push(format!(
            "namespace {} is somebody's: name another with --namespace",
            cluster.namespace
        )),
        Leftover::Ours { expires, .. } => {
            if expires.is_some_and(|expires| Timestamp::now() < expires) {
                problems.push(format!(
                    "namespace {} is an earlier run's, or another is under way: `windlass verify \
                     --cleanup` removes it",
                    cluster.namespace
                ));
            } else {
                crate::output::talk("removing what an earlier run has left");
                cluster.clean_up(None).await?;
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
    Ok(())
}

/// What the autoscaler says of itself and of its groups.
async fn status(
    cluster: &Cluster,
    group: Option<&str>,
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
    if status.groups.is_empty() {
        problems.push(
            "the autoscaler has found no groups: compare the tags of \
             --node-group-auto-discovery with those of the groups (`windlass doctor`)"
                .to_owned(),
        );
        return Ok(());
    }
    let asked: Vec<(&String, &(i64, i64))> = status
        .groups
        .iter()
        .filter(|(name, _)| group.is_none_or(|group| group == name.as_str()))
        .collect();
    let headroom: i64 = asked
        .iter()
        .map(|(_, (target, max))| (max - target).max(0))
        .sum();
    if headroom < i64::from(most_nodes) {
        let who = match (group, asked.is_empty()) {
            (Some(group), true) => {
                problems.push(format!(
                    "the autoscaler does not know group {group}: look at its tags (`windlass doctor`)"
                ));
                return Ok(());
            }
            (Some(group), false) => format!("group {group}"),
            (None, _) => "the groups together".to_owned(),
        };
        problems.push(format!(
            "{who} may grow by {headroom}: raise `max` in cluster.yaml"
        ));
    }
    Ok(())
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
}

//! The how-to's test from end to end: a Deployment beyond capacity brings nodes, its end takes
//! them away again, and what is said of it agrees at each step.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use windlass_e2e::{Run, Windlass};
use windlass_testbed::proxy::Matcher;
use windlass_testbed::{Group, Testbed, Workload, wait_for};

/// A node or two booting on a busy machine.
const SOON: Duration = Duration::from_secs(90);
/// Unneeded times, taints and drains of several nodes, one drain after the other.
const SHRUNK: Duration = Duration::from_mins(4);
const TAINT: &str = "ToBeDeletedByClusterAutoscaler";
const STATUS: &str = "cluster-autoscaler-status";

#[test]
fn nodes_come_with_a_deployment_and_go_with_it() -> Result<()> {
    let testbed = windlass_e2e::testbed()?;
    let began = Timestamp::now();
    let group = Group::new("web").sizes(1, 10, 1).discovered_by("demo");
    testbed.aws().create_group(&group)?;
    testbed.cluster().wait_for_ready_nodes(1, SOON)?;
    let first = testbed.aws().group("web")?.instance_ids();

    // Somebody else's pod, which nobody may kill.
    let mut other = Workload::new("other", 1).requests("100m", "64Mi");
    let unsafe_to_evict = "cluster-autoscaler.kubernetes.io/safe-to-evict";
    other.annotations = vec![(unsafe_to_evict.to_owned(), "false".to_owned())];
    testbed.cluster().deploy(&other)?;
    testbed
        .cluster()
        .wait_until_all_run("default", "other", 1, SOON)?;
    let bystander = bystander(testbed)?;

    let proxy = testbed.proxy_aws()?;
    let mut windlass = Run::of_cluster("demo")
        .flags([
            "--scan-interval=5s",
            "--scale-down-unneeded-time=30s",
            "--scale-down-delay-after-add=30s",
            "--node-delete-delay-after-taint=1s",
            // A node that cannot go while the pods of the others still leave is looked at again soon.
            "--unremovable-node-recheck-timeout=5s",
        ])
        .aws_through(&proxy)
        .start(testbed, "windlass")?;
    agree(testbed, &windlass, 1)?;

    // Four pods to a node.
    testbed.cluster().deploy(&Workload::new("web", 18))?;
    testbed
        .cluster()
        .wait_until_all_run("default", "web", 18, SOON)?;
    let grown = testbed.aws().group("web")?;
    ensure!(
        (5..=6).contains(&grown.desired),
        "19 pods want 5 nodes, and the group has {}",
        grown.desired
    );
    agree(testbed, &windlass, grown.desired)?;
    told_the_pods(testbed, began)?;

    testbed.cluster().delete_deployment("default", "web")?;
    wait_for("the group to shrink to its minimum", SHRUNK, || {
        Ok(testbed.aws().group("web")?.instances.len() == 1)
    })?;
    agree(testbed, &windlass, 1)?;
    ensure!(
        self::bystander(testbed)? == bystander,
        "another's pod was killed"
    );
    ensure!(testbed.aws().group("web")?.instance_ids() == first);

    // Each instance that went was named, with the size going down with it.
    let ended = proxy.requests_matching(&Matcher::action("TerminateInstanceInAutoScalingGroup"));
    let named: BTreeSet<String> = ended
        .iter()
        .filter_map(|request| request.parameter("InstanceId"))
        .collect();
    let gone: BTreeSet<String> = grown
        .instance_ids()
        .into_iter()
        .filter(|id| !first.contains(id))
        .collect();
    ensure!(named == gone, "terminated {named:?} and gone are {gone:?}");
    let decrements = ended.iter().all(|request| {
        request
            .parameter("ShouldDecrementDesiredCapacity")
            .as_deref()
            == Some("true")
    });
    ensure!(decrements, "an instance went without the size");
    tainted_before(testbed, began, gone.len())?;
    let clean = testbed.cluster().nodes()?.into_iter().all(|node| {
        let taints = node.spec.and_then(|spec| spec.taints).unwrap_or_default();
        taints.iter().all(|taint| taint.key != TAINT)
    });
    ensure!(clean, "the last node has a taint");

    windlass.check_for_panics()?;
    ensure!(
        windlass.process().stop().success(),
        "SIGTERM is a clean end"
    );
    Ok(())
}

/// Uid and node of the other workload's pod.
fn bystander(testbed: &Testbed) -> Result<(Option<String>, Option<String>)> {
    let pods = testbed.cluster().pods_of("default", "other")?;
    let pod = pods.into_iter().next().context("the other pod is there")?;
    Ok((pod.metadata.uid, pod.spec.and_then(|spec| spec.node_name)))
}

/// Waits until the status `ConfigMap` and the metrics tell of so many ready nodes.
fn agree(testbed: &Testbed, windlass: &Windlass, nodes: u32) -> Result<()> {
    wait_for(
        &format!("status and metrics to tell of {nodes} nodes"),
        SOON,
        || {
            let map = testbed.cluster().config_map("kube-system", STATUS)?;
            let text = map
                .and_then(|map| map.data)
                .and_then(|mut data| data.remove("status"))
                .unwrap_or_default();
            let told = text.contains("autoscalerStatus: Running")
                && text.contains(&format!("cloudProviderTarget: {nodes}\n"))
                && text.contains(&format!("ready: {nodes}\n"));
            let ready = "cluster_autoscaler_nodes_count{state=\"ready\"}";
            // Before the first loop there is no such sample.
            let counted = windlass.sample(ready).ok() == Some(f64::from(nodes));
            Ok(told && counted)
        },
    )?;
    let safe = windlass.sample("cluster_autoscaler_cluster_safe_to_autoscale")?;
    ensure!(
        (safe - 1.0).abs() < f64::EPSILON,
        "the cluster counts as unhealthy"
    );
    Ok(())
}

/// Each pod of `web` that the scheduler gave up was told of the scale-up.
fn told_the_pods(testbed: &Testbed, since: Timestamp) -> Result<()> {
    let unschedulable: BTreeSet<String> = testbed
        .audit(since)?
        .into_iter()
        .filter(|record| record.is_unschedulable() && record.name.starts_with("web-"))
        .map(|record| record.name)
        .collect();
    ensure!(
        unschedulable.len() >= 14,
        "pods were pending: {unschedulable:?}"
    );
    wait_for(
        "a TriggeredScaleUp event for each pending pod",
        SOON,
        || {
            let mut told: BTreeMap<String, usize> = BTreeMap::new();
            for event in testbed.cluster().events("default")? {
                if event.reason.as_deref() == Some("TriggeredScaleUp") {
                    *told
                        .entry(event.involved_object.name.unwrap_or_default())
                        .or_default() += 1;
                }
            }
            Ok(unschedulable.iter().all(|name| told.contains_key(name)))
        },
    )
}

/// So many nodes were tainted.
fn tainted_before(testbed: &Testbed, since: Timestamp, count: usize) -> Result<()> {
    let tainted: BTreeSet<String> = testbed
        .audit(since)?
        .into_iter()
        .filter(|record| record.resource == "nodes" && record.verb == "update")
        .filter(|record| {
            record
                .request
                .as_ref()
                .and_then(|node| node.pointer("/spec/taints")?.as_array())
                .is_some_and(|taints| taints.iter().any(|taint| taint["key"] == TAINT))
        })
        .map(|record| record.name)
        .collect();
    ensure!(
        tainted.len() == count,
        "{count} nodes went, tainted were {tainted:?}"
    );
    Ok(())
}

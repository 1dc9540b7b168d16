//! The how-to's test from end to end: a Deployment beyond capacity brings nodes, its end takes
//! them away again, and what is said of it agrees at each step.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use windlass_e2e::{Run, Windlass};
use windlass_testbed::proxy::Matcher;
use windlass_testbed::{Boot, Group, Proxy, Testbed, Workload, wait_for};

/// A node or two booting on a busy machine.
const SOON: Duration = Duration::from_secs(90);
/// Unneeded times, taints and drains of several nodes, one drain after the other.
const SHRUNK: Duration = Duration::from_mins(4);
const TAINT: &str = "ToBeDeletedByClusterAutoscaler";
const STATUS: &str = "cluster-autoscaler-status";
/// Long enough to look around between the call and the nodes.
const BOOT: Duration = Duration::from_secs(20);

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
            "--emit-per-nodegroup-metrics",
        ])
        .aws_through(&proxy)
        .start(testbed, "windlass")?;
    settled(testbed, &windlass, 1)?;

    // Four pods to a node.
    testbed.joiner().set_boot("web", Boot::after(BOOT));
    testbed.cluster().deploy(&Workload::new("web", 18))?;
    agree(
        testbed,
        &windlass,
        "growing",
        "InProgress",
        |target, ready| 1 < target && ready == 1,
    )?;
    testbed
        .cluster()
        .wait_until_all_run("default", "web", 18, SOON)?;
    let grown = testbed.aws().group("web")?;
    ensure!(
        (5..=6).contains(&grown.desired),
        "19 pods want 5 nodes, and the group has {}",
        grown.desired
    );
    settled(testbed, &windlass, grown.desired)?;
    pending_are_counted(testbed, &windlass)?;
    added_up(
        &windlass,
        "cluster_autoscaler_scaled_up_nodes_total",
        grown.desired - 1,
    )?;
    told_the_pods(testbed, began)?;

    testbed.cluster().delete_deployment("default", "web")?;
    wait_for("the group to shrink to its minimum", SHRUNK, || {
        Ok(testbed.aws().group("web")?.instances.len() == 1)
    })?;
    settled(testbed, &windlass, 1)?;
    added_up(
        &windlass,
        "cluster_autoscaler_scaled_down_nodes_total",
        grown.desired - 1,
    )?;
    ensure!(
        self::bystander(testbed)? == bystander,
        "another's pod was killed"
    );
    ensure!(testbed.aws().group("web")?.instance_ids() == first);

    let gone: BTreeSet<String> = grown
        .instance_ids()
        .into_iter()
        .filter(|id| !first.contains(id))
        .collect();
    terminated_by_name(&proxy, &gone)?;
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

const PENDING: &str = "cluster_autoscaler_unschedulable_pods_count{type=\"unschedulable\"}";
const READY: &str = "cluster_autoscaler_nodes_count{state=\"ready\"}";
const TARGET: &str = "cluster_autoscaler_node_group_target_count{node_group=\"web\"}";
const SAFE: &str = "cluster_autoscaler_cluster_safe_to_autoscale";

/// All nodes are there and none is on its way, and whoever is asked says so.
fn settled(testbed: &Testbed, windlass: &Windlass, nodes: u32) -> Result<()> {
    let what = format!("settled at {nodes} nodes");
    agree(testbed, windlass, &what, "NoActivity", |target, ready| {
        target == nodes && ready == nodes
    })
}

/// Waits until AWS has as many nodes wanted and the cluster as many ready as `holds` asks for,
/// and the status `ConfigMap` and the metrics say just that.
fn agree(
    testbed: &Testbed,
    windlass: &Windlass,
    what: &str,
    scale_up: &str,
    holds: impl Fn(u32, u32) -> bool,
) -> Result<()> {
    let what = format!("cluster, AWS, status and metrics to agree that it is {what}");
    wait_for(&what, SOON, || {
        let target = testbed.aws().group("web")?.desired;
        let ready = u32::try_from(testbed.cluster().ready_nodes()?.len())?;
        let map = testbed.cluster().config_map("kube-system", STATUS)?;
        let status = map
            .and_then(|map| map.data)
            .and_then(|mut data| data.remove("status"))
            .unwrap_or_default();
        let says = |text: String| status.contains(&text);
        let is_told = says("autoscalerStatus: Running".to_owned())
            && says(format!("cloudProviderTarget: {target}\n"))
            && says(format!("ready: {ready}\n"))
            && says(format!("status: {scale_up}\n"));
        // Before the first loop there are no such samples.
        let counts =
            |sample: &str, number: u32| windlass.sample(sample).ok() == Some(number.into());
        let is_counted = counts(READY, ready) && counts(TARGET, target) && counts(SAFE, 1);
        Ok(holds(target, ready) && is_told && is_counted)
    })
}

/// Pods that run, and those that wait for a node on its way, are no longer counted as pending; the
/// one that no node can help is, for as long as it is there.
fn pending_are_counted(testbed: &Testbed, windlass: &Windlass) -> Result<()> {
    let counted = |pods: f64| {
        wait_for(
            &format!("{pods} pods to be counted as pending"),
            SOON,
            || Ok((windlass.sample(PENDING)? - pods).abs() < f64::EPSILON),
        )
    };
    counted(0.0)?;
    let giants = Workload::new("giant", 2).requests("1000", "64Mi");
    testbed.cluster().deploy(&giants)?;
    counted(2.0)?;
    testbed.cluster().delete_deployment("default", "giant")?;
    counted(0.0)
}

/// The counter comes to `nodes`, over all its labels.
fn added_up(windlass: &Windlass, counter: &str, nodes: u32) -> Result<()> {
    wait_for(&format!("{counter} to be {nodes}"), SOON, || {
        let sum: f64 = windlass
            .metric(counter)?
            .iter()
            .map(|(_, value)| value)
            .sum();
        Ok((sum - f64::from(nodes)).abs() < f64::EPSILON)
    })
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

/// Each instance that went was named, with the size going down with it.
fn terminated_by_name(proxy: &Proxy, gone: &BTreeSet<String>) -> Result<()> {
    let ended = proxy.requests_matching(&Matcher::action("TerminateInstanceInAutoScalingGroup"));
    let named: BTreeSet<String> = ended
        .iter()
        .filter_map(|request| request.parameter("InstanceId"))
        .collect();
    ensure!(named == *gone, "terminated {named:?} and gone are {gone:?}");
    let decrements = ended.iter().all(|request| {
        request
            .parameter("ShouldDecrementDesiredCapacity")
            .as_deref()
            == Some("true")
    });
    ensure!(decrements, "an instance went without the size");
    Ok(())
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

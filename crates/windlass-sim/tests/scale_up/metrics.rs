//! The gauges and counters that this half measures: names, labels and values.
#![expect(clippy::float_cmp, reason = "these gauges hold whole numbers")]

use std::collections::BTreeMap;

use windlass_core::{Decision, Series};

use crate::world::{Documents, Loops, flags};

/// A series as Prometheus prints it, without the prefix.
fn show(series: &Series) -> String {
    if series.labels.is_empty() {
        return series.name.to_owned();
    }
    let labels = series.labels.iter();
    let labels: Vec<String> = labels
        .map(|(name, value)| format!("{name}={value:?}"))
        .collect();
    format!("{}{{{}}}", series.name, labels.join(","))
}

fn gauges(decision: &Decision) -> BTreeMap<String, f64> {
    let gauges = decision.plan.metrics.gauges.iter();
    gauges
        .map(|(series, value)| (show(series), *value))
        .collect()
}

fn counters(decision: &Decision) -> BTreeMap<String, u64> {
    let counters = decision.plan.metrics.counters.iter();
    counters
        .map(|(series, value)| (show(series), *value))
        .collect()
}

fn cluster(given: &[&str]) -> Documents {
    flags(given)
        .node("n1", "a", "", "")
        .node_in_state("n2", "a", "", "", "'False'")
        .node("n3", "", "taints: [{key: gpu, effect: NoSchedule}]", "")
        .group("a", 4, "")
        .group("b", 8, "maxSize: 5")
        .pods("web", 12, "1", "")
}

#[test]
fn the_cluster_is_measured_as_the_loop_finds_it() {
    let gauges = gauges(&cluster(&[]).decide());
    for (series, value) in [
        ("cluster_safe_to_autoscale", 1.0),
        ("nodes_count{state=\"ready\"}", 2.0),
        ("nodes_count{state=\"unready\"}", 1.0),
        ("nodes_count{state=\"notStarted\"}", 0.0),
        ("nodes_count{state=\"suspended\"}", 0.0),
        ("nodes_count{state=\"longUnregistered\"}", 0.0),
        ("nodes_count{state=\"unregistered\"}", 0.0),
        ("node_groups_count{node_group_type=\"autoscaled\"}", 2.0),
        (
            "node_groups_count{node_group_type=\"autoprovisioned\"}",
            0.0,
        ),
        ("unschedulable_pods_count{type=\"unschedulable\"}", 12.0),
        (
            "unschedulable_pods_count{type=\"scheduler_unprocessed\"}",
            0.0,
        ),
        ("max_nodes_count", 15.0),
        ("cluster_cpu_current_cores", 12.0),
        ("cluster_memory_current_bytes", 48.0 * f64::from(1 << 30)),
        ("cpu_limits_cores{direction=\"maximum\"}", 320_000.0),
        ("memory_limits_bytes{direction=\"minimum\"}", 0.0),
        ("overflowing_controllers_count", 0.0),
        ("node_taints_count{type=\"other\"}", 1.0),
    ] {
        assert_eq!(gauges.get(series), Some(&value), "{series}");
    }
    assert!(!gauges.contains_key("skipped_pods_count"));
}

#[test]
fn the_limit_of_nodes_is_the_most_there_may_be() {
    let gauges = gauges(&cluster(&["--max-nodes-total=7"]).decide());
    assert_eq!(gauges["max_nodes_count"], 7.0);
}

#[test]
fn growth_is_counted_once_the_cloud_has_granted_it() {
    let mut loops = Loops::new(&flags(&[]).group("a", 4, "").pods("web", 12, "1", ""));
    let decision = loops.decide();
    let series = "scaled_up_nodes_total{gpu_resource_name=\"\",gpu_name=\"\",dra_drivers=\"\"}";
    assert!(!counters(&decision).contains_key(series));
    loops.carry_out(&decision);
    assert_eq!(counters(&loops.decide())[series], 3);
}

const GPU_GROUP: &str = "{apiVersion: windlass.dev/v1alpha1, kind: NodeGroup, metadata: {name: g}, \
                         spec: {minSize: 0, maxSize: 9, template: {metadata: {labels: \
                         {k8s.amazonaws.com/accelerator: nvidia-tesla-t4}}, status: {capacity: \
                         {cpu: 8, memory: 32Gi, pods: 20, nvidia.com/gpu: 2}}}}}";

#[test]
fn gpu_groups_are_counted_by_their_gpus() {
    let documents = flags(&[]).document(GPU_GROUP).pods("train", 1, "8", "");
    let mut loops = Loops::new(&documents);
    let decision = loops.decide();
    loops.carry_out(&decision);
    let grown = counters(&loops.decide());
    let labels = "gpu_resource_name=\"nvidia.com/gpu\",gpu_name=\"nvidia-tesla-t4\"";
    assert_eq!(grown[&format!("scaled_up_gpu_nodes_total{{{labels}}}")], 1);

    let mut loops = Loops::new(&documents);
    let decision = loops.decide();
    loops.fail_growth(&decision);
    let failed = counters(&loops.decide());
    let reason = "reason=\"cloudProviderError\"";
    let series = format!("failed_gpu_scale_ups_total{{{reason},{labels}}}");
    assert_eq!(failed[&series], 1);
    let series = format!("failed_scale_ups_total{{{reason},{labels},dra_drivers=\"\"}}");
    assert_eq!(failed[&series], 1);
    let series = format!("failed_node_creations_total{{{reason}}}");
    assert_eq!(failed[&series], 1);
}

#[test]
fn a_timeout_counts_the_nodes_that_did_not_come() {
    let mut loops = Loops::new(&flags(&[]).group("a", 4, "").pods("web", 12, "1", ""));
    let decision = loops.decide();
    loops.carry_out(&decision);
    loops.pass("16m");
    let counters = counters(&loops.decide());
    assert_eq!(
        counters["failed_node_creations_total{reason=\"timeout\"}"],
        3
    );
}

#[test]
fn groups_skipped_for_a_limit_are_counted_by_resource() {
    let decision = flags(&["--cores-total=0:1", "--memory-total=0:1"])
        .group("a", 4, "")
        .pods("web", 1, "1", "")
        .decide();
    let counters = counters(&decision);
    for reason in ["CpuResourceLimit", "MemoryResourceLimit"] {
        let series = format!("skipped_scale_events_count{{direction=\"up\",reason=\"{reason}\"}}");
        assert_eq!(counters[&series], 1);
    }
}

#[test]
fn the_kinds_of_pods_of_each_estimation_are_observed() {
    let decision = flags(&[])
        .labelled_group("a", 4, "node.kubernetes.io/instance-type: m5.xlarge", "")
        .pods("web", 2, "1", "")
        .pods("api", 1, "2", "")
        .decide();
    let observed = decision.plan.metrics.observations.iter();
    let observed: Vec<(String, f64)> = observed
        .map(|(series, value)| (show(series), *value))
        .collect();
    let series = "binpacking_heterogeneity{instance_type=\"m5.xlarge\",cpu_count=\"4\",\
                  namespace_count=\"1\"}";
    assert_eq!(observed, [(series.to_owned(), 2.0)]);
}

#[test]
fn controllers_with_many_kinds_of_pods_overflow() {
    let pod = |number: u32| {
        format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: web-{number}, creationTimestamp: \
             '2025-12-31T00:00:00Z', ownerReferences: [{{apiVersion: apps/v1, kind: ReplicaSet, \
             name: web, uid: u, controller: true}}]}}, spec: {{containers: [{{name: c, resources: \
             {{requests: {{cpu: {}}}}}}}]}}, status: {{conditions: [{{type: PodScheduled, status: \
             'False', reason: Unschedulable}}]}}}}",
            100 + number
        )
    };
    let with_kinds = |kinds: u32| {
        let documents = (0..kinds).fold(flags(&[]), |all, number| all.document(&pod(number)));
        gauges(&documents.group("a", 4, "").decide())["overflowing_controllers_count"]
    };
    assert_eq!(with_kinds(10), 0.0);
    assert_eq!(with_kinds(11), 1.0);
}

#[test]
fn groups_are_measured_where_asked_for() {
    let given = ["--emit-per-nodegroup-metrics"];
    let documents = flags(&given).group("a", 4, "").pods("web", 12, "1", "");
    assert!(!gauges(&cluster(&[]).decide()).contains_key("node_group_max_count{node_group=\"a\"}"));
    let mut loops = Loops::new(&documents);
    let decision = loops.decide();
    let first = gauges(&decision);
    for (name, value) in [
        ("min_count", 0.0),
        ("max_count", 10.0),
        ("target_count", 0.0),
        ("healthiness", 1.0),
    ] {
        assert_eq!(
            first[&format!("node_group_{name}{{node_group=\"a\"}}")],
            value,
            "{name}"
        );
    }
    let backoff =
        |reason: &str| format!("node_group_backoff_status{{node_group=\"a\",reason=\"{reason}\"}}");
    assert_eq!(first[&backoff("")], 0.0);
    loops.fail_growth(&decision);
    assert_eq!(gauges(&loops.decide())[&backoff("cloudProviderError")], 1.0);
    loops.pass("6m");
    assert_eq!(gauges(&loops.decide())[&backoff("cloudProviderError")], 0.0);
}

#[test]
fn removed_instances_that_never_registered_are_counted() {
    let documents = flags(&[]).node("n1", "a", "", "").group("a", 4, "");
    let mut loops = Loops::new(&documents);
    let group = loops.group("a");
    group.target_size = 2;
    group.instances.push(windlass_model::Instance {
        provider_id: "aws:///z/ghost".into(),
        state: windlass_model::InstanceState::Running,
    });
    loops.decide();
    loops.pass("16m");
    let decision = loops.decide();
    loops.carry_out(&decision);
    assert_eq!(
        counters(&loops.decide())["old_unregistered_nodes_removed_count"],
        1
    );
}

#[test]
fn pods_not_reached_in_time_are_counted() {
    let documents = flags(&["--enable-graceful-degradation"])
        .group("a", 4, "")
        .pods("web", 4, "1", "");
    let spent = crate::world::StrikesAfter::new(windlass_core::TimeLimit::PendingPods, 1);
    let decision = Loops::new(&documents).decide_within(&spent);
    let series = "skipped_pods_count{requestor=\"filter-out-pod-list-processor\"}";
    assert_eq!(gauges(&decision)[series], 3.0);
}

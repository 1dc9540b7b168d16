//! What the simulated world does by itself, each rule in the smallest scenario that shows it.

use serde_json::json;
use windlass_model::{Duration, parse_go_duration};
use windlass_scheduler::Profiles;
use windlass_sim::{Report, Scenario, ScenarioReader, play};

/// Two groups of 2-core nodes in two zones, both empty.
const GROUPS: &str = "
apiVersion: windlass.dev/v1alpha1
kind: Simulation
metadata: {name: s}
spec: {flags: [--scale-down-unneeded-time=5m, --scale-down-delay-after-add=5m]}
---
apiVersion: windlass.dev/v1alpha1
kind: NodeGroup
metadata: {name: a}
spec:
  minSize: 0
  maxSize: 5
  pricePerHour: 0.1
  template:
    metadata: {labels: {zone: a}}
    status: {capacity: {cpu: 2, memory: 8Gi, pods: 29}}
---
apiVersion: windlass.dev/v1alpha1
kind: NodeGroup
metadata: {name: b}
spec:
  minSize: 0
  maxSize: 5
  provisionTime: 90s
  template:
    metadata: {labels: {zone: b}}
    status: {capacity: {cpu: 2, memory: 8Gi, pods: 29}}
---
";

fn scenario(text: &str) -> Scenario {
    let mut reader = ScenarioReader::new();
    reader
        .read("scenario.yaml", text)
        .expect("the test's scenario is well-formed");
    reader.finish().expect("the test's scenario is consistent")
}

fn timeline(entries: &str) -> String {
    format!(
        "{GROUPS}apiVersion: windlass.dev/v1alpha1\nkind: Timeline\nmetadata: {{name: t}}\n\
         spec:\n  entries:\n{entries}"
    )
}

/// Plays the groups with a timeline of these entries.
fn play_entries(entries: &str, limit: Option<&str>) -> Report {
    let text = timeline(entries);
    let limit = limit.map(|text| parse_go_duration(text).expect("the test's limit is a duration"));
    play(&scenario(&text), limit, &mut |_| {})
}

/// A workload with pods of 1.5 cores for zone a: one fills a node.
fn workload(kind: &str, spec: &str) -> String {
    let api_version = if kind == "Job" { "batch/v1" } else { "apps/v1" };
    format!(
        "    - at: 1m\n      apply:\n        apiVersion: {api_version}\n        kind: {kind}\n        \
         metadata: {{name: web}}\n        spec: {{{spec}, template: {{metadata: {{annotations: \
         {{windlass.dev/run-time: 10m}}}}, spec: {{nodeSelector: {{zone: a}}, containers: \
         [{{name: c, resources: {{requests: {{cpu: 1500m}}}}}}]}}}}}}\n"
    )
}

fn lines(report: &Report, kind: &str) -> Vec<String> {
    report
        .timeline
        .iter()
        .filter(|entry| entry.kind == kind)
        .map(|entry| format!("{}s {}", entry.at.as_secs(), entry.text))
        .collect()
}

#[test]
fn the_first_example_ends_as_it_began() {
    let text = include_str!("../../../examples/first-cluster.yaml");
    let report = play(&scenario(text), None, &mut |_| {});
    let summary = &report.summary;
    assert_eq!(summary.refused_plans, 0);
    assert!(
        summary.nodes_added > 4 && summary.nodes_removed > 4,
        "{summary:?}"
    );
    assert!(summary.cost.is_some());
    let last = report.timeline.last().unwrap().after;
    assert_eq!(last.pending, 0);
    let grown = lines(&report, "scale-up").join("\n");
    assert!(
        grown.contains("general: 1 -> ") && grown.contains("batch: 0 -> "),
        "{grown}"
    );
}

#[test]
fn the_same_scenario_gives_the_same_bytes() {
    let text = include_str!("../../../examples/first-cluster.yaml");
    let report = || play(&scenario(text), None, &mut |_| {}).to_json();
    assert_eq!(report(), report());
}

#[test]
fn pods_of_a_deployment_bring_a_node_each_and_take_it_with_them() {
    let mut entries = workload("Deployment", "replicas: 2");
    entries += "    - at: 30m\n      delete: {kind: Deployment, name: web}\n";
    let report = play_entries(&entries, None);
    assert_eq!(lines(&report, "scale-up"), ["61s a: 0 -> 2 nodes"]);
    assert_eq!(report.summary.nodes_added, 2);
    assert_eq!(report.summary.nodes_removed, 2);
    assert!((report.summary.pending_pod_seconds - 2.0 * 61.0).abs() < 1e-6);
}

#[test]
fn a_group_without_capacity_is_left_for_another() {
    let fail =
        "    - at: 10s\n      fail: {group: a, reason: InsufficientInstanceCapacity, for: 1h}\n";
    let deployment = workload("Deployment", "replicas: 1").replace("nodeSelector: {zone: a}, ", "");
    let report = play_entries(&(fail.to_owned() + &deployment), Some("20m"));
    let cloud = lines(&report, "cloud").join("\n");
    assert!(
        report.summary.nodes_added == 1 && lines(&report, "nodes")[0].contains("b: b-1 ready"),
        "{cloud}"
    );
}

/// What `--scheduler-config-file` says decides, not the group that would come first.
#[test]
fn an_affinity_that_the_scheduler_adds_chooses_the_group() {
    let entries = workload("Deployment", "replicas: 1").replace("nodeSelector: {zone: a}, ", "");
    let text = timeline(&entries);
    let grown = |zone: &str| {
        let requirement = json!({"key": "zone", "operator": "In", "values": [zone]});
        let term = json!({"matchExpressions": [requirement]});
        let required = json!({"nodeSelectorTerms": [term]});
        let affinity = json!({"requiredDuringSchedulingIgnoredDuringExecution": required});
        let config = json!({"name": "NodeAffinity", "args": {"addedAffinity": affinity}});
        let configuration = json!({
            "apiVersion": "kubescheduler.config.k8s.io/v1",
            "kind": "KubeSchedulerConfiguration",
            "profiles": [{"pluginConfig": [config]}],
        });
        let mut scenario = scenario(&text);
        scenario.profiles = Profiles::from_configuration(&configuration)
            .expect("the test's configuration is well-formed");
        let limit = parse_go_duration("10m").ok();
        lines(&play(&scenario, limit, &mut |_| {}), "scale-up")
    };
    assert_eq!(grown("a"), ["61s a: 0 -> 1 nodes"]);
    assert_eq!(grown("b"), ["61s b: 0 -> 1 nodes"]);
    assert!(grown("c").is_empty());
}

#[test]
fn a_stateful_set_starts_its_pods_one_after_another() {
    let report = play_entries(&workload("StatefulSet", "replicas: 2"), Some("10m"));
    let created: Vec<String> = lines(&report, "pods");
    assert_eq!(
        created,
        [
            "60s StatefulSet default/web: 1 pod created",
            "121s StatefulSet default/web: 1 pod created",
        ]
    );
}

#[test]
fn a_job_ends_when_its_work_is_done() {
    let report = play_entries(&workload("Job", "parallelism: 1, completions: 2"), None);
    let finished: Vec<String> = lines(&report, "pods")
        .into_iter()
        .filter(|line| line.contains("finished"))
        .collect();
    assert_eq!(
        finished,
        [
            "721s Job default/web: 1 pod finished",
            "1321s Job default/web: 1 pod finished",
        ]
    );
    assert_eq!(report.timeline.last().unwrap().after.nodes, 0);
}

#[test]
fn a_daemonset_has_a_pod_on_every_node_that_it_wants() {
    let mut entries = workload("Deployment", "replicas: 2");
    let daemonset = workload("DaemonSet", "selector: {}")
        .replace("name: web", "name: agent")
        .replace("1500m", "100m");
    entries += &daemonset;
    let report = play_entries(&entries, Some("5m"));
    let last = report.timeline.last().unwrap().after;
    assert_eq!((last.nodes, last.running, last.pending), (2, 4, 0));
}

#[test]
fn a_lost_node_is_launched_again_by_its_group() {
    let mut entries = workload("Deployment", "replicas: 1");
    entries += "    - at: 10m\n      delete: {kind: Node, name: a-1}\n";
    let report = play_entries(&entries, Some("15m"));
    let nodes = lines(&report, "nodes");
    assert_eq!(nodes[..2], ["121s a: a-1 ready", "600s a-1 gone"]);
    // The autoscaler did not ask for this one, so it may well ask for another besides.
    assert_eq!(nodes[2], "660s a: a-2 ready");
}

#[test]
fn an_entry_that_recurs_is_played_until_the_limit() {
    let mut entries = workload("Deployment", "replicas: 1");
    entries += "    - {every: 1h, from: 30m, scale: {kind: Deployment, name: web, replicas: 1}}\n";
    let report = play_entries(&entries, Some("3h"));
    let scaled = lines(&report, "timeline");
    assert_eq!(scaled.len(), 4, "{scaled:?}");
    assert_eq!(report.summary.duration, Duration::from_hours(3));
}

#[test]
fn a_budget_slows_a_drain_and_is_never_broken() {
    let budget = "    - at: 1m\n      apply: {apiVersion: policy/v1, kind: PodDisruptionBudget, \
                  metadata: {name: web}, spec: {maxUnavailable: 0, selector: {}}}\n";
    let deployment = workload("Deployment", "replicas: 3").replace("1500m", "600m");
    let scale = "    - at: 10m\n      scale: {kind: Deployment, name: web, replicas: 1}\n";
    let report = play_entries(&format!("{budget}{deployment}{scale}"), Some("1h"));
    assert_eq!(report.summary.pods_evicted, 0);
    assert_eq!(report.summary.refused_plans, 0);
}

fn error(text: &str) -> String {
    let mut reader = ScenarioReader::new();
    let read = reader.read("s.yaml", text);
    read.and_then(|()| reader.finish().map(|_| ()))
        .expect_err("the test's scenario is wrong")
        .to_string()
}

#[test]
fn errors_name_the_field() {
    let timeline = |entry: &str| {
        format!(
            "apiVersion: windlass.dev/v1alpha1\nkind: Timeline\nmetadata: {{name: t}}\n\
             spec: {{entries: [{entry}]}}"
        )
    };
    assert_eq!(
        error(&timeline(
            "{at: 1m, scale: {kind: DaemonSet, name: a, replicas: 1}}"
        )),
        "s.yaml: document 1 (Timeline t): spec.entries[0].scale.kind: DaemonSet cannot be scaled: \
         a Deployment, ReplicaSet, StatefulSet or Job can"
    );
    assert!(
        error(&timeline("{at: 1x, delete: {kind: Pod, name: a}}")).contains("spec.entries[0].at")
    );
    assert!(error(&timeline("{at: 1m}")).contains("one of `apply`"));
    let group = |spec: &str| {
        format!(
            "apiVersion: windlass.dev/v1alpha1\nkind: NodeGroup\nmetadata: {{name: g}}\nspec: {spec}"
        )
    };
    assert!(error(&group("{maxSize: 1, minSize: 2}")).contains("spec.maxSize: must not be below"));
    assert!(error(&group("{maxsize: 1}")).contains("unknown field `maxsize`"));
    let twice = format!("{}\n---\n{}", group("{}"), group("{}"));
    assert_eq!(error(&twice), "s.yaml: document 2 is a second NodeGroup g");
    let flags = "apiVersion: windlass.dev/v1alpha1\nkind: Simulation\nmetadata: {name: s}\n\
                 spec: {flags: [--no-such-flag]}";
    assert!(error(flags).starts_with("Simulation spec.flags: unknown flag `--no-such-flag`"));
}

#[test]
fn kinds_that_are_not_read_are_named() {
    let text = "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: w}\n";
    assert_eq!(
        scenario(text).warnings,
        ["scenario.yaml: document 1: Widget w (example.com/v1) is not read"]
    );
}

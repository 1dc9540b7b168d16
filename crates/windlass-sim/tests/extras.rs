//! The optional features: requests for room, buffers, quotas, pods that are yet to come.

mod provisioning_requests {
    use windlass_model::parse_go_duration;
    use windlass_sim::{Report, Scenario, ScenarioReader, play};

    /// A group of nodes of two cores, one of them there, and a template of pods of one core.
    fn cluster(flags: &str, max_size: u32) -> String {
        format!(
            "
apiVersion: windlass.dev/v1alpha1
kind: Simulation
metadata: {{name: s}}
spec: {{flags: [--enable-provisioning-requests, {flags}]}}
---
apiVersion: windlass.dev/v1alpha1
kind: NodeGroup
metadata: {{name: a}}
spec:
  minSize: 1
  maxSize: {max_size}
  nodes: [a-0]
  template: {{status: {{capacity: {{cpu: 2, memory: 8Gi, pods: 29}}}}}}
---
apiVersion: v1
kind: Node
metadata: {{name: a-0, creationTimestamp: \"2025-12-31T00:00:00Z\"}}
spec: {{providerID: \"windlass:///a-0\"}}
status:
  capacity: {{cpu: 2, memory: 8Gi, pods: 29}}
  conditions: [{{type: Ready, status: \"True\", lastTransitionTime: \"2025-12-31T00:00:00Z\"}}]
---
apiVersion: v1
kind: PodTemplate
metadata: {{name: worker}}
template: {{spec: {{containers: [{{name: c, resources: {{requests: {{cpu: 1}}}}}}]}}}}
---
apiVersion: windlass.dev/v1alpha1
kind: Timeline
metadata: {{name: t}}
spec:
  entries:
"
        )
    }

    const CHECK: &str = "check-capacity.autoscaling.x-k8s.io";
    const ATOMIC: &str = "best-effort-atomic-scale-up.autoscaling.x-k8s.io";

    /// An entry that makes a request for so many workers.
    fn request(at: &str, name: &str, class: &str, count: u32, parameters: &str) -> String {
        format!(
            "    - at: {at}\n      apply:\n        apiVersion: autoscaling.x-k8s.io/v1\n        \
             kind: ProvisioningRequest\n        metadata: {{name: {name}}}\n        spec: \
             {{provisioningClassName: {class}, parameters: {{{parameters}}}, podSets: \
             [{{count: {count}, podTemplateRef: {{name: worker}}}}]}}\n"
        )
    }

    fn scenario(text: &str) -> Scenario {
        let mut reader = ScenarioReader::new();
        reader
            .read("scenario.yaml", text)
            .expect("the test's scenario is well-formed");
        reader.finish().expect("the test's scenario is consistent")
    }

    fn played(text: &str, limit: &str) -> Report {
        let limit = parse_go_duration(limit).expect("the test's limit is a duration");
        let report = play(&scenario(text), Some(limit), &mut |_| {});
        assert_eq!(report.summary.refused_plans, 0);
        report
    }

    fn lines(report: &Report, kind: &str) -> Vec<String> {
        let entries = report.timeline.iter().filter(|entry| entry.kind == kind);
        entries
            .map(|entry| format!("{}s {}", entry.at.as_secs(), entry.text))
            .collect()
    }

    #[test]
    fn there_is_room_so_it_is_found_and_kept_for_ten_minutes() {
        let text = cluster("--scale-down-enabled=false", 1) + &request("1m", "r", CHECK, 2, "");
        let report = played(&text, "15m");
        assert_eq!(
            lines(&report, "status"),
            [
                "61s ProvisioningRequest default/r: Accepted=True (Accepted): ProvisioningRequest \
                 is accepted by ClusterAutoscaler",
                "61s ProvisioningRequest default/r: Provisioned=True (CapacityIsFound): Capacity \
                 is found in the cluster",
                "672s ProvisioningRequest default/r: BookingExpired=True \
                 (CapacityReservationTimeExpired): Capacity reservation time is expired",
            ]
        );
        assert!(lines(&report, "scale-up").is_empty());
    }
}

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

    /// The statuses written of a request, each as `seconds condition=status (reason)`.
    fn statuses(report: &Report) -> Vec<String> {
        let written = lines(report, "status").into_iter();
        written
            .map(|line| {
                let line = line.replace("ProvisioningRequest default/", "");
                let end = line.find(')').map_or(line.len(), |at| at + 1);
                line[..end].to_owned()
            })
            .collect()
    }

    #[test]
    fn room_that_is_there_is_found_and_kept_for_ten_minutes() {
        let text = cluster("--scale-down-enabled=false", 1) + &request("1m", "r", CHECK, 2, "");
        let report = played(&text, "15m");
        assert_eq!(
            lines(&report, "status"),
            [
                "60s ProvisioningRequest default/r: Accepted=True (Accepted): ProvisioningRequest \
                 is accepted by ClusterAutoscaler",
                "60s ProvisioningRequest default/r: Provisioned=True (CapacityIsFound): Capacity \
                 is found in the cluster",
                "661s ProvisioningRequest default/r: BookingExpired=True \
                 (CapacityReservationTimeExpired): Capacity reservation time is expired",
            ]
        );
        assert!(lines(&report, "scale-up").is_empty());
    }

    #[test]
    fn without_the_flag_requests_are_nobody_s() {
        let text = cluster("--scale-down-enabled=false", 1)
            .replace("--enable-provisioning-requests, ", "")
            + &request("1m", "r", CHECK, 2, "");
        assert!(statuses(&played(&text, "5m")).is_empty());
    }

    #[test]
    fn where_there_is_no_room_none_is_made_and_it_is_tried_again_ever_later() {
        let text = cluster("--scale-down-enabled=false", 5) + &request("1m", "r", CHECK, 3, "");
        let report = played(&text, "12m");
        let statuses = statuses(&report);
        assert_eq!(statuses[0], "60s r: Accepted=True (Accepted)");
        let tries: Vec<i64> = statuses[1..]
            .iter()
            .map(|line| {
                let (seconds, rest) = line.split_once("s ").unwrap();
                assert_eq!(rest, "r: Provisioned=False (CapacityIsNotFound)");
                seconds.parse().unwrap()
            })
            .collect();
        let pauses: Vec<i64> = tries.windows(2).map(|pair| pair[1] - pair[0]).collect();
        // One minute, two, four: each tried at the first loop after that.
        let expected = [60..=71, 120..=131, 240..=251];
        assert_eq!(pauses.len(), expected.len(), "{tries:?}");
        for (pause, expected) in pauses.iter().zip(expected) {
            assert!(expected.contains(pause), "{tries:?}");
        }
        assert!(lines(&report, "scale-up").is_empty());
    }

    #[test]
    fn the_first_and_the_longest_delay_are_flags() {
        let flags = "--scale-down-enabled=false, --provisioning-request-initial-backoff-time=20s, \
                     --provisioning-request-max-backoff-time=30s";
        let text = cluster(flags, 5) + &request("1m", "r", CHECK, 3, "");
        let tries = statuses(&played(&text, "3m")).len() - 1;
        // At 60 s, then after 20 s, then every 30 s, each at the first loop after that.
        assert!((4..=5).contains(&tries), "{tries}");
    }

    #[test]
    fn a_request_that_is_tried_once_fails() {
        let text = cluster("--scale-down-enabled=false", 5)
            + &request("1m", "r", CHECK, 3, "noRetry: \"true\"");
        let report = played(&text, "5m");
        assert_eq!(
            lines(&report, "status")[1],
            "60s ProvisioningRequest default/r: Failed=True (CapacityIsNotFound): CA could not \
             find requested capacity"
        );
        assert_eq!(lines(&report, "status").len(), 2);
    }

    #[test]
    fn an_atomic_request_brings_the_nodes_that_its_pods_lack_and_waits_for_the_cloud_s_word() {
        let text = cluster("--scale-down-enabled=false", 5) + &request("1m", "r", ATOMIC, 5, "");
        let report = played(&text, "5m");
        assert_eq!(lines(&report, "scale-up"), ["60s a: 1 -> 3 nodes"]);
        assert_eq!(
            statuses(&report),
            [
                "60s r: Accepted=True (Accepted)",
                "61s r: Provisioned=True (CapacityIsProvisioned)",
            ]
        );
    }

    #[test]
    fn an_atomic_request_brings_all_nodes_or_none() {
        let text = cluster("--scale-down-enabled=false", 2) + &request("1m", "r", ATOMIC, 5, "");
        let report = played(&text, "90s");
        assert!(lines(&report, "scale-up").is_empty());
        assert_eq!(
            statuses(&report)[1],
            "60s r: Provisioned=False (CapacityIsNotFound)"
        );
    }

    #[test]
    fn a_limit_that_would_cut_an_atomic_request_stops_it() {
        let flags = "--scale-down-enabled=false, --cores-total=0:4";
        let text = cluster(flags, 5) + &request("1m", "r", ATOMIC, 5, "");
        assert!(lines(&played(&text, "90s"), "scale-up").is_empty());
        let enough = cluster(&flags.replace(":4", ":6"), 5) + &request("1m", "r", ATOMIC, 5, "");
        assert_eq!(
            lines(&played(&enough, "90s"), "scale-up"),
            ["60s a: 1 -> 3 nodes"]
        );
    }

    #[test]
    fn an_atomic_request_with_room_for_all_its_pods_needs_no_node() {
        let text = cluster("--scale-down-enabled=false", 5) + &request("1m", "r", ATOMIC, 2, "");
        let report = played(&text, "90s");
        assert!(lines(&report, "scale-up").is_empty());
        assert_eq!(
            statuses(&report)[1],
            "60s r: Provisioned=True (CapacityIsFound)"
        );
    }

    #[test]
    fn a_request_without_its_template_fails_and_says_which() {
        let text = cluster("--scale-down-enabled=false", 5)
            + &request("1m", "r", CHECK, 3, "").replace("{name: worker}", "{name: nothing}");
        assert_eq!(
            lines(&played(&text, "90s"), "status"),
            [
                "60s ProvisioningRequest default/r: Failed=True (FailedToCreatePods): missing pod \
                 templates, 1 pod templates were referenced, 1 templates were missing: nothing"
            ]
        );
    }

    /// Three requests for a core each, where there are two cores.
    fn three_requests() -> String {
        ["r1", "r2", "r3"]
            .map(|name| request("1m", name, CHECK, 1, ""))
            .concat()
    }

    #[test]
    fn one_by_one_a_request_has_its_own_loop() {
        let text = cluster("--scale-down-enabled=false", 1) + &three_requests();
        let report = played(&text, "90s");
        let found: Vec<String> = statuses(&report)
            .into_iter()
            .filter(|line| line.contains("Provisioned"))
            .collect();
        assert_eq!(
            found,
            [
                "60s r1: Provisioned=True (CapacityIsFound)",
                "61s r2: Provisioned=True (CapacityIsFound)",
                "62s r3: Provisioned=False (CapacityIsNotFound)",
            ]
        );
    }

    #[test]
    fn a_batch_is_answered_in_one_loop_and_each_sees_what_those_before_it_take() {
        let flags = "--scale-down-enabled=false, --check-capacity-batch-processing";
        let text = cluster(flags, 1) + &three_requests();
        assert_eq!(
            statuses(&played(&text, "90s")),
            [
                "60s r1: Accepted=True (Accepted)",
                "60s r1: Provisioned=True (CapacityIsFound)",
                "60s r2: Accepted=True (Accepted)",
                "60s r2: Provisioned=True (CapacityIsFound)",
                "60s r3: Accepted=True (Accepted)",
                "60s r3: Provisioned=False (CapacityIsNotFound)",
            ]
        );
    }

    #[test]
    fn a_batch_is_no_larger_than_its_flag_says() {
        let flags = "--scale-down-enabled=false, --check-capacity-batch-processing, \
                     --check-capacity-provisioning-request-max-batch-size=2";
        let text = cluster(flags, 1) + &three_requests();
        let answered: Vec<String> = statuses(&played(&text, "90s"))
            .into_iter()
            .filter(|line| line.contains("Provisioned"))
            .map(|line| line[..6].to_owned())
            .collect();
        assert_eq!(answered, ["60s r1", "60s r2", "61s r3"]);
    }

    #[test]
    fn an_instance_answers_what_names_it_and_leaves_atomic_requests_alone() {
        let flags = "--scale-down-enabled=false, --check-capacity-processor-instance=one";
        let text = cluster(flags, 5)
            + &request("1m", "mine", CHECK, 1, "processorInstance: one")
            + &request("1m", "other", CHECK, 1, "processorInstance: two")
            + &request("1m", "atomic", ATOMIC, 5, "");
        let report = played(&text, "3m");
        assert!(
            statuses(&report)
                .iter()
                .all(|line| line.contains(" mine: "))
        );
        assert_eq!(statuses(&report).len(), 2);
        assert!(lines(&report, "scale-up").is_empty());
    }

    #[test]
    fn a_node_with_kept_room_stays_until_the_booking_expires() {
        let flags = "--scale-down-unneeded-time=2m, --scale-down-delay-after-add=0s";
        let text = cluster(flags, 1).replace("minSize: 1", "minSize: 0")
            + &request("1m", "r", CHECK, 2, "");
        let removals = |report: &Report| lines(report, "scale-down");
        let report = played(&text, "20m");
        let first = removals(&report)[0].clone();
        let seconds: i64 = first.split_once('s').unwrap().0.parse().unwrap();
        assert!((661 + 120..=661 + 150).contains(&seconds), "{first}");
        // Without the request it goes at once.
        let unbooked = cluster(flags, 1).replace("minSize: 1", "minSize: 0")
            + &request("19m", "r", "somebody-else", 2, "");
        let first = removals(&played(&unbooked, "20m"))[0].clone();
        let seconds: i64 = first.split_once('s').unwrap().0.parse().unwrap();
        assert!(seconds <= 150, "{first}");
    }

    /// A pod that uses the room of request `r`.
    fn consumer(at: &str, name: &str, cpu: u32) -> String {
        format!(
            "    - at: {at}\n      apply:\n        apiVersion: v1\n        kind: Pod\n        \
             metadata: {{name: {name}, annotations: \
             {{autoscaling.x-k8s.io/consume-provisioning-request: r}}}}\n        spec: \
             {{containers: [{{name: c, resources: {{requests: {{cpu: {cpu}}}}}}}]}}\n"
        )
    }

    #[test]
    fn a_booking_ends_once_all_its_pods_run() {
        let text = cluster("--scale-down-enabled=false", 1)
            + &request("1m", "r", CHECK, 2, "")
            + &consumer("2m", "w1", 1)
            + &consumer("3m", "w2", 1);
        let report = played(&text, "5m");
        assert_eq!(
            lines(&report, "status")[2],
            "181s ProvisioningRequest default/r: BookingExpired=True (CapacityBookingConsumed): \
             Capacity booking consumed: all pods scheduled"
        );
    }

    #[test]
    fn a_pod_that_uses_a_request_brings_no_node_itself() {
        let text = cluster("--scale-down-enabled=false", 5)
            + &consumer("1m", "w", 2)
            + &consumer("1m", "w2", 2);
        let report = played(&text, "5m");
        assert!(lines(&report, "scale-up").is_empty());
        assert_eq!(report.timeline.last().unwrap().after.pending, 1);
        let without = text.replace("--enable-provisioning-requests, ", "");
        assert_eq!(lines(&played(&without, "5m"), "scale-up").len(), 1);
    }

    #[test]
    fn requests_and_pods_take_turns() {
        let pod = consumer("59s", "web", 2).replace("autoscaling.x-k8s.io/consume", "unrelated/x");
        let filler = pod.replace("web", "filler");
        let text = cluster("--scale-down-enabled=false", 9)
            + &filler
            + &pod
            + &request("1m", "r", ATOMIC, 2, "");
        let report = played(&text, "5m");
        let expected = ["60s a: 1 -> 2 nodes", "61s a: 2 -> 3 nodes"];
        assert_eq!(lines(&report, "scale-up"), expected);
        assert!(
            statuses(&report)
                .last()
                .unwrap()
                .contains("Provisioned=True")
        );
    }

    #[test]
    fn an_answered_request_is_deleted_after_a_week() {
        let flags = "--scale-down-enabled=false, --scan-interval=1h";
        let text = cluster(flags, 1) + &request("1m", "r", CHECK, 2, "");
        let report = played(&text, "172h");
        let last = lines(&report, "status").last().unwrap().clone();
        assert!(
            last.ends_with("ProvisioningRequest default/r: deleted"),
            "{last}"
        );
        let seconds: i64 = last.split_once('s').unwrap().0.parse().unwrap();
        assert!(seconds > 7 * 24 * 3600, "{last}");
    }

    #[test]
    fn a_request_without_an_answer_fails_after_a_week() {
        let flags = "--scale-down-enabled=false, --scan-interval=1h";
        let text = cluster(flags, 1) + &request("1m", "r", CHECK, 3, "");
        let report = played(&text, "170h");
        assert!(
            statuses(&report)
                .last()
                .unwrap()
                .ends_with("r: Failed=True (Expired)"),
            "{:?}",
            statuses(&report).last()
        );
    }
}

mod buffers_quotas_and_pods_to_come {
    use windlass_model::parse_go_duration;
    use windlass_sim::{Report, ScenarioReader, decide_once, play};

    /// Flags, and a group of nodes of two cores with one node.
    fn cluster(flags: &str, labels: &str) -> String {
        format!(
            "
apiVersion: windlass.dev/v1alpha1
kind: Simulation
metadata: {{name: s}}
spec: {{flags: [{flags}]}}
---
apiVersion: windlass.dev/v1alpha1
kind: NodeGroup
metadata: {{name: a}}
spec:
  minSize: 0
  maxSize: 9
  nodes: [a-0]
  template:
    metadata: {{labels: {{{labels}}}}}
    status: {{capacity: {{cpu: 2, memory: 8Gi, pods: 29}}}}
---
apiVersion: v1
kind: Node
metadata:
  name: a-0
  labels: {{{labels}}}
  creationTimestamp: \"2025-12-31T00:00:00Z\"
spec: {{providerID: \"windlass:///a-0\"}}
status:
  capacity: {{cpu: 2, memory: 8Gi, pods: 29}}
  conditions: [{{type: Ready, status: \"True\", lastTransitionTime: \"2025-12-31T00:00:00Z\"}}]
---
"
        )
    }

    fn scenario(text: &str) -> windlass_sim::Scenario {
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
        entries.map(|entry| entry.text.clone()).collect()
    }

    const BOTH: &str = "--capacity-buffer-controller-enabled, \
                        --capacity-buffer-pod-injection-enabled, --scale-down-unneeded-time=2m, \
                        --scale-down-delay-after-add=0s";

    /// A buffer of pods of a core each.
    fn buffer(spec: &str) -> String {
        format!(
            "
apiVersion: v1
kind: PodTemplate
metadata: {{name: worker}}
template: {{spec: {{containers: [{{name: c, resources: {{requests: {{cpu: 1}}}}}}]}}}}
---
apiVersion: autoscaling.x-k8s.io/v1beta1
kind: CapacityBuffer
metadata: {{name: spare}}
spec: {{{spec}}}
---
"
        )
    }

    #[test]
    fn a_buffer_brings_the_nodes_that_its_pods_need_and_keeps_them() {
        let text = cluster(BOTH, "") + &buffer("podTemplateRef: {name: worker}, replicas: 5");
        let report = played(&text, "20m");
        assert_eq!(lines(&report, "scale-up"), ["a: 1 -> 3 nodes"]);
        assert!(lines(&report, "scale-down").is_empty());
        let status = lines(&report, "status");
        assert!(status.contains(&"CapacityBuffer default/spare: room for 5 pods".to_owned()));
        for condition in [
            "ReadyForProvisioning=True (AttributesSetSuccessfully): ready",
            "LimitedByQuotas=False (ResourceQuotasAllocated)",
            "Provisioning=True (FakePodsInjected)",
        ] {
            let line = format!("CapacityBuffer default/spare: {condition}");
            assert!(status.contains(&line), "{condition}: {status:?}");
        }
        // Each is said once.
        assert_eq!(status.len(), 4, "{status:?}");
    }

    #[test]
    fn without_the_injection_a_buffer_is_only_worked_out() {
        let flags = "--capacity-buffer-controller-enabled, --scale-down-enabled=false";
        let text = cluster(flags, "") + &buffer("podTemplateRef: {name: worker}, replicas: 5");
        let report = played(&text, "5m");
        assert!(lines(&report, "scale-up").is_empty());
        let status = lines(&report, "status");
        assert!(status.contains(&"CapacityBuffer default/spare: room for 5 pods".to_owned()));
        assert!(!status.iter().any(|line| line.contains(" Provisioning=")));
    }

    #[test]
    fn without_the_controller_nobody_works_a_buffer_out() {
        let flags = "--capacity-buffer-pod-injection-enabled, --scale-down-enabled=false";
        let text = cluster(flags, "") + &buffer("podTemplateRef: {name: worker}, replicas: 5");
        let report = played(&text, "5m");
        assert!(lines(&report, "scale-up").is_empty() && lines(&report, "status").is_empty());
    }

    #[test]
    fn a_real_pod_takes_the_buffer_s_room_and_the_buffer_gets_new_room() {
        let text = cluster(BOTH, "")
            + &buffer("podTemplateRef: {name: worker}, replicas: 2")
            + "
apiVersion: windlass.dev/v1alpha1
kind: Timeline
metadata: {name: t}
spec:
  entries:
  - at: 5m
    apply:
      apiVersion: apps/v1
      kind: Deployment
      metadata: {name: web}
      spec:
        replicas: 2
        template: {spec: {containers: [{name: c, resources: {requests: {cpu: 1}}}]}}
";
        let report = played(&text, "20m");
        let scheduled = report
            .timeline
            .iter()
            .find(|entry| entry.kind == "scheduler")
            .expect("pods are scheduled");
        assert_eq!(
            (scheduled.at.as_secs(), scheduled.text.as_str()),
            (300, "2 pods placed on 1 node")
        );
        assert_eq!(lines(&report, "scale-up"), ["a: 1 -> 2 nodes"]);
    }

    #[test]
    fn a_share_of_a_deployment_follows_it() {
        let text = cluster(BOTH, "")
            + &buffer("scalableRef: {apiGroup: apps, kind: Deployment, name: web}, percentage: 50")
            + "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, resources: {requests: {cpu: 1}}}]}
---
apiVersion: windlass.dev/v1alpha1
kind: Timeline
metadata: {name: t}
spec:
  entries:
  - at: 5m
    scale: {kind: Deployment, name: web, replicas: 5}
";
        let rooms: Vec<String> = lines(&played(&text, "20m"), "status")
            .into_iter()
            .filter(|line| line.contains("room for"))
            .collect();
        assert_eq!(
            rooms,
            [
                "CapacityBuffer default/spare: room for 1 pods",
                "CapacityBuffer default/spare: room for 3 pods",
            ]
        );
    }

    #[test]
    fn what_is_wrong_with_a_buffer_is_said() {
        for (spec, error) in [
            (
                "replicas: 1",
                "neither podTemplateRef nor scalableRef is set",
            ),
            (
                "podTemplateRef: {name: nothing}, replicas: 1",
                "podtemplates \"nothing\" not found",
            ),
            (
                "scalableRef: {apiGroup: apps, kind: Deployment, name: web}, replicas: 1",
                "Deployment \"web\" not found",
            ),
            (
                "podTemplateRef: {name: worker}",
                "replicas, percentage and limits are not defined",
            ),
            (
                "podTemplateRef: {name: worker}, limits: {nvidia.com/gpu: 1}",
                "resources in configured limits not found in the pod template",
            ),
        ] {
            let status = lines(
                &played(&(cluster(BOTH, "") + &buffer(spec)), "90s"),
                "status",
            );
            let expected = format!(
                "CapacityBuffer default/spare: ReadyForProvisioning=False (error): Buffer not \
                 ready for provisioning: {error}"
            );
            assert_eq!(status, [expected]);
        }
    }

    #[test]
    fn a_namespace_s_quota_limits_a_buffer() {
        let text = cluster(BOTH, "")
            + &buffer("podTemplateRef: {name: worker}, replicas: 5")
            + "
apiVersion: v1
kind: ResourceQuota
metadata: {name: small}
status: {hard: {requests.cpu: 3}, used: {requests.cpu: 1}}
";
        let status = lines(&played(&text, "90s"), "status");
        let expected = "CapacityBuffer default/spare: LimitedByQuotas=True \
                        (ResourceQuotasAllocated): Buffer replicas limited from 5 to 2 due to \
                        quotas: small";
        assert!(status.contains(&expected.to_owned()), "{status:?}");
    }

    /// A controller of five pods of a core each that has made one so far.
    fn replica_set() -> &'static str {
        "
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: web, uid: rs}
spec: {replicas: 5}
---
apiVersion: v1
kind: Pod
metadata:
  name: web-1
  ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: web, uid: rs, controller: true}]
spec: {nodeName: a-0, containers: [{name: c, resources: {requests: {cpu: 1}}}]}
---
"
    }

    fn sizes(text: &str) -> serde_json::Value {
        let once = decide_once(&scenario(text));
        assert!(once.violations.is_empty(), "{:?}", once.violations);
        let decision: serde_json::Value =
            serde_json::from_str(&once.decision.to_json()).expect("a decision is JSON");
        decision["scaleUp"].clone()
    }

    #[test]
    fn pods_that_are_yet_to_come_bring_nodes() {
        // One runs, one more fits beside it, three need two nodes.
        let text = cluster("--enable-proactive-scaleup", "") + replica_set();
        assert_eq!(
            sizes(&text),
            serde_json::json!([{"group": "a", "from": 1, "to": 3}])
        );
        let without = cluster("", "") + replica_set();
        assert_eq!(sizes(&without), serde_json::json!([]));
    }

    #[test]
    fn above_the_limit_such_pods_are_left_out() {
        let flags = "--enable-proactive-scaleup, --pod-injection-limit=1";
        let text = cluster(flags, "") + replica_set();
        assert_eq!(
            sizes(&text),
            serde_json::json!([{"group": "a", "from": 1, "to": 2}])
        );
    }

    #[test]
    fn nothing_is_said_of_pods_on_paper() {
        let text = cluster("--enable-proactive-scaleup", "") + replica_set();
        let decision = decide_once(&scenario(&text)).decision.to_json();
        assert!(!decision.contains("copy"), "{decision}");
    }

    /// Pending pods of a core each.
    fn pods(count: usize) -> String {
        let pod = |number| {
            format!(
                "
apiVersion: v1
kind: Pod
metadata: {{name: p{number}, creationTimestamp: \"2025-12-31T00:00:00Z\"}}
spec: {{containers: [{{name: c, resources: {{requests: {{cpu: 1}}}}}}]}}
status:
  conditions: [{{type: PodScheduled, status: \"False\", reason: Unschedulable}}]
---
"
            )
        };
        (0..count).map(pod).collect()
    }

    fn quota(selector: &str, resources: &str) -> String {
        format!(
            "
apiVersion: autoscaling.x-k8s.io/v1beta1
kind: CapacityQuota
metadata: {{name: q}}
spec: {{{selector} limits: {{resources: {{{resources}}}}}}}
---
"
        )
    }

    const QUOTAS: &str = "--capacity-quotas-enabled, --scale-down-enabled=false";

    #[test]
    fn a_quota_of_nodes_cuts_what_its_group_may_grow_by() {
        // Two pods fit on the node that is there, eight need four more.
        let grown = |quota: &str| sizes(&(cluster(QUOTAS, "pool: batch") + quota + &pods(10)));
        let to = |to: u32| serde_json::json!([{"group": "a", "from": 1, "to": to}]);
        assert_eq!(grown(""), to(5));
        let of_batch = "selector: {matchLabels: {pool: batch}},";
        assert_eq!(grown(&quota(of_batch, "nodes: 3")), to(3));
        assert_eq!(grown(&quota(of_batch, "cpu: 5")), to(2));
        assert_eq!(grown(&quota("", "memory: 24Gi")), to(3));
        // It is about other nodes.
        let of_web = "selector: {matchLabels: {pool: web}},";
        assert_eq!(grown(&quota(of_web, "nodes: 1")), to(5));
        // It is not valid, so it is not heeded.
        assert_eq!(grown(&quota(of_batch, "cpu: 2500m")), to(5));
        // Without the flag it is nobody's.
        let text = cluster("", "pool: batch") + &quota(of_batch, "nodes: 3") + &pods(10);
        assert_eq!(sizes(&text), to(5));
    }

    #[test]
    fn a_quota_that_is_used_up_is_the_reason() {
        let text = cluster(QUOTAS, "") + &quota("", "nodes: 1, cpu: 2") + &pods(3);
        let decision = decide_once(&scenario(&text)).decision.to_json();
        let reason = "exceeded quota: \\\"CapacityQuota/q\\\", resources: cpu, nodes";
        assert!(decision.contains(reason), "{decision}");
    }

    #[test]
    fn a_quota_tells_what_is_used_and_whether_it_is_valid() {
        let text = cluster(QUOTAS, "") + &quota("", "nodes: 3, cpu: 20");
        assert_eq!(
            lines(&played(&text, "1m"), "status"),
            [
                "CapacityQuota q: cpu 2, nodes 1 used",
                "CapacityQuota q: cluster-autoscaler.kubernetes.io/valid=True \
                 (ValidationSucceeded): CapacityQuota is valid",
                "CapacityQuota q: Reconciled=True (ReconciliationSucceeded): CapacityQuota \
                 successfully reconciled",
            ]
        );
        let wrong = cluster(QUOTAS, "") + &quota("", "cpu: 500m");
        assert_eq!(
            lines(&played(&wrong, "1m"), "status")[0],
            "CapacityQuota q: cluster-autoscaler.kubernetes.io/valid=False (ValidationFailed): \
             spec.limits.resources[cpu]: must be a whole number and not below 0, is 500m"
        );
    }

    /// Pods with a volume each, where a node holds two volumes.
    fn pods_with_volumes() -> String {
        let text = "
apiVersion: storage.k8s.io/v1
kind: CSINode
metadata: {name: a-0}
spec: {drivers: [{name: ebs.csi.aws.com, nodeID: i, allocatable: {count: 2}}]}
---
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: gp3}
provisioner: ebs.csi.aws.com
volumeBindingMode: WaitForFirstConsumer
---
"
        .to_owned();
        let pod = |number: u32| {
            format!(
                "
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: c{number}}}
spec:
  storageClassName: gp3
  accessModes: [ReadWriteOnce]
  resources: {{requests: {{storage: 1Gi}}}}
status: {{phase: Pending}}
---
apiVersion: v1
kind: Pod
metadata: {{name: v{number}, creationTimestamp: \"2025-12-31T00:00:00Z\"}}
spec:
  containers: [{{name: c, resources: {{requests: {{cpu: 10m}}}}}}]
  volumes: [{{name: data, persistentVolumeClaim: {{claimName: c{number}}}}}]
status:
  conditions: [{{type: PodScheduled, status: \"False\", reason: Unschedulable}}]
---
"
            )
        };
        let pods: String = (0..6).map(pod).collect();
        text + &pods
    }

    #[test]
    fn new_nodes_hold_as_many_volumes_as_their_model() {
        // Two volumes go to the node that is there; the others need two nodes.
        let text = cluster("--enable-csi-node-aware-scheduling", "") + &pods_with_volumes();
        assert_eq!(
            sizes(&text),
            serde_json::json!([{"group": "a", "from": 1, "to": 3}])
        );
        // Without the flag a new node holds any number.
        let without = cluster("", "") + &pods_with_volumes();
        assert_eq!(
            sizes(&without),
            serde_json::json!([{"group": "a", "from": 1, "to": 2}])
        );
    }
}

//! Every flag of this half: what differs with it.

use windlass_config::Config;
use windlass_core::{Action, Memory, ObjectWrite, ResizeCause, TimeLimit};
use windlass_model::{CreationError, CreationErrorClass, Duration, Instance, InstanceState};

use crate::world::{Documents, Loops, Started, StrikesAfter, events, flags, growth, reasons};

/// An empty group of four cores and twelve pods of a core: three nodes' worth.
fn twelve_pods(given: &[&str]) -> Documents {
    flags(given).group("a", 4, "").pods("web", 12, "1", "")
}

fn refusal(given: &[&str]) -> String {
    let errors = Config::parse(given).unwrap_err();
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    texts.join("; ")
}

// Limits.

#[test]
fn max_nodes_total_caps_the_growth() {
    assert_eq!(twelve_pods(&[]).growth(), "a 0->3");
    let capped = twelve_pods(&["--max-nodes-total=2"]).decide();
    assert_eq!(growth(&capped), "a 0->2");
}

#[test]
fn max_nodes_total_reached_stops_before_anything_is_tried() {
    let full = flags(&["--max-nodes-total=1"])
        .node("n1", "a", "", "")
        .group("a", 4, "")
        .pods("web", 9, "1", "");
    let decision = full.decide();
    assert_eq!(growth(&decision), "");
    assert!(events(&decision).contains(
        &"Warning MaxNodesTotalReached status: Max total nodes in cluster reached: 1".to_owned()
    ));
}

#[test]
fn cores_total_caps_the_growth_and_then_forbids_it() {
    assert_eq!(twelve_pods(&["--cores-total=0:8"]).growth(), "a 0->2");
    let decision = twelve_pods(&["--cores-total=0:3"]).decide();
    assert_eq!(growth(&decision), "");
    assert_eq!(
        reasons(&decision, "a"),
        ["exceeded quota: \"cluster-wide\", resources: cpu"]
    );
}

#[test]
fn memory_total_counts_gibibytes() {
    assert_eq!(twelve_pods(&["--memory-total=0:32"]).growth(), "a 0->2");
    assert_eq!(twelve_pods(&["--memory-total=0:31"]).growth(), "a 0->1");
}

#[test]
fn gpu_total_limits_the_type_that_it_names() {
    let group = "{apiVersion: windlass.dev/v1alpha1, kind: NodeGroup, metadata: {name: g}, spec: \
                 {minSize: 0, maxSize: 9, template: {metadata: {labels: \
                 {k8s.amazonaws.com/accelerator: t4}}, status: {capacity: {cpu: 8, memory: 32Gi, \
                 pods: 20, nvidia.com/gpu: 2}}}}}";
    let pods = |given: &[&str]| {
        let pod = |number: u32| {
            format!(
                "{{apiVersion: v1, kind: Pod, metadata: {{name: train-{number}, creationTimestamp: \
                 '2025-12-31T00:00:00Z'}}, spec: {{containers: [{{name: c, resources: {{requests: \
                 {{nvidia.com/gpu: 1}}}}}}]}}, status: {{conditions: [{{type: PodScheduled, status: \
                 'False', reason: Unschedulable}}]}}}}"
            )
        };
        (0..6).fold(flags(given).document(group), |documents, number| {
            documents.document(&pod(number))
        })
    };
    assert_eq!(pods(&[]).growth(), "g 0->3");
    assert_eq!(pods(&["--gpu-total=t4:0:4"]).growth(), "g 0->2");
    assert_eq!(pods(&["--gpu-total=v100:0:0"]).growth(), "g 0->3");
}

#[test]
fn enforce_node_group_min_size_raises_what_is_below() {
    let low = |given: &[&str]| {
        let mut loops = Loops::new(&flags(given).group("a", 4, ""));
        loops.group("a").min_size = 2;
        loops.decide()
    };
    assert_eq!(growth(&low(&[])), "");
    let raised = low(&["--enforce-node-group-min-size"]);
    assert_eq!(growth(&raised), "a 0->2");
    assert_eq!(
        raised.plan.scale_up.resizes[0].cause,
        ResizeCause::MinimumSize
    );
}

#[test]
fn max_nodes_per_scaleup_caps_one_estimation() {
    assert_eq!(
        twelve_pods(&["--max-nodes-per-scaleup=2"]).growth(),
        "a 0->2"
    );
    assert_eq!(twelve_pods(&["--max-nodes-per-scaleup=-1"]).growth(), "");
}

#[test]
fn without_scale_up_from_zero_a_cluster_without_nodes_is_left_alone() {
    let decision = twelve_pods(&["--scale-up-from-zero=false"]).decide();
    assert_eq!(growth(&decision), "");
    assert_eq!(
        events(&decision),
        ["Warning ClusterUnhealthy status: Cluster has no nodes."]
    );
}

// Health, provisioning, backoff.

#[test]
fn max_node_startup_time_says_when_a_node_counts_as_unready() {
    let unready = |time: &str| {
        let documents = (0..5).fold(flags(&[time]), |documents, number| {
            documents.node_in_state(&format!("n{number}"), "a", "", "", "'False'")
        });
        let documents = documents.group("a", 4, "").pods("web", 1, "1", "");
        let decision = documents.decide();
        events(&decision).contains(&"Warning ClusterUnhealthy status: Cluster is unhealthy".into())
    };
    assert!(unready("--max-node-startup-time=15m"));
    assert!(!unready("--max-node-startup-time=48h"));
}

#[test]
fn ok_total_unready_count_and_max_total_unready_percentage_say_what_is_healthy() {
    let is_healthy = |given: &[&str]| {
        let documents = (0..4).fold(flags(given), |documents, number| {
            documents.node_in_state(&format!("bad{number}"), "a", "", "", "'False'")
        });
        let documents = (0..5).fold(documents, |documents, number| {
            documents.node(&format!("good{number}"), "a", "", "")
        });
        let decision = documents.group("a", 4, "").pods("web", 1, "8", "").decide();
        !events(&decision).contains(&"Warning ClusterUnhealthy status: Cluster is unhealthy".into())
    };
    // Four of nine are 44.4 %.
    assert!(is_healthy(&[]));
    assert!(!is_healthy(&["--max-total-unready-percentage=44"]));
    assert!(is_healthy(&[
        "--max-total-unready-percentage=44",
        "--ok-total-unready-count=4"
    ]));
}

/// Asks for three nodes, which do not come.
fn asked_for_three(given: &[&str]) -> Loops {
    let mut loops = Loops::new(&twelve_pods(given));
    let decision = loops.decide();
    assert_eq!(growth(&decision), "a 0->3");
    loops.carry_out(&decision);
    loops
}

#[test]
fn max_node_provision_time_says_when_a_scale_up_has_failed() {
    let times_out = |given: &[&str], after: &str| {
        let mut loops = asked_for_three(given);
        loops.pass(after);
        let decision = loops.decide();
        decision.plan.actions.contains(&Action::DecreaseTargetSize {
            group: "a".into(),
            from: 3,
            to: 0,
        })
    };
    assert!(!times_out(&[], "15m"));
    assert!(times_out(&[], "15m1s"));
    assert!(times_out(&["--max-node-provision-time=5m"], "5m1s"));
}

#[test]
fn what_a_timed_out_scale_up_takes_back_ends_no_instance() {
    let mut loops = asked_for_three(&[]);
    // Two instances have come, and no node of theirs.
    for name in ["one", "two"] {
        loops.group("a").instances.push(Instance {
            provider_id: format!("aws:///z/{name}").into(),
            state: InstanceState::Running,
        });
    }
    loops.decide();
    loops.pass("15m1s");
    let decision = loops.decide();
    let taken_back = decision
        .plan
        .actions
        .iter()
        .find_map(|action| match action {
            Action::DecreaseTargetSize { from, to, .. } => Some((*from, *to)),
            _ => None,
        });
    assert_eq!(taken_back, Some((3, 2)));
}

/// How often one group is left alone after each of three failures, in minutes.
fn backoffs(given: &[&str], pause: &str) -> Vec<i64> {
    let mut loops = Loops::new(&twelve_pods(given));
    let mut found = Vec::new();
    for _ in 0..3 {
        let decision = loops.decide();
        assert_eq!(growth(&decision), "a 0->3");
        loops.fail_growth(&decision);
        let refused = loops.decide();
        assert_eq!(reasons(&refused, "a"), ["in backoff after failed scale-up"]);
        found.push(loops.memory.backoffs["a"].duration.as_secs() / 60);
        loops.pass(pause);
    }
    found
}

#[test]
fn backoff_begins_doubles_is_capped_and_forgotten() {
    assert_eq!(backoffs(&[], "31m"), [5, 10, 20]);
    let quick = [
        "--initial-node-group-backoff-duration=1m",
        "--max-node-group-backoff-duration=3m",
    ];
    assert_eq!(backoffs(&quick, "31m"), [1, 2, 3]);
    let forgetful = ["--node-group-backoff-reset-timeout=30m"];
    assert_eq!(backoffs(&forgetful, "31m"), [5, 5, 5]);
}

/// A group at its minimum of one, of which an instance never registered.
fn unregistered(given: &[&str], state: InstanceState) -> Loops {
    let documents = flags(given).node("n1", "a", "", "").group("a", 4, "");
    let mut loops = Loops::new(&documents);
    let group = loops.group("a");
    group.min_size = 2;
    group.target_size = 2;
    group.instances.push(Instance {
        provider_id: "aws:///z/ghost".into(),
        state,
    });
    loops
}

fn deletes(loops: &mut Loops) -> Option<bool> {
    let decision = loops.decide();
    decision
        .plan
        .actions
        .iter()
        .find_map(|action| match action {
            Action::DeleteInstances {
                instances, force, ..
            } => {
                assert_eq!(instances, &["aws:///z/ghost"]);
                Some(*force)
            }
            _ => None,
        })
}

#[test]
fn force_delete_unregistered_nodes_goes_below_the_minimum() {
    let mut careful = unregistered(&[], InstanceState::Running);
    careful.decide();
    careful.pass("16m");
    assert_eq!(deletes(&mut careful), None);
    careful.group("a").min_size = 1;
    assert_eq!(deletes(&mut careful), Some(false));

    let mut forced = unregistered(
        &["--force-delete-unregistered-nodes"],
        InstanceState::Running,
    );
    forced.decide();
    forced.pass("16m");
    assert_eq!(deletes(&mut forced), Some(true));
}

#[test]
fn force_delete_failed_nodes_is_passed_on() {
    let failed = || InstanceState::Creating {
        error: Some(CreationError {
            class: CreationErrorClass::OutOfResource,
            code: "InsufficientInstanceCapacity".into(),
            message: "none left".into(),
        }),
    };
    assert_eq!(deletes(&mut unregistered(&[], failed())), Some(false));
    let forced = &["--force-delete-failed-nodes"];
    assert_eq!(deletes(&mut unregistered(forced, failed())), Some(true));
}

// Templates.

#[test]
fn node_info_cache_expire_time_ends_the_use_of_a_vanished_node() {
    let grows = |given: &[&str]| {
        let documents = flags(given)
            .node("n1", "a", "", "disk: fast")
            .group("a", 4, "")
            .pods("web", 5, "1", "nodeSelector: {disk: fast}");
        let mut loops = Loops::new(&documents);
        assert_eq!(growth(&loops.decide()), "a 1->2");
        // The node goes, and with it the label that the group's description lacks.
        loops.cluster.nodes.clear();
        loops.group("a").instances.clear();
        loops.group("a").target_size = 0;
        loops.memory.open_scale_ups.clear();
        loops.pass("2h");
        growth(&loops.decide())
    };
    assert_eq!(grows(&[]), "a 0->2");
    assert_eq!(grows(&["--node-info-cache-expire-time=1h"]), "");
}

fn daemonset(name: &str, cpu: &str) -> String {
    format!(
        "{{apiVersion: apps/v1, kind: DaemonSet, metadata: {{name: {name}}}, spec: {{template: \
         {{metadata: {{labels: {{app: {name}}}}}, spec: {{containers: [{{name: c, resources: \
         {{requests: {{cpu: {cpu}}}}}}}]}}}}}}}}"
    )
}

#[test]
fn force_ds_counts_daemonsets_that_the_model_node_lacks() {
    let grows = |given: &[&str]| {
        let documents = flags(given)
            .node("n1", "a", "", "")
            .group("a", 4, "")
            .document(&daemonset("logs", "1"))
            .pods("web", 2, "4", "");
        documents.growth()
    };
    assert_eq!(grows(&[]), "a 1->2");
    assert_eq!(grows(&["--force-ds"]), "");
}

#[test]
fn scale_from_unschedulable_clears_the_cordon_of_the_model() {
    let grows = |given: &[&str]| {
        flags(given)
            .node("n1", "a", "unschedulable: true", "")
            .document(
                "{apiVersion: windlass.dev/v1alpha1, kind: NodeGroup, metadata: {name: a}, spec: \
                 {minSize: 0, maxSize: 9}}",
            )
            .pods("web", 1, "1", "")
            .growth()
    };
    assert_eq!(grows(&[]), "");
    assert_eq!(grows(&["--scale-from-unschedulable"]), "a 1->2");
}

/// Whether a node with a taint of this key counts as ready, and whether its group's template has
/// the taint.
fn taint_of(given: &[&str], key: &str) -> (bool, bool) {
    let taint = format!("taints: [{{key: {key}, effect: NoSchedule}}]");
    let documents = flags(given)
        .node("n1", "a", &taint, "")
        .group("a", 4, "")
        .pods("web", 1, "1", "");
    let mut loops = Loops::new(&documents);
    // Only the node says what a new one looks like.
    loops.group("a").template = None;
    let decision = loops.decide();
    let ready = decision.plan.status.unwrap().contains(" ready: 1");
    (ready, !decision.plan.scale_up.resizes.is_empty())
}

#[test]
fn taints_of_start_and_status_are_left_out_of_templates() {
    assert_eq!(taint_of(&[], "agent"), (true, false));
    assert_eq!(taint_of(&["--startup-taint=agent"], "agent"), (false, true));
    assert_eq!(taint_of(&["--ignore-taint=agent"], "agent"), (false, true));
    assert_eq!(taint_of(&["--status-taint=agent"], "agent"), (true, true));
    let prefix = &["--startup-taint-prefix=boot.example.com/"];
    assert_eq!(taint_of(prefix, "boot.example.com/disk"), (false, true));
    assert_eq!(
        taint_of(&[], "startup-taint.cluster-autoscaler.kubernetes.io/x"),
        (false, true)
    );
    assert_eq!(
        taint_of(&[], "status-taint.cluster-autoscaler.kubernetes.io/x"),
        (true, true)
    );
}

// Expanders.

/// Pods that `large` holds on one node, and `small` on two of half the size and a bit.
fn choice(given: &[&str]) -> Documents {
    flags(given)
        .group("large", 16, "pricePerHour: 0.5")
        .group("small", 4, "pricePerHour: 0.1")
        .pods("web", 5, "1", "")
        .pods("big", 1, "10", "")
}

#[test]
fn each_expander_chooses_by_its_own_measure() {
    // `large` helps the big pod too, with one node; `small` wastes less on the others.
    assert_eq!(choice(&["--expander=most-pods"]).growth(), "large 0->1");
    assert_eq!(choice(&["--expander=least-nodes"]).growth(), "large 0->1");
    let no_big = |given: &[&str]| {
        flags(given)
            .group("large", 16, "pricePerHour: 0.5")
            .group("small", 4, "pricePerHour: 0.1")
            .pods("web", 5, "1", "")
            .growth()
    };
    assert_eq!(no_big(&[]), "small 0->2");
    assert_eq!(no_big(&["--expander=least-waste"]), "small 0->2");
    assert_eq!(no_big(&["--expander=price"]), "small 0->2");
    assert_eq!(no_big(&["--expander=least-nodes"]), "large 0->1");
}

#[test]
fn random_is_random_by_its_seed_alone() {
    let draw = |seed: u32| {
        let mut text = flags(&["--expander=random"]);
        for group in ["a", "b", "c", "d"] {
            text = text.group(group, 4, "");
        }
        let text = text.pods("web", 1, "1", "");
        let mut loops = Loops::new(&text);
        loops.scenario.config.process.seed = u64::from(seed);
        growth(&loops.decide())
    };
    let drawn: std::collections::BTreeSet<String> = (0..40).map(draw).collect();
    assert_eq!(drawn.len(), 4, "each group is drawn by some seed");
    assert_eq!(draw(7), draw(7));
}

fn priorities(text: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: cluster-autoscaler-priority-expander, \
         namespace: kube-system}}\ndata:\n  priorities: |-\n    {}\n",
        text.replace('\n', "\n    ")
    )
}

#[test]
fn the_priority_expander_follows_its_configmap() {
    let grows = |text: &str| {
        let documents = choice(&["--expander=priority,least-nodes"]).document(&priorities(text));
        documents.growth()
    };
    assert_eq!(grows("10: [large]\n20: [small]"), "small 0->2");
    assert_eq!(grows("10: [\"^l\"]\n5: [\".*\"]"), "large 0->1");
}

#[test]
fn a_malformed_priority_configmap_is_told_and_ignored() {
    for text in ["10: large", "10: ['(']", "just text"] {
        let documents = choice(&["--expander=priority,least-nodes"]).document(&priorities(text));
        let decision = documents.decide();
        assert_eq!(growth(&decision), "large 0->1");
        let told = events(&decision);
        let first = "Warning PriorityConfigMapInvalid priority-expander: Wrong configuration for \
                     priority expander: ";
        assert!(
            told.iter()
                .any(|event| event.starts_with(first) && event.ends_with(". Ignoring update.")),
            "{told:?}"
        );
    }
}

#[test]
fn the_priority_configmap_is_read_anew_by_every_loop() {
    let documents =
        choice(&["--expander=priority"]).document(&priorities("10: [large]\n20: [small]"));
    let mut loops = Loops::new(&documents);
    assert_eq!(growth(&loops.decide()), "small 0->2");
    loops.memory = Memory::default();
    loops.cluster.priority_expander = Some(Some("10: [large]".into()));
    let decision = loops.decide();
    assert_eq!(growth(&decision), "large 0->1");
    assert!(
        events(&decision).contains(
            &"Warning PriorityConfigMapNotMatchedGroup priority-expander: Priority expander: node \
          group small not found in priority expander configuration. The group won't be used."
                .to_owned()
        )
    );
}

#[test]
fn chains_that_cannot_work_are_refused() {
    assert!(refusal(&["--expander=price,price"]).contains("was specified multiple times"));
    assert!(refusal(&["--expander=random,price"]).contains("will never be used"));
    assert!(refusal(&["--expander=cheapest"]).contains("cheapest"));
    assert!(refusal(&["--estimator=oracle"]).contains("oracle"));
}

#[test]
fn the_grpc_expander_wants_a_certificate() {
    let problem = refusal(&["--expander=grpc", "--grpc-expander-url=localhost:7000"]);
    assert!(problem.contains("GRPC Expander Cert not specified, insecure connections not allowed"));
}

// Balancing.

#[test]
fn balance_similar_node_groups_splits_the_growth() {
    let grows = |given: &[&str]| {
        flags(given)
            .group("a", 4, "")
            .group("b", 4, "")
            .pods("web", 12, "1", "")
            .growth()
    };
    assert_eq!(grows(&[]), "a 0->3");
    assert_eq!(grows(&["--balance-similar-node-groups"]), "a 0->2, b 0->1");
}

/// Whether two groups with templates of these labels and sizes share the growth.
fn is_split(given: &[&str], labels: [&str; 2], capacity: [&str; 2]) -> bool {
    let group = |name: &str, place: usize| {
        format!(
            "{{apiVersion: windlass.dev/v1alpha1, kind: NodeGroup, metadata: {{name: {name}}}, spec: \
             {{minSize: 0, maxSize: 9, template: {{metadata: {{labels: {{{}}}}}, status: \
             {{{}}}}}}}}}",
            labels[place], capacity[place]
        )
    };
    let documents = flags(given)
        .flags(&["--balance-similar-node-groups"])
        .document(&group("a", 0))
        .document(&group("b", 1))
        .pods("web", 12, "1", "");
    documents.growth().contains(", ")
}

#[test]
fn balancing_labels_and_ignored_labels_say_what_is_alike() {
    let same = ["capacity: {cpu: 4, memory: 16Gi, pods: 20}"; 2];
    let teams = ["team: red, rack: '1'", "team: red, rack: '2'"];
    assert!(!is_split(&[], teams, same));
    assert!(is_split(&["--balancing-ignore-label=rack"], teams, same));
    assert!(is_split(&["--balancing-label=team"], teams, same));
    assert!(!is_split(&["--balancing-label=rack"], teams, same));
    // Only the labels named are compared then, however different the machines.
    let sizes = [same[0], "capacity: {cpu: 8, memory: 64Gi, pods: 20}"];
    assert!(is_split(&["--balancing-label=team"], teams, sizes));
}

#[test]
fn the_difference_ratios_say_how_far_sizes_may_differ() {
    let none = [""; 2];
    let sizes = |capacity: [&str; 2], allocatable: [&str; 2]| {
        [0, 1].map(|place| {
            format!(
                "capacity: {{cpu: 4, memory: {}, pods: 20}}, allocatable: {{cpu: 4, memory: {}, \
                 pods: 20}}",
                capacity[place], allocatable[place]
            )
        })
    };
    let split = |given: &[&str], sizes: &[String; 2]| {
        is_split(given, none, [sizes[0].as_str(), sizes[1].as_str()])
    };
    let memory = sizes(["1000Mi", "980Mi"], ["900Mi", "900Mi"]);
    assert!(!split(&[], &memory));
    assert!(split(&["--memory-difference-ratio=0.02"], &memory));
    let allocatable = sizes(["1000Mi", "1000Mi"], ["1000Mi", "940Mi"]);
    assert!(!split(&[], &allocatable));
    let loose = [
        "--max-allocatable-difference-ratio=0.06",
        "--max-free-difference-ratio=0.06",
    ];
    assert!(!split(&loose[..1], &allocatable));
    assert!(!split(&loose[1..], &allocatable));
    assert!(split(&loose, &allocatable));
}

// Estimation.

#[test]
fn binpacking_limits_stop_the_count_where_they_strike() {
    let two_groups = |budget: &StrikesAfter| {
        let documents = flags(&["--expander=least-nodes"])
            .group("a", 4, "")
            .group("b", 16, "")
            .pods("web", 12, "1", "");
        growth(&Loops::new(&documents).decide_within(budget))
    };
    let never = StrikesAfter::new(TimeLimit::Binpacking, 9);
    assert_eq!(two_groups(&never), "b 0->1");
    let at_once = StrikesAfter::new(TimeLimit::Binpacking, 0);
    assert_eq!(
        two_groups(&at_once),
        "a 0->3",
        "b was not estimated any more"
    );
    let after_a_node = StrikesAfter::new(TimeLimit::NodeGroupBinpacking, 1);
    let documents = twelve_pods(&[]);
    let decision = Loops::new(&documents).decide_within(&after_a_node);
    assert_eq!(growth(&decision), "a 0->1");
}

#[test]
fn the_limits_by_duration_are_those_of_the_flags() {
    let given = [
        "--max-binpacking-time=7m",
        "--max-nodegroup-binpacking-duration=7s",
        "--salvo-scale-up",
        "--salvo-scale-up-budget=70s",
        "--enable-graceful-degradation",
        "--pending-pods-batching-timeout=77s",
    ];
    let started = Started::default();
    Loops::new(&twelve_pods(&given)).decide_within(&started);
    let started = started.0.into_inner().unwrap();
    for (limit, seconds) in [
        (TimeLimit::Binpacking, 420),
        (TimeLimit::NodeGroupBinpacking, 7),
        (TimeLimit::SalvoScaleUp, 70),
        (TimeLimit::PendingPods, 77),
    ] {
        assert!(
            started.contains(&(limit, Duration::from_secs(seconds))),
            "{limit:?}"
        );
    }
}

#[test]
fn fastpath_binpacking_counts_by_division() {
    // Pods that want to be together on one host: simulated, the second node takes none.
    let together = "affinity: {podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: \
                    [{topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {app: \
                    web}}}]}}";
    let grows = |given: &[&str]| {
        let documents = flags(given)
            .group("a", 4, "")
            .pods("web", 10, "1", together);
        documents.growth()
    };
    assert_eq!(grows(&[]), "a 0->1");
    assert_eq!(grows(&["--fastpath-binpacking-enabled"]), "a 0->3");
}

#[test]
fn fastpath_binpacking_keeps_to_the_limits() {
    let apart = "affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: \
                 [{topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {app: web}}}]}}";
    let grows = |given: &[&str]| {
        let decision = flags(given)
            .group("a", 4, "maxSize: 7")
            .pods("web", 10, "1", apart)
            .decide();
        (
            growth(&decision),
            decision.plan.pods.triggered_scale_up.len(),
        )
    };
    let expected = ("a 0->7".to_owned(), 7);
    assert_eq!(grows(&[]), expected);
    assert_eq!(grows(&["--fastpath-binpacking-enabled"]), expected);
}

// Salvo and skipped groups.

#[test]
fn a_salvo_helps_in_one_loop_what_no_group_helps_alone() {
    let documents = |given: &[&str]| {
        flags(given)
            .labelled_group("a", 4, "zone: a", "")
            .labelled_group("b", 4, "zone: b", "")
            .pods("left", 4, "1", "nodeSelector: {zone: a}")
            .pods("right", 8, "1", "nodeSelector: {zone: b}")
    };
    assert_eq!(documents(&["--expander=most-pods"]).growth(), "b 0->2");
    let salvo = &["--expander=most-pods", "--salvo-scale-up"];
    assert_eq!(documents(salvo).growth(), "b 0->2, a 0->1");
    let spent = StrikesAfter::new(TimeLimit::SalvoScaleUp, 0);
    let decision = Loops::new(&documents(salvo)).decide_within(&spent);
    assert_eq!(growth(&decision), "b 0->2");
}

#[test]
fn a_salvo_that_ends_without_success_has_still_scaled_up() {
    let documents = flags(&["--salvo-scale-up"])
        .group("a", 4, "")
        .pods("web", 4, "1", "")
        .pods("huge", 1, "100", "");
    let mut loops = Loops::new(&documents);
    assert_eq!(growth(&loops.decide()), "a 0->1");
    assert_eq!(loops.memory.last_scale_up, Some(loops.now));
}

#[test]
fn skipped_groups_that_would_not_help_anyway_are_told_apart() {
    let told = |given: &[&str]| {
        let documents = flags(given)
            .group("full", 4, "maxSize: 0")
            .pods("huge", 1, "100", "");
        reasons(&documents.decide(), "full")
    };
    assert_eq!(told(&[]), ["max node group size reached"]);
    assert_eq!(
        told(&["--scaleup-simulation-for-skipped-node-groups-enabled"]),
        ["Insufficient cpu"]
    );
}

// Which pods count.

fn one_pod(given: &[&str], metadata: &str, spec: &str, conditions: &str) -> String {
    flags(given)
        .group("a", 4, "")
        .document(&format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: web, {metadata}}}, spec: {{containers: \
             [{{name: c, resources: {{requests: {{cpu: 1}}}}}}]{spec}}}, status: {{conditions: \
             [{conditions}]}}}}"
        ))
        .growth()
}

const UNSCHEDULABLE: &str = "{type: PodScheduled, status: 'False', reason: Unschedulable}";
const OLD: &str = "creationTimestamp: '2025-12-31T23:59:00Z'";

#[test]
fn new_pod_scale_up_delay_lets_young_pods_wait() {
    let grows = |given: &[&str], more: &str| {
        let metadata = format!("{OLD}{more}");
        one_pod(given, &metadata, "", UNSCHEDULABLE)
    };
    assert_eq!(grows(&[], ""), "a 0->1");
    assert_eq!(grows(&["--new-pod-scale-up-delay=59s"], ""), "a 0->1");
    assert_eq!(grows(&["--new-pod-scale-up-delay=60s"], ""), "");
    let longer = ", annotations: {cluster-autoscaler.kubernetes.io/pod-scale-up-delay: 2m}";
    assert_eq!(grows(&[], longer), "");
    let shorter = ", annotations: {cluster-autoscaler.kubernetes.io/pod-scale-up-delay: 1s}";
    assert_eq!(grows(&["--new-pod-scale-up-delay=60s"], shorter), "");
}

#[test]
fn expendable_pods_priority_cutoff_says_which_pods_count_for_nothing() {
    let grows = |given: &[&str], priority: &str| {
        one_pod(
            given,
            OLD,
            &format!(", priority: {priority}"),
            UNSCHEDULABLE,
        )
    };
    assert_eq!(grows(&[], "-10"), "a 0->1");
    assert_eq!(grows(&[], "-11"), "");
    assert_eq!(grows(&["--expendable-pods-priority-cutoff=5"], "4"), "");
    assert_eq!(
        grows(&["--expendable-pods-priority-cutoff=5"], "5"),
        "a 0->1"
    );
}

#[test]
fn bypassed_scheduler_names_count_before_their_scheduler_has_looked() {
    let grows = |given: &[&str]| one_pod(given, OLD, ", schedulerName: batch", "");
    assert_eq!(grows(&[]), "");
    assert_eq!(grows(&["--bypassed-scheduler-names=batch"]), "a 0->1");
    let stray = refusal(&[
        "--bypassed-scheduler-names=batch",
        "--allowed-scheduler-names=other",
    ]);
    assert!(stray.contains("batch"));
}

#[test]
fn allowed_scheduler_names_leave_out_the_pods_of_others() {
    let grows = |given: &[&str], spec: &str| one_pod(given, OLD, spec, UNSCHEDULABLE);
    let allowed = &["--allowed-scheduler-names=default-scheduler"];
    assert_eq!(grows(&[], ", schedulerName: batch"), "a 0->1");
    assert_eq!(grows(allowed, ", schedulerName: batch"), "");
    assert_eq!(grows(allowed, ""), "a 0->1");
}

#[test]
fn graceful_degradation_takes_turns_once_pods_are_not_reached() {
    let documents = twelve_pods(&["--enable-graceful-degradation"]);
    let mut loops = Loops::new(&documents);
    let spent = || StrikesAfter::new(TimeLimit::PendingPods, 4);
    let decision = loops.decide_within(&spent());
    assert_eq!(growth(&decision), "a 0->1", "four pods were reached");
    assert_eq!(loops.memory.degraded_loops, 1);
    // Every fourth loop leaves scale-up out.
    for expected in 2..=3 {
        loops.decide_within(&spent());
        assert_eq!(loops.memory.degraded_loops, expected);
    }
    let resting = loops.decide_within(&spent());
    assert_eq!(loops.memory.degraded_loops, 4);
    assert_eq!(growth(&resting), "");
    let recovered = loops.decide();
    assert_eq!(loops.memory.degraded_loops, 0);
    assert!(
        events(&recovered)
            .iter()
            .any(|event| event.starts_with("Normal GracefulDegradationStopped status: "))
    );

    let mut without = Loops::new(&twelve_pods(&[]));
    assert_eq!(growth(&without.decide_within(&spent())), "a 0->3");
}

/// Two requests that look for room, and a node that has it.
fn two_checks(given: &[&str]) -> Documents {
    let mut documents = flags(&["--enable-provisioning-requests"])
        .flags(given)
        .node("n1", "a", "", "")
        .group("a", 4, "")
        .document(TEMPLATE);
    for name in ["r1", "r2"] {
        documents = documents.document(&format!(
            "{{apiVersion: autoscaling.x-k8s.io/v1, kind: ProvisioningRequest, metadata: {{name: \
             {name}, creationTimestamp: '2025-12-31T00:00:00Z'}}, spec: {{provisioningClassName: \
             check-capacity.autoscaling.x-k8s.io, podSets: [{{count: 1, podTemplateRef: {{name: \
             worker}}}}]}}}}"
        ));
    }
    documents
}

const TEMPLATE: &str = "{apiVersion: v1, kind: PodTemplate, metadata: {name: worker}, template: \
                        {spec: {containers: [{name: c, resources: {requests: {cpu: 1}}}]}}}";

/// How many requests are told that there is room for them.
fn answered(decision: &windlass_core::Decision) -> usize {
    let actions = decision.plan.actions.iter();
    let writes = actions.filter(|action| matches!(action, Action::Write(_)));
    writes
        .filter(|write| format!("{write:?}").contains("CapacityIsFound"))
        .count()
}

#[test]
fn check_capacity_batch_timebox_ends_a_batch_early() {
    let batch = [
        "--check-capacity-batch-processing",
        "--check-capacity-provisioning-request-batch-timebox=7s",
    ];
    let started = Started::default();
    let all = Loops::new(&two_checks(&batch)).decide_within(&started);
    assert_eq!(answered(&all), 2);
    let limit = (TimeLimit::CheckCapacityBatch, Duration::from_secs(7));
    assert!(started.0.lock().unwrap().contains(&limit));
    let strikes = StrikesAfter::new(TimeLimit::CheckCapacityBatch, 0);
    let first = Loops::new(&two_checks(&batch)).decide_within(&strikes);
    assert_eq!(answered(&first), 1);
}

#[test]
fn capacity_buffer_pod_dry_run_says_how_a_template_is_made() {
    let dry_runs = |given: &[&str]| -> Vec<bool> {
        let documents = flags(&["--capacity-buffer-controller-enabled"])
            .flags(given)
            .group("a", 4, "")
            .document(TEMPLATE)
            .document(
                "{apiVersion: autoscaling.x-k8s.io/v1beta1, kind: CapacityBuffer, metadata: {name: \
                 spare}, spec: {podTemplateRef: {name: worker}, replicas: 2}}",
            );
        let decision = documents.decide();
        let actions = decision.plan.actions.iter();
        actions
            .filter_map(|action| match action {
                Action::Write(ObjectWrite::WriteBufferTemplate { dry_run, .. }) => Some(*dry_run),
                _ => None,
            })
            .collect()
    };
    assert_eq!(dry_runs(&[]), [true]);
    assert_eq!(
        dry_runs(&["--capacity-buffer-pod-dry-run-enabled=false"]),
        [false]
    );
}

#[test]
fn csi_node_aware_scheduling_waits_for_the_drivers_of_a_node() {
    let ready = |given: &[&str]| {
        let documents = flags(given).node("n1", "a", "", "").group("a", 4, "");
        let mut loops = Loops::new(&documents);
        let template = loops.group("a").template.as_mut().unwrap();
        template.csi_node = Some(std::sync::Arc::new(windlass_model::CsiNode {
            name: "new".into(),
            drivers: vec![("ebs.csi.aws.com".into(), Some(25))],
            annotations: windlass_model::Labels::default(),
        }));
        loops.decide().plan.status.unwrap().contains(" ready: 1")
    };
    assert!(ready(&[]));
    assert!(!ready(&["--enable-csi-node-aware-scheduling"]));
}

#[test]
fn flags_that_do_nothing_here_are_said_to_do_nothing() {
    for flag in [
        "--async-node-groups",
        "--enable-inter-pod-affinity-hostname-fast-path",
        "--cluster-snapshot-parallelism=3",
        "--scale-down-non-empty-candidates-count=5",
        "--scale-down-candidates-pool-ratio=0.2",
        "--scale-down-candidates-pool-min-count=7",
    ] {
        let (_, warnings) = Config::parse([flag]).unwrap();
        assert_eq!(warnings.len(), 1, "{flag}");
    }
    for flag in [
        "--clusterapi-cloud-config-authoritative",
        "--bulk-mig-instances-listing-enabled",
        "--gce-concurrent-refreshes=2",
        "--gce-mig-instances-min-refresh-wait-time=1s",
    ] {
        let name = flag.split('=').next().unwrap();
        assert!(refusal(&[flag]).contains(name), "{flag}");
    }
    assert!(refusal(&["--enable-dynamic-resource-allocation=false"]).contains("cannot be"));
}

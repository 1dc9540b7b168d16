//! Random clusters: the plan breaks no rule, nothing panics, and neither a second run nor another
//! order of the documents changes a byte.
//!
//! `WINDLASS_RANDOM_SCENARIOS=N` runs N of them instead of a few hundred, and
//! `WINDLASS_RANDOM_FIRST=SEED` begins elsewhere. A failure names its seed.

use std::fmt::Write as _;

use windlass_core::{Input, Memory, NoTimeLimits, check, decide, prepare};
use windlass_model::Duration;
use windlass_sim::{DecisionDocument, Scenario, ScenarioReader, play};

/// As many as a test run without the variable has patience for.
const SCENARIOS: u64 = 300;
/// Every so many scenarios one is played for a while as well.
const PLAYED: u64 = 25;

#[test]
fn random_scenarios_keep_the_rules_and_the_bytes() {
    let number =
        |name: &str, default| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let first = number("WINDLASS_RANDOM_FIRST", 0);
    let mut grown = 0_u64;
    let mut stuck = 0_u64;
    let mut removed = 0_u64;
    let count = number("WINDLASS_RANDOM_SCENARIOS", SCENARIOS);
    for seed in first..first + count {
        let documents = documents(&mut Dice::new(seed));
        let scenario = read(&documents);
        let (json, plan) = decision(&scenario, seed);
        grown += u64::from(!plan.scale_up.resizes.is_empty());
        stuck += u64::from(!plan.pods.unschedulable.is_empty());
        removed += u64::from(!plan.scale_down.removals.is_empty());
        let (again, same_plan) = decision(&scenario, seed);
        assert_eq!(json, again, "seed {seed}: a second run differs");
        assert_eq!(plan, same_plan, "seed {seed}: a second run differs");
        let mut shuffled = documents.clone();
        Dice::new(seed ^ 0xdead_beef).shuffle(&mut shuffled);
        let (shuffled, _) = decision(&read(&shuffled), seed);
        assert_eq!(json, shuffled, "seed {seed}: another order differs");
        if seed.is_multiple_of(PLAYED) {
            play_twice(&scenario, seed);
        }
    }
    // The generator makes clusters in which something happens.
    let share = |some: u64| some * 100 / count;
    assert!(count < 100 || share(grown) >= 20, "{grown} of {count} grow");
    assert!(
        count < 100 || share(stuck) >= 20,
        "{stuck} of {count} have pods that stay"
    );
    assert!(
        count < 100 || share(removed) >= 1,
        "{removed} of {count} shrink"
    );
}

fn read(documents: &[String]) -> Scenario {
    let mut reader = ScenarioReader::new();
    reader.read("random", &documents.join("\n---\n")).unwrap();
    reader.finish().unwrap()
}

fn decision(scenario: &Scenario, seed: u64) -> (String, windlass_core::Plan) {
    let cluster = scenario.cluster();
    let memory = Memory::default();
    let input = Input {
        cluster: &cluster,
        memory: &memory,
        outcomes: &[],
        config: &scenario.config,
        now: scenario.now,
        budget: &NoTimeLimits,
    };
    let plan = decide(&input, prepare(&cluster, &scenario.config)).plan;
    let violations = check(&input, &plan);
    assert!(violations.is_empty(), "seed {seed}: {violations:?}");
    (DecisionDocument::new(&cluster, &plan).to_json(), plan)
}

fn play_twice(scenario: &Scenario, seed: u64) {
    let play_once = || play(scenario, Some(Duration::from_mins(40)), &mut |_| {});
    let report = play_once();
    let refused = report.timeline.iter().filter(|entry| entry.kind == "check");
    let refused: Vec<&str> = refused.map(|entry| entry.text.as_str()).collect();
    assert!(refused.is_empty(), "seed {seed}: {refused:?}");
    assert_eq!(
        format!("{report:?}"),
        format!("{:?}", play_once()),
        "seed {seed}: playing it again differs"
    );
}

/// Chance by a seed. Source: Steele, Lea and Flood, `SplitMix64`.
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// True once in so many times.
    fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[usize::try_from(self.below(of.len() as u64)).unwrap()]
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for place in (1..items.len()).rev() {
            let other = self.below(place as u64 + 1);
            items.swap(place, usize::try_from(other).unwrap());
        }
    }
}

const ZONES: [&str; 3] = ["eu-1a", "eu-1b", "eu-1c"];
const FLAGS: [&str; 34] = [
    "--balance-similar-node-groups",
    "--balancing-ignore-label=tier",
    "--balancing-label=tier",
    "--expander=most-pods",
    "--expander=least-nodes",
    "--expander=price,least-waste",
    "--expander=random",
    "--expander=priority",
    "--max-nodes-total=6",
    "--cores-total=0:30",
    "--memory-total=8:100",
    "--gpu-total=t4:0:3",
    "--max-nodes-per-scaleup=2",
    "--enforce-node-group-min-size",
    "--salvo-scale-up",
    "--fastpath-binpacking-enabled",
    "--force-ds",
    "--scale-from-unschedulable",
    "--startup-taint=note",
    "--status-taint=note",
    "--new-pod-scale-up-delay=60s",
    "--expendable-pods-priority-cutoff=0",
    "--scaleup-simulation-for-skipped-node-groups-enabled",
    "--enable-graceful-degradation",
    "--scale-down-unneeded-time=0s",
    "--scale-down-delay-after-add=0s",
    "--scale-down-utilization-threshold=0.8",
    "--max-scale-down-parallelism=3",
    "--ignore-daemonsets-utilization",
    "--skip-nodes-with-local-storage=false",
    "--parallel-scale-up",
    "--scale-down-unready-time=0s",
    "--ok-total-unready-count=1",
    "--scale-down-enabled=false",
];

fn documents(dice: &mut Dice) -> Vec<String> {
    let mut documents = Vec::new();
    documents.push(simulation(dice));
    let groups: Vec<String> = (0..=dice.below(4))
        .map(|number| format!("group-{number}"))
        .collect();
    for group in &groups {
        let shape = MachineShape::draw(dice);
        let nodes = dice.below(4);
        for number in 0..nodes {
            documents.push(node(dice, group, number, &shape));
            running_pods(dice, group, number, &mut documents);
        }
        documents.push(node_group(dice, group, nodes, &shape));
    }
    if dice.once_in(3) {
        let shape = MachineShape::draw(dice);
        documents.push(node(dice, "", 9, &shape));
    }
    for number in 0..dice.below(3) {
        documents.push(daemonset(dice, number));
    }
    for number in 0..=dice.below(6) {
        workload(dice, number, &mut documents);
    }
    if dice.once_in(2) {
        documents.push(format!(
            "{{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {{name: budget}}, spec: \
             {{selector: {{matchLabels: {{app: app-{}}}}}}}, status: {{disruptionsAllowed: {}}}}}",
            dice.below(4),
            dice.below(2)
        ));
    }
    if dice.once_in(4) {
        documents.push(
            "{apiVersion: v1, kind: ConfigMap, metadata: {name: \
             cluster-autoscaler-priority-expander, namespace: kube-system}, data: {priorities: \
             \"10: [group-0]\\n20: [group-[12]]\"}}"
                .to_owned(),
        );
    }
    documents
}

fn simulation(dice: &mut Dice) -> String {
    let mut given: Vec<&str> = Vec::new();
    for _ in 0..dice.below(6) {
        let flag = *dice.pick(&FLAGS);
        let name = flag.split('=').next().unwrap();
        if !given.iter().any(|other| other.starts_with(name)) {
            given.push(flag);
        }
    }
    let flags: Vec<String> = given.iter().map(|flag| format!("{flag:?}")).collect();
    let version = dice.pick(&["1.36", "1.37"]);
    format!(
        "{{apiVersion: windlass.dev/v1alpha1, kind: Simulation, metadata: {{name: s}}, spec: \
         {{kubernetesVersion: '{version}', seed: {}, flags: [{}]}}}}",
        dice.below(3),
        flags.join(", ")
    )
}

/// What the machines of a group are like.
struct MachineShape {
    cores: u64,
    memory_gib: u64,
    gpus: u64,
    zone: &'static str,
    tier: u64,
    taint: Option<&'static str>,
}

impl MachineShape {
    fn draw(dice: &mut Dice) -> Self {
        Self {
            cores: *dice.pick(&[2, 4, 4, 8, 16]),
            memory_gib: *dice.pick(&[4, 16, 16, 32]),
            gpus: if dice.once_in(5) { 2 } else { 0 },
            zone: *dice.pick::<&str>(&ZONES),
            tier: dice.below(2),
            taint: dice.once_in(4).then(|| *dice.pick(&["note", "dedicated"])),
        }
    }

    fn labels(&self) -> String {
        let mut labels = format!(
            "topology.kubernetes.io/zone: {}, tier: '{}'",
            self.zone, self.tier
        );
        if self.gpus > 0 {
            labels.push_str(", k8s.amazonaws.com/accelerator: t4");
        }
        labels
    }

    fn taints(&self) -> String {
        self.taint.map_or_else(String::new, |key| {
            format!("taints: [{{key: {key}, value: x, effect: NoSchedule}}]")
        })
    }

    fn amounts(&self) -> String {
        let gpus = if self.gpus > 0 {
            format!(", nvidia.com/gpu: {}", self.gpus)
        } else {
            String::new()
        };
        format!(
            "{{cpu: {}, memory: {}Gi, ephemeral-storage: 50Gi, pods: {}{gpus}}}",
            self.cores,
            self.memory_gib,
            self.cores * 4
        )
    }
}

fn node_group(dice: &mut Dice, name: &str, nodes: u64, shape: &MachineShape) -> String {
    let mut spec = format!("maxSize: {}", nodes + dice.below(12));
    let least = dice.below(2).min(nodes);
    let _ = write!(spec, ", minSize: {least}");
    if dice.once_in(3) {
        let _ = write!(spec, ", targetSize: {}", nodes + dice.below(4));
        if dice.once_in(2) {
            let minutes = dice.below(30);
            let _ = write!(
                spec,
                ", requestedAt: '2025-12-31T23:{:02}:00Z'",
                59 - minutes
            );
        }
    }
    if dice.once_in(2) {
        let _ = write!(spec, ", pricePerHour: 0.{}", 1 + dice.below(9));
    }
    if dice.once_in(6) {
        spec.push_str(", options: {zeroOrMaxNodeScaling: true}");
    }
    if nodes == 0 || dice.once_in(2) {
        let _ = write!(
            spec,
            ", template: {{metadata: {{labels: {{{}}}}}, spec: {{{}}}, status: {{capacity: {}}}}}",
            shape.labels(),
            shape.taints(),
            shape.amounts()
        );
    }
    format!(
        "{{apiVersion: windlass.dev/v1alpha1, kind: NodeGroup, metadata: {{name: {name}}}, spec: \
         {{{spec}}}}}"
    )
}

fn node(dice: &mut Dice, group: &str, number: u64, shape: &MachineShape) -> String {
    let name = format!("node-{group}-{number}");
    let mut labels = format!("kubernetes.io/hostname: {name}, {}", shape.labels());
    if !group.is_empty() {
        let _ = write!(labels, ", windlass.dev/node-group: {group}");
    }
    let ready = if dice.once_in(6) { "'False'" } else { "'True'" };
    let made = *dice.pick(&["2025-12-31T00:00:00Z", "2025-12-31T23:55:00Z"]);
    let mut spec = format!("providerID: 'aws:///{}/{name}'", shape.zone);
    if !shape.taints().is_empty() {
        let _ = write!(spec, ", {}", shape.taints());
    }
    if dice.once_in(8) {
        spec.push_str(", unschedulable: true");
    }
    format!(
        "{{apiVersion: v1, kind: Node, metadata: {{name: {name}, creationTimestamp: '{made}', labels: \
         {{{labels}}}}}, spec: {{{spec}}}, status: {{capacity: {amounts}, allocatable: {amounts}, \
         conditions: [{{type: Ready, status: {ready}, lastTransitionTime: '{made}'}}]}}}}",
        amounts = shape.amounts()
    )
}

fn running_pods(dice: &mut Dice, group: &str, node: u64, documents: &mut Vec<String>) {
    for number in 0..dice.below(4) {
        let app = dice.below(4);
        let owner = if dice.once_in(5) {
            String::new()
        } else {
            owner(app)
        };
        documents.push(format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: running-{group}-{node}-{number}, labels: \
             {{app: app-{app}}}, creationTimestamp: '2025-12-31T00:00:00Z'{owner}}}, spec: {{nodeName: \
             node-{group}-{node}, containers: [{{name: c, resources: {{requests: {{cpu: {}m}}}}}}]}}, \
             status: {{phase: Running, conditions: [{{type: Ready, status: 'True'}}]}}}}",
            100 + 100 * dice.below(8)
        ));
    }
}

fn owner(app: u64) -> String {
    format!(
        ", ownerReferences: [{{apiVersion: apps/v1, kind: ReplicaSet, name: app-{app}, uid: uid-{app}, \
         controller: true}}]"
    )
}

fn daemonset(dice: &mut Dice, number: u64) -> String {
    let tolerations = if dice.once_in(2) {
        ", tolerations: [{operator: Exists}]"
    } else {
        ""
    };
    format!(
        "{{apiVersion: apps/v1, kind: DaemonSet, metadata: {{name: daemon-{number}}}, spec: {{selector: \
         {{matchLabels: {{app: daemon-{number}}}}}, template: {{metadata: {{labels: {{app: \
         daemon-{number}}}}}, spec: {{containers: [{{name: c, resources: {{requests: {{cpu: \
         {}m}}}}}}]{tolerations}}}}}}}}}",
        100 * (1 + dice.below(4))
    )
}

/// Pending pods of one kind, mostly of one controller.
fn workload(dice: &mut Dice, app: u64, documents: &mut Vec<String>) {
    let has_owner = !dice.once_in(4);
    let spec = pod_spec(dice, app);
    let made = *dice.pick(&[
        "2025-12-31T00:00:00Z",
        "2025-12-31T23:59:30Z",
        "2025-12-31T23:59:59Z",
    ]);
    for number in 0..=dice.below(12) {
        let owner = if has_owner { owner(app) } else { String::new() };
        documents.push(format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: pending-{app}-{number}, labels: {{app: \
             app-{app}}}, creationTimestamp: '{made}'{owner}}}, spec: {{{spec}}}, status: {{conditions: \
             [{{type: PodScheduled, status: 'False', reason: Unschedulable}}]}}}}"
        ));
    }
    if has_owner && dice.once_in(2) {
        documents.push(format!(
            "{{apiVersion: apps/v1, kind: ReplicaSet, metadata: {{name: app-{app}, uid: uid-{app}}}, \
             spec: {{replicas: 20, selector: {{matchLabels: {{app: app-{app}}}}}}}}}"
        ));
    }
}

fn pod_spec(dice: &mut Dice, app: u64) -> String {
    let mut requests = format!("cpu: {}m", 100 * dice.below(45));
    if dice.once_in(2) {
        let _ = write!(requests, ", memory: {}Mi", 256 * (1 + dice.below(20)));
    }
    if dice.once_in(8) {
        requests.push_str(", nvidia.com/gpu: 1");
    }
    let ports = if dice.once_in(8) {
        ", ports: [{containerPort: 80, hostPort: 8080}]"
    } else {
        ""
    };
    let mut spec =
        format!("containers: [{{name: c, resources: {{requests: {{{requests}}}}}{ports}}}]");
    if dice.once_in(4) {
        let _ = write!(spec, ", nodeSelector: {{tier: '{}'}}", dice.below(3));
    }
    if dice.once_in(4) {
        spec.push_str(", tolerations: [{key: dedicated, operator: Exists}]");
    }
    if dice.once_in(6) {
        let _ = write!(spec, ", priority: {}", *dice.pick(&[-20, -5, 0, 1000]));
    }
    let key = *dice.pick(&["kubernetes.io/hostname", "topology.kubernetes.io/zone"]);
    let selector = format!("labelSelector: {{matchLabels: {{app: app-{app}}}}}");
    match dice.below(6) {
        0 => {
            let when = dice.pick(&["DoNotSchedule", "ScheduleAnyway"]);
            let _ = write!(
                spec,
                ", topologySpreadConstraints: [{{maxSkew: {}, topologyKey: {key}, whenUnsatisfiable: \
                 {when}, {selector}}}]",
                1 + dice.below(2)
            );
        }
        1 => {
            let kind = dice.pick(&["podAffinity", "podAntiAffinity"]);
            let _ = write!(
                spec,
                ", affinity: {{{kind}: {{requiredDuringSchedulingIgnoredDuringExecution: \
                 [{{topologyKey: {key}, {selector}}}]}}}}"
            );
        }
        _ => {}
    }
    spec
}

//! Whole hours of a cluster while everything goes wrong that can, by a seed: calls fail or are
//! answered late, evictions are refused, views are old, the clock jumps, nodes vanish, disruption
//! budgets change in the middle of drains, and the autoscaler is killed. The independent rules never
//! object to a plan, and an observer of the world itself never sees a pod evicted beyond its budget,
//! a pod die with its node, an instance ended twice or below a minimum, or a taint left behind.
//!
//! A few seeds by default. Many, or one again:
//!
//! ```text
//! WINDLASS_SEEDS=1000 cargo test --release -p windlass-sim --test faults -- --nocapture
//! WINDLASS_SEED=17 cargo test -p windlass-sim --test faults -- --nocapture
//! ```
#![expect(
    clippy::unwrap_used,
    reason = "writing to a string cannot fail, and the numbers are small"
)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;

use windlass_model::Duration;
use windlass_sim::{BudgetKeeper, FaultReport, Faults, ScenarioReader, play_with_faults};

/// Seeds without a word from the environment.
const FEW: u64 = 6;
/// For so long things go wrong …
const TROUBLE: Duration = Duration::from_mins(150);
/// … and for so long the world then comes to rest.
const REST: Duration = Duration::from_mins(90);

fn seeds() -> Range<u64> {
    let number = |name: &str| -> Option<u64> { std::env::var(name).ok()?.parse().ok() };
    match (number("WINDLASS_SEED"), number("WINDLASS_SEEDS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, Some(count)) => 0..count,
        (None, None) => 0..FEW,
    }
}

/// `SplitMix64`.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    fn one_of<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[usize::try_from(self.below(of.len() as u64)).unwrap()]
    }

    fn happens(&mut self, once_in: u64) -> bool {
        self.below(once_in) == 0
    }
}

/// A workload of the scenario.
struct App {
    name: String,
    kind: &'static str,
    replicas: u64,
}

/// A cluster of two or three groups with workloads of every kind, and three hours in which they
/// change.
fn scenario(seed: u64) -> String {
    let mut dice = Dice(seed ^ 0x5eed);
    let mut text = String::new();
    let mut flags = vec![
        "--scale-down-unneeded-time=2m",
        "--scale-down-unready-time=5m",
        "--scale-down-delay-after-add=1m",
        "--scan-interval=20s",
        "--scale-down-utilization-threshold=0.8",
        "--max-node-provision-time=10m",
    ];
    for flag in [
        "--max-drain-parallelism=4",
        "--max-scale-down-parallelism=20",
        "--drain-priority-config=100:20,0:60",
        "--node-deletion-batcher-interval=7s",
        "--daemonset-eviction-for-empty-nodes=true",
        "--cordon-node-before-terminating=false",
        "--scale-down-delay-type-local=true",
        "--dynamic-node-delete-delay-after-taint-enabled=true",
        "--drain-wait-for-ready-replacements=5m",
        "--max-removals-per-hour=6",
        "--skip-nodes-with-local-storage=false",
        "--max-pod-eviction-time=40s",
        "--node-deletion-candidate-ttl=1h",
    ] {
        if dice.happens(3) {
            flags.push(flag);
        }
    }
    let flags: Vec<String> = flags.iter().map(|flag| format!("{flag:?}")).collect();
    write!(
        text,
        "apiVersion: windlass.dev/v1alpha1\nkind: Simulation\nmetadata: {{name: s}}\n\
         spec: {{seed: {seed}, flags: [{}]}}\n",
        flags.join(", ")
    )
    .unwrap();
    let groups = ["a", "b", "c"];
    let groups = &groups[..usize::try_from(2 + dice.below(2)).unwrap()];
    for group in groups {
        let (min, boot) = (dice.below(2), 20 + dice.below(80));
        write!(
            text,
            "---\napiVersion: windlass.dev/v1alpha1\nkind: NodeGroup\nmetadata: {{name: {group}}}\n\
             spec:\n  minSize: {min}\n  maxSize: 12\n  provisionTime: {boot}s\n  template:\n    \
             metadata: {{labels: {{zone: {group}}}}}\n    \
             status: {{capacity: {{cpu: 4, memory: 16Gi, pods: 40}}}}\n"
        )
        .unwrap();
    }
    let mut apps = Vec::new();
    for index in 0..4 + dice.below(4) {
        let kind = *dice.one_of(&["Deployment", "Deployment", "StatefulSet"]);
        let app = App {
            name: format!("app{index}"),
            kind,
            replicas: 1 + dice.below(9),
        };
        write_app(&mut text, &mut dice, &app);
        if dice.happens(2) {
            text += "---\n";
            text += &budget(&mut dice, &app.name).replace('@', "");
        }
        apps.push(app);
    }
    text += "---\napiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: agent, namespace: kube-system}\n\
             spec: {selector: {matchLabels: {app: agent}}, template: {metadata: {labels: {app: agent}}, \
             spec: {tolerations: [{operator: Exists}], containers: [{name: c, resources: {requests: \
             {cpu: 50m}}}]}}}\n";
    text += &timeline(&mut dice, groups, &apps);
    text
}

fn write_app(text: &mut String, dice: &mut Dice, app: &App) {
    let App {
        name,
        kind,
        replicas,
    } = app;
    let mut annotations = String::new();
    if dice.happens(6) {
        let value = dice.one_of(&["true", "false", "on-completion"]);
        annotations = format!("cluster-autoscaler.kubernetes.io/safe-to-evict: {value:?}");
    }
    let volumes = if dice.happens(6) {
        ", volumes: [{name: scratch, emptyDir: {}}]"
    } else {
        ""
    };
    let grace = dice.one_of(&["", ", terminationGracePeriodSeconds: 120"]);
    let priority = dice.one_of(&["", "", ", priority: 1000"]);
    let cpu = dice.one_of(&["300m", "700m", "1500m"]);
    write!(
        text,
        "---\napiVersion: apps/v1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {{replicas: {replicas}, \
         podManagementPolicy: Parallel, selector: {{matchLabels: {{app: {name}}}}}, template: {{metadata: \
         {{labels: {{app: {name}}}, annotations: {{{annotations}}}}}, spec: {{containers: [{{name: c, \
         resources: {{requests: {{cpu: {cpu}}}}}}}]{volumes}{grace}{priority}}}}}}}\n"
    )
    .unwrap();
    if *kind == "Deployment" {
        *text = text.replace("podManagementPolicy: Parallel, selector", "selector");
    }
}

/// A budget of any kind over an application; `@` stands where its lines begin.
fn budget(dice: &mut Dice, app: &str) -> String {
    let rule = dice.one_of(&[
        "maxUnavailable: 0",
        "maxUnavailable: 1",
        "minAvailable: 1",
        "minAvailable: 50%",
        "maxUnavailable: 34%",
    ]);
    format!(
        "@apiVersion: policy/v1\n@kind: PodDisruptionBudget\n@metadata: {{name: {app}}}\n\
         @spec: {{{rule}, selector: {{matchLabels: {{app: {app}}}}}}}\n"
    )
}

fn timeline(dice: &mut Dice, groups: &[&str], apps: &[App]) -> String {
    let mut text = "---\napiVersion: windlass.dev/v1alpha1\nkind: Timeline\nmetadata: {name: t}\n\
                    spec:\n  entries:\n"
        .to_owned();
    let minutes = u64::try_from(TROUBLE.as_secs() / 60).unwrap();
    for _ in 0..60 + dice.below(60) {
        let seconds = dice.below(minutes * 60);
        let app = dice.one_of(apps);
        let entry = match dice.below(10) {
            0..5 => format!(
                "scale: {{kind: {}, name: {}, replicas: {}}}\n",
                app.kind,
                app.name,
                dice.below(12)
            ),
            5 | 6 => format!(
                "apply:\n{}",
                budget(dice, &app.name).replace('@', "        ")
            ),
            7 => format!(
                "delete: {{kind: PodDisruptionBudget, name: {}}}\n",
                app.name
            ),
            8 => format!(
                "delete: {{kind: Node, name: {}-{}}}\n",
                dice.one_of(groups),
                1 + dice.below(12)
            ),
            _ => format!(
                "fail: {{group: {}, reason: InsufficientInstanceCapacity, for: {}m}}\n",
                dice.one_of(groups),
                1 + dice.below(15)
            ),
        };
        write!(text, "    - at: {seconds}s\n      {entry}").unwrap();
    }
    // Whatever was scaled up is to leave something to remove.
    for app in apps {
        let at = TROUBLE.as_secs() + 60;
        let (kind, name) = (app.kind, &app.name);
        writeln!(
            text,
            "    - {{at: {at}s, scale: {{kind: {kind}, name: {name}, replicas: 1}}}}"
        )
        .unwrap();
    }
    text
}

fn play(seed: u64) -> FaultReport {
    let text = scenario(seed);
    let mut reader = ScenarioReader::new();
    reader
        .read("scenario.yaml", &text)
        .unwrap_or_else(|error| panic!("seed {seed}: {error}\n{text}"));
    let scenario = reader.finish().expect("the scenario is consistent");
    let faults = Faults {
        seed,
        until: TROUBLE,
        budgets: if seed.is_multiple_of(4) {
            BudgetKeeper::Autoscaler
        } else {
            BudgetKeeper::ApiServer
        },
    };
    play_with_faults(&scenario, &faults, TROUBLE + REST)
}

#[test]
fn nothing_that_goes_wrong_harms_a_pod() {
    let mut faults: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut loops, mut added, mut removed, mut evicted) = (0, 0, 0, 0);
    let mut failures = Vec::new();
    let seeds = seeds();
    for seed in seeds.clone() {
        let FaultReport {
            report,
            violations,
            faults: happened,
        } = play(seed);
        loops += report.summary.loops;
        added += report.summary.nodes_added;
        removed += report.summary.nodes_removed;
        evicted += report.summary.pods_evicted;
        for (what, count) in happened {
            *faults.entry(what).or_default() += count;
        }
        let mut wrong = violations;
        let refused = report.timeline.iter().filter(|entry| entry.kind == "check");
        wrong.extend(refused.map(|entry| format!("{}s: {}", entry.at.as_secs(), entry.text)));
        if std::env::var_os("WINDLASS_SEED").is_some() {
            for entry in &report.timeline {
                eprintln!("{}", entry.to_line());
            }
        }
        if !wrong.is_empty() {
            let first: Vec<&String> = wrong.iter().take(3).collect();
            failures.push(format!(
                "seed {seed} (again: WINDLASS_SEED={seed} cargo test -p windlass-sim --test faults -- \
                 --nocapture): {} violations, first {first:#?}",
                wrong.len()
            ));
        }
    }
    eprintln!(
        "{} seeds: {loops} loops, {added} nodes added, {removed} removed, {evicted} pods evicted; {faults:#?}",
        seeds.end - seeds.start
    );
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    let is_one = seeds.end - seeds.start == 1;
    assert!(
        is_one || 0 < removed && 0 < evicted,
        "nothing was removed, so nothing was shown"
    );
}

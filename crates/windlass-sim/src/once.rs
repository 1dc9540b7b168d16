use std::time::Instant;

use serde::Serialize;
use windlass_core::{Input, Memory, NoTimeLimits, Violation, check, decide, prepare_with};

use crate::{DecisionDocument, Scenario};

/// One decision, and how long it took.
#[derive(Clone, Debug)]
pub struct Once {
    /// The decision.
    pub decision: DecisionDocument,
    /// The rules that the plan breaks; none, if all is well.
    pub violations: Vec<Violation>,
    /// How long each step took.
    pub timings: Timings,
}

/// How long the steps of a decision took, in milliseconds of wall time.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Timings {
    /// From parsed objects to the model.
    pub convert_ms: f64,
    /// All that is built before deciding.
    pub snapshot_ms: f64,
    /// The rest.
    pub decide_ms: f64,
}

/// Takes the decision of a fresh autoscaler's first loop at the scenario's start.
pub fn decide_once(scenario: &Scenario) -> Once {
    let mut watch = Stopwatch::start();
    let cluster = scenario.cluster();
    let convert_ms = watch.lap();
    let snapshot = prepare_with(&cluster, &scenario.config, &scenario.profiles);
    let snapshot_ms = watch.lap();
    let memory = Memory::default();
    let input = Input {
        cluster: &cluster,
        memory: &memory,
        outcomes: &[],
        config: &scenario.config,
        now: scenario.now,
        budget: &NoTimeLimits,
    };
    let plan = decide(&input, snapshot).plan;
    let decide_ms = watch.lap();
    Once {
        decision: DecisionDocument::new(&cluster, &plan),
        violations: check(&input, &plan),
        timings: Timings {
            convert_ms,
            snapshot_ms,
            decide_ms,
        },
    }
}

struct Stopwatch(Instant);

impl Stopwatch {
    fn start() -> Self {
        Self(Instant::now())
    }

    /// Milliseconds since the last lap.
    fn lap(&mut self) -> f64 {
        let now = Instant::now();
        let elapsed = now - std::mem::replace(&mut self.0, now);
        elapsed.as_secs_f64() * 1e3
    }
}

use windlass_model::Duration;

/// Limits by duration, which a pure decision cannot measure itself: the shell brings wall time
/// and records where a limit struck, a replay brings what was recorded, a scenario
/// [`NoTimeLimits`].
pub trait Budget: Sync {
    /// Starts the clock of `limit`, which strikes after `allowed`.
    fn start(&self, limit: TimeLimit, allowed: Duration);
    /// Whether `limit` has struck since it was started last.
    fn is_spent(&self, limit: TimeLimit) -> bool;
    /// The decision begins a part of its work. Whoever has a clock may time it; nothing of it
    /// comes back.
    fn begin(&self, _: Part) {}
    /// It has ended the part that it began last.
    fn end(&self, _: Part) {}
}

/// A part of a decision that is timed, as `function_duration_seconds` names it. Parts nest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// Which pending pods fit on nodes that are there.
    FilterOutSchedulable,
    /// One attempt to scale up.
    ScaleUp,
    /// Finding pods that are alike.
    BuildPodEquivalenceGroups,
    /// Counting the nodes of one group.
    Estimate,
    /// Looking at skipped groups for pods that stay pending.
    SkippedNodeGroupsSimulation,
}

impl Part {
    /// As the label `function` names it. Source: `pkg/metrics/metrics.go`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FilterOutSchedulable => "filterOutSchedulable",
            Self::ScaleUp => "scaleUp",
            Self::BuildPodEquivalenceGroups => "scaleUp:buildPodEquivalenceGroups",
            Self::Estimate => "scaleUp:estimate",
            Self::SkippedNodeGroupsSimulation => "scaleUp:skippedNodeGroupsSimulation",
        }
    }
}

/// A limit by duration, named for its flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TimeLimit {
    /// `--max-binpacking-time`: asked after each group's estimation.
    Binpacking,
    /// `--max-nodegroup-binpacking-duration`: asked before each node of one group's estimation.
    NodeGroupBinpacking,
    /// `--salvo-scale-up-budget`: asked after each scale-up of a salvo.
    SalvoScaleUp,
    /// `--pending-pods-batching-timeout`: asked before each class of pending pods is placed.
    PendingPods,
    /// `--check-capacity-provisioning-request-batch-timebox`: asked after each request of a batch.
    CheckCapacityBatch,
    /// `--scale-down-simulation-timeout`: asked before each node is simulated.
    ScaleDownSimulation,
}

/// Time does not pass while a decision is made.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoTimeLimits;

impl Budget for NoTimeLimits {
    fn start(&self, _: TimeLimit, _: Duration) {}

    fn is_spent(&self, _: TimeLimit) -> bool {
        false
    }
}

use windlass_model::SchedulerVersion;

/// What the scheduler's one profile says: which version's rules hold, and what a
/// `KubeSchedulerConfiguration` may change of them.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Profile {
    version: SchedulerVersion,
}

impl Profile {
    /// The default profile of a version.
    pub fn new(version: SchedulerVersion) -> Self {
        Self { version }
    }

    /// Whose rules hold.
    pub fn version(&self) -> SchedulerVersion {
        self.version
    }
}

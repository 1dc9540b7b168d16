//! [`Config`]: the flags' values, grouped by what they are about.

mod aws;
mod features;
mod inert;
mod leader_election;
mod logging;
mod node_groups;
mod process;
mod safety;
mod scale_down;
mod scale_up;

use windlass_model::Duration;

pub use aws::Aws;
pub use features::Features;
pub use inert::Inert;
pub use leader_election::LeaderElection;
pub use logging::Logging;
pub use node_groups::{ClusterHealth, Limits, NodeGroups, Templates};
pub use process::{Process, Scheduler};
pub use safety::Safety;
pub use scale_down::{Actuation, Drain, ScaleDown};
pub use scale_up::{Balancing, ScaleUp};

use crate::{
    check, command_line,
    diagnostic::{FlagError, Warning},
    flag::Flag,
};

/// Every setting, checked. [`Config::default`] is what no flag at all gives.
///
/// A field that a flag holds is public: the checks of [`Config::parse`] are about what a
/// person may ask for, and no part of Windlass relies on them for its safety.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Config {
    /// The process: addresses, loop times, status.
    pub process: Process,
    /// The embedded scheduler.
    pub scheduler: Scheduler,
    /// Which groups there are.
    pub node_groups: NodeGroups,
    /// Limits of the whole cluster.
    pub limits: Limits,
    /// When the cluster or a group counts as healthy, and how failures back off.
    pub cluster_health: ClusterHealth,
    /// What a new node is expected to look like.
    pub templates: Templates,
    /// Adding nodes.
    pub scale_up: ScaleUp,
    /// Splitting a scale-up between similar groups.
    pub balancing: Balancing,
    /// Which nodes are removed, and when.
    pub scale_down: ScaleDown,
    /// Which pods keep their node.
    pub drain: Drain,
    /// How nodes are removed.
    pub actuation: Actuation,
    /// Bounds that the Go autoscaler does not have.
    pub safety: Safety,
    /// Optional APIs.
    pub features: Features,
    /// What only AWS knows.
    pub aws: Aws,
    /// Who of several replicas acts.
    pub leader_election: LeaderElection,
    /// What is logged, and how.
    pub logging: Logging,
    /// Flags that change nothing.
    pub inert: Inert,
}

/// The table, by heading, in the order of the help.
pub(crate) static GROUPS: &[&[Flag]] = &[
    Process::FLAGS,
    Scheduler::FLAGS,
    NodeGroups::FLAGS,
    Limits::FLAGS,
    ClusterHealth::FLAGS,
    Templates::FLAGS,
    ScaleUp::FLAGS,
    Balancing::FLAGS,
    ScaleDown::FLAGS,
    Drain::FLAGS,
    Actuation::FLAGS,
    Safety::FLAGS,
    Features::FLAGS,
    Aws::FLAGS,
    LeaderElection::FLAGS,
    Logging::FLAGS,
    Inert::FLAGS,
];

/// Flags that the Go autoscaler does not have.
pub(crate) const ADDITIONS: &[&str] = &[
    "seed",
    "token-rotation",
    "token-cluster",
    "token-kms-key",
    "max-removals-per-hour",
    "max-removals-per-hour-percentage",
    "max-cache-age",
    "drain-wait-for-ready-replacements",
    "aws-discovery-mode",
    "aws-mixed-template",
    "aws-max-pods",
    "aws-launch-api",
    "aws-protect-from-scale-in",
    "aws-price-file",
    "aws-ask-prices",
    "max-empty-bulk-delete",
];

impl Config {
    /// Reads a command line: the arguments behind the program's (and the subcommand's) name.
    ///
    /// All that is wrong with it is reported: first flags that are unknown or lack a value,
    /// then values that are not taken, then what cannot be together; each in the order of the
    /// arguments.
    pub fn parse<S: AsRef<str>>(
        arguments: impl IntoIterator<Item = S>,
    ) -> Result<(Self, Vec<Warning>), Vec<FlagError>> {
        let (mut config, mut warnings, mut errors) = command_line::read(arguments)?;
        errors.extend(check::check(&config, &errors));
        if !errors.is_empty() {
            return Err(errors);
        }
        warnings.extend(check::adjust(&mut config));
        Ok((config, warnings))
    }

    /// The arguments that give this configuration: one `--name=value` for each flag whose
    /// value is not the default.
    pub fn to_arguments(&self) -> Vec<String> {
        let default = Self::default();
        // Not by their texts: a list of one empty value reads like an empty list.
        crate::flags()
            .map(|flag| (flag.arguments(self), flag.arguments(&default)))
            .filter(|(arguments, defaults)| arguments != defaults)
            .flat_map(|(arguments, _)| arguments)
            .collect()
    }
}

const fn seconds(count: i64) -> Duration {
    Duration::from_secs(count)
}

const fn minutes(count: i64) -> Duration {
    Duration::from_mins(count)
}

const fn hours(count: i64) -> Duration {
    Duration::from_hours(count)
}

fn text(literal: &str) -> String {
    literal.to_owned()
}

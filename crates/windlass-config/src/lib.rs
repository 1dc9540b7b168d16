//! Every flag as a value: what may be configured, its type, default and meaning, and how it
//! is parsed.
//!
//! [`Config::parse`] turns a command line into a checked [`Config`]; [`flags`] is the table
//! behind it, from which `--help`, completions and `docs/flags.md` are made. The grammar,
//! names, defaults and units are those of the Go cluster-autoscaler (its flags are Go's
//! `pflag`, `strconv` and `time` packages), so that a manifest written for the one starts the
//! other.
//!
//! The crate is pure: it reads no environment, file or clock. A path is a path here; who
//! opens it is the shell.
//!
//! ```
//! use windlass_config::Config;
//!
//! let (config, _warnings) = Config::parse(["--scale-down-unneeded-time=90s", "--v", "4"]).unwrap();
//! assert_eq!(config.scale_down.unneeded_time.as_secs(), 90);
//!
//! let errors = Config::parse(["--scale-down-uneeded-time=90s"]).unwrap_err();
//! assert_eq!(
//!     errors[0].to_string(),
//!     "unknown flag `--scale-down-uneeded-time`: did you mean `--scale-down-unneeded-time`?"
//! );
//! ```

mod check;
mod command_line;
mod config;
mod diagnostic;
mod flag;
pub mod grammar;
mod help;
mod node_group_settings;
mod suggestion;
mod value;

pub use config::{
    Actuation, Aws, Balancing, ClusterHealth, Config, Drain, Features, Inert, LeaderElection,
    Limits, Logging, NodeGroups, Process, Safety, ScaleDown, ScaleUp, Scheduler, Templates,
};
pub use diagnostic::{FlagError, Warning};
pub use flag::{Flag, Kind, Status, flag, flags, headings};
pub use help::{help, reference};
pub use node_group_settings::NodeGroupSettings;
pub use value::{
    AwsLaunchApi, AwsMaxPods, AwsMixedTemplate, CloudProvider, DiscoveryMode, DiscoverySpec,
    DrainPriorities, DrainPriority, Estimator, Expander, ExpanderChain, FeatureGates, GpuLimit,
    LogFormat, MinMax, NodeGroupSpec, ResourceLock, SchedulerNames, Severity, TagFilter,
    TraceLocation, VModule, Verbosity,
};

//! The types of the flags' values.

mod aws;
mod choice;
mod drain_priority;
mod expander;
mod gates;
mod limit;
mod logging;
mod plain;
mod scheduler_names;

pub use aws::{AwsMaxPods, DiscoverySpec, NodeGroupSpec, TagFilter};
pub use choice::{
    AwsLaunchApi, AwsMixedTemplate, CloudProvider, DiscoveryMode, Estimator, LogFormat,
    ResourceLock,
};
pub use drain_priority::{DrainPriorities, DrainPriority};
pub use expander::{Expander, ExpanderChain};
pub use gates::FeatureGates;
pub use limit::{GpuLimit, MinMax};
pub use logging::{Severity, TraceLocation, VModule, Verbosity};
pub use scheduler_names::SchedulerNames;

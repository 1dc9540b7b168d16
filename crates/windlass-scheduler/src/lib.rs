//! Would the kube-scheduler put this pod on this node: its filters, and a snapshot with cheap
//! fork, commit and revert.
//!
//! A [`Snapshot`] holds nodes and the pods on them. It is asked with [`Snapshot::check`] (one pod,
//! one node), [`Snapshot::fits`] (the same verdict, without reasons) and [`Snapshot::first_fit`]
//! (one pod, any node). What was tried can be undone: [`Snapshot::fork`], [`Snapshot::revert`].
//!
//! The rules and their words are those of the `PreFilter` and Filter plugins of
//! kube-scheduler 1.36 and 1.37, run the way the cluster-autoscaler runs them: no scoring, no
//! preemption, no extenders.
//!
//! The crate refuses to know clouds, node groups, clocks and the API server.

mod default_spread;
mod devices;
mod dimensions;
mod free_tree;
mod namespaces;
mod plugin;
mod pod_affinity;
mod ports;
mod profile;
mod rejection;
mod relaxations;
mod shapes;
mod snapshot;
mod spread;
mod statics;
mod topology;
mod volumes;

pub use profile::{ConfigurationError, Profile, Profiles};
pub use rejection::{Code, Phase, Rejection};
pub use snapshot::{NodeId, Snapshot};

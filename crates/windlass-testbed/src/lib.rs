//! The real parts for end-to-end tests: starts etcd, the control plane of Kubernetes, kwok, moto
//! and the joiner, and ends exactly what it started.
//!
//! Everything listens on 127.0.0.1 at ports that were free, and keeps state and logs in one
//! temporary directory. When the test process dies, in whatever way, a reaper ends what is left.
//!
//! ```no_run
//! use std::time::Duration;
//! use windlass_testbed::{Group, Workload};
//!
//! # fn main() -> anyhow::Result<()> {
//! // One test bed for all tests of the process; each begins with an empty cluster and an empty AWS.
//! let testbed = windlass_testbed::shared();
//! testbed.clear()?;
//!
//! // Two instances; the joiner makes Nodes of them.
//! testbed.aws().create_group(&Group::new("web").sizes(0, 10, 2).discovered_by("demo"))?;
//! let cluster = testbed.cluster();
//! cluster.wait_for_ready_nodes(2, Duration::from_secs(30))?;
//!
//! // The real scheduler binds the pods, kwok runs them.
//! cluster.deploy(&Workload::new("web", 3))?;
//! cluster.wait_until_all_run("default", "web", 3, Duration::from_secs(30))?;
//! # Ok(())
//! # }
//! ```
//!
//! | to | take |
//! |---|---|
//! | look at a condition until it holds | [`wait_for`], never a sleep |
//! | take a part away and bring it back | [`Testbed::stop`], [`Testbed::kill`], [`Testbed::restart`] |
//! | record, delay, fail or hold requests | [`Testbed::proxy_aws`], [`Testbed::proxy_api_server`] and [`proxy`] |
//! | know when the scheduler gave a pod up | [`Testbed::audit`], [`AuditRecord::is_unschedulable`] |
//! | have launches fail or take their time, limits enforced, listings lag | [`Testbed::faulty_aws`] and [`windlass_faults`] |
//! | have instances boot slowly, oddly or never | [`Joiner::set_boot`] |
//! | make the Node of an instance otherwise | [`Joiner::claim`] |
//! | run a program that ends with the test bed | [`Testbed::spawn`] |
//!
//! Calls block: tests are plain functions, and the test bed has a runtime of its own
//! ([`Testbed::run`] for a future). The crate refuses to know Windlass: what checks it must not
//! share its mistakes.

mod audit;
mod aws;
mod certificates;
mod cluster;
mod control_plane;
mod http;
mod joiner;
mod ports;
mod process;
pub mod proxy;
mod testbed;
mod wait;

pub use audit::{AuditRecord, RightsUsed};
pub use aws::{Aws, Group, GroupState, Instance, REGION};
pub use cluster::{Cluster, PodWatch, Workload, is_ready, phase};
pub use control_plane::{Part, User};
pub use joiner::{Boot, Joiner, Kubelet};
pub use process::{Process, Spec, processes_of};
pub use proxy::Proxy;
pub use testbed::{Options, Testbed, shared};
pub use wait::{Outcome, stays, wait_for};
